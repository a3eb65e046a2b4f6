"""A benchmark: one YAML file that says where its problems are and how they are read. The shipped ones: benchmarks/.

hub, config, split, revision   a data set on the Hugging Face Hub
file                           or files beside the YAML: parquet, JSON lines or MGSM's TSV
language_column                where one file holds several languages: the column that says which
columns                        our name -> the file's column: `question` and `answer`; `problem` (one or several), the
                               same in all languages of a problem; and what `question` and `choices` name
question                       the question's text over these names (default "{question}")
choices                        the names of the options, which are shown as `A) ...`; `answer` is then a letter, or a
                               number from `answer_from` (default 1)
answer_pattern                 a regular expression whose first group is the answer
checker                        a name of docs/rewards.md, or package.module:function
languages                      codes of the language table, or {code: the set's name}, or {code: {variant: name}}

config, file and columns may hold {language}, {flores} and {name}, the set's name for the language.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sp3f_verl import languages
from sp3f_verl.data.hub import from_hub
from sp3f_verl.data.rows import row_id
from sp3f_verl.data.sets.mgsm import read_questions
from sp3f_verl.errors import BadInput, nearest
from sp3f_verl.evaluation.benchmark_yaml import NAME, checked
from sp3f_verl.evaluation.problems import Layout, Problem
from sp3f_verl.rewards.checkers import Checker

SHIPPED = Path(__file__).with_name("benchmarks")


def names() -> list[str]:
    return sorted(each.stem for each in SHIPPED.glob("*.yaml"))


@dataclass
class Benchmark:
    """The YAML at `path`, checked. files: the user's in its place, by `language`, `language.variant` or `all`."""

    path: Path
    told: Mapping[str, Any]
    variants: dict[str, dict[str, str]]  # language -> variant ("" for the only one) -> the set's name
    checker: str
    checkers: dict[str, Checker]
    files: dict[str, Path] = field(default_factory=dict)
    every: tuple[str, ...] = ()  # all its languages, whichever `files` are given: an answer may be in any of them

    def __post_init__(self):
        self.every = tuple(self.variants)

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(self.variants)

    @classmethod
    def load(cls, name: str) -> "Benchmark":
        """By the name of a shipped one, or the path of a YAML file. BadInput for any other, and for what is wrong."""
        path = SHIPPED / f"{name}.yaml"
        if name not in names():
            path = Path(name)
            if path.suffix not in (".yaml", ".yml") or not path.is_file():
                raise BadInput(
                    f"--benchmark={name} is none{nearest(name, names())}; the shipped ones are {', '.join(names())}, "
                    "and one of your own is the path of its YAML file (docs/evaluation.md)."
                )
        try:
            told = yaml.safe_load(path.read_text(encoding="utf-8"))
            return cls(path, *checked(told))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise BadInput(f"{path} cannot be read as YAML: {' '.join(str(error).split())}.") from None
        except ValueError as error:  # its sentences name the key
            raise BadInput(f"{path}: {error}") from None

    def read_from(self, files: Mapping[str, Path]) -> None:
        """Problems from these files alone, and only in the languages that they are for; nothing is downloaded."""
        for place in files:
            code, _, variant = place.partition(".")
            if place != "all" and (code not in self.variants or (variant and variant not in self.variants[code])):
                raise BadInput(
                    f"--file {self.name}:{place}: it is not there; {self.name} has {', '.join(self.languages)}."
                )
        self.files = dict(files)
        given = {
            code: {variant: name for variant, name in own.items() if self._file(code, variant)}
            for code, own in self.variants.items()
        }
        for code, own in given.items():
            paths = {self._file(code, variant) for variant in own}
            if len(paths) == 1 < len(own) and paths.pop().suffix == ".tsv":  # it has one column of questions
                given[code] = dict([next(iter(own.items()))])
        self.variants = {code: own for code, own in given.items() if own}

    def _file(self, language: str, variant: str) -> Path | None:
        places = (f"{language}.{variant}", language, "all")
        return next((self.files[place] for place in places if place in self.files), None)

    def sources(self, wanted: Iterable[str], cache: Path) -> dict[tuple[str, str], Path]:
        """(language, variant) -> the file of its problems; what is on the Hub is downloaded into `cache`."""
        return {
            (language, variant): self._source(language, variant, cache)
            for language in wanted
            for variant in self.variants[language]
        }

    def problems(self, language: str, variant: str, path: Path) -> list[Problem]:
        """BadInput where the file cannot be read, or lacks a column."""
        columns = {name: self._columns(told, language, variant) for name, told in self.told["columns"].items()}
        pattern, only = self.told.get("answer_pattern"), self.told.get("language_column")
        layout = Layout(
            name=self.name,
            language=language,
            variant=variant,
            columns=columns,
            question=self.told.get("question", "{question}"),
            choices=tuple(self.told.get("choices", ())),
            answer_pattern=re.compile(pattern) if pattern else None,
            answer_from=self.told.get("answer_from", 1),
            checker=self.checker,
            only=only and (only, self.variants[language][variant]),
        )
        if path.suffix != ".tsv":
            return layout.read(path)
        if extra := set(columns) - {"question", "answer"}:
            raise BadInput(
                f"{path} is a TSV file of questions and answers, and {self.name} has {sorted(extra)[0]!r} too."
            )
        named = [columns["question"], columns["answer"]]
        rows = enumerate(read_questions(path), 1)
        return layout.problems((f"{path}, line {at}", dict(zip(named, row, strict=True))) for at, row in rows)

    def _columns(self, told: str | list[str], language: str, variant: str) -> str | tuple[str, ...]:
        if isinstance(told, str):
            return self._filled(told, language, variant)
        return tuple(self._filled(each, language, variant) for each in told)

    def _source(self, language: str, variant: str, cache: Path) -> Path:
        if (own := self._file(language, variant)) is not None:
            return own
        if "file" in self.told:
            return self.path.parent / self._filled(self.told["file"], language, variant)
        config = self.told.get("config") and self._filled(self.told["config"], language, variant)
        revision, split = self.told.get("revision"), self.told.get("split", "test")
        every = [self._columns(each, language, variant) for each in self.told["columns"].values()]
        columns = {name for each in every for name in ([each] if isinstance(each, str) else each)}
        columns = sorted({*columns, *filter(None, [self.told.get("language_column")])})
        told = row_id(self.told["hub"], columns)  # a YAML that was changed is another set under the same name
        place = "-".join(filter(None, [config, split, revision, variant, language, told]))
        mend = f"give the file by --file {self.name}:{language}=FILE"
        return from_hub(
            cache / self.name / f"{place}.parquet", self.name, self.told["hub"], split, columns, mend, config, revision
        )

    def _filled(self, text: str, language: str, variant: str) -> str:
        known = {"language": language, "flores": languages.get(language).flores}
        known["name"] = self.variants[language][variant]
        return NAME.sub(lambda match: known.get(match[1], match[0]), text)
