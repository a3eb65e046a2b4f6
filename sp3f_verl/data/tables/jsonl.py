"""JSON lines, read one at a time, and JSON arrays; what is wrong with a line is told with its number."""

import ast
import codecs
import itertools
import json
import lzma
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from sp3f_verl.characters import whole
from sp3f_verl.data.tables.forms import damaged, open_bytes
from sp3f_verl.errors import BadInput

_HALF = re.compile(r"\\[uU][dD][89a-fA-F]")  # an escape of half a pair; most have their other half
_LOOKED_AT = 100_000  # lines of a file of another form
_MARKS = {codecs.BOM_UTF8: "UTF-8", codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number from 1, line) of a UTF-8 file. BadInput for a line in another encoding, or a mark before the first."""
    number = 0
    with open_bytes(path) as file:
        for number, line in enumerate(_unpacked(file, path), 1):
            for mark, name in _MARKS.items() if number == 1 else ():
                if line.startswith(mark):
                    raise BadInput(f"{path} starts with a byte order mark ({name}); save it as UTF-8 without one.")
            try:
                yield number, line.decode("utf-8")
            except UnicodeDecodeError as error:
                place = f"byte 0x{line[error.start]:02x} at column {error.start + 1}"
                raise BadInput(f"{path}, line {number} is not UTF-8 ({place}); save the file as UTF-8.") from None


def _unpacked(file: BinaryIO, path: Path) -> Iterator[bytes]:
    try:
        yield from file
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise damaged(path, "a file", error) from None


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number from 1, object) of each line that is not blank."""
    for number, line in text_lines(path):
        if line.strip():
            try:
                row = _value(line, f"{path}, line {number}")
            except BadInput:
                if number == 1 and (form := _form(path, line)):
                    raise BadInput(f"{path} is {form}.") from None
                raise
            if not isinstance(row, dict):
                raise BadInput(f"{path}, line {number} is not a JSON object; give one object a line.")
            yield number, row


def _form(path: Path, line: str) -> str:
    """What a file is whose first line is not JSON, and the mend; "" where that is not known."""
    if "\r" in line.strip():
        return "a file whose lines end in CR alone; end them in LF, say by tr '\\r' '\\n'"
    if not line.lstrip().startswith("{"):
        way = "pandas.read_csv(FILE).to_json(OUT, orient='records', lines=True)"
        return f"a table of text and no JSON lines; write it as such, say by {way}" if {",", "\t"} & {*line} else ""
    if line.rstrip().endswith(",") and _reads(json.loads, line.rstrip()[:-1]):
        return "JSON lines with commas between them; take the comma from the end of each, say by sed 's/,$//'"
    if _reads(ast.literal_eval, line.strip()):
        return "Python's text of rows, which is no JSON; write each by json.dumps"
    text = "".join(line for _, line in itertools.islice(text_lines(path), _LOOKED_AT)).strip()
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return ""
    lists = [name for name, part in value.items() if isinstance(part, list)] if end == len(text) else []
    return f"JSON over several lines; write one object a line, say by jq -c '.{f'{lists[0]}[]' if lists else ''}'"


def _reads(read: Callable[[str], Any], text: str) -> bool:
    try:
        return isinstance(read(text), dict)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return False


def by_columns(row: Mapping[str, Any]) -> str:
    """How pandas reads the one object of a file that is a table: column -> values, as a list or by the number of the
    row. "" for one that is a row."""
    values = list(row.values())
    if {*row} == {"columns", "index", "data"}:
        return "pandas.read_json(FILE, orient='split')"
    if len(values) < 2 or not all(values):
        return ""
    if all(isinstance(value, Mapping) for value in values):
        table = all(map(str.isdigit, values[0])) and all({*value} == {*values[0]} for value in values)
        return "pandas.read_json(FILE)" if table else ""
    lists = all(isinstance(value, list) and len(value) == len(values[0]) for value in values)
    turns = lists and all(isinstance(part, Mapping) for value in values for part in value)
    return "pandas.read_json(FILE)" if lists and not turns else ""


def way_to(name: str, value: Any, way: str = "", depth: int = 4) -> str:
    """By which jq takes the objects with the key `name` out of a value that wraps them; "" where none does."""
    if isinstance(value, list):
        return way_to(name, value[0], f"{way or '.'}[]", depth - 1) if value and depth else ""
    if not isinstance(value, Mapping) or not depth:
        return ""
    if name in value:
        return way
    if value and all(map(str.isdigit, value)):  # rows by their numbers
        return way_to(name, next(iter(value.values())), f"{way or '.'}[]", depth - 1)
    ways = (way_to(name, part, f"{way}.{key}", depth - 1) for key, part in value.items() if key.isidentifier())
    return next(filter(None, ways), "")


def json_array(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number from 1, object) of each element of a file that is one JSON array; it is held in memory."""
    text = "".join(line for _, line in text_lines(path))
    try:
        rows = _value(text, str(path))
    except BadInput:
        if several := _several(text):
            raise BadInput(f"{path} is {several}.") from None
        raise
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise BadInput(f"{path}, row {number} is not a JSON object; give an array of objects.")
        yield number, row


def _several(text: str) -> str:
    """What a text is that holds one array behind another, and the mend; "" where it is something else."""
    try:
        first, end = json.JSONDecoder().raw_decode(text.lstrip())
    except (ValueError, RecursionError):
        return ""
    if not text.lstrip()[end:].lstrip().startswith("["):
        return ""
    if all(isinstance(row, dict) for row in first):
        return "several JSON arrays, one behind the other; write one object a line, say by jq -c '.[]'"
    return 'JSON lines of lists, which name no column; write one object a line, as {"question": ..., "answer": ...}'


def _value(text: str, place: str) -> Any:
    try:
        value = json.loads(text)
    except RecursionError:
        raise BadInput(f"{place} is not JSON (it is nested too deeply); mend or remove it.") from None
    except ValueError as error:  # no JSON, or a number of thousands of digits
        cause = error.msg if isinstance(error, json.JSONDecodeError) else "a number in it has too many digits"
        raise BadInput(f"{place} is not JSON ({cause}); mend or remove it.") from None
    return whole(value) if _HALF.search(text) else value
