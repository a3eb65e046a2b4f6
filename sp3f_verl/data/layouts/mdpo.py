"""The preference architectures' JSON: one list of {chosen, rejected}, each a conversation with the user's turn."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sp3f_verl.data.layouts.form import Drop, Form, Row, preferences, turn
from sp3f_verl.data.schemas import PREFERENCE
from sp3f_verl.data.tables.jsonl import text_lines
from sp3f_verl.errors import BadInput


def read(path: Path, language: str, drop: Drop) -> Iterator[dict[str, Any]]:
    """Pairs of schemas.PREFERENCE, all in `language`: the file does not tell it. BadInput where it is no such list."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise BadInput(f"{path} does not exist; give the path of a JSON file.")
    try:
        pairs = json.loads("".join(line for _, line in text_lines(file)))
    except json.JSONDecodeError as error:
        raise BadInput(f"{path}, line {error.lineno} is not JSON ({error.msg}); mend the file.") from None
    if not isinstance(pairs, list) or not all(isinstance(pair, dict) for pair in pairs):
        raise BadInput(f"{path} is not a JSON list of objects; give [{{chosen, rejected}}, ...].")
    for number, pair in enumerate(pairs):
        for name in ("chosen", "rejected"):
            if name not in pair:
                raise BadInput(f"{path}, object {number} has no {name!r}; give every pair both sides.")
    yield from preferences(pairs, "mdpo", language, drop)


def row(pair: Row) -> dict[str, Any]:
    return {name: [*pair["prompt"], *turn(pair[name])] for name in ("chosen", "rejected")}


FORMS = (Form(PREFERENCE, (), read, needs_language=True, row=row, theirs="json"),)
