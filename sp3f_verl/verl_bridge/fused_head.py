"""verl's fused log-probs under FSDP2 with an untied head (verl 0.9.1).

They read `lm_head.weight` without calling `lm_head` (models/transformers/dense_common.py:122), but FSDP2 shards an
untied head on its own (utils/fsdp_utils.py:549) and gathers it only when it is called: "mixed torch.Tensor and
DTensor". Left to the root's parameters, the head is gathered when the model is called.
"""

import functools


def install() -> None:
    """After `verl.utils.fsdp_utils`: a model with fused log-probs does not get its head sharded on its own."""
    from verl.utils import fsdp_utils

    original = fsdp_utils._select_fsdp2_wrap_targets

    @functools.wraps(original)
    def select(model, layer_classes):
        targets = original(model, layer_classes)
        if getattr(model, "_verl_fused_kernels_backend", None) is None:
            return targets
        heads = {id(module) for name, module in model.named_modules() if name.rsplit(".", 1)[-1] == "lm_head"}
        return [module for module in targets if id(module) not in heads]

    fsdp_utils._select_fsdp2_wrap_targets = select
