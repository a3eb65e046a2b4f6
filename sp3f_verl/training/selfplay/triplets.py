"""Annotated rows and generated responses become the groups that are trained on. Knows nothing of verl.

y is the annotated response (role `real`), y' the current policy's (`generated`), y0 the initial policy's (`proto`).
Generated responses stay the token ids that were sampled: nothing is decoded and encoded again on the way to the loss.
"""

import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sp3f_verl.data.preference_rows import Answers
from sp3f_verl.training.preference.tokens import Group


@dataclass(frozen=True)
class Annotated:
    """A row of the data: its text, and the token ids of prompt and y."""

    row: Answers
    prompt: np.ndarray
    real: np.ndarray
    cut: bool = False  # y was longer than the room for it


@dataclass(frozen=True)
class Response:
    ids: np.ndarray  # int32, the end-of-sequence token included where it came
    logp: float  # summed, as the rollout server gave it; NaN where it was not asked
    complete: bool  # False: cut at the limit of tokens


@dataclass(frozen=True)
class Triplets:
    """Groups to train on, and where they come from."""

    groups: list[Group]
    rows: list[int]  # of the annotated rows
    iterations: list[int]  # whose policy gave y'
    asked: list[int]  # the iterations whose y' were given, in order
    status: list[str]  # of every row in each of them: ok, or the reason why it is left out
    dropped: Counter[str]


def assemble(
    annotated: Sequence[Annotated],
    generated: dict[int, Sequence[Response]],
    proto: Sequence[Response],
    roles: Sequence[str],
    keep_truncated: bool,
) -> Triplets:
    """One group a row and iteration in `generated` (iteration -> y' of every row), with the responses `roles` name.

    Left out and counted: `truncated` responses unless `keep_truncated`, and groups whose responses are all the same
    (`identical`). With a proto, y' = y is kept: its historical advantage still says something (T-SPIN, section 3).
    """
    triplets = Triplets([], [], [], sorted(generated), [], Counter())
    for iteration, responses in sorted(generated.items()):
        for index, (row, response, first) in enumerate(zip(annotated, responses, proto, strict=True)):
            by_role = {"real": row.real, "generated": response.ids, "proto": first.ids}
            ids = tuple(by_role[role] for role in roles)
            used = [response, first] if "proto" in roles else [response]
            if not keep_truncated and not all(answer.complete for answer in used):
                status = "truncated"
            elif all(np.array_equal(side, ids[0]) for side in ids):
                status = "identical"
            else:
                status = "ok"
                triplets.groups.append(Group(row.prompt, ids))
                triplets.rows.append(index)
                triplets.iterations.append(iteration)
            triplets.status.append(status)
            if status != "ok":
                triplets.dropped[status] += 1
    return triplets


def sampling_seed(seed: int, iteration: int, split: str, row: int) -> int:
    """A seed of its own for every response, the same in every run."""
    return zlib.crc32(f"{seed}:{iteration}:{split}:{row}".encode())


def batches(count: int, size: int, seed: int, iteration: int, done: int) -> Iterator[list[int]]:
    """Batches of `size` groups without end, from the one after the first `done`; each epoch in an order of its own.

    What is left of an epoch after its last whole batch is not trained on in that epoch.
    """
    per_epoch = count // size
    while True:
        epoch, place = divmod(done, per_epoch)
        order = np.random.default_rng([seed, iteration, epoch]).permutation(count)
        yield order[place * size : (place + 1) * size].tolist()
        done += 1
