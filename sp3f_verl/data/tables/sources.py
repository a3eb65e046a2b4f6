"""A file of rows, parquet, JSON lines or a JSON array: its columns, and its rows as dicts or as batches of a schema.

Whatever is wrong with the file is one sentence (`BadInput`) that names the row or line.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sp3f_verl.data.tables import validate
from sp3f_verl.data.tables.forms import ARRAY, PARQUET, TEXT, form_of, named
from sp3f_verl.data.tables.jsonl import by_columns, json_array, json_lines, way_to
from sp3f_verl.errors import BadInput, nearest

BATCH = 8192  # rows


def open_file(path: str | Path) -> "Parquet | Lines":
    """Parquet, JSON lines or a JSON array, by the first bytes. BadInput where it is none of them, or empty."""
    form = form_of(path)
    if form == TEXT:
        kind = " but a table of text" if named(Path(path)).suffix in (".csv", ".tsv") else ""
        way = "pandas.read_csv(FILE).to_json(OUT, orient='records', lines=True)"
        raise BadInput(
            f"{path} is not a parquet file, and no JSON lines either{kind}; write it as one of them, say by {way}."
        )
    return Parquet(path) if form == PARQUET else Lines(path)


class _File:
    columns: list[str]

    def __init__(self, path: str | Path):
        self.path, self.file_path = path, Path(path).expanduser()
        self.form = form_of(path)

    def require(self, names: Iterable[str], mend: str = "add it") -> None:
        for name in names:
            if name not in self.columns:
                raise BadInput(f"{self.path} has no column {name!r}{self.near(name)}; {mend}.")

    def near(self, name: str, *others: str) -> str:
        """For a sentence on a column that is missing: the one that was meant, or where it, or one of `others`, is."""
        return nearest(name, self.columns)


class Parquet(_File):
    def __init__(self, path: str | Path):
        super().__init__(path)
        try:
            self.file = pq.ParquetFile(self.file_path, pre_buffer=False)  # True holds on to every row group read
        except (pa.ArrowException, OSError) as error:
            raise BadInput(f"{path} is not a parquet file ({_told(error)}); write it with data_prep.") from None
        self.columns = self.file.schema_arrow.names
        self.count = self.file.metadata.num_rows

    def rows(self, names: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
        """(number from 0, those of the columns that there are)."""
        number = itertools.count()
        for batch in self._batches([name for name in self.columns if name in set(names)]):
            yield from zip(itertools.islice(number, batch.num_rows), batch.to_pylist(), strict=True)

    def place(self, number: int) -> str:
        return f"{self.path}, row {number}"

    def batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """All rows in the schema's columns and types; nullable columns that the file lacks are null."""
        self.require(field.name for field in schema if not field.nullable)
        start = 0
        for batch in self._batches([name for name in schema.names if name in self.columns]):
            columns = [
                validate.cast(batch.column(field.name), field, str(self.path))
                if field.name in self.columns
                else pa.nulls(batch.num_rows, field.type)
                for field in schema
            ]
            batch = pa.RecordBatch.from_arrays(columns, schema=schema)
            validate.check_values(batch, schema, lambda index, start=start: self.place(start + index))
            yield batch
            start += batch.num_rows

    def _batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        number = 0
        try:
            for batch in self.file.iter_batches(BATCH, columns=columns):
                plain = list(map(validate.plain, batch.columns))
                yield pa.RecordBatch.from_arrays(plain, names=batch.schema.names) if plain else batch
                number += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            raise BadInput(f"{self.path} cannot be read after row {number} ({_told(error)}); write it again.") from None


class Lines(_File):
    """JSON lines, or an array of JSON. The whole file is read first: a broken line is told before all else."""

    def __init__(self, path: str | Path):
        super().__init__(path)
        self.count, columns, self._first = 0, {}, {}
        for _, row in self._numbered():
            columns.update(dict.fromkeys(row))
            self._first = self._first or row
            self.count += 1
        self.columns = list(columns)
        if self.count == 1 and (way := by_columns(self._first)):
            way += ".to_json(OUT, orient='records', lines=True)"
            raise BadInput(f"{path} is one object of columns, not of rows; write one object a line, say by {way}.")

    def near(self, name: str, *others: str) -> str:
        way = next(filter(None, (way_to(each, self._first) for each in (name, *others))), "")
        return f" (its rows stand within others; get them out by jq -c '{way}')" if way else super().near(name)

    def rows(self, names: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
        """(number of the line from 1, those of the columns that there are in any row)."""
        wanted = [name for name in self.columns if name in set(names)]
        for number, row in self._numbered():
            yield number, {name: row.get(name) for name in wanted}

    def place(self, number: int) -> str:
        return f"{self.path}, {'row' if self.form == ARRAY else 'line'} {number}"

    def _numbered(self) -> Iterator[tuple[int, dict[str, Any]]]:
        return (json_array if self.form == ARRAY else json_lines)(self.file_path)

    def batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """As `Parquet.batches`."""
        self.require(field.name for field in schema if not field.nullable)
        numbered = self.rows(schema.names)
        for chunk in iter(lambda: list(itertools.islice(numbered, BATCH)), []):
            numbers, rows = zip(*chunk, strict=True)

            def place(index: int, numbers: tuple[int, ...] = numbers) -> str:
                return self.place(numbers[index])

            batch = validate.from_rows(rows, schema, place)
            validate.check_values(batch, schema, place)
            yield batch


def _told(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
