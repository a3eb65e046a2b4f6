"""Rows in the order of their key, in memory that does not grow with the file.

Large files are cut by ranges of the key into parts on disk, which are then sorted one by one.
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sp3f_verl.data.schemas import key
from sp3f_verl.errors import BadInput

PART = 40_000  # rows that are sorted at once
STEP = 8192  # rows that are given at once


def keys_of(batch: pa.RecordBatch | pa.Table, columns: Sequence[str]) -> pa.Array:
    """The key of each row as one text (large_string, so that those of a whole file fit)."""
    parts = [batch.column(name).cast(pa.large_string()) for name in columns]
    joined = pc.binary_join_element_wise(*parts, pa.scalar("\0", pa.large_string())) if len(parts) > 1 else parts[0]
    return joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined


class Keys:
    """The keys of a file as they come: how many, whether they ascend, and whether one comes twice."""

    def __init__(self, columns: Sequence[str]):
        self.columns, self.rows, self.ascending, self._arrays = tuple(columns), 0, True, []

    def add(self, batch: pa.RecordBatch | pa.Table) -> None:
        self.rows += batch.num_rows
        if not self.columns or not batch.num_rows:
            return
        keys = keys_of(batch, self.columns)
        seam = self._arrays and self._arrays[-1][-1].as_py() >= keys[0].as_py()
        self.ascending &= not seam and bool(pc.all(pc.less(keys[:-1], keys[1:]), min_count=0).as_py())
        self._arrays.append(keys)

    def sorted(self) -> pa.Array:
        keys = pa.concat_arrays(self._arrays)
        return keys if self.ascending else keys.take(pc.array_sort_indices(keys))

    def check(self, path: str | Path) -> None:
        """BadInput where a key is empty or stands in two rows."""
        if not self.columns or not self._arrays:
            return
        name, keys = " and ".join(self.columns), self.sorted()
        if keys[0].as_py() == "":
            raise BadInput(f"{path} has a row with an empty {name}; give every row one of its own.")
        if not self.ascending:
            twice = pc.equal(keys[:-1], keys[1:])
            if pc.any(twice).as_py():
                value = keys[pc.index(twice, True).as_py()].as_py().replace("\0", " and ")
                more = pc.sum(twice).as_py()
                raise BadInput(f"{path} has {name} {value!r} in two rows ({more} such); give every row one of its own.")

    def bounds(self, part: int = PART) -> pa.Array:
        """The first keys of the second part, the third, and so on, where the rows are cut into about `part` each."""
        if self.rows <= part:
            return pa.array([], pa.large_string())
        return self.sorted().take(pa.array(np.arange(part, self.rows, part)))


def in_order(
    batches: Iterable[pa.RecordBatch], schema: pa.Schema, keys: Keys, scratch: Path | None = None
) -> Iterator[pa.RecordBatch]:
    """The batches' rows in the order of the schema's key; `keys` has seen them before. Parts go to `scratch`."""
    if keys.ascending:
        yield from batches
        return
    columns = key(schema)
    for part in parts(batches, schema, columns, keys.bounds(), scratch):
        order, part = pc.array_sort_indices(keys_of(part, columns)), part.combine_chunks()
        for at in range(0, len(order), STEP):  # small batches, so that none outlives its part
            yield from part.take(order.slice(at, STEP)).combine_chunks().to_batches()


def parts(
    batches: Iterable[pa.RecordBatch], schema: pa.Schema, columns: Sequence[str], bounds: pa.Array, scratch: Path | None
) -> Iterator[pa.Table]:
    """The rows below the first bound, then those from it to the second, and so on; each in the order they came."""
    if not len(bounds):
        yield pa.Table.from_batches(batches, schema)
        return
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        files = [Path(folder) / str(number) for number in range(len(bounds) + 1)]
        with ExitStack() as stack:
            writers = [stack.enter_context(pa.ipc.new_stream(str(file), schema)) for file in files]
            for batch in batches:
                keys = keys_of(batch, columns)
                part = sum((pc.greater_equal(keys, bound).to_numpy(False).astype(np.int32) for bound in bounds), 0)
                order = np.argsort(part, kind="stable")
                ends = np.searchsorted(part[order], np.arange(len(files) + 1))
                batch = batch.take(pa.array(order))
                for number in range(len(files)):
                    if ends[number] < ends[number + 1]:
                        writers[number].write_batch(batch.slice(ends[number], ends[number + 1] - ends[number]))
        for file in files:
            with pa.ipc.open_stream(pa.OSFile(str(file))) as reader:
                yield reader.read_all()
            file.unlink()
