"""SPIN's rows: `real` and `generated`, each the whole conversation. They carry no id and no language."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from sp3f_verl.data.layouts.pairs import Drop, preferences, turn
from sp3f_verl.data.preference_rows import open_rows
from sp3f_verl.data.schemas import MESSAGES

SCHEMA = pa.schema([pa.field(name, MESSAGES, nullable=False) for name in ("real", "generated")])

# split -> SPIN's own name of its file; the validation split is called test there
FILES = {"train": "train_prefs-00000-of-00001", "validation": "test_prefs-00000-of-00001"}


def rows(path: Path | str, language: str, drop: Drop) -> Iterator[dict[str, Any]]:
    """Pairs of schemas.PREFERENCE, all in `language`."""
    given = open_rows(path)[1]({"id", "prompt", "real", "generated"})
    yield from preferences(given, "spin", language, drop, ("real", "generated"))


def row(pair: Mapping[str, Any]) -> dict[str, Any]:
    """A pair of schemas.PREFERENCE, or a triplet of schemas.TRIPLET, as SPIN reads it."""
    real, generated = pair.get("real") or pair.get("chosen"), pair.get("generated") or pair.get("rejected")
    return {"real": [*pair["prompt"], *turn(real)], "generated": [*pair["prompt"], *turn(generated)]}
