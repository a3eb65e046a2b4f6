"""The loss of one micro-batch, whatever the micro-batches and workers a batch is cut into. Knows nothing of verl."""

from collections.abc import Mapping
from typing import Any

import torch

from sp3f_verl.losses.objective import Objective, measure


def batch_loss(
    objective: Objective, log_probs: torch.Tensor, data: Mapping[str, Any]
) -> tuple[torch.Tensor, dict[str, float]]:
    """(scalar loss, metrics) of a micro-batch; those of all micro-batches and workers add up to the batch's.

    log_probs (tokens,): packed, of whole rows. data: `batch_of`'s rows, and `total_weight` (of the whole batch) and
    `dp_size` (data-parallel ranks).

    The weighted mean over the groups of the whole batch: every micro-batch divides by the batch's weight, micro-batches
    are summed, and FSDP's average over data-parallel ranks is undone by `dp_size`. Neither the split into micro-batches
    nor the number of workers changes the gradient. RuntimeError where the rows of a group were torn apart.
    """
    size = len(objective.roles)
    together(data["group"], data["role"], size)
    mask = data["loss_mask"]
    reference = data["reference"].values() if objective.needs_reference else None
    measured = measure(objective, log_probs, mask.values(), mask.offsets(), reference)
    scale = data["weight"][::size].to(measured.losses.dtype) * (data["dp_size"] / data["total_weight"])
    metrics = {name: (values * scale).sum().item() for name, values in measured.metrics.items()}
    return (measured.losses * scale).sum(), metrics


def together(group: torch.Tensor, role: torch.Tensor, size: int) -> None:
    """RuntimeError unless the rows are whole groups, each in the order of its roles."""
    whole = len(group) % size == 0
    if whole:
        groups, roles = group.view(-1, size), role.view(-1, size)
        whole = bool((groups == groups[:, :1]).all() and (roles == torch.arange(size, device=roles.device)).all())
    if not whole:
        raise RuntimeError(f"sp3f_verl: the rows of a group were torn apart: groups {group.tolist()}.")
