"""Keep prompts whole in vLLM on a CPU: one with a seed that is split over two batches ends the engine.

Between the parts vLLM takes back what the request drew (`generator.set_offset`, v1/worker/gpu_model_runner.py), and the
generators of a CPU cannot ("CPU Generator does not use offset"). Self-play's requests have seeds, and a judge's.
"""


def install() -> None:
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return
    platform = type(current_platform)
    checked = platform.check_and_update_config
    if checked.__module__ == __name__:
        return

    def check_and_update_config(cls, vllm_config) -> None:
        checked(vllm_config)
        if vllm_config.model_config is not None:  # as vLLM does for MLA on a CPU
            scheduler = vllm_config.scheduler_config
            scheduler.enable_chunked_prefill = False
            longest = vllm_config.model_config.max_model_len
            scheduler.max_num_batched_tokens = max(scheduler.max_num_batched_tokens, longest)

    platform.check_and_update_config = classmethod(check_and_update_config)
