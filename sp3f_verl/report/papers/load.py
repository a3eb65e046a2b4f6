"""The numbers that the papers published: <name>.yaml of this folder, read and checked. docs/results/README.md."""

from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import yaml

from sp3f_verl.errors import BadInput, nearest

NAMES = ("sp3f", "croco", "tspin", "mdpo")
KINDS = ("evaluate", "harness", "arena", "arena_change", "translation", "counts")
SOURCES = {
    "P": "the paper's text",
    "R": "the authors' README",
    "C": "the authors' code or files",
    "F": "read off a figure, so about",
    "2": "somebody else: a replication, or a mirror of a leaderboard",
    "I": "worked out from other numbers",
}


@dataclass(frozen=True)
class Row:
    """`values`: one a column of its table, None where the paper has none."""

    name: str
    values: tuple[float | None, ...]
    baseline: str = ""
    note: str = ""


@dataclass(frozen=True)
class PaperTable:
    id: str
    title: str
    kind: str
    unit: str
    source: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    conditions: dict[str, Any] = field(default_factory=dict)
    digits: int = 2  # behind the point, as published
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Paper:
    """`conditions` hold for each table that does not tell others."""

    name: str
    title: str
    cite: str
    models: tuple[str, ...]
    conditions: dict[str, Any]
    notes: tuple[str, ...]
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
    return parsed(yaml.safe_load(text), f"{name}.yaml")


def parsed(told: dict[str, Any], file: str) -> Paper:
    tables = tuple(_table(each, file) for each in told["tables"])
    return Paper(**{**told, "models": tuple(told["models"]), "notes": tuple(told["notes"]), "tables": tables})


def _table(told: dict[str, Any], file: str) -> PaperTable:
    place = f"{file}, table {told.get('id')}"
    for name, known in (("kind", KINDS), ("source", SOURCES)):
        if told.get(name) not in known:
            raise BadInput(f"{place}: {name}={told.get(name)!r} is none of {', '.join(known)}; give one of them.")
    rows = []
    for row in told["rows"]:
        values = tuple(None if value is None else float(value) for value in row["values"])
        if len(values) != len(told["columns"]):
            raise BadInput(
                f"{place}: row {row['name']!r} has {len(values)} values for {len(told['columns'])} columns; give one "
                "for each."
            )
        rows.append(Row(**{**row, "values": values}))
    lists = {name: tuple(told.get(name, ())) for name in ("columns", "notes")}
    return PaperTable(**{**told, **lists, "rows": tuple(rows)})
