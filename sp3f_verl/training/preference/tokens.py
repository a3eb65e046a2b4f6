"""Groups of token sequences that answer one prompt; batches of them for verl's engine, and back from its log-probs."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from sp3f_verl.data.preference_rows import Answers
from sp3f_verl.log import log
from sp3f_verl.training.conversations import ResponseEncoder, Unmaskable

UNWRITABLE = "chat_template_cannot_write_it"


@dataclass(frozen=True)
class Group:
    """Responses to one prompt, in the order of the objective's roles; token ids as int32 arrays."""

    prompt: np.ndarray
    responses: tuple[np.ndarray, ...]

    @property
    def tokens(self) -> int:
        return sum(len(self.prompt) + len(response) for response in self.responses)


class GroupEncoder:
    """Rows as groups: `ResponseEncoder` with arrays in place of lists. `data`: the run's settings of that name."""

    def __init__(self, tokenizer, data: Mapping | None = None):
        self._encode = ResponseEncoder(tokenizer, data)

    def __call__(self, row: Answers) -> Group:
        prompt_ids, response_ids = self._encode(row.prompt, row.responses, row.tools, row.template)
        return Group(_array(prompt_ids), tuple(map(_array, response_ids)))


def encoded_rows(
    tokenizer, rows: Iterable[Answers], max_length: int, counts: Counter[str], data: Mapping | None = None
) -> Iterator[tuple[Answers, Group]]:
    """Rows with their groups, responses uncut. Left out and counted: what the chat template cannot write (the first
    such row is logged), and prompts that leave no room for a response."""
    encode = GroupEncoder(tokenizer, data)
    for row in rows:
        try:
            group = encode(row)
        except Unmaskable as error:
            if not counts[UNWRITABLE]:
                log.warning(f"a row is left out, as are others like it: {error}")
            counts[UNWRITABLE] += 1
            continue
        if not len(group.prompt):  # a first token that nothing predicts, or the row before in a pack
            counts["prompt_without_a_token"] += 1
        elif len(group.prompt) >= max_length:
            counts["prompt_too_long"] += 1
        else:
            yield row, group


def _array(ids: list[int]) -> np.ndarray:
    return np.asarray(ids, dtype=np.int32)


def encode_all(
    tokenizer, rows: Iterable[Answers], max_length: int, data: Mapping | None = None
) -> tuple[list[Group], Counter[str]]:
    """The groups of at most `max_length` tokens a sequence, and what was left out or cut.

    A response is cut at its end; a prompt that leaves no room for a response, or sides that are the same once cut, are
    left out.
    """
    groups, counts = [], Counter()
    for _, group in encoded_rows(tokenizer, rows, max_length, counts, data):
        room = max_length - len(group.prompt)
        cut = Group(group.prompt, tuple(response[:room] for response in group.responses))
        if all(np.array_equal(response, cut.responses[0]) for response in cut.responses):
            counts["sides_identical"] += 1
            continue
        counts["response_cut"] += sum(len(response) > room for response in group.responses)
        groups.append(cut)
    return groups, +counts


def digest(groups: Sequence[Group]) -> str:
    """SHA-256 over all token ids and their boundaries."""
    state = hashlib.sha256()
    for group in groups:
        for part in (group.prompt, *group.responses):
            state.update(len(part).to_bytes(4, "little") + part.tobytes())
    return state.hexdigest()


def batch_of(
    groups: Sequence[Group], indices: Sequence[int], weights: Sequence[float], references: Sequence | None = None
) -> dict[str, torch.Tensor]:
    """Rows of the groups at `indices`, the responses of a group one after the other.

    Nested (rows, *): input_ids, position_ids, loss_mask (1 on response tokens) and, with `references` (one tuple of
    per-token arrays a group), reference: 0 but for position t - 1 of response token t, as verl aligns log-probs.
    (rows,): group, role, weight (0 for a group that only fills up the batch).
    """
    fields: dict[str, list[torch.Tensor]] = {name: [] for name in ("input_ids", "position_ids", "loss_mask")}
    places = []
    for index, weight in zip(indices, weights, strict=True):
        group = groups[index]
        for role, response in enumerate(group.responses):
            ids = torch.from_numpy(np.concatenate([group.prompt, response]).astype(np.int64))
            mask = torch.zeros_like(ids)
            mask[len(group.prompt) :] = 1
            fields["input_ids"].append(ids)
            fields["position_ids"].append(torch.arange(len(ids)))
            fields["loss_mask"].append(mask)
            if references is not None:
                reference = torch.zeros(len(ids))
                reference[len(group.prompt) - 1 : -1] = torch.from_numpy(np.array(references[index][role]))
                fields.setdefault("reference", []).append(reference)
            places.append((index, role, weight))
    batch = {name: torch.nested.as_nested_tensor(rows, layout=torch.jagged) for name, rows in fields.items()}
    index, role, weight = zip(*places, strict=True)
    return {**batch, "group": torch.tensor(index), "role": torch.tensor(role), "weight": torch.tensor(weight)}


def filled_up(indices: Sequence[int], multiple: int) -> tuple[list[int], list[float]]:
    """(indices, weights) with the first group repeated at weight 0 until `multiple` divides their number."""
    missing = -len(indices) % multiple
    return [*indices, *[indices[0]] * missing], [1.0] * len(indices) + [0.0] * missing


def total_weight(weight: torch.Tensor, size: int) -> float:
    """The weight of all groups of a batch, from one weight a row; `size` rows make a group."""
    return weight[::size].sum().item()


def response_logps(rows: Mapping[str, torch.Tensor], log_probs: torch.Tensor) -> dict[tuple[int, int], np.ndarray]:
    """(group, role) -> log-probs of its response tokens, from packed log-probs (tokens,) of a batch's whole rows."""
    by_response, mask = {}, rows["loss_mask"]
    offsets = mask.offsets().tolist()
    shifted = mask.values().roll(-1).bool()  # log-probs stand one position before their token
    for row, (group, role) in enumerate(zip(rows["group"].tolist(), rows["role"].tolist(), strict=True)):
        part = slice(offsets[row], offsets[row + 1])
        by_response[group, role] = log_probs[part][shifted[part]].numpy()
    return by_response
