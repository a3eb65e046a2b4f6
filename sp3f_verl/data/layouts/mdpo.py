"""The preference architectures' JSON: one list of {chosen, rejected}, each a conversation with the user's turn."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sp3f_verl.data.layouts.pairs import Drop, preferences, turn
from sp3f_verl.data.tables.jsonl import text_lines
from sp3f_verl.errors import BadInput


def rows(path: Path | str, language: str, drop: Drop) -> Iterator[dict[str, Any]]:
    """Pairs of schemas.PREFERENCE, all in `language`: the file does not tell it. BadInput where it is no such list."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise BadInput(f"{path} does not exist; give the path of a JSON file.")
    try:
        found = json.loads("".join(line for _, line in text_lines(file)))
    except json.JSONDecodeError as error:
        raise BadInput(f"{path}, line {error.lineno} is not JSON ({error.msg}); mend the file.") from None
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise BadInput(f"{path} is not a JSON list of objects; give [{{chosen, rejected}}, ...].")
    for number, each in enumerate(found):
        for name in ("chosen", "rejected"):
            if name not in each:
                raise BadInput(f"{path}, object {number} has no {name!r}; give every pair both sides.")
    yield from preferences(found, "mdpo", language, drop)


def row(pair: Mapping[str, Any]) -> dict[str, Any]:
    return {name: [*pair["prompt"], *turn(pair[name])] for name in ("chosen", "rejected")}


def text(pairs: Iterable[Mapping[str, Any]]) -> str:
    """The whole file of pairs of schemas.PREFERENCE."""
    return json.dumps([row(pair) for pair in pairs], ensure_ascii=False, indent=1) + "\n"
