"""Does a batch fit its schema? Columns, types, values that must be there, languages; every answer is one sentence."""

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sp3f_verl import languages
from sp3f_verl.data.rows import finite, id_of, is_nan, text_of
from sp3f_verl.data.schemas import ANSWERS, FILLED, IDS, LANGUAGES, MESSAGES, TEXT
from sp3f_verl.errors import BadInput, nearest

Place = Callable[[int], str]  # the number of a row in the batch -> where it stands, as a sentence's beginning


def cast(array: pa.Array | pa.ChunkedArray, field: pa.Field, where: str) -> pa.Array | pa.ChunkedArray:
    """The column in the schema's type. Only the width may differ: text that holds a number stays an error."""
    if array.type.equals(field.type):
        return array
    kinds = _kind(array.type), _kind(field.type)
    is_id = field.name in IDS and kinds[1] == "text"
    if is_id and kinds[0] == "number":  # as pandas writes whole numbers where one is missing
        with contextlib.suppress(pa.ArrowException):  # 1.5
            whole = pc.if_else(pc.is_nan(array), None, array) if pa.types.is_floating(array.type) else array
            array, kinds = whole.cast(pa.int64()), ("whole", "text")
    if field.name in ANSWERS and kinds[0] in ("whole", "number"):
        return pa.array([text_of(value, where) if finite(value) else None for value in array.to_pylist()], field.type)
    if kinds[0] in ("null", kinds[1]) or kinds == ("whole", "number") or (is_id and kinds[0] == "whole"):
        try:
            return array.cast(field.type)
        except pa.ArrowException:
            pass
    raise BadInput(f"{where}: column {field.name!r} holds {array.type}, not {field.type}; write it in that type.")


def plain(array: pa.Array) -> pa.Array:
    """A column of ids or texts in the types that other programs give them: UUIDs (DuckDB), and bytes that are UTF-8
    (Hive, Impala). Others as they are."""
    if isinstance(array.type, pa.UuidType):
        return pa.array([None if ident is None else str(ident) for ident in array.to_pylist()], pa.string())
    if isinstance(array.type, pa.BaseExtensionType):
        array = array.storage
    if pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type):
        with contextlib.suppress(pa.ArrowException):  # not UTF-8: no text
            return array.cast(pa.string() if pa.types.is_binary(array.type) else pa.large_string())
    return array


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_dictionary(kind):
        return _kind(kind.value_type)
    tests = {
        "text": lambda kind: (
            pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
        ),
        "whole": lambda kind: pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale == 0),
        "number": lambda kind: pa.types.is_floating(kind) or pa.types.is_decimal(kind),
        "list": lambda kind: pa.types.is_list(kind) or pa.types.is_large_list(kind),
        "struct": pa.types.is_struct,
    }
    return next((name for name, test in tests.items() if test(kind)), str(kind))


def from_rows(rows: Sequence[dict[str, Any]], schema: pa.Schema, place: Place, strict: bool = False) -> pa.RecordBatch:
    """The rows as a batch; keys that a row lacks are null. `strict` refuses keys that the schema lacks."""
    names = set(schema.names)
    for number, row in enumerate(rows if strict else ()):
        if not row.keys() <= names:
            name = next(column for column in row if column not in names)
            raise BadInput(f"{place(number)}: the schema has no column {name!r}{nearest(name, names)}; remove it.")
    columns = []
    for field in schema:
        values = [row.get(field.name) for row in rows]
        if field.name in IDS and not strict:
            values = [id_of(value, place(number)) for number, value in enumerate(values)]
        elif field.type == TEXT:  # NaN: pandas writes it where a text is missing
            values = [None if is_nan(value) else value for value in values]
            if field.name in ANSWERS and not strict:
                values = [text_of(value, field.name) if finite(value) else value for value in values]
        elif pa.types.is_floating(field.type):
            values = [float(value) if isinstance(value, Decimal) else value for value in values]
        try:
            columns.append(pa.array(values, field.type))
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            number = next(number for number, value in enumerate(values) if not _fits(value, field.type))
            shown = repr(values[number])
            shown = shown if len(shown) <= 60 else shown[:57] + "..."
            raise BadInput(f"{place(number)}: {field.name!r} is {shown}, not {field.type}; mend it.") from None
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _fits(value: Any, kind: pa.DataType) -> bool:
    try:
        pa.array([value], kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return False
    return True


def check_values(batch: pa.RecordBatch, schema: pa.Schema, place: Place) -> Counter[str]:
    """BadInput where a value is missing or a language unknown; rows per language of the schema's first such column."""
    for field in schema:
        column = batch.column(field.name)
        if not field.nullable and column.null_count:
            number = pc.index(pc.is_null(column), True).as_py()
            raise BadInput(f"{place(number)} has no {field.name!r}; give it one or remove the row.")
        if not field.nullable and field.name in FILLED:
            for blank in (pc.equal(pc.binary_length(column), 0), pc.utf8_is_space(column)):
                if (number := pc.index(blank, True).as_py()) >= 0:
                    raise BadInput(f"{place(number)} has a blank {field.name!r}; give it one or remove the row.")
        if field.type.equals(MESSAGES):
            _check_turns(column, field.name, place)
    first_counts: Counter[str] | None = None
    for name in LANGUAGES:
        if name in batch.schema.names:
            counts = check_languages(batch.column(name), place, needed=not schema.field(name).nullable)
            first_counts = counts if first_counts is None else first_counts
    return first_counts or Counter()


def _check_turns(column: pa.ListArray, name: str, place: Place) -> None:
    for part, texts in zip(("role", "content"), column.flatten().flatten(), strict=True):
        if texts.null_count:
            turn = pc.index(pc.is_null(texts), True).as_py()
            number = pc.list_parent_indices(column)[turn].as_py()
            raise BadInput(f"{place(number)}: a turn of {name!r} has no {part!r}; give it one or remove the row.")


def check_languages(column: pa.Array, place: Place, needed: bool = True) -> Counter[str]:
    """Rows per language. BadInput for one that no table knows and, where `needed`, for a row that has none."""
    counts: Counter[str] = Counter()
    for entry in pc.value_counts(column):
        code = entry["values"].as_py()
        if code is None and not needed:
            continue
        if code in (None, ""):
            raise BadInput(f"{place(_first(column, code))} has no language; give it an ISO 639-1 code.")
        if code not in languages.codes():
            languages.get(code, place(_first(column, code)))
        counts[code] = entry["counts"].as_py()
    return counts


def _first(column: pa.Array, value: str | None) -> int:
    return pc.index(pc.is_null(column), True).as_py() if value is None else pc.index(column, value).as_py()
