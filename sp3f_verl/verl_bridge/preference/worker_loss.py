"""The loss that runs in verl's workers (`TrainingWorker.set_loss_fn`), on per-token log-probs of verl's own kernels."""

import torch
from verl.utils.metric import AggregationType, Metric

from sp3f_verl.losses.objective import Objective, measure


def group_loss(model_output, data, dp_group=None, *, objective: Objective):
    """verl's loss contract: (scalar loss, metrics) of one micro-batch.

    The weighted mean over the groups of the whole batch: every micro-batch divides by the batch's weight, micro-batches
    are summed, and FSDP's average over data-parallel ranks is undone by `dp_size`. Neither the split into micro-batches
    nor the number of workers changes the gradient. RuntimeError where the rows of a group were torn apart.
    """
    size = len(objective.roles)
    together(data["group"], data["role"], size)
    mask = data["loss_mask"]
    reference = data["reference"].values() if objective.needs_reference else None
    measured = measure(objective, model_output["log_probs"].values(), mask.values(), mask.offsets(), reference)
    scale = data["weight"][::size].to(measured.losses.dtype) * (data["dp_size"] / data["total_weight"])
    metrics = {
        name: Metric(value=(each * scale).sum().item(), aggregation=AggregationType.SUM)
        for name, each in measured.metrics.items()
    }
    return (measured.losses * scale).sum(), metrics


def together(group: torch.Tensor, role: torch.Tensor, size: int) -> None:
    """RuntimeError unless the rows are whole groups, each in the order of its roles."""
    whole = len(group) % size == 0
    if whole:
        groups, roles = group.view(-1, size), role.view(-1, size)
        whole = bool((groups == groups[:, :1]).all() and (roles == torch.arange(size, device=roles.device)).all())
    if not whole:
        raise RuntimeError(f"sp3f_verl: the rows of a group were torn apart: groups {group.tolist()}.")
