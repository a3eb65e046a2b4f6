"""TRL's layouts: prompt/chosen/rejected for DPO, prompt/completion or messages for SFT."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from sp3f_verl.data.layouts.form import Drop, Form, Row, answers_at, placed, preferences, turn
from sp3f_verl.data.preference_rows import Unusable
from sp3f_verl.data.rows import row_id
from sp3f_verl.data.schemas import MESSAGES, PREFERENCE, SFT
from sp3f_verl.data.tables import open_file

SCHEMA = pa.schema(
    [("id", pa.string()), *((name, MESSAGES) for name in ("prompt", "chosen", "rejected"))], metadata={"key": "id"}
)
CONVERSATIONS = pa.schema([("messages", MESSAGES)])


def read(path: Path, language: str, drop: Drop) -> Iterator[dict[str, Any]]:
    """Pairs of schemas.PREFERENCE, all in `language`."""
    names = {"id", "prompt", "chosen", "rejected", "chosen_score", "rejected_score", "tools"}
    yield from preferences(placed(path, names), "trl", language, drop)


def row(pair: Row) -> dict[str, Any]:
    """A pair of schemas.PREFERENCE as TRL's DPO reads it."""
    return {
        "id": pair["id"],
        "prompt": pair["prompt"],
        "chosen": turn(pair["chosen"]),
        "rejected": turn(pair["rejected"]),
    }


def read_sft(path: Path, language: str, drop: Drop) -> Iterator[dict[str, Any]]:
    """prompt/completion, or messages, as schemas.SFT."""
    name = "completion" if "completion" in open_file(path).columns else "messages"
    for place, line in placed(path, {"id", "prompt", name, "tools", "label"}):
        if name == "completion" and line.get("label") is False:  # KTO's rows: an answer that is not wanted
            drop("label_false")
            continue
        try:
            answers, prompt = answers_at(place, line, (name,))
        except Unusable as reason:
            drop(str(reason))
            continue
        answer = turn(answers.responses[0])
        yield {
            "id": answers.id or row_id("trl", [*answers.prompt, *answer]),
            "messages": [*prompt, *answer],
            "language": language,
        }


def row_sft(conversation: Row) -> dict[str, Any]:
    """A row of schemas.SFT as TRL's SFT reads it."""
    return {"messages": conversation["messages"]}


FORMS = (
    Form(PREFERENCE, ("chosen", "rejected"), read, needs_language=True, row=row, theirs=SCHEMA),
    Form(SFT, ("completion",), read_sft, needs_language=True, row=row_sft, theirs=CONVERSATIONS),
    Form(SFT, ("messages",), read_sft, needs_language=True),
)
