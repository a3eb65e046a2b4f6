"""A server's log-probs of a sequence that it was shown, cut back to the response, where the trainer has its logits.

The teacher read c + y, the student x + y. A server answers a row a position, about the token after it (the last one is
a filler); verl's trainer has the logits of x + y in the same way. So the teacher's rows len(c) - 1 ... len(c) + |y| - 2
go to the places len(x) - 1 ... len(x) + |y| - 2, and NaN stands everywhere else: no row.
"""

from collections.abc import Sequence

import torch


class WrongRows(RuntimeError):
    """A server's answer is not about the sequence that it was asked about."""


def empty_rows(prompt: int, response: int, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(ids, log-probs), both (prompt + response, max(k, 1)), of a teacher that said nothing."""
    shape = prompt + response, max(k, 1)
    return torch.zeros(shape, dtype=torch.int32), torch.full(shape, torch.nan)


def response_rows(
    ids: Sequence[Sequence[int]],
    logps: Sequence[Sequence[float]],
    teacher_prompt: int,
    prompt: int,
    response: Sequence[int],
    k: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(ids, log-probs) as `empty_rows` has them, with the rows of the response in place.

    ids, logps: what the server answers, a row for each of the teacher's tokens; k most likely ones, or with k = 0 the
    token itself. teacher_prompt, prompt: lengths of c and x. WrongRows where the answer is of another length, with
    k = 0 about other tokens, or no distribution: rows that are shifted by one would teach the wrong thing unseen.
    """
    length = teacher_prompt + len(response)
    if len(ids) != length or len(logps) != length:
        raise WrongRows(f"{len(logps)} rows of log-probs for {length} tokens")
    own = slice(teacher_prompt - 1, length - 1)
    if k == 0 and [row[0] for row in ids[own]] != list(response):
        raise WrongRows("the rows are about other tokens than those of the response")
    placed_ids, placed = empty_rows(prompt, len(response), k)
    place = slice(prompt - 1, prompt + len(response) - 1)
    placed_ids[place] = torch.tensor(ids[own], dtype=torch.int32).view(len(response), -1)
    placed[place] = torch.tensor(logps[own], dtype=torch.float32).view(len(response), -1)
    if (placed[place].exp().sum(-1) > 1 + 1e-3).any():
        raise WrongRows("a row's probabilities add up to more than 1")
    return placed_ids, placed
