"""Is this parquet file what supervised fine-tuning needs? `BadInput` with one sentence where it is not."""

from dataclasses import dataclass
from typing import Any

from sp3f_verl.data.sources import Parquet
from sp3f_verl.errors import BadInput, nearest

ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True)
class Conversations:
    """How many rows a file has, and the first row of each sequence of roles in it, in order."""

    count: int
    kinds: dict[tuple[str, ...], int]


def check_sft(path: str, messages_key: str = "messages") -> Conversations:
    """Check the rows of an SFT file: one conversation each, of text, which ends with the assistant."""
    columns = Parquet(path).columns
    if messages_key not in columns:
        if {"prompt", "completion"} <= set(columns):
            raise BadInput(
                f"{path} has the columns 'prompt' and 'completion' and no {messages_key!r}; write it, the prompt's "
                "messages and the completion as the assistant's turn."
            )
        hint = nearest(messages_key, columns)
        raise BadInput(f"{path} has no column {messages_key!r}{hint}; name it there or set data.messages_key.")
    number, kinds = -1, {}
    for number, row in Parquet(path).rows([messages_key]):
        try:
            roles = _roles(row[messages_key])
        except BadInput as error:
            raise BadInput(f"{path}, row {number}: {messages_key!r} {error}") from None
        kinds.setdefault(roles, number)
    if number < 0:
        raise BadInput(f"{path} has no rows; give a file with at least one.")
    return Conversations(number + 1, kinds)


def _roles(messages: Any) -> tuple[str, ...]:
    """The roles of a conversation; BadInput with the rest of a sentence where it cannot be trained on."""
    if not isinstance(messages, list) or not messages or not all(isinstance(each, dict) for each in messages):
        raise BadInput("is not a list of {role, content} messages; make it one.")
    for turn, message in enumerate(messages):
        role, content = message.get("role"), message.get("content")
        if role not in ROLES:
            raise BadInput(f"has the role {role!r} in turn {turn}{nearest(role, ROLES)}; use {', '.join(ROLES)}.")
        if not isinstance(content, str) or not content.strip():
            raise BadInput(f"has no text in turn {turn} ({role}); add it, or leave the row out.")
    roles = tuple(message["role"] for message in messages)
    if "assistant" not in roles:
        raise BadInput("has no turn of the assistant, so that there is nothing to learn; add it, or leave the row out.")
    if roles[-1] != "assistant":
        raise BadInput(f"does not end with the assistant's turn but with {roles[-1]}; add the answer, or cut the row.")
    if roles[0] == "assistant":
        raise BadInput("begins with the assistant's turn, which answers nothing; put a user's turn before it.")
    return roles
