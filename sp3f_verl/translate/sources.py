"""English rows to translate: GSM8K's lines, rows of problems, or chats; each with an id that stays with it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sp3f_verl.data.rows import row_id
from sp3f_verl.data.sets.mgsm import read_solutions
from sp3f_verl.data.tables import open_file
from sp3f_verl.errors import BadInput, nearest

ROLES = ("system", "user", "assistant", "tool")
VERBATIM = ("tool",)  # the output of a program


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


def read(paths: Sequence[Path]) -> tuple[list[Problem] | list[Chat], int]:
    """(the rows of all files in the order of their ids, how many were left out as doubles of others).

    Rows without an id go by their text, so that the order of a file means nothing. BadInput, one sentence, for files
    of different kinds, for missing columns and texts, and for an id that stands in rows that differ.
    """
    rows: list[Problem | Chat] = []
    for path in paths:
        rows += _read(Path(path))
    kinds = {type(row) for row in rows}
    if len(kinds) > 1:
        raise BadInput("--input names files of problems and files of chats; translate them one kind at a time.")
    rows_by_id: dict[str, Problem | Chat] = {}
    for row in rows:
        known = rows_by_id.setdefault(row.id, row)
        if known != row and (isinstance(row, Chat) or known.question != row.question):
            raise BadInput(f"id {row.id!r} stands in rows that differ; give every row one of its own.")
        if isinstance(row, Problem):  # the same question solved twice: the choice must not depend on the order
            rows_by_id[row.id] = min(known, row, key=lambda problem: (problem.solution, problem.answer))
    return [rows_by_id[ident] for ident in sorted(rows_by_id)], len(rows) - len(rows_by_id)


def _read(path: Path) -> list[Problem] | list[Chat]:
    if path.suffix in (".json", ".jsonl"):
        file = open_file(path)
        if {"question", "answer"} <= {*file.columns} and not {"solution", "query_en"} & {*file.columns}:
            return [
                Problem(row_id("gsm8k", question), question, solution, answer, "gsm8k")
                for question, solution, answer in read_solutions(path)
            ]
    file = open_file(path)
    if not file.count:
        raise BadInput(f"{path} has no rows; give a file with at least one.")
    turns = next((name for name in ("messages", "prompt") if name in file.columns), None)
    return _problems(path, file) if turns is None else _chats(path, file, turns)


def _problems(path: Path, file) -> list[Problem]:
    columns = {*file.columns}
    question = next((name for name in ("query_en", "question", "problem") if name in columns), None)
    answer = next((name for name in ("answer", "ground_truth") if name in columns), None)
    if question is None or answer is None or "solution" not in columns:
        name = "question" if question is None else "answer" if answer is None else "solution"
        raise BadInput(
            f"{path} has no column {name!r}{nearest(name, columns)}; give question, solution and answer, or messages "
            "or prompt."
        )
    id_column = "problem" if question != "problem" and "problem" in columns else "id"
    rows = []
    for number, row in file.rows({question, answer, "solution", id_column, "source", "checker"}):
        texts = [_text(row[name], name, file.place(number)) for name in (question, "solution", answer)]
        source = row.get("source") or path.stem
        ident = row.get(id_column) or row_id(source, texts[0])
        rows.append(Problem(str(ident), *texts, source, row.get("checker")))
    return rows


def _chats(path: Path, file, column: str) -> list[Chat]:
    rows = []
    for number, row in file.rows({column, "id"}):
        place, turns = file.place(number), row[column]
        turns = [{"role": "user", "content": turns}] if column == "prompt" and isinstance(turns, str) else turns
        if not isinstance(turns, list) or not turns:
            raise BadInput(f"{place}: {column!r} is {turns!r}, not a list of turns; mend it.")
        messages = []
        for turn in turns:
            role = turn.get("role") if isinstance(turn, dict) else None
            if role not in ROLES:
                raise BadInput(f"{place}: a turn has the role {role!r}{nearest(role, ROLES)}; use {', '.join(ROLES)}.")
            messages.append((role, _text(turn.get("content"), "content", place)))
        rows.append(Chat(str(row.get("id") or row_id("chat", messages)), tuple(messages)))
    return rows


def _text(value: object, name: str, place: str) -> str:
    if not isinstance(value, str) or not value.strip():
        problem = "no" if value is None or value == "" else f"{str(value)[:40]!r} as"
        raise BadInput(f"{place} has {problem} {name!r}; give it a text.")
    return value.strip()
