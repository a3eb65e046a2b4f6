"""Rows, and batches of rows, from parquet and JSON lines and to parquet, a few thousand at a time.

A file is checked before its first row is given: columns, keys and languages, and in JSON lines every line. No step then
spends hours, or money, on a file that turns out to be broken at its end.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from sp3f_verl.data.schemas import LANGUAGES, key
from sp3f_verl.data.tables import validate
from sp3f_verl.data.tables.order import Keys, in_order
from sp3f_verl.data.tables.sources import BATCH, Lines, open_file
from sp3f_verl.data.tables.writer import Written, open_writer
from sp3f_verl.errors import BadInput


def read_rows(
    path: Path | str, needed: pa.Schema | Sequence[str], optional: Sequence[str] = ()
) -> Iterator[dict[str, Any]]:
    """The rows of a parquet or JSON-lines (.jsonl) file as dicts.

    With a schema of `schemas.py`: its columns, in its types; a nullable one that the file lacks is None. With names:
    these columns, which every row must have, and those of `optional` that there are, in the types of the file; where
    `id` is among them it must be unique, and a language known.
    BadInput, one sentence with file and row: missing, truncated or empty file, broken JSON line, other encoding than
    UTF-8, missing column, wrong type, missing value, missing or double id, missing or unknown language.
    """
    if isinstance(needed, pa.Schema):
        return itertools.chain.from_iterable(batch.to_pylist() for batch in read_batches(path, needed))
    return _named(path, tuple(needed), tuple(optional))


def read_batches(
    paths: Path | str | Sequence[Path], schema: pa.Schema, ordered: bool = False, scratch: Path | None = None
) -> Iterator[pa.RecordBatch]:
    """The rows of a file, or of several, as batches of precisely the schema's columns; BadInput as in `read_rows`.

    `ordered` by the schema's key, with parts of large files in the folder `scratch`.
    """
    paths = [paths] if isinstance(paths, Path | str) else list(paths)
    keys = scan(paths, schema)
    batches = itertools.chain.from_iterable(open_file(path).batches(schema) for path in paths)
    return in_order(batches, schema, keys, scratch) if ordered else batches


def scan(paths: Sequence[Path | str], schema: pa.Schema) -> Keys:
    """The keys of the files; BadInput where one comes twice, a language is unknown or a file has no rows."""
    columns = key(schema)
    every = Keys(columns)
    for path in paths:
        file = open_file(path)
        file.require(field.name for field in schema if not field.nullable)
        checked = [field for field in schema if field.name in (*columns, *LANGUAGES)]
        if isinstance(file, Lines):
            checked = list(schema)  # what else is wrong with a line is told before the first row, too
        file_keys = Keys(columns)
        for batch in file.batches(pa.schema(checked)) if checked else ():
            file_keys.add(batch)
            every.add(batch)
        if not file.count:
            raise BadInput(f"{path} has no rows; give a file with at least one.")
        file_keys.check(path)
    if len(paths) > 1:
        every.check(" and ".join(map(str, paths)))
    return every


def _named(path: Path | str, needed: tuple[str, ...], optional: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    file = open_file(path)
    file.require(needed)
    if not file.count:
        raise BadInput(f"{path} has no rows; give a file with at least one.")
    checked, seen = {"id", *LANGUAGES} & {*needed}, {}
    for number, row in file.rows(checked) if checked else ():
        for name in checked - {"id"}:
            validate.check_languages(pa.array([row[name]], pa.string()), lambda _, at=number: file.place(at))
        ident = row.get("id")
        if "id" in checked and (ident is None or ident in seen):
            fault = f"has the id {ident!r} of row or line {seen[ident]}" if ident in seen else "has no id"
            raise BadInput(f"{file.place(number)} {fault}; give every row one of its own.")
        seen[ident] = number
    return _given(file, needed, optional)


def _given(file, needed: tuple[str, ...], optional: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    for number, row in file.rows({*needed, *optional}):
        for name in needed:
            if row[name] is None:
                raise BadInput(f"{file.place(number)} has no {name!r}; give it one or remove the row.")
        yield row


def write_rows(rows: Iterable[dict | pa.RecordBatch | pa.Table], schema: pa.Schema, path: Path) -> Written:
    """Dicts, or batches of columns, as a parquet file of that schema, in the order of its key; whole or not there.

    BadInput where a row does not fit the schema, or a key comes twice.
    """
    with open_writer(path, schema) as writer:
        for batch in as_batches(rows, schema, path.name):
            writer.write(batch)
    return writer.written


def as_batches(
    rows: Iterable[dict | pa.RecordBatch | pa.Table], schema: pa.Schema, name: str
) -> Iterator[pa.RecordBatch | pa.Table]:
    """Dicts gathered into batches of the schema; batches as they are. `name` begins the sentence of a bad row."""
    left, start = iter(rows), 0
    for first in left:
        if not isinstance(first, dict):
            yield first
            continue
        chunk = [first, *itertools.islice(left, BATCH - 1)]
        yield validate.from_rows(chunk, schema, lambda index, at=start: f"{name}, row {at + index}", strict=True)
        start += len(chunk)
