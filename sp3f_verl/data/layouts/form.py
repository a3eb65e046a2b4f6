"""One kind of row that a layout has, beside our schema of the same row; and pairs, which most layouts have."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from sp3f_verl.data.preference_rows import Answers, Unusable, answers_of
from sp3f_verl.data.rows import row_id
from sp3f_verl.data.tables import open_file
from sp3f_verl.data.turns import turns_of
from sp3f_verl.errors import BadInput

Row = Mapping[str, Any]
Drop = Callable[[str], None]


@dataclass(frozen=True)
class Form:
    """`read` is None where the layout's rows cannot be read, `row` where they cannot be written."""

    ours: pa.Schema  # of schemas.py
    columns: tuple[str, ...] = ()  # of theirs, by which a file is known to be of this form
    # (file, language of rows that do not tell it, drop) -> rows of ours
    read: Callable[[Path, str | None, Drop], Iterator[dict[str, Any]]] | None = None
    needs_language: bool = False  # the file does not say in which language its rows are
    row: Callable[[Row], dict[str, Any]] | None = None  # a row of ours -> one of theirs; Unusable: it is left out
    theirs: pa.Schema | str = "jsonl"  # of a parquet file; or "jsonl", or "json" for one list


def placed(path: Path, names: Iterable[str] | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where it stands, row) of a file, with those of the columns that there are; with all for None."""
    file = open_file(path)
    return ((file.place(number), row) for number, row in file.rows(file.columns if names is None else names))


def answers_at(place: str, row: Row, roles: Sequence[str]) -> tuple[Answers, list[dict[str, str]]]:
    """`answers_of`, and the prompt's turns as MESSAGES has them; `place` begins the sentence of an id that is none."""
    try:
        answers = answers_of(row, roles)
    except BadInput as error:
        raise BadInput(f"{place}: {error}") from None
    return answers, turns_of(answers.prompt, answers.tools)


def preferences(
    rows: Iterable[tuple[str, Row]],
    source: str,
    language: str,
    drop: Drop,
    names: tuple[str, str] = ("chosen", "rejected"),
    more: Callable[[Row], dict[str, Any]] = lambda row: {},
) -> Iterator[dict[str, Any]]:
    """Rows of schemas.PREFERENCE from `placed` ones. `names`: the preferred side's column, then the other's; `more`:
    further columns.

    A row without an id gets one of its prompt, and the pair one of both sides, so the order of the file plays no part.
    """
    for place, row in rows:
        try:
            answers, prompt = answers_at(place, row, names)
        except Unusable as reason:
            drop(str(reason))
            continue
        chosen, rejected = answers.responses
        prompt_id = answers.id or row_id(source, list(answers.prompt))
        yield {
            "id": prompt_id,
            "pair_id": row_id(prompt_id, [chosen, rejected]),
            "prompt": prompt,
            "prompt_lang": language,
            "chosen": chosen,
            "rejected": rejected,
            "chosen_lang": language,
            "rejected_lang": language,
            "chosen_score": row.get("chosen_score"),
            "rejected_score": row.get("rejected_score"),
            "len_chosen": len(chosen),
            "len_rejected": len(rejected),
            "recipe": source,
            **more(row),
        }


def turn(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]
