"""Preference rows in TRL's layouts, as (prompt messages, chosen text, rejected text). Knows nothing of tokens.

Layouts, per row: `prompt`, `chosen` and `rejected` as strings; or as lists of {role, content} messages; or no prompt,
and conversations that differ in their last turn only; or a prompt beside such conversations. A string prompt is one
user message. Rows that cannot be trained on are left out and counted by reason.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sp3f_verl.errors import BadInput, nearest

SIDES = ("chosen", "rejected")
SCORES = ("chosen_score", "rejected_score")
Message = dict[str, str]


@dataclass(frozen=True)
class Pair:
    prompt: tuple[Message, ...]  # ends with the turn that is answered
    chosen: str
    rejected: str


class Unusable(ValueError):
    """The row is left out; the message is the reason under which it is counted."""


def read_pairs(paths: str | Sequence[str]) -> tuple[list[Pair], Counter[str]]:
    """The usable pairs of parquet files, in order, and how many rows were left out for which reason.

    BadInput where a file is missing, is not parquet, lacks a column, or has no usable row.
    """
    pairs, dropped = [], Counter()
    for path in [paths] if isinstance(paths, str) else paths:
        before = len(pairs)
        for row in _rows(path):
            try:
                pairs.append(pair_of(row))
            except Unusable as reason:
                dropped[str(reason)] += 1
        if len(pairs) == before:
            found = ", ".join(f"{count} {reason}" for reason, count in dropped.items()) or "no rows"
            raise BadInput(f"{path} has no usable pair ({found}); give rows with prompt, chosen and rejected.")
    return pairs, dropped


def pair_of(row: Mapping[str, Any]) -> Pair:
    """The pair in a row of any layout. Unusable with the reason otherwise."""
    for name in SCORES:
        if row.get(name) is not None and not math.isfinite(row[name]):
            raise Unusable("score_not_finite")
    chosen_context, chosen = _side(row["chosen"])
    rejected_context, rejected = _side(row["rejected"])
    if chosen_context != rejected_context:
        raise Unusable("sides_answer_different_prompts")
    prompt = _prompt(row.get("prompt"))
    if chosen_context and prompt and prompt != chosen_context and prompt[-1:] != chosen_context[-1:]:
        raise Unusable("sides_answer_different_prompts")
    prompt = chosen_context or prompt
    if not prompt or prompt[-1]["role"] == "assistant":
        raise Unusable("no_prompt")
    if not chosen.strip() or not rejected.strip():
        raise Unusable("side_empty")
    if chosen == rejected:
        raise Unusable("sides_identical")
    return Pair(prompt, chosen, rejected)


def _prompt(value: Any) -> tuple[Message, ...]:
    if isinstance(value, str):
        return ({"role": "user", "content": value},) if value.strip() else ()
    return _messages(value) if value is not None else ()


def _side(value: Any) -> tuple[tuple[Message, ...], str]:
    """(the turns before it, the response) of a string or of messages that end with the assistant's."""
    if isinstance(value, str):
        return (), value
    if value is None:
        raise Unusable("side_empty")
    messages = _messages(value)
    if not messages:
        raise Unusable("side_empty")
    if messages[-1]["role"] != "assistant":
        raise Unusable("side_does_not_end_with_the_assistant")
    return messages[:-1], messages[-1]["content"]


def _messages(value: Any) -> tuple[Message, ...]:
    try:
        messages = tuple({"role": each["role"], "content": each["content"]} for each in value)
    except (TypeError, KeyError):
        raise Unusable("not_a_string_or_list_of_messages") from None
    if not all(isinstance(each["role"], str) and isinstance(each["content"], str) for each in messages):
        raise Unusable("not_a_string_or_list_of_messages")
    return messages


def _rows(path: str) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = Path(path).expanduser()
    if not file.is_file():
        raise BadInput(f"{path} does not exist; give the path of a parquet file.")
    try:
        table = pq.ParquetFile(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise BadInput(f"{path} is not a parquet file ({error}); write it with data_prep.") from None
    columns = table.schema_arrow.names
    for name in SIDES:
        if name not in columns:
            raise BadInput(f"{path} has no column {name!r}{nearest(name, columns)}; name the two sides of a pair so.")
    for batch in table.iter_batches(columns=[name for name in columns if name in ("prompt", *SIDES, *SCORES)]):
        yield from batch.to_pylist()
