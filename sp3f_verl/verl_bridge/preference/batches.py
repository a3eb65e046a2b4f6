"""Which groups go into a batch, in which order, and how verl's packed log-probs come apart again."""

from collections.abc import Sequence

import numpy as np
import torch
from tensordict import TensorDict
from verl.utils.seqlen_balancing import get_seqlen_balanced_partitions


def filled_up(indices: Sequence[int], multiple: int) -> tuple[list[int], list[float]]:
    """(indices, weights) with the first group repeated at weight 0 until `multiple` divides their number."""
    missing = -len(indices) % multiple
    return [*indices, *[indices[0]] * missing], [1.0] * len(indices) + [0.0] * missing


def balanced(tokens: Sequence[int], ranks: int) -> list[int]:
    """An order of the groups in which consecutive `1/ranks` of them have about the same number of tokens."""
    if ranks == 1:
        return list(range(len(tokens)))
    parts = get_seqlen_balanced_partitions(list(tokens), ranks, equal_size=True)
    return [index for part in parts for index in part]


def total_weight(weight: torch.Tensor, size: int) -> float:
    """The weight of all groups of a batch, from one weight a row."""
    return weight[::size].sum().item()


def reference_of(rows: TensorDict, log_probs: torch.Tensor) -> dict[tuple[int, int], np.ndarray]:
    """(group, role) -> log-probs of its response tokens, from packed log-probs (tokens,) of whole rows."""
    found, mask = {}, rows["loss_mask"]
    offsets = mask.offsets().tolist()
    shifted = mask.values().roll(-1).bool()  # log-probs stand one position before their token
    for row, (group, role) in enumerate(zip(rows["group"].tolist(), rows["role"].tolist(), strict=True)):
        part = slice(offsets[row], offsets[row + 1])
        found[group, role] = log_probs[part][shifted[part]].numpy()
    return found
