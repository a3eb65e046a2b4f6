"""The numbers that the papers published: <name>.yaml of this folder, read and checked. docs/results/README.md."""

from importlib.resources import files
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, model_validator

from sp3f_verl.errors import BadInput, nearest
from sp3f_verl.settings import Number, Settings, Text, Whole

NAMES = ("sp3f", "croco", "tspin", "mdpo")
SOURCES = {
    "P": "the paper's text",
    "R": "the authors' README",
    "C": "the authors' code or files",
    "F": "read off a figure, so about",
    "2": "somebody else: a replication, or a mirror of a leaderboard",
    "I": "worked out from other numbers",
}


class Row(Settings):
    """`values`: one a column of its table, None where the paper has none."""

    name: Text
    values: tuple[Number | None, ...]
    baseline: Text = ""
    note: Text = ""


class PaperTable(Settings):
    """`digits`: behind the point, as published. `conditions` hold for it beside, or in place of, its paper's."""

    id: Text
    title: Text
    kind: Literal["evaluate", "harness", "arena", "arena_change", "translation", "counts"]
    unit: Text
    source: Literal["P", "R", "C", "F", "2", "I"]
    columns: tuple[Text, ...]
    rows: tuple[Row, ...]
    conditions: dict[str, Any] = Field(default_factory=dict)
    digits: Annotated[Whole, Field(ge=0)] = 2
    notes: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _a_value_a_column(self) -> Self:
        for row in self.rows:
            if len(row.values) != len(self.columns):
                raise BadInput(
                    f"table {self.id}: row {row.name!r} has {len(row.values)} values for {len(self.columns)} columns; "
                    "give one for each."
                )
        return self


class Paper(Settings):
    """`conditions` hold for each table that has none of its own under the same name."""

    name: Text
    title: Text
    cite: Text
    models: tuple[Text, ...]
    conditions: dict[str, Any]
    notes: tuple[Text, ...]
    tables: tuple[PaperTable, ...]

    def table(self, id: str) -> PaperTable:
        return next(table for table in self.tables if table.id == id)

    def conditions_of(self, table: PaperTable) -> dict[str, Any]:
        models = {} if table.kind == "translation" else {"models": list(self.models)}  # its rows are other models
        return {**models, **self.conditions, **table.conditions}


def load(name: str) -> Paper:
    """BadInput for an unknown name, or a file in which a row has not a value a column."""
    if name not in NAMES:
        raise BadInput(f"--paper={name}{nearest(name, NAMES)} is none of {', '.join(NAMES)}; give one of them.")
    text = files(__package__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    return Paper.read(yaml.safe_load(text), f"{name}.yaml")
