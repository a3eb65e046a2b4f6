"""One parquet file of a schema, written in row groups in the order of its key; whole or not there."""

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sp3f_verl.data import validate
from sp3f_verl.data.schemas import key
from sp3f_verl.data.sort_join import Keys, in_order
from sp3f_verl.data.sources import Parquet
from sp3f_verl.errors import BadInput, nearest

GROUP = 16_384  # rows of a row group, whatever the batches were: the same rows make the same bytes


@dataclass
class Written:
    rows: int = 0
    languages: Counter[str] = field(default_factory=Counter)
    nulls: Counter[str] = field(default_factory=Counter)  # column -> rows without a value


class Writer:
    """`with Writer(path, schema) as writer: writer.write(batch)`. Rows that come out of order are sorted at the end.

    BadInput where a batch does not fit the schema, a language is unknown or a key comes twice; then there is no file.
    """

    def __init__(self, path: Path, schema: pa.Schema, compression: str = "snappy"):
        self._compression = compression
        self.path, self.schema, self.written, self._keys = path, schema, Written(), Keys(key(schema))
        self._partial = path.with_name(path.name + ".partial")

    def __enter__(self) -> "Writer":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = _Groups(self._partial, self.schema, self._compression)
        return self

    def write(self, batch: pa.RecordBatch | pa.Table) -> None:
        for each in [batch] if isinstance(batch, pa.RecordBatch) else batch.combine_chunks().to_batches():
            self._write(each)

    def _write(self, batch: pa.RecordBatch) -> None:
        names = batch.schema.names
        for name in {*self.schema.names} ^ {*names}:
            known = names if name in self.schema.names else self.schema.names
            told = "lacks the" if name in self.schema.names else "has no"
            raise BadInput(f"{self.path.name}: the {told} column {name!r}{nearest(name, known)}; mend the schema.")
        columns = [validate.cast(batch.column(each.name), each, self.path.name) for each in self.schema]
        batch = pa.RecordBatch.from_arrays(columns, schema=self.schema)
        start = self.written.rows
        found = validate.check_values(batch, self.schema, lambda index: f"{self.path.name}, row {start + index}")
        self.written.languages.update(found)
        self.written.rows += batch.num_rows
        self.written.nulls.update({name: batch.column(name).null_count for name in names})
        self._keys.add(batch)
        self._file.write(batch)

    def __exit__(self, kind, error, trace) -> None:
        self._file.close()
        unsorted = self._partial.with_name(self._partial.name + ".unsorted")
        try:
            if kind is not None:
                return
            self._keys.check(self.path.name)
            if not self._keys.ascending:
                os.replace(self._partial, unsorted)
                ordered = _Groups(self._partial, self.schema, self._compression)
                batches = Parquet(unsorted).batches(self.schema)
                for batch in in_order(batches, self.schema, self._keys, self.path.parent):
                    ordered.write(batch)
                ordered.close()
            os.replace(self._partial, self.path)
        finally:
            self._partial.unlink(missing_ok=True)
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
