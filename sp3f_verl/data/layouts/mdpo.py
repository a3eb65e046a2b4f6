"""The preference architectures' JSON: one list of {chosen, rejected}, each a conversation with the user's turn."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sp3f_verl.data.layouts.form import Drop, Form, Row, placed, preferences, turn
from sp3f_verl.data.schemas import PREFERENCE


def read(path: Path, language: str, drop: Drop) -> Iterator[dict[str, Any]]:
    """Pairs of schemas.PREFERENCE, all in `language`: the file does not tell it."""
    yield from preferences(placed(path), "mdpo", language, drop)


def row(pair: Row) -> dict[str, Any]:
    return {name: [*pair["prompt"], *turn(pair[name])] for name in ("chosen", "rejected")}


FORMS = (Form(PREFERENCE, ("chosen", "rejected"), read, needs_language=True, row=row, theirs="json"),)
