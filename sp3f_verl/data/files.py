"""Files that are whole or not there: written beside their place, then renamed.

with atomic_write(folder / "train.npy") as partial, partial.open("wb") as file:
    numpy.save(file, values)
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sp3f_verl.errors import BadInput


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A path beside `path` for any writer to fill: renamed to it at the end, removed where the block raises.

    Its name ends in `.partial`, so tell a writer that goes by the suffix which format you want. There is no fsync: a
    process may be killed at any time, but after a power cut the file may be empty.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def check_file(path: Path | str, kind: str = "file") -> None:
    """BadInput where there is no file to read, with what is there in its place."""
    place = Path(path).expanduser()
    if place.is_dir():
        raise BadInput(f"{path} is a folder; give the path of a {kind}.")
    if not place.exists():
        raise BadInput(f"{path} does not exist; give the path of a {kind}.")
    if not os.access(place, os.R_OK):
        raise BadInput(f"{path} may not be read; change its permissions, or give another {kind}.")


def check_folder(path: Path, option: str = "--output") -> None:
    """BadInput where no folder at `path` can be written into, or be made: told before anything is asked or trained."""
    if path.exists() and not path.is_dir():
        raise BadInput(f"{path} is a file; name a folder as {option}.")
    above = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not above.is_dir():
        raise BadInput(f"{above} is a file, so that {path} cannot be made; name another {option}.")
    if not os.access(above, os.W_OK | os.X_OK):
        raise BadInput(f"{above} may not be written into; change its permissions, or name another {option}.")


def write_text(text: str, path: Path) -> None:
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(value: Any, path: Path) -> None:
    write_text(json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True) + "\n", path)


def write_parquet(rows: Iterable[dict], path: Path) -> None:
    """The rows as one parquet file; the columns are those of the first row."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with atomic_write(path) as partial:
        pq.write_table(pa.Table.from_pylist(list(rows)), partial)


def read_parquet(path: Path | str) -> list[dict]:
    import pyarrow.parquet as pq

    return pq.read_table(path).to_pylist()


def digest(path: Path | str) -> str:
    """SHA-256 of a file, as 64 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
