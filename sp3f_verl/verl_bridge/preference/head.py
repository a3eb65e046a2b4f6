"""Puts our head for response tokens in the place of verl's fused head, in the workers of preference training."""

from sp3f_verl.training.preference.positions import positions, ties
from sp3f_verl.training.preference.response_head import ResponseHead


def install(engine, share: bool = False) -> None:
    """Make this process's engine compute log-probs where `loss_mask` wants them, and with `share` a prompt once for the
    rows of its group. Only for packed rows and verl's fused head with the backend torch; others, and sequence
    parallelism, keep verl's own."""
    from verl.utils import tensordict_utils as tu
    from verl.utils.experimental import torch_functional

    settings = engine.model_config
    backend = (settings.fused_kernel_options or {}).get("impl_backend")
    if not (settings.use_fused_kernels and settings.use_remove_padding and backend == "torch") or engine.use_ulysses_sp:
        return
    waiting: list[ResponseHead] = []  # the head of the forward that comes next, if it is this engine's
    verls, original = torch_functional.FusedLinearForPPO, engine.prepare_model_inputs

    def prepare_model_inputs(micro_batch):
        inputs, arguments = original(micro_batch)
        ids, mask = micro_batch["input_ids"], micro_batch["loss_mask"].values()
        at = positions(ids.values(), mask, ids.offsets(), micro_batch["group"], share)
        waiting[:] = [ResponseHead(at, ties(at.lengths, tu.get_non_tensor_data(micro_batch, "tied", None)))]
        if share:
            for name in ("input_ids", "position_ids"):
                inputs[name] = inputs[name][:, at.kept]
        return inputs, arguments

    engine.prepare_model_inputs = prepare_model_inputs
    torch_functional.FusedLinearForPPO = lambda **settings: waiting.pop() if waiting else verls(**settings)
