"""Turns as a column of schemas.MESSAGES has them, a role and a text: what else a turn says would be lost unseen."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from sp3f_verl.data.preference_rows import WITH_A_MEANING, Unusable, as_turns, content_of
from sp3f_verl.data.rows import without_nulls
from sp3f_verl.data.schemas import MESSAGES
from sp3f_verl.data.tables import open_file
from sp3f_verl.errors import BadInput

_EMPTY = ("", "[]", "{}", "null")  # JSON text of no tools


def turns_of(messages: Any, tools: Any = None) -> list[dict[str, str]]:
    """The turns, each with its role and content alone. Unusable, with the reason, where one is no turn of text or has a
    key with a meaning (the call of a tool, thoughts), and where the row has tools."""
    messages = as_turns(messages)
    if not isinstance(messages, list | tuple) or not messages:
        raise Unusable("no_turns")
    messages = [
        {**turn, "content": content_of(turn.get("content"))} if isinstance(turn, Mapping) else turn for turn in messages
    ]
    for turn in messages:
        if not isinstance(turn, Mapping):
            raise Unusable("a_turn_that_is_no_mapping")
        for key in WITH_A_MEANING:
            if without_nulls(turn.get(key)):
                raise Unusable(f"{key}_in_a_turn")
        for key, reason in (("role", "a_turn_without_role"), ("content", "a_turn_without_text")):
            if not isinstance(turn.get(key), str):
                raise Unusable(reason)
    if tools if not isinstance(tools, str) else tools.strip() not in _EMPTY:
        raise Unusable("tools")
    return [{"role": turn["role"], "content": turn["content"]} for turn in messages]


def check_turns(path: Path, schema: pa.Schema) -> None:
    """BadInput where a file has a turn that `turns_of` cannot take: the schema's columns would lose a part."""
    file, columns = open_file(path), [field.name for field in schema if field.type.equals(MESSAGES)]
    for number, row in file.rows((*columns, "tools")):
        for name in [name for name in columns if row.get(name)]:
            try:
                turns_of(row[name], row.get("tools"))
            except Unusable as reason:
                told = str(reason).replace("_", " ")
                raise BadInput(f"{file.place(number)}: {name!r} has {told}; remove the row.") from None
