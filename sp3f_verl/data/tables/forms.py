"""What form a file of rows has, by its first bytes, gzip and the like aside: parquet, JSON lines, an array, or text."""

import bz2
import codecs
import gzip
import io
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from sp3f_verl.data.files import check_file
from sp3f_verl.errors import BadInput

PARQUET, LINES, ARRAY, TEXT = "parquet", "JSON lines", "a JSON array", "text"
JSON_ENDS = (".jsonl", ".json", ".ndjson")
_PACKED: dict[bytes, tuple[str, Callable[[Path], BinaryIO]]] = {  # first bytes -> (name, how it is opened)
    b"\x1f\x8b": ("gzip", lambda path: gzip.GzipFile(path)),
    b"BZh": ("bzip2", lambda path: bz2.BZ2File(path)),
    b"\xfd7zXZ\0": ("xz", lambda path: lzma.LZMAFile(path)),  # noqa: SIM115
    b"\x28\xb5\x2f\xfd": ("zstd", lambda path: io.BufferedReader(pa.input_stream(str(path), compression="zstd"))),
}
_PACKED_ENDS = (".gz", ".zst", ".zstd", ".bz2", ".xz")
_TAR = slice(257, 262)  # where its mark stands
_OTHERS = {
    b"PK\x03\x04": "a zip archive; unpack it",
    b"ARROW1": "an Arrow file; write it as parquet",
    b"\xff\xff\xff\xff": "an Arrow stream; write it as parquet",
    b"Obj\x01": "an Avro file; write it as parquet",
    b"version https://git-lfs": "a pointer of Git LFS, not the file; fetch it (`git lfs pull`)",
    b"<!doctype html": "a web page; download the file itself",
    b"<html": "a web page; download the file itself",
}


def open_bytes(path: Path) -> BinaryIO:
    """The file's bytes, unpacked where it is gzip, zstd, bzip2 or xz."""
    with open(path, "rb") as file:
        head = file.read(8)
    opener = next((opener for mark, (_, opener) in _PACKED.items() if head.startswith(mark)), None)
    return open(path, "rb") if opener is None else opener(path)


def form_of(path: Path | str) -> str:
    """PARQUET, LINES, ARRAY or TEXT. BadInput, one sentence, for no file, an empty one, or one of another form."""
    check_file(path, "parquet or JSON-lines file")
    place = Path(path).expanduser()
    with open(place, "rb") as file:
        raw = file.read(64)
    packed = next((name for mark, (name, _) in _PACKED.items() if raw.startswith(mark)), None)
    try:
        with open_bytes(place) as file:
            head = file.read(1024)
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise damaged(path, packed, error) from None
    if not head:
        raise BadInput(f"{path} is empty; give a file with at least one row.")
    if packed and head.startswith(b"PAR1"):
        raise BadInput(f"{path} is parquet within {packed}; unpack it.")
    text = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if other := next((form for mark, form in _OTHERS.items() if text.lower().startswith(mark.lower())), None):
        raise BadInput(f"{path} is {other}.")
    if head[_TAR].startswith(b"ustar"):
        raise BadInput(f"{path} is a tar archive; unpack it.")
    if head.startswith(b"PAR1") or place.suffix == ".parquet":
        return PARQUET
    if b"\0" in head and not head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise BadInput(f"{path} has NUL bytes, as UTF-16 without a mark and binary files have; save it as UTF-8.")
    first = text[:1]
    if first == b"[":
        return ARRAY
    return LINES if first == b"{" or named(place).suffix in JSON_ENDS else TEXT


def named(path: Path) -> Path:
    """The path without the end that says how it is packed."""
    return path.with_suffix("") if path.suffix in _PACKED_ENDS else path


def damaged(path: Path | str, packed: str | None, error: Exception) -> BadInput:
    cause = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return BadInput(f"{path} is {packed} that cannot be unpacked to its end ({cause}); fetch it again.")
