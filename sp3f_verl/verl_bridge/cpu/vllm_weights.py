"""Keep vLLM's CPU weights live, so that a weight sync reaches the layers that compute.

vLLM-CPU repacks the weights of linear layers after loading and frees the originals (model_executor/layers/utils.py,
`dispatch_cpu_unquantized_gemm`). verl's first weight sync then dies with "'Parameter' object has no attribute
'weight_loader'" and the run hangs. With this patch a layer calls torch's linear on the weight that verl writes to.
The proof is `training/rollout_probs_diff_max` < 1e-5 at step >= 2 (tests/e2e/test_sp3f.py).
"""


def install() -> None:
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return
    import torch
    import vllm.model_executor.layers.utils as utils

    def dispatch_cpu_unquantized_gemm(layer, remove_weight: bool) -> None:
        layer.cpu_linear = torch.nn.functional.linear

    if not hasattr(utils, "dispatch_cpu_unquantized_gemm"):
        raise RuntimeError("vLLM no longer has layers.utils.dispatch_cpu_unquantized_gemm: weights cannot be kept live")
    utils.dispatch_cpu_unquantized_gemm = dispatch_cpu_unquantized_gemm
