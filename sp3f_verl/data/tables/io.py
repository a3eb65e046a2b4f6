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
from sp3f_verl.data.tables.order import Keys
from sp3f_verl.data.tables.sources import BATCH, Lines, open_file
from sp3f_verl.errors import BadInput


def read_rows(path: Path | str, schema: pa.Schema) -> Iterator[dict[str, Any]]:
    """The rows of a parquet or JSON-lines (.jsonl) file as dicts, of the schema's columns in its types; a nullable one
    that the file lacks is None.

    BadInput, one sentence with file and row: missing, truncated or empty file, broken JSON line, other encoding than
    UTF-8, missing column, wrong type, missing value, missing or double id, missing or unknown language.
    """
    return itertools.chain.from_iterable(batch.to_pylist() for batch in read_batches(path, schema))


def read_batches(paths: Path | str | Sequence[Path], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows of a file, or of several, as batches of precisely the schema's columns; BadInput as in `read_rows`."""
    paths = [paths] if isinstance(paths, Path | str) else list(paths)
    scan(paths, schema)
    return itertools.chain.from_iterable(open_file(path).batches(schema) for path in paths)


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
