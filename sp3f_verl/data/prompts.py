"""Prompts in one or several languages. Those of one id are the same prompt; nothing is joined by text."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from sp3f_verl import languages
from sp3f_verl.data.preference_rows import Unusable, as_turns
from sp3f_verl.data.rows import field, finite, id_of, text_of
from sp3f_verl.data.schemas import PROMPT
from sp3f_verl.data.tables import as_batches, open_file
from sp3f_verl.data.turns import turns_of
from sp3f_verl.errors import BadInput

# As schemas.PROMPT, but an id may come once in each language.
PROMPTS = PROMPT.with_metadata({"key": "id,prompt_lang"})
# What a prompt needs -> its columns by preference; `problem` is what the rows of data_prep.translate have in common.
COLUMNS = {
    "id": ("problem", "id", "prompt_id"),
    "prompt_lang": ("prompt_lang", "language"),
    "prompt": ("prompt", "messages"),
}
OTHERS = tuple(name for name in PROMPTS.names if name not in COLUMNS)

Drop = Callable[[str], None]


def read_prompts(paths: Iterable[Path], drop: Drop = lambda reason: None) -> Iterator[dict[str, Any]]:
    """Rows of PROMPTS from parquet or JSON lines, each conversation up to its last user turn.

    Columns: `id` (or `problem`, or `prompt_id`), `prompt_lang` (or `language`), `prompt` (or `messages`; a text is one
    user turn).
    `ground_truth` may also be `reward_model.ground_truth`, and a number.
    Prompts without a user turn or text, and those that `turns_of` cannot take, are left out: drop("no_user_turn").
    BadInput where a column, an id or a language is missing, or an id comes twice in one language.
    """
    seen: dict[tuple[str, str], str] = {}
    for path in paths:
        file = open_file(path)
        columns = {
            name: next((column for column in names if column in file.columns), None) for name, names in COLUMNS.items()
        }
        file.require(COLUMNS[name][0 if name != "id" else 1] for name, names in columns.items() if names is None)
        if not file.count:
            raise BadInput(f"{path} has no rows; give a file with at least one.")
        for number, row in file.rows({*columns.values(), *OTHERS, "tools", "reward_model"}):
            prompt = {name: row[column] for name, column in columns.items()}
            prompt["id"] = id_of(prompt["id"], file.place(number))
            _check(prompt, file.place(number), seen)
            try:
                prompt["prompt"] = to_last_user_turn(prompt["prompt"], row.get("tools"))
            except Unusable as reason:
                drop(str(reason))
                continue
            texts = {name: row.get(name) for name in OTHERS}
            gold = field(row, "ground_truth") if texts["ground_truth"] is None else texts["ground_truth"]
            known = finite(gold) or (isinstance(gold, str) and gold.strip())
            texts["ground_truth"] = text_of(gold, file.place(number)) if known else None
            yield (
                prompt
                | {name: value if isinstance(value, str) else None for name, value in texts.items()}
                | {"source": texts["source"] if isinstance(texts["source"], str) else Path(path).stem}
            )


def _check(prompt: dict[str, Any], place: str, seen: dict[tuple[str, str], str]) -> None:
    for name in ("id", "prompt_lang"):
        if not isinstance(prompt[name], str) or not prompt[name]:
            raise BadInput(f"{place}: {name!r} is {prompt[name]!r}; give it a text.")
    languages.get(prompt["prompt_lang"], place)
    key = prompt["id"], prompt["prompt_lang"]
    if key in seen:
        raise BadInput(f"{place} has the id {key[0]!r} in {key[1]!r}, as {seen[key]} has; give every prompt its own.")
    seen[key] = place


def to_last_user_turn(value: Any, tools: Any = None) -> list[dict[str, str]]:
    """The messages up to the last of the user. Unusable where there is none, it is empty, or `turns_of` says so."""
    value = as_turns(value)
    if isinstance(value, str):
        value = [{"role": "user", "content": value}]
    is_list = isinstance(value, list)
    roles = [turn.get("role") if isinstance(turn, dict) else None for turn in value] if is_list else []
    last = max((at for at, role in enumerate(roles) if role == "user"), default=-1)
    if last < 0:
        raise Unusable("no_user_turn")
    turns = turns_of(value[: last + 1], tools)
    if not turns[-1]["content"].strip():
        raise Unusable("no_user_turn")
    return turns


class Prompts:
    """The prompts of a data set by (id, language), as columns."""

    def __init__(self, paths: Iterable[Path], drop: Drop = lambda reason: None):
        dropped: Counter[str] = Counter()

        def noted(reason: str) -> None:
            dropped[reason] += 1
            drop(reason)

        batches = as_batches(read_prompts(paths, noted), PROMPTS, "the prompts")
        self.table = pa.Table.from_batches(batches, PROMPTS).sort_by(
            [("id", "ascending"), ("prompt_lang", "ascending")]
        )
        ids, codes = (self.table.column(name).to_pylist() for name in ("id", "prompt_lang"))
        self._row = {key: row for row, key in enumerate(zip(ids, codes, strict=True))}
        self.languages = tuple(sorted(set(codes)))
        if not self._row:
            reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.items())
            files = " and ".join(map(str, paths))
            raise BadInput(f"{files}: no prompt has a user turn to answer ({reasons}); give conversations with one.")

    def __len__(self) -> int:
        return len(self._row)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """(id, language), sorted."""
        return iter(self._row)

    def messages(self, prompt_id: str, language: str) -> list[dict[str, str]]:
        """BadInput where there is no such prompt."""
        return self._value("prompt", prompt_id, language)

    def source(self, prompt_id: str, language: str) -> str:
        return self._value("source", prompt_id, language)

    def __contains__(self, key: tuple[str, str]) -> bool:
        return key in self._row

    def task(self, prompt_id: str, language: str) -> str | None:
        return self._value("task", prompt_id, language)

    def reference(self, prompt_id: str, language: str) -> str | None:
        """The English reference answer, where there is one."""
        return self._value("reference_en", prompt_id, language)

    def gold(self, prompt_id: str, language: str) -> str | None:
        """The gold answer, where there is one."""
        return self._value("ground_truth", prompt_id, language)

    def _value(self, name: str, prompt_id: str, language: str) -> Any:
        row = self._row.get((prompt_id, language))
        if row is None:
            raise BadInput(
                f"--prompts have no id {prompt_id!r} in {language!r}; give the file that was generated from."
            )
        return self.table.column(name)[row].as_py()
