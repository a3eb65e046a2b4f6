"""Preference rows in TRL's and SPIN's layouts, as (prompt messages, one response a role). Knows nothing of tokens.

The roles are columns: `chosen` and `rejected` (DPO), `real` and `generated` (SPIN), or these and `proto` (T-SPIN); or
`real` alone, for which SFT's `messages` stand in.
Layouts, per row: `prompt` and the roles as strings; or as lists of {role, content} messages; or no prompt, and
conversations that differ in their last turn only; or a prompt beside such conversations, of which one then ends with
the other. A string prompt is one user message. Further keys of the prompt's messages, and the columns `tools` and
`chat_template_kwargs`, are for the chat template. Rows that cannot be trained on are left out and counted by reason.
Files are parquet or JSON lines.
"""

import ast
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sp3f_verl.characters import whole
from sp3f_verl.data.rows import finite, id_of, without_nulls
from sp3f_verl.data.tables import open_file
from sp3f_verl.errors import BadInput, nearest

Message = dict[str, Any]  # role, content, and what a chat template may read beside them
# of a side's answer, these would be lost: only its content is trained on
THOUGHTS = ("reasoning_content", "reasoning", "thinking")
WITH_A_MEANING = ("tool_calls", "function_call", *THOUGHTS)
# By which a step of ours (llm.ask.Status, generate) or a self-play run (triplets) says that it left the row out.
# Published sets have a column of this name with a meaning of its own.
LEFT_OUT = ("error", "truncated", "refused", "off_language", "duplicate", "identical")


@dataclass(frozen=True)
class Answers:
    prompt: tuple[Message, ...]  # ends with the turn that is answered
    responses: tuple[str, ...]  # in the order of the roles
    id: str = ""  # the row's own, where it has one
    tools: list | None = None  # these two as for apply_chat_template
    template: Mapping[str, Any] | None = None


class Unusable(ValueError):
    """The row is left out; the message is the reason under which it is counted."""


def read_answers(
    paths: str | Sequence[str], roles: Sequence[str], limit: int = -1
) -> tuple[list[Answers], Counter[str]]:
    """The usable rows of the files, in order, and how many were left out for which reason. limit: the first so many
    usable rows (verl's train_max_samples); -1 for all.

    BadInput where a file is missing, is not parquet, lacks a column, or has no usable row.
    """
    usable, dropped = [], Counter()
    for path in [paths] if isinstance(paths, str) else paths:
        before = len(usable)
        for row in _rows(path, roles):
            try:
                usable.append(answers_of(row, roles))
            except Unusable as reason:
                dropped[str(reason)] += 1
        if len(usable) == before:
            reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.items()) or "no rows"
            raise BadInput(f"{path} has no usable row ({reasons}); give rows with a prompt, {' and '.join(roles)}.")
    return usable[:limit] if limit > 0 else usable, dropped


def answers_of(row: Mapping[str, Any], roles: Sequence[str]) -> Answers:
    """The prompt and responses in a row of any layout. Unusable with the reason otherwise."""
    if row.get("status") in LEFT_OUT:
        raise Unusable(row["status"])
    for role in roles:
        score = row.get(f"{role}_score")
        if score is not None and not finite(score):
            raise Unusable("score_not_finite")
    contexts, responses = zip(*(_side(row[role]) for role in roles), strict=True)
    prompt, context = _prompt(row.get("prompt")), contexts[0]
    if prompt and context and context[0]["role"] == "assistant":
        raise Unusable("side_of_several_turns")
    if any(other != context for other in contexts) or not _agree(prompt, context):
        raise Unusable("sides_answer_different_prompts")
    prompt = max(context, prompt, key=len)
    if not prompt or prompt[-1]["role"] == "assistant":
        raise Unusable("no_prompt")
    if not all(response.strip() for response in responses):
        raise Unusable("side_empty")
    if len(responses) > 1 and len(set(responses)) == 1:
        raise Unusable("sides_identical")
    name = id_of(row.get("id")) or ""
    return Answers(prompt, responses, name, *(_for_the_template(row, *column) for column in TEMPLATE_COLUMNS))


def _agree(prompt: Sequence[Message], context: Sequence[Message]) -> bool:
    """Is the shorter of the two, but for space around its texts, the end of the other? Or the prompt its beginning, a
    system turn aside: of a conversation many sets have the first question there."""
    bare = [[{**turn, "content": (turn["content"] or "").strip()} for turn in turns] for turns in (prompt, context)]
    shorter, longer = sorted(bare, key=len)
    first = int(bool(longer) and longer[0]["role"] == "system")
    ends = longer[len(longer) - len(shorter) :] == shorter
    return ends or (shorter is bare[0] and shorter in (longer[: len(shorter)], longer[first:][: len(shorter)]))


TEMPLATE_COLUMNS = (("tools", list), ("chat_template_kwargs", dict))


