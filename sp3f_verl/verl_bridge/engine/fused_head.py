"""What FSDP2 may shard on its own in verl 0.9.1: no head whose weight verl's fused log-probs read, no layer of LoRA.

They read `lm_head.weight` without calling `lm_head` (models/transformers/dense_common.py:122), but FSDP2 shards an
untied head on its own (utils/fsdp_utils.py:549) and gathers it only when it is called: "mixed torch.Tensor and
DTensor". Left to the root's parameters, the head is gathered when the model is called. An adapted head or embedding is
found by its name, and the wrapper that PEFT puts there cannot be made FSDP's ("object layout differs").
"""

import functools


def install() -> None:
    """After `verl.utils.fsdp_utils`: what is left out is the root's."""
    from verl.utils import fsdp_utils

    original = fsdp_utils._select_fsdp2_wrap_targets

    @functools.wraps(original)
    def select(model, layer_classes):
        targets = [module for module in original(model, layer_classes) if not hasattr(module, "base_layer")]
        if getattr(model, "_verl_fused_kernels_backend", None) is None:
            return targets
        heads = {id(module) for name, module in model.named_modules() if name.rsplit(".", 1)[-1] == "lm_head"}
        return [module for module in targets if id(module) not in heads]

    fsdp_utils._select_fsdp2_wrap_targets = select
