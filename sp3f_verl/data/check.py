"""Is this parquet file what RL, or supervised fine-tuning, needs? `BadInput` with one sentence where it is not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sp3f_verl import languages
from sp3f_verl.data.rows import REQUIRED, SOURCES, canonical, field
from sp3f_verl.data.tables.forms import PARQUET, TEXT, form_of
from sp3f_verl.data.tables.sources import Parquet
from sp3f_verl.errors import BadInput, nearest
from sp3f_verl.rewards.answers.checkers import BUILT_IN, checker_of

MENDS = {
    "prompt": "give every row a list of {role, content} messages",
    "ground_truth": "give every row reward_model.ground_truth, the gold answer",
    "language": "give every row its ISO 639-1 code",
    "query_en": "give every row the English question, or use what needs none (judge=none, sp3f.token_credit=null)",
    "solution_en": "give every row the English solution, or use what needs none (judge=none, sp3f.token_credit=null)",
    "thinking_en": "give every row the policy's own English thinking, or use another judge",
    "translated_solution": "give every row the solution in its own language, or use judge=none",
}


def _parquet(path: str) -> Parquet:
    """verl's RL and SFT read parquet alone."""
    form = form_of(path)
    if form != PARQUET:
        reader = "from_csv" if form == TEXT else "from_json"
        raise BadInput(
            f"{path} is {form}, and this run reads parquet; write it as that, say by "
            f"datasets.Dataset.{reader}({path!r}).to_parquet('rows.parquet')."
        )
    return Parquet(path)


def check_same_layout(paths: Sequence[str]) -> None:
    """verl joins the files of a run into one table, so their prompts must stand in the same column."""
    columns = {path: next(key for key in SOURCES["prompt"] if key in _parquet(path).columns) for path in paths}
    if len(set(columns.values())) > 1:
        places = ", ".join(f"{path} in {column!r}" for path, column in columns.items())
        raise BadInput(f"the files keep their prompts in different columns ({places}); rename one.")


def _missing_column(path: str, name: str, wanted: Sequence[str], columns: Sequence[str]) -> BadInput:
    tops = [source.split(".")[0] for source in wanted]
    hint = next((close for close in (nearest(top, columns) for top in tops) if close), "")
    choices = " or ".join(repr(source) for source in wanted)
    return BadInput(f"{path} has no column {choices}{hint}; {MENDS[name]}.")


def check_rl(path: str, needed: Sequence[str] = (), checkers: Mapping[str, Any] = BUILT_IN) -> tuple[str, ...]:
    """Check the rows of an RL file, which must have the fields in `needed` (see data/rows.py) beside the required ones,
    and checkers among `checkers`; answers the languages in it, sorted."""
    file = _parquet(path)
    if not path.endswith(".parquet"):  # by which verl's data set chooses a reader
        raise BadInput(f"{path} is parquet by another name, which verl does not read; rename it to NAME.parquet.")
    columns, wanted = file.columns, (*REQUIRED, *needed)
    for name in wanted:
        if not any(source.split(".")[0] in columns for source in SOURCES[name]):
            raise _missing_column(path, name, SOURCES[name], columns)
    tops = {source.split(".")[0] for sources in SOURCES.values() for source in sources}
    codes: set[str] = set()
    number = -1
    for number, row in file.rows(tops):
        for name in wanted:
            if field(row, name) is None:
                places = " or ".join(repr(source) for source in SOURCES[name])
                raise BadInput(f"{path}, row {number}: {places} is empty; {MENDS[name]}.")
        known = canonical(row, file.place(number))
        codes.add(known["language"])
        try:
            check_prompt(known["prompt"])
            checker_of(known["extra_info"], checkers)
        except BadInput as error:
            raise BadInput(f"{file.place(number)}: {error}") from None
    if number < 0:
        raise BadInput(f"{path} has no rows; give a file with at least one.")
    for code in sorted(codes):
        languages.get(code, path)
    return tuple(sorted(codes))


def check_prompt(prompt: Any) -> None:
    """BadInput for the messages of a question that no policy can answer as they are meant."""
    try:
        roles = _roles(prompt)
    except BadInput as error:
        raise BadInput(f"the prompt {error}") from None
    if roles[-1] == "assistant":
        raise BadInput("the prompt ends with the assistant's turn, and the policy writes the next; cut it there.")


ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True)
class Conversations:
    """How many rows a file has, and the first row of each sequence of roles in it, in order."""

    count: int
    kinds: dict[tuple[str, ...], int]


def check_sft(path: str, messages_key: str = "messages") -> Conversations:
    """Check the rows of an SFT file: one conversation each, of text, which ends with the assistant."""
    file = _parquet(path)
    columns = file.columns
    if messages_key not in columns:
        if {"prompt", "completion"} <= set(columns):
            raise BadInput(
                f"{path} has the columns 'prompt' and 'completion' and no {messages_key!r}; write it, the prompt's "
                "messages and the completion as the assistant's turn."
            )
        hint = nearest(messages_key, columns)
        raise BadInput(f"{path} has no column {messages_key!r}{hint}; name it there or set data.messages_key.")
    number, kinds = -1, {}
    for number, row in file.rows([messages_key]):
        try:
            roles = _conversation(row[messages_key])
        except BadInput as error:
            raise BadInput(f"{path}, row {number}: {messages_key!r} {error}") from None
        kinds.setdefault(roles, number)
    if number < 0:
        raise BadInput(f"{path} has no rows; give a file with at least one.")
    return Conversations(number + 1, kinds)


def _conversation(messages: Any) -> tuple[str, ...]:
    """The roles of a conversation; BadInput with the rest of a sentence where it cannot be trained on."""
    if messages is None:
        raise BadInput("is empty; leave such rows out, as sft.parquet of data_prep.sp3f does.")
    roles = _roles(messages)
    if "assistant" not in roles:
        raise BadInput("has no turn of the assistant, so that there is nothing to learn; add it, or leave the row out.")
    if roles[-1] != "assistant":
        raise BadInput(f"does not end with the assistant's turn but with {roles[-1]}; add the answer, or cut the row.")
    if roles[0] == "assistant":
        raise BadInput("begins with the assistant's turn, which answers nothing; put a user's turn before it.")
    return roles


def _roles(messages: Any) -> tuple[str, ...]:
    """Of turns with a text each; BadInput with the rest of a sentence."""
    if not isinstance(messages, list) or not messages or not all(isinstance(message, dict) for message in messages):
        raise BadInput("is not a list of {role, content} messages; make it one.")
    for turn, message in enumerate(messages):
        role, content = message.get("role"), message.get("content")
        if role not in ROLES:
            raise BadInput(f"has the role {role!r} in turn {turn}{nearest(role, ROLES)}; use {', '.join(ROLES)}.")
        if not message.get("tool_calls") and not (isinstance(content, str) and content.strip()):
            raise BadInput(f"has no text in turn {turn} ({role}); add it, or leave the row out.")
    return tuple(message["role"] for message in messages)
