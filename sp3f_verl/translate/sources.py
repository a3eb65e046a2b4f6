"""English rows to translate: GSM8K's lines, rows of problems, or chats; each with an id that stays with it."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sp3f_verl.data.preference_rows import Unusable, as_turns
from sp3f_verl.data.rows import id_of, is_nan, question_of, row_id, text_of
from sp3f_verl.data.sets.mgsm import worked_out
from sp3f_verl.data.tables import open_file
from sp3f_verl.data.tables.sources import Lines, Parquet
from sp3f_verl.data.turns import turns_of
from sp3f_verl.errors import BadInput, nearest
from sp3f_verl.rewards.answers.checkers import BUILT_IN, checker_of
from sp3f_verl.rewards.boxed import extract_boxed

ROLES = ("system", "user", "assistant", "tool")
VERBATIM = ("tool",)  # the output of a program
QUESTIONS, ANSWERS = ("query_en", "question", "problem"), ("answer", "ground_truth")  # columns, by preference
CHAT_IDS = ("id", "prompt_id", "conversation_id")
MOST_LEFT_OUT = 0.5  # of a file's rows


@dataclass(frozen=True)
class Problem:
    id: str
    question: str
    solution: str
    answer: str
    source: str
    checker: str | None = None


@dataclass(frozen=True)
class Chat:
    id: str
    messages: tuple[tuple[str, str], ...] = field(default=())  # (role, content)
    of_prompt: bool = field(default=False, compare=False)  # the id is its prompt's, which several rows may have


class Hole(ValueError):
    """The row lacks what it needs and is left out. args: the reason under which it is counted, and the value there."""

    def told(self) -> str:
        reason, *value = self.args
        return f"{reason} (it is {value[0]!r:.60})" if value and value[0] not in (None, "") else reason


def read(
    paths: Sequence[Path], drop: Callable[[str], None] = lambda reason: None, most_left_out: float = MOST_LEFT_OUT
) -> list[Problem] | list[Chat]:
    """The rows of all files in the order of their ids. Rows without a question, an answer or a turn's text, with a box
    that is not their answer, or with a question that another row has, are left out: drop(reason).

    Rows without an id go by their text, so that the order of a file means nothing. BadInput, one sentence, for files
    of different kinds, for missing columns, for an id that stands in rows that differ, for an unknown checker, and
    where more than the share `most_left_out` of a file's rows is left out.
    """
    rows: list[Problem | Chat] = []
    for path in paths:
        rows += _read(Path(path), drop, most_left_out)
    kinds = {type(row) for row in rows}
    if len(kinds) > 1:
        raise BadInput("--input names files of problems and files of chats; translate them one kind at a time.")
    rows_by_id: dict[str, Problem | Chat] = {}
    for row in _apart(rows):
        known = rows_by_id.setdefault(row.id, row)
        if known != row and (isinstance(row, Chat) or known.question != row.question):
            raise BadInput(f"id {row.id!r} stands in rows that differ; give every row one of its own.")
        if isinstance(row, Problem):  # the same question solved twice: the choice must not depend on the order
            rows_by_id[row.id] = min(known, row, key=lambda problem: (problem.solution, problem.answer))
    for _ in range(len(rows) - len(rows_by_id)):
        drop("same question as another row")
    return [rows_by_id[ident] for ident in sorted(rows_by_id)]


def _apart(rows: Sequence[Problem | Chat]) -> Iterator[Problem | Chat]:
    """The rows, where those of one prompt that differ go by their text: its id names none of them."""
    texts = defaultdict(set)
    for row in rows:
        if isinstance(row, Chat) and row.of_prompt:
            texts[row.id].add(row.messages)
    for row in rows:
        yield replace(row, id=row_id("chat", row.messages)) if len(texts.get(row.id, ())) > 1 else row


def _read(path: Path, drop: Callable[[str], None], most_left_out: float) -> list[Problem] | list[Chat]:
    file = open_file(path)
    if not file.count:
        raise BadInput(f"{path} has no rows; give a file with at least one.")
    columns = {*file.columns}
    is_gsm8k = {"question", "answer"} <= columns and not {"solution", "query_en"} & columns
    if is_gsm8k and "messages" in columns:  # of other sets, in which an answer is a text alone
        is_gsm8k = worked_out(str(next(file.rows({"answer"}))[1]["answer"])) is not None
    turns = next((name for name in ("messages", "prompt") if name in columns), None)
    is_chat = turns is not None and not ("solution" in columns and columns & {*ANSWERS} and columns & {*QUESTIONS})
    if is_gsm8k:
        wanted, row_of = {"question", "answer"}, _gsm8k
    else:
        wanted, row_of = _chats(turns) if is_chat else _problems(path, file)
    rows, holes = [], []
    for number, row in file.rows(wanted):
        try:
            rows.append(row_of(row, file.place(number)))
        except Hole as reason:
            drop(reason.args[0])
            holes.append(f"{file.place(number)} has {reason.told()}")
    if len(holes) > most_left_out * file.count:
        raise BadInput(
            f"{holes[0]}, and {len(holes)} of {file.count} rows cannot be used; mend them, or raise --max-left-out."
        )
    return rows


def _gsm8k(row: dict, place: str) -> Problem:
    question, answer = _text(row["question"], "question", question_of), _text(row["answer"], "answer")
    solved = worked_out(answer)
    if solved is None:
        raise Hole("no `#### <number>` at the end of 'answer'", answer)
    return Problem(row_id("gsm8k", question), question, *solved, "gsm8k")


def _problems(path: Path, file: Parquet | Lines) -> tuple[set[str], Callable[[dict, str], Problem]]:
    """(the columns that are read, a row's problem)."""
    columns = {*file.columns}
    question = next((name for name in QUESTIONS if name in columns), None)
    answer = next((name for name in ANSWERS if name in columns), None)
    if question is None or answer is None or "solution" not in columns:
        name = "question" if question is None else "answer" if answer is None else "solution"
        near = file.near(name, *(QUESTIONS if question is None else ()), "messages", "prompt")
        raise BadInput(
            f"{path} has no column {name!r}{near}; give question, solution and answer, or messages or prompt."
        )
    id_column = "problem" if question != "problem" and "problem" in columns else "id"

    def row_of(row: dict, place: str) -> Problem:
        texts = [
            _text(row[question], question, question_of),
            *(_text(row[name], name) for name in ("solution", answer)),
        ]
        source = None if is_nan(row.get("source")) else row.get("source")
        source = source if isinstance(source, str) or source is None else text_of(source, f"{place}: 'source'")
        source = source or path.stem
        checker = None if is_nan(row.get("checker")) else row.get("checker")
        ident = id_of(row.get(id_column), place)
        try:
            check = BUILT_IN[checker_of({"checker": checker})]
        except BadInput as error:
            raise BadInput(f"{place}: {error}") from None
        box = extract_boxed(texts[1])
        if box is not None and not check(box, texts[2]):
            raise Hole("a box that is not its answer")
        return Problem(row_id(source, texts[0]) if ident is None else ident, *texts, source, checker)

    return {question, answer, "solution", id_column, "source", "checker"}, row_of


def _chats(column: str) -> tuple[set[str], Callable[[dict, str], Chat]]:
    """(the columns that are read, a row's chat)."""

    def row_of(row: dict, place: str) -> Chat:
        try:
            turns = as_turns(row[column])
            turns = [{"role": "user", "content": turns}] if column == "prompt" and isinstance(turns, str) else turns
            turns = turns_of(turns, row.get("tools"))
        except Unusable as reason:
            raise Hole(str(reason).replace("_", " "), row[column]) from None
        messages = []
        for turn in turns:
            role = turn["role"]
            if role not in ROLES:
                raise BadInput(f"{place}: a turn has the role {role!r}{nearest(role, ROLES)}; use {', '.join(ROLES)}.")
            if not turn["content"].strip():
                raise Hole("a turn without text")
            messages.append((role, turn["content"].strip()))
        if "user" not in {role for role, _ in messages}:
            raise Hole("no turn of the user")
        given = [(ident, name) for name in CHAT_IDS if (ident := id_of(row.get(name), place)) is not None]
        ident, name = given[0] if given else (row_id("chat", messages), "")
        return Chat(ident, tuple(messages), name == "prompt_id")

    return {column, "tools", *CHAT_IDS}, row_of


def _text(value: object, name: str, read: Callable[[Any, str], str] = text_of) -> str:
    """Raises Hole where there is none."""
    try:
        return read(value, name)
    except BadInput:
        raise Hole(f"no {name!r}", value) from None
