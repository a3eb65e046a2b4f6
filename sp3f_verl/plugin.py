"""What verl loads in every process (entry point `verl.plugins`).

Nothing heavy is imported here: `sp3f_verl.verl_bridge.hooks` waits until verl imports the module in question.
verl logs a plugin that cannot be imported at DEBUG only and trains on without it, so a failure is logged here.
"""

try:
    from sp3f_verl.verl_bridge import hooks

    hooks.install()
except Exception as error:
    from sp3f_verl.log import log

    log.error(
        f"the verl plugin failed ({type(error).__name__}: {error}); its recipes will not work in this process. Run "
        "`sp3f doctor` to see what is wrong."
    )
    raise
