"""SPIN's rows: `real` and `generated`, each the whole conversation. They carry no id and no language."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from sp3f_verl.data.layouts.form import Drop, Form, Row, placed, preferences, turn
from sp3f_verl.data.schemas import MESSAGES, PREFERENCE, TEXT, make_schema

SCHEMA = pa.schema([pa.field(name, MESSAGES, nullable=False) for name in ("real", "generated")])

# A triplet of which SPIN can be trained: the side that was generated is there.
TRIPLET = make_schema("id", {"id": TEXT, "prompt": MESSAGES, "real": TEXT, "generated": TEXT}, {"proto": TEXT})

# split -> SPIN's own name of its file; the validation split is called test there
FILES = {"train": "train_prefs-00000-of-00001", "validation": "test_prefs-00000-of-00001"}


def read(path: Path, language: str, drop: Drop) -> Iterator[dict[str, Any]]:
    """Pairs of schemas.PREFERENCE, all in `language`."""
    rows = placed(path, {"id", "prompt", "real", "generated", "tools"})
    yield from preferences(rows, "spin", language, drop, names=("real", "generated"))


def row(pair: Row) -> dict[str, Any]:
    """A pair of schemas.PREFERENCE, or a triplet of TRIPLET, as SPIN reads it."""
    sides = ("real", "generated") if "real" in pair else ("chosen", "rejected")
    return {name: [*pair["prompt"], *turn(pair[side])] for name, side in zip(("real", "generated"), sides, strict=True)}


FORMS = (
    Form(PREFERENCE, ("real", "generated"), read, needs_language=True, row=row, theirs=SCHEMA),
    Form(TRIPLET, row=row, theirs=SCHEMA),
)
