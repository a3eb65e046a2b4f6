"""Which positions of packed rows go through the model, and where the log-probs of response tokens come from."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch


@dataclass(frozen=True)
class Positions:
    kept: torch.Tensor  # (positions,) packed positions that the model computes, in order
    source: torch.Tensor  # (tokens,) which of `kept` predicts the response token
    place: torch.Tensor  # (tokens,) where in the packed rows its log-prob stands: one before the token, as in verl
    lengths: tuple[int, ...]  # response tokens of each row


def positions(
    ids: torch.Tensor, mask: torch.Tensor, offsets: torch.Tensor, group: torch.Tensor, share: bool
) -> Positions:
    """ids, mask (total,): packed rows, each a prompt, then its response (mask 1). offsets (rows + 1,), group (rows,).

    With `share`, a row that has the prompt of the row before it in its group keeps its response only: the prompt is
    computed once. Such a row goes on counting where the prompt ended, which is how `attention.sequences` knows it.
    """
    bounds = offsets.tolist()
    rows = [slice(*pair) for pair in pairwise(bounds)]
    lengths = tuple(torch.stack([mask[row].sum() for row in rows]).tolist())
    prompts = [slice(row.start, row.stop - length) for row, length in zip(rows, lengths, strict=True)]
    groups = group.tolist()
    everything = torch.arange(len(ids), device=ids.device)
    home = everything.clone()  # the position that is computed for this one
    for row in range(1, len(rows)) if share else ():
        before, prompt = prompts[row - 1 : row + 1]
        if groups[row - 1] == groups[row] and torch.equal(ids[before], ids[prompt]):
            home[prompt] = home[before]
    computed = home == everything
    place = mask.roll(-1).nonzero()[:, 0]  # a row's last position is about the next row's first token, a prompt's
    return Positions(computed.nonzero()[:, 0], (computed.cumsum(0) - 1)[home[place]], place, lengths)


class Tie(NamedTuple):
    """What is known of the loss's derivative by a row's log-probs: `scale` times an unknown, one for each index."""

    index: int
    scale: float


def ties(lengths: Sequence[int], tied: str | None) -> list[Tie]:
    """One a row, of `lengths` response tokens. tied: "sums" or "means" where the loss of two rows is a function of the
    difference of their sums or means over tokens (`Objective.tied`); None where each row is on its own."""
    if tied is None:
        return [Tie(row, 1.0) for row in range(len(lengths))]
    scales = [1 / max(length, 1) if tied == "means" else 1.0 for length in lengths]
    return [Tie(row // 2, scale if row % 2 == 0 else -scale) for row, scale in enumerate(scales)]
