"""SPIN's rows: `real` and `generated`, each the whole conversation. They carry no id and no language."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from sp3f_verl.data.layouts.form import Drop, Form, Row, preferences, turn
from sp3f_verl.data.preference_rows import open_rows
from sp3f_verl.data.schemas import MESSAGES, PREFERENCE, TRIPLET

SCHEMA = pa.schema([pa.field(name, MESSAGES, nullable=False) for name in ("real", "generated")])

# split -> SPIN's own name of its file; the validation split is called test there
FILES = {"train": "train_prefs-00000-of-00001", "validation": "test_prefs-00000-of-00001"}


def read(path: Path, language: str, drop: Drop) -> Iterator[dict[str, Any]]:
    """Pairs of schemas.PREFERENCE, all in `language`."""
    _, rows = open_rows(path)
    yield from preferences(
        rows({"id", "prompt", "real", "generated"}), "spin", language, drop, names=("real", "generated")
    )


def row(pair: Row) -> dict[str, Any]:
    """A pair of schemas.PREFERENCE, or a triplet of schemas.TRIPLET, as SPIN reads it."""
    real, generated = pair.get("real") or pair.get("chosen"), pair.get("generated") or pair.get("rejected")
    return {
        "real": [*pair["prompt"], *turn(real)],
        "generated": [*pair["prompt"], *turn(generated)],
    }


FORMS = (
    Form(PREFERENCE, ("real", "generated"), read, needs_language=True, row=row, theirs=SCHEMA),
    Form(TRIPLET, row=row, theirs=SCHEMA),
)
