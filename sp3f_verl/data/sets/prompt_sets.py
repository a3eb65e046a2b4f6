"""Open-ended prompt sets as rows of schemas.PROMPT; prompt_sets.yaml says where each is and what its columns mean."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from sp3f_verl.data.hub import from_hub
from sp3f_verl.data.rows import id_of, row_id
from sp3f_verl.data.tables import open_file
from sp3f_verl.errors import BadInput, nearest
from sp3f_verl.languages.written import is_other, language_of
from sp3f_verl.settings import Settings, Text

TABLE = Path(__file__).with_name("prompt_sets.yaml")


class Columns(Settings):
    """What a row of ours needs -> the set's column; without the last three where the set has none."""

    id: Text
    language: Text | None = None
    prompt: Text
    task: Text | None = None
    script: Text | None = None


class PromptSet(Settings):
    """An entry of prompt_sets.yaml, whose head says what each field means."""

    name: Text
    hub: Text
    config: Text
    split: Text
    columns: Columns
    meta: tuple[Text, ...] = ()
    id: Literal["shared", "own"] = "shared"
    languages: tuple[Text, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that are read."""
        columns = self.columns
        names = (columns.id, columns.language, columns.prompt, columns.task, columns.script)
        return (*(name for name in names if name is not None), *self.meta)

    def download(self, wanted: Sequence[str], cache: Path) -> list[tuple[str | None, Path]]:
        """(language where the file is of one, file) from the Hub. BadInput where that is not possible."""
        codes = [None] if "{language}" not in self.config else list(wanted or self.languages)
        if not codes:
            raise BadInput(f"--languages is missing: name those of {self.name} that are wanted, such as de es.")
        for code in codes:
            if code is not None and self.languages and code not in self.languages:
                raise BadInput(f"{self.name} has no {code}; it has {', '.join(self.languages)}.")
        mend = "download it elsewhere and give --files [LANGUAGE=]FILE"
        return [
            (
                code,
                from_hub(
                    cache / f"{self.name}{'' if code is None else '.' + code}.parquet", self.name, self.hub,
                    self.split, self.names, mend, config=self.config.replace("{language}", code or ""),
                ),
            )
            for code in codes
        ]  # fmt: skip


def prompt_set(name: str) -> PromptSet:
    """BadInput for a name that prompt_sets.yaml does not have."""
    table = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    if name not in table:
        raise BadInput(f"--set={name}{nearest(name, table)} is none of {', '.join(table)}.")
    return PromptSet.read({"name": name, **table[name]}, f"{TABLE.name}: {name}")


@dataclass
class Read:
    """Rows of prompts as they are read, and why others were left out."""

    dropped: Counter[str] = field(default_factory=Counter)
    languages: set[str] = field(default_factory=set)
    written: dict[str, tuple[Any, Any]] = field(default_factory=dict)  # language -> its code and script in the set


def prompts(
    of: PromptSet, files: Iterable[tuple[str | None, Path]], wanted: Sequence[str], read: Read
) -> Iterator[dict[str, Any]]:
    """Rows of PROMPTS. wanted: codes; empty for all that the language table knows. Where a set has a language twice, in
    two scripts or under two codes (zho in Hans and Hant; ara and arb), the one that comes first is read.

    BadInput where a file lacks a column, a value is missing, or a wanted language is in none of the files.
    """
    columns = of.columns
    seen: dict[tuple[str, str], str] = {}  # (language, id) -> where it stands
    for code, path in files:
        file = open_file(path)
        needed = [columns.id, *([columns.language] if columns.language and not code else []), columns.prompt]
        file.require(needed, f"{of.name} has {', '.join(of.names)}")
        for number, row in file.rows(of.names):
            ident, text = row[columns.id], row[columns.prompt]
            place, ident = file.place(number), id_of(ident, file.place(number))
            if ident is None:
                raise BadInput(f"{place} has no {columns.id!r}; give it one or remove the row.")
            language = code or language_of(row[columns.language])
            written = code or row[columns.language], row.get(columns.script)
            if code and columns.language and is_other(row.get(columns.language), code, unknown=False):
                raise BadInput(f"{place} says it is {row[columns.language]}, not {code}; mend a label.")
            if language is None:
                read.dropped["unknown_language"] += 1
            elif wanted and language not in wanted:
                read.dropped["other_language"] += 1
            elif not isinstance(text, str) or not text.strip():
                read.dropped["empty"] += 1
            elif (first := read.written.setdefault(language, written)) != written:
                read.dropped["other_script" if first[1] != written[1] else "other_code"] += 1
            else:
                read.languages.add(language)
                if (before := seen.setdefault((language, ident), place)) != place:
                    raise BadInput(f"{place} has the id {ident!r} in {language}, as {before} has; give each its own.")
                yield _row(of, row, ident, language, text)
    if lacking := sorted(set(wanted) - read.languages):
        raise BadInput(f"{of.name} has no prompt in {', '.join(lacking)} there; leave it out of --languages.")


def _row(of: PromptSet, row: Mapping[str, Any], ident: str, language: str, text: str) -> dict[str, Any]:
    meta = {of.columns.id: ident} | {name: row[name] for name in of.meta if row.get(name) is not None}
    task = row.get(of.columns.task)
    return {
        "id": row_id(of.name, ident if of.id == "shared" else [language, ident]),
        "source": of.name,
        "prompt_lang": language,
        "prompt": [{"role": "user", "content": text}],
        "task": str(task) if task is not None else None,
        "split": of.split,
        "meta": json.dumps(meta, ensure_ascii=False, sort_keys=True, default=str),
    }
