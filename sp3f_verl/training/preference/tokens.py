"""Groups of token sequences that answer one prompt, as the loss needs them; and batches for verl's engine."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from sp3f_verl.data.preference_rows import Answers, Message


@dataclass(frozen=True)
class Group:
    """Responses to one prompt, in the order of the objective's roles; token ids as int32 arrays."""

    prompt: np.ndarray
    responses: tuple[np.ndarray, ...]

    @property
    def tokens(self) -> int:
        return sum(len(self.prompt) + len(each) for each in self.responses)


def encode(tokenizer, prompt: Sequence[Message], responses: Sequence[str]) -> Group:
    """Prompt and responses through the tokenizer's own chat template, cut where generation would begin and end.

    A response ends with its last end-of-sequence token: what a template writes after it is never generated. A template
    that writes nothing after the response gets that token appended.
    """
    messages, end = list(prompt), tokenizer.eos_token_id
    prefix = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    prompt_ids = _ids(tokenizer, prefix)
    encoded = []
    for response in responses:
        full = tokenizer.apply_chat_template([*messages, {"role": "assistant", "content": response}], tokenize=False)
        if not full.startswith(prefix):  # a template that writes past turns otherwise than the one to be generated
            full = prefix + response
        ids = _ids(tokenizer, full)
        same = len(ids) > len(prompt_ids) and (ids[: len(prompt_ids)] == prompt_ids).all()
        tail = ids[len(prompt_ids) :] if same else _ids(tokenizer, full[len(prefix) :])
        if (tail == end).any():
            tail = tail[: np.flatnonzero(tail == end)[-1] + 1]
        elif full.endswith(response) or full.endswith(response.strip()):
            tail = np.append(tail, np.int32(end))
        encoded.append(tail)
    return Group(prompt_ids, tuple(encoded))


def _ids(tokenizer, text: str) -> np.ndarray:
    return np.asarray(tokenizer(text, add_special_tokens=False)["input_ids"], dtype=np.int32)


def encode_all(tokenizer, rows: Iterable[Answers], max_length: int) -> tuple[list[Group], Counter[str]]:
    """The groups of at most `max_length` tokens a sequence, and what was left out or cut.

    A response is cut at its end; a prompt that leaves no room for a response, or sides that are the same once cut, are
    left out.
    """
    groups, counts = [], Counter()
    for row in rows:
        group = encode(tokenizer, row.prompt, row.responses)
        room = max_length - len(group.prompt)
        if room < 1:
            counts["prompt_too_long"] += 1
            continue
        cut = Group(group.prompt, tuple(each[:room] for each in group.responses))
        if all(np.array_equal(each, cut.responses[0]) for each in cut.responses):
            counts["sides_identical"] += 1
            continue
        counts["response_cut"] += sum(len(each) > room for each in group.responses)
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
    rows = []
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
            rows.append((index, role, weight))
    batch = {name: torch.nested.as_nested_tensor(each, layout=torch.jagged) for name, each in fields.items()}
    index, role, weight = zip(*rows, strict=True)
    return {**batch, "group": torch.tensor(index), "role": torch.tensor(role), "weight": torch.tensor(weight)}
