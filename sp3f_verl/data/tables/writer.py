"""One parquet file of a schema, written in row groups in the order of its key; whole or not there."""

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sp3f_verl.data.files import atomic_write
from sp3f_verl.data.schemas import key
from sp3f_verl.data.tables import validate
from sp3f_verl.data.tables.order import Keys, in_order
from sp3f_verl.data.tables.sources import Parquet
from sp3f_verl.errors import BadInput, nearest

GROUP = 16_384  # rows of a row group, whatever the batches were: the same rows make the same bytes


@dataclass
class Written:
    rows: int = 0
    languages: Counter[str] = field(default_factory=Counter)
    nulls: Counter[str] = field(default_factory=Counter)  # column -> rows without a value


@contextlib.contextmanager
def open_writer(path: Path, schema: pa.Schema, compression: str = "snappy") -> Iterator["Writer"]:
    """`with open_writer(path, schema) as writer: writer.write(batch)`. Rows out of order are sorted at the end.

    BadInput where a batch does not fit the schema, a language is unknown or a key comes twice; then there is no file.
    """
    with atomic_write(path) as partial:
        writer = Writer(path, schema, partial, compression)
        try:
            yield writer
        finally:
            writer.close()
        writer.sort()


class Writer:
    """Takes the batches of the file `path`, which is `partial` until all of them are written."""

    def __init__(self, path: Path, schema: pa.Schema, partial: Path, compression: str):
        self.path, self.schema, self.written = path, schema, Written()
        self._keys, self._partial, self._compression = Keys(key(schema)), partial, compression
        self._groups = _Groups(partial, schema, compression)

    def write(self, batch: pa.RecordBatch | pa.Table) -> None:
        for part in [batch] if isinstance(batch, pa.RecordBatch) else batch.combine_chunks().to_batches():
            self._write(part)

    def _write(self, batch: pa.RecordBatch) -> None:
        names = batch.schema.names
        for name in {*self.schema.names} ^ {*names}:
            known = names if name in self.schema.names else self.schema.names
            lacks = "lacks the" if name in self.schema.names else "has no"
            raise BadInput(f"{self.path.name} {lacks} column {name!r}{nearest(name, known)}; mend the schema.")
        columns = [validate.cast(batch.column(field.name), field, self.path.name) for field in self.schema]
        batch = pa.RecordBatch.from_arrays(columns, schema=self.schema)
        start = self.written.rows
        counts = validate.check_values(batch, self.schema, lambda index: f"{self.path.name}, row {start + index}")
        self.written.languages.update(counts)
        self.written.rows += batch.num_rows
        self.written.nulls.update({name: batch.column(name).null_count for name in names})
        self._keys.add(batch)
        self._groups.write(batch)

    def close(self) -> None:
        self._groups.close()

    def sort(self) -> None:
        """Puts the rows in the order of their keys, if they are not. BadInput where a key comes twice."""
        self._keys.check(self.path.name)
        if self._keys.ascending:
            return
        unsorted = self._partial.with_name(self._partial.name + ".unsorted")
        os.replace(self._partial, unsorted)
        try:
            groups = _Groups(self._partial, self.schema, self._compression)
            batches = Parquet(unsorted).batches(self.schema)
            for batch in in_order(batches, self.schema, self._keys, self.path.parent):
                groups.write(batch)
            groups.close()
        finally:
            unsorted.unlink(missing_ok=True)


class _Groups:
    """Batches of any size in, row groups of `GROUP` rows out."""

    def __init__(self, path: Path, schema: pa.Schema, compression: str):
        self._schema, self._waiting, self._rows = schema, [], 0
        self._writer = pq.ParquetWriter(path, schema, compression=compression)
        self._thread, self._running = ThreadPoolExecutor(1), None

    def write(self, batch: pa.RecordBatch) -> None:
        self._waiting.append(batch)
        self._rows += batch.num_rows
        while self._rows >= GROUP:
            table = pa.Table.from_batches(self._waiting, self._schema)
            self._submit(table.slice(0, GROUP))
            self._waiting, self._rows = table.slice(GROUP).to_batches(), self._rows - GROUP

    def close(self) -> None:
        if self._rows:
            self._submit(pa.Table.from_batches(self._waiting, self._schema))
        self._thread.shutdown()
        self._writer.close()
        if self._running is not None:
            self._running.result()

    def _submit(self, table: pa.Table) -> None:
        """Written beside the next group's making, one at a time."""
        if self._running is not None:
            self._running.result()
        self._running = self._thread.submit(self._writer.write_table, table, GROUP)
