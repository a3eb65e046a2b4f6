"""JSON lines, read one at a time; what is wrong with a line is told with its number."""

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sp3f_verl.characters import whole
from sp3f_verl.errors import BadInput

_HALF = re.compile(r"\\[uU][dD][89a-fA-F]")  # an escape of half a pair; most have their other half
_MARKS = {codecs.BOM_UTF8: "UTF-8", codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number from 1, line) of a UTF-8 file. BadInput for a line in another encoding, or a mark before the first."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            for mark, name in _MARKS.items() if number == 1 else ():
                if line.startswith(mark):
                    raise BadInput(f"{path} starts with a byte order mark ({name}); save it as UTF-8 without one.")
            try:
                yield number, line.decode("utf-8")
            except UnicodeDecodeError as error:
                place = f"byte 0x{line[error.start]:02x} at column {error.start + 1}"
                raise BadInput(f"{path}, line {number} is not UTF-8 ({place}); save the file as UTF-8.") from None


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number from 1, object) of each line that is not blank."""
    for number, line in text_lines(path):
        if line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:  # ValueError: no JSON, or a number of thousands of digits
                cause = "it is nested too deeply" if isinstance(error, RecursionError) else _cause(error)
                raise BadInput(f"{path}, line {number} is not JSON ({cause}); mend or remove it.") from None
            if not isinstance(row, dict):
                raise BadInput(f"{path}, line {number} is not a JSON object; give one object a line.")
            yield number, whole(row) if _HALF.search(line) else row


def _cause(error: ValueError) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else "a number in it has too many digits"
