"""TRL's layouts: prompt/chosen/rejected for DPO, prompt/completion or messages for SFT."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from sp3f_verl.data.layouts.pairs import Drop, preferences, turn
from sp3f_verl.data.preference_rows import Unusable, answers_of, open_rows
from sp3f_verl.data.rows import row_id
from sp3f_verl.data.schemas import MESSAGES
from sp3f_verl.errors import BadInput

SCHEMA = pa.schema(
    [("id", pa.string()), *((name, MESSAGES) for name in ("prompt", "chosen", "rejected"))], metadata={"key": "id"}
)


def rows(path: Path | str, language: str, drop: Drop) -> Iterator[dict[str, Any]]:
    """Pairs of schemas.PREFERENCE, all in `language`."""
    names = {"id", "prompt", "chosen", "rejected", "chosen_score", "rejected_score"}
    yield from preferences(open_rows(path)[1](names), "trl", language, drop)


def row(pair: Mapping[str, Any]) -> dict[str, Any]:
    """A pair of schemas.PREFERENCE as TRL's DPO reads it."""
    sides = {name: turn(pair[name]) for name in ("chosen", "rejected")}
    return {"id": pair["id"], "prompt": pair["prompt"], **sides}


def sft_rows(path: Path | str, language: str, drop: Drop) -> Iterator[dict[str, Any]]:
    """prompt/completion, or messages, as schemas.SFT. BadInput where the file has neither."""
    columns, given = open_rows(path)
    name = next((name for name in ("completion", "messages") if name in columns), None)
    if name is None:
        raise BadInput(f"{path} has neither 'completion' nor 'messages'; name the answers so.")
    for each in given({"id", "prompt", name}):
        try:
            answers = answers_of({name: each[name], "prompt": each.get("prompt")}, (name,))
        except Unusable as reason:
            drop(str(reason))
            continue
        messages = [*answers.prompt, *turn(answers.responses[0])]
        own = each.get("id")
        own = row_id("trl", messages) if own is None else str(own)
        yield {"id": own, "messages": messages, "language": language}


def sft_row(each: Mapping[str, Any], completion: bool = False) -> dict[str, Any]:
    """A row of schemas.SFT as `messages`, or as prompt and `completion`."""
    if not completion:
        return {"messages": each["messages"]}
    return {"prompt": each["messages"][:-1], "completion": each["messages"][-1:]}