def _for_the_template(row: Mapping[str, Any], name: str, kind: type) -> Any:
    """A list or object, which the file may hold as JSON text; None where it is empty."""
    value = row.get(name)
    try:
        value = _given(json.loads(value) if isinstance(value, str) and value.strip() else value) or None
    except ValueError:
        raise Unusable(f"{name}_not_json") from None
    if value is not None and not isinstance(value, kind):
        raise Unusable(f"{name}_not_a_{kind.__name__}")
    return value


def _given(value: Any) -> Any:
    """Without nulls. Unusable for text with a broken character."""
    value = without_nulls(value)
    if _broken(value):
        raise Unusable("broken_character")
    return value


def _broken(value: Any) -> bool:
    """U+FFFD is what the readers of files put for half a surrogate pair."""
    if isinstance(value, str):
        return "\ufffd" in whole(value)
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return any(map(_broken, parts))


_ROLES = ("system", "developer", "user", "assistant", "tool")
_TURNS = re.compile(r"\s*\[\s*\{\s*['\"].*\]\s*", re.DOTALL)


def as_turns(value: Any) -> Any:
    """The turns of a text that is a list of them, as JSON or as Python writes it (a set that went through CSV); other
    values as they are. Unusable where the list cannot be read: it is no text to ask, or to learn."""
    if not isinstance(value, str) or not _TURNS.fullmatch(value):
        return value
    turns = None
    for read in (json.loads, ast.literal_eval):
        try:
            turns = read(value.strip())
            break
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            pass
    if turns is None and all(re.search(rf"['\"]{name}['\"]\s*:", value) for name in ("role", "content")):
        raise Unusable("turns_as_a_text_that_cannot_be_read")
    is_list = isinstance(turns, list) and all(isinstance(turn, Mapping) for turn in turns)
    return turns if is_list and all("content" in turn and turn.get("role") in _ROLES for turn in turns) else value


def content_of(value: Any) -> Any:
    """The text of a content that is a list of texts alone, as OpenAI's API has it; others as they are."""
    parts = without_nulls(value) if isinstance(value, list) else []
    is_text = all(isinstance(part, Mapping) and {*part} == {"type", "text"} for part in parts)
    is_text = is_text and all(part["type"] == "text" and isinstance(part["text"], str) for part in parts)
    return "".join(part["text"] for part in parts) if parts and is_text else value


def _prompt(value: Any) -> tuple[Message, ...]:
    value = as_turns(value)
    if isinstance(value, str):
        return ({"role": "user", "content": _given(value)},) if value.strip() else ()
    return _messages(value) if value is not None else ()


def _side(value: Any) -> tuple[tuple[Message, ...], str]:
    """(the turns before it, the response) of a string or of messages that end with the assistant's."""
    value = as_turns(value)
    if isinstance(value, str):
        return (), _given(value)
    if value is None:
        raise Unusable("side_empty")
    messages = _messages(value)
    if not messages:
        raise Unusable("side_empty")
    if messages[-1]["role"] != "assistant":
        raise Unusable("side_does_not_end_with_the_assistant")
    for key in WITH_A_MEANING:
        if messages[-1].get(key):
            raise Unusable(f"side_has_{key}")
    return messages[:-1], messages[-1]["content"]


def _messages(value: Any) -> tuple[Message, ...]:
    try:
        messages = tuple(map(_message, value))
    except Unusable:
        raise
    except (TypeError, KeyError, ValueError):
        raise Unusable("not_a_string_or_list_of_messages") from None
    if not all(isinstance(m["role"], str) and (isinstance(m["content"], str) or _only_calls(m)) for m in messages):
        raise Unusable("not_a_string_or_list_of_messages")
    return messages


def _only_calls(message: Message) -> bool:
    """A turn as OpenAI writes it."""
    return message["content"] is None and bool(message.get("tool_calls"))


def _message(value: Mapping[str, Any]) -> Message:
    message = _given(dict(value))
    content = message.pop("content") if not message.get("tool_calls") else message.pop("content", None)
    return {"role": message.pop("role"), "content": content_of(content), **message}


def _rows(path: str, roles: Sequence[str]) -> Iterator[dict[str, Any]]:
    columns, rows = open_rows(path)
    if tuple(roles) == ("real",) and "real" not in columns and "messages" in columns:
        yield from ({**row, "real": row["messages"]} for row in rows({"messages", "id", "tools"}))
        return
    for name in roles:
        if name not in columns:
            raise BadInput(f"{path} has no column {name!r}{nearest(name, columns)}; the loss needs {', '.join(roles)}.")
    further = {"id", "prompt", "status", *(name for name, _ in TEMPLATE_COLUMNS)}
    yield from rows({*further, *roles, *(f"{role}_score" for role in roles)})


def open_rows(path: str | Path) -> tuple[list[str], Callable[[set[str]], Iterator[dict[str, Any]]]]:
    """(columns, rows): `rows(names)` goes through the file and gives those columns that there are.

    BadInput where the file is missing or is neither parquet nor, by its name (.jsonl, .json), JSON lines of objects.
    """
    file = open_file(path)
    return file.columns, lambda names: (row for _, row in file.rows(names))
