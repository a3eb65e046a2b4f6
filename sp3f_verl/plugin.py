"""What verl loads in every process (entry point `verl.plugins`) and vLLM in its own (`vllm.general_plugins`).

Nothing heavy is imported here: `sp3f_verl.verl_bridge.hooks` waits until verl imports the module in question.
verl logs a plugin that cannot be imported at DEBUG only and trains on without it, so a failure is told on stderr.
"""

import sys


def _load(what: str, install) -> None:
    try:
        install()
    except Exception as error:
        print(
            f"sp3f_verl: {what} failed ({type(error).__name__}: {error}); its recipes will not work in this process. "
            "Run `sp3f doctor` to see what is wrong.",
            file=sys.stderr,
            flush=True,
        )
        raise


def _install_hooks() -> None:
    from sp3f_verl.verl_bridge import hooks

    hooks.install()


def register_vllm() -> None:
    """Entry point of `vllm.general_plugins`: called once in each process of a vLLM server."""

    def install() -> None:
        from sp3f_verl.verl_bridge.cpu import vllm_weights

        vllm_weights.install()

    _load("the vLLM plugin", install)


_load("the verl plugin", _install_hooks)
