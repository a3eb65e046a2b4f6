"""Tables of rows on disk: parquet and JSON lines, read and written in batches, in the order of their keys.

A file is opened (`sources`), checked against a schema (`validate`), put in order (`order`), and written
whole or not at all (`writer`). What most callers need is here.
"""

from sp3f_verl.data.tables.io import as_batches, read_batches, read_rows, scan
from sp3f_verl.data.tables.sources import open_file

__all__ = ["as_batches", "open_file", "read_batches", "read_rows", "scan"]
