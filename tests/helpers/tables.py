"""Files of a schema, as data steps write them."""

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from sp3f_verl.data.tables import as_batches
from sp3f_verl.data.tables.writer import Written, open_writer


def write_rows(rows: Iterable[dict | pa.RecordBatch | pa.Table], schema: pa.Schema, path: Path) -> Written:
    """Dicts, or batches of columns, as a parquet file of that schema, in the order of its key; whole or not there.

    BadInput where a row does not fit the schema, or a key comes twice.
    """
    with open_writer(path, schema) as writer:
        for batch in as_batches(rows, schema, path.name):
            writer.write(batch)
    return writer.written
