"""What a model answered, from whatever wrote it: by prompt and language, never by position or text.

| given | read as |
|---|---|
| a folder of data_prep.generate, or its candidates.parquet | `id`, `cand_id`, `lang_declared`, `status`, `text` |
| a folder of `sp3f evaluate` | its `*/*/output.jsonl`: `problem`, `language`, `answer`, `status`; its prompts.parquet |
| parquet or JSON lines of one's own | `id`, `language`, `text`, and optionally `category`, `status` |
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sp3f_verl import languages
from sp3f_verl.data.tables import open_file
from sp3f_verl.errors import BadInput
from sp3f_verl.evaluation.problems import prompt_key

Key = tuple[str, str, int]  # (prompt's id, language, number of the sample from 0)
NAMES = {"id": ("id", "question_id"), "language": ("language", "lang_declared", "prompt_lang")}
NO_TEXT = ("error", "refused")
Order = int | tuple[int | str, ...]  # what orders the answers to a prompt


@dataclass(frozen=True, slots=True)
class Answer:
    """text is None where the model gave none: that is not the empty text, which is an answer."""

    text: str | None
    status: str = "ok"
    category: str | None = None


@dataclass
class Outputs:
    """A model's answers. `prompts`: the file of its prompts, where one came with them."""

    name: str
    path: Path
    answers: dict[Key, Answer]
    files: list[Path] = field(default_factory=list)
    prompts: Path | None = None


def read_outputs(given: str, samples: int = 1) -> Outputs:
    """`[NAME=]PATH`; the name is the folder's, or the file's without its suffix, where none is given.

    samples: how many answers to a prompt are read, the first ones. BadInput, one sentence, for what cannot be read.
    """
    name, equals, path = given.partition("=")
    named = bool(equals) and not Path(given).expanduser().exists()  # a path may hold an =, as in lr=1e-5
    path = Path(path if named else given).expanduser()
    if not named:
        name = path.parent.name if path.name == "candidates.parquet" else path.stem if path.is_file() else path.name
    prompts = None
    if path.is_dir():
        files, prompts = _files_of(path), path / "prompts.parquet"
    else:
        files, prompts = [path], path.with_name("prompts.parquet") if path.name == "candidates.parquet" else None
    by_prompt: dict[tuple[str, str], list[tuple[Order, Answer]]] = defaultdict(list)
    for file in files:
        for ident, code, order, answer in _rows(file):
            by_prompt[ident, code].append((order, answer))
    if not by_prompt:
        raise BadInput(f"{path} holds no answer; give a model's outputs.")
    answers = {}
    for (ident, code), ordered in by_prompt.items():
        orders = [order for order, _ in ordered]
        if len(set(orders)) < len(orders):
            mend = (
                "give every prompt one answer, or cand_id" if len(files) == 1 else "give one benchmark's output.jsonl"
            )
            raise BadInput(f"{path} has the id {ident!r} in {code!r} twice; {mend}.")
        for number, (_, answer) in enumerate(sorted(ordered, key=lambda pair: pair[0])[:samples]):
            answers[ident, code, number] = answer
    return Outputs(name, path, answers, files, prompts if prompts and prompts.is_file() else None)


def _files_of(folder: Path) -> list[Path]:
    candidates = folder / "candidates.parquet"
    files = [candidates] if candidates.is_file() else sorted(folder.glob("*/*/output.jsonl"))
    if not files:
        raise BadInput(
            f"{folder} holds neither candidates.parquet nor BENCHMARK/LANGUAGE/output.jsonl; give a folder of "
            "data_prep.generate or of `sp3f evaluate`, or a file with id, language and text."
        )
    return files


def _rows(path: Path) -> Iterator[tuple[str, str, Order, Answer]]:
    """(id, language, order, answer)."""
    file = open_file(path)
    of_run = path.name == "output.jsonl" and "answer" in file.columns
    ident, code = (_column(file, name) for name in NAMES)
    if of_run:
        file.require(["problem"], "give a folder of `sp3f evaluate`")
        ident = "problem"  # the same in every language
    text = "answer" if of_run else "text"
    file.require([text], "give a file with id, language and text")
    for number, row in file.rows({ident, code, text, "cand_id", "status", "category", "variant"}):
        if row[ident] is None or row[code] is None:
            raise BadInput(f"{file.place(number)} has no {ident if row[ident] is None else code!r}; give it one.")
        key, language = str(row[ident]), str(row[code])
        languages.get(language, file.place(number))
        if of_run:
            texts, statuses = row[text] if row[text] is not None else [], row.get("status") or []
            if not isinstance(texts, list):
                raise BadInput(
                    f"{file.place(number)}: 'answer' is {texts!r}, no list; give what `sp3f evaluate` wrote."
                )
            for order, sample in enumerate(texts):
                status, benchmark = statuses[order] if order < len(statuses) else "ok", path.parent.parent.name
                prompt = prompt_key(benchmark, row.get("variant"), key)
                yield prompt, language, order, _answer(sample, status, benchmark, text, file.place(number))
            continue
        answer = _answer(row[text], row.get("status"), row.get("category"), text, file.place(number))
        yield key, language, _order(row.get("cand_id")), answer


def _order(cand_id: Any) -> Order:
    """Numbers in it sort as numbers: 2 before 10."""
    parts = re.split(r"(\d+)", "" if cand_id is None else str(cand_id))
    return tuple(int(part) if at % 2 else part for at, part in enumerate(parts))


def _column(file, name: str) -> str:
    column = next((column for column in NAMES[name] if column in file.columns), name)
    file.require([column], "give a file with id, language and text")
    return column


def _answer(text: Any, status: Any, category: Any, name: str, place: str) -> Answer:
    if text is not None and not isinstance(text, str):
        raise BadInput(f"{place}: {name!r} holds {text!r}, which is no text; give a string, or null for no answer.")
    status = str(status or "ok")
    text = text if status not in NO_TEXT else None
    return Answer(text, status, str(category) if category is not None else None)
