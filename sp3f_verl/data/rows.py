"""Ids that stay with a row from its source to the last parquet, and one row of RL data whatever layout it came in.

Nothing is joined by position or by text.

Two layouts load as they are:
- verl's own columns (`prompt`, `data_source`, `reward_model.ground_truth`, `extra_info`) plus ours (`id`, `language`,
  `query_en`, `solution_en`, optionally `translated_solution` and `thinking_en`);
- the published SP3F training data (SP3F `construct_dataset.py`): `input` is the prompt, `query` the English question,
  `solution` the English solution, `extra_info.lang` the language, `translated_solution` the own-language solution.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from numbers import Real
from typing import Any

from sp3f_verl.errors import BadInput

# field -> the places in which it may stand, in order of preference; a dotted name is a key of a struct column.
SOURCES: dict[str, tuple[str, ...]] = {
    "prompt": ("prompt", "input"),
    "ground_truth": ("reward_model.ground_truth",),
    "language": ("language", "extra_info.lang", "extra_info.language"),
    "query_en": ("query_en", "query"),
    "solution_en": ("solution_en", "solution"),
    "translated_solution": ("translated_solution",),
    "thinking_en": ("thinking_en",),
    "data_source": ("data_source",),
    "id": ("id",),
}
REQUIRED = ("prompt", "ground_truth", "language")
REFERENCE = ("query_en", "solution_en")  # needed by a judge that sees the privileged reference
_NUMBER_ALONE = re.compile(r"[-−+]?[\d.,'\s]+%?")
TEXTS = ("language", "query_en", "solution_en", "translated_solution", "thinking_en")
_ABSENT = ("", "None")  # the published data writes the text "None" where it has no translation


def row_id(source: str, key: object) -> str:
    """16 hex digits of the SHA-256 of the source's name and of what identifies the row in it.

    `key` is any JSON value: the source's own id where it has one; else the text of the row; its position only in a file
    that is never edited.
    """
    text = json.dumps([source, key], ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def id_of(value: Any, place: str = "the row") -> str | None:
    """A row's own id as text: a text, or a whole number, 0 too. None where it has none: null, NaN or blank.

    BadInput for a value of another kind, or a text with a NUL, by which keys of several parts are joined.
    """
    if is_nan(value) or value is None:
        return None
    if isinstance(value, str):
        if "\0" in value:
            raise BadInput(f"{place} has the id {value!r:.60}, with a NUL in it; take it out.")
        return value if value.strip() else None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or value != value // 1:
        raise BadInput(f"{place} has the id {value!r:.60}; give it a text or a whole number.")
    return str(int(value))


def finite(value: Any) -> bool:
    """Is it a number, and no boolean, that a float can hold? Databases write decimals into parquet."""
    try:
        return isinstance(value, Real | Decimal) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number of more than 308 digits
        return False


def text_of(value: Any, place: str) -> str:
    """A text or a number as text, a whole float without its point: 18, 18.0 and "18" are one answer.

    BadInput where it is missing, blank, not finite, or of another kind. `place` says where it stands.
    """
    if isinstance(value, str) and value.strip():
        return value.strip()
    if finite(value):
        if value == int(value):
            return str(int(value))
        return f"{value.normalize():f}" if isinstance(value, Decimal) else str(value)
    raise BadInput(f"{place} is {value!r:.80}; give it a text or a number, or remove the row.")


def without_nulls(value: Any) -> Any:
    """Without the nulls that parquet puts where another row has a key, at any depth."""
    if isinstance(value, Mapping):
        return {key: without_nulls(entry) for key, entry in value.items() if entry is not None}
    return [without_nulls(entry) for entry in value] if isinstance(value, list | tuple) else value


def question_of(value: Any, place: str) -> str:
    """The text of a question. BadInput for one that is missing or blank, and for a number alone: `2 + 2` is asked, 18
    is an answer in the wrong place."""
    text = text_of(value, place)
    if not isinstance(value, str) or _NUMBER_ALONE.fullmatch(text):
        raise BadInput(f"{place} is {text:.40}, a number and no question; give the question's text there.")
    return text


def draw_rank(seed: int, key: str) -> str:
    """What to sort by for a seeded shuffle that is the same in whatever order the keys come."""
    return hashlib.sha256(json.dumps([seed, key]).encode()).hexdigest()


def lookup(row: Mapping[str, Any], name: str) -> Any:
    """The value at `name` (`a` or `a.b`), or None where a part of the way is missing."""
    value: Any = row
    for part in name.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value


def field(row: Mapping[str, Any], name: str) -> Any:
    """The canonical field `name` of a row of either layout, or None."""
    for source in SOURCES[name]:
        value = lookup(row, source)
        if value is not None and not is_nan(value) and not (isinstance(value, str) and value.strip() in _ABSENT):
            return value
    return None


def is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def prompt_id(prompt: Any) -> str:
    """A stable id for a row that has none: 16 hex digits of the SHA-256 of its prompt."""
    text = json.dumps(prompt, ensure_ascii=False, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def canonical(row: Mapping[str, Any], place: str = "the row") -> dict[str, Any]:
    """The row with verl's columns and ours filled in; text fields that it lacks become "".

    The keys are the same for every row, so rows of different layouts can share a batch. BadInput where a value is of
    another kind than its field: a list as the gold answer can be no answer's equal. `place` says where the row stands.
    """

    def text(name: str, absent: str = "") -> str:
        value = field(row, name)
        return absent if value is None else value if isinstance(value, str) else text_of(value, place_of(name))

    def place_of(name: str) -> str:
        return f"{place}: {' or '.join(map(repr, SOURCES[name]))}"

    prompt, gold, extra = field(row, "prompt"), field(row, "ground_truth"), row.get("extra_info")
    if extra is not None and not isinstance(extra, Mapping):
        raise BadInput(f"{place}: 'extra_info' is {extra!r:.80}; give a mapping, or leave it out.")
    return {
        "prompt": prompt,
        "data_source": text("data_source", "sp3f"),
        "reward_model": {
            "style": "rule",
            "ground_truth": str(None) if gold is None else text_of(gold, place_of("ground_truth")),
        },
        "extra_info": dict(extra or {}),
        "id": id_of(field(row, "id"), place) or prompt_id(prompt),
        **{name: text(name) for name in TEXTS},
    }
