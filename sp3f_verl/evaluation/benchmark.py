"""A benchmark: one YAML file that says where its problems are and how they are read. The shipped ones: benchmarks/.

benchmark = Benchmark.load("mgsm")
sources = benchmark.sources(["es"], cache)
problems = benchmark.problems("es", "", sources["es", ""])
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sp3f_verl import languages
from sp3f_verl.data.hub import from_hub
from sp3f_verl.data.rows import row_id, text_of
from sp3f_verl.data.sets.mgsm import question_rows
from sp3f_verl.data.tables import open_file
from sp3f_verl.data.tables.forms import TEXT, form_of
from sp3f_verl.errors import BadInput, nearest
from sp3f_verl.evaluation.definition import LETTERS, NAME, Definition
from sp3f_verl.evaluation.problems import Problem, distinct
from sp3f_verl.languages.written import LABELS, is_other
from sp3f_verl.rewards.answers.checkers import BUILT_IN, Checker, load_checkers
from sp3f_verl.settings import read_yaml

SHIPPED = Path(__file__).with_name("benchmarks")
DEFAULT = {True: "multiple_choice", False: "math"}  # checkers of questions with and without choices
OWN = "own"  # what a checker of the user's is called here
Choices = tuple[tuple[str, str], ...]  # (letter, text) of each option


def names() -> list[str]:
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def _checkers(checker: str, allow_code: bool) -> tuple[str, dict[str, Checker]]:
    """(the checker's name, all that there are by name). A file may name any function: its user must allow it."""
    if checker not in BUILT_IN and ":" not in checker:
        raise BadInput(f"`checker` is {checker!r}{nearest(checker, BUILT_IN)}; name one of {', '.join(BUILT_IN)}.")
    if checker not in BUILT_IN and not allow_code:
        raise BadInput(f"`checker` {checker!r} is code that would run here; give --allow-code where you trust it.")
    try:
        return (checker, load_checkers({})) if checker in BUILT_IN else (OWN, load_checkers({OWN: checker}))
    except BadInput as error:  # it names the run's config, where this stands in a file
        raise BadInput(str(error).replace(f"sp3f.reward.checkers.{OWN}=", "`checker` ")) from None


@dataclass
class Benchmark:
    """The YAML at `path`. files: the user's in place of its own, by `language`, `language.variant` or `all`."""

    path: Path
    definition: Definition
    checker: str
    checkers: dict[str, Checker]
    files: dict[str, Path] = field(default_factory=dict)

    def __post_init__(self):
        self.variants = dict(self.definition.languages)
        self.every = tuple(self.variants)  # whichever `files` are given: an answer may be in any of its languages

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(self.variants)

    @classmethod
    def load(cls, name: str, allow_code: bool = False) -> "Benchmark":
        """By the name of a shipped one, or the path of a YAML file. BadInput for any other, and for what is wrong."""
        path = SHIPPED / f"{name}.yaml"
        if name not in names():
            path = Path(name)
            if path.suffix not in (".yaml", ".yml") or not path.is_file():
                raise BadInput(
                    f"--benchmark={name} is none{nearest(name, names())}; the shipped ones are {', '.join(names())}, "
                    "and one of your own is the path of its YAML file (docs/evaluation.md)."
                )
        content = read_yaml(path)
        try:
            if not isinstance(content, dict):
                raise BadInput("a benchmark is a mapping of keys, see docs/evaluation.md.")
            definition = Definition.read(content, "")
            return cls(
                path, definition, *_checkers(definition.checker or DEFAULT[bool(definition.choices)], allow_code)
            )
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
            code: {variant: name for variant, name in variants.items() if self._file(code, variant)}
            for code, variants in self.variants.items()
        }
        for code, variants in given.items():
            paths = {self._file(code, variant) for variant in variants}
            if len(paths) == 1 < len(variants) and paths.pop().suffix == ".tsv":  # it has one column of questions
                given[code] = dict([next(iter(variants.items()))])
        self.variants = {code: variants for code, variants in given.items() if variants}

    # ---- where the problems are ------------------------------------------------------------------------------------

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

    def _source(self, language: str, variant: str, cache: Path) -> Path:
        if (given := self._file(language, variant)) is not None:
            return given
        definition = self.definition
        if definition.file:
            return self.path.parent / self._filled(definition.file, language, variant)
        config, revision, split = definition.config, definition.revision, definition.split
        config = self._filled(config, language, variant)
        columns = sorted(set(self._read_columns(self._columns(language, variant))))
        digest = row_id(definition.hub, columns)  # a YAML that was changed is another set under the same name
        place = "-".join(filter(None, [config, split, revision, variant, language, digest]))
        remedy = f"give the file by --file {self.name}:{language}=FILE"
        path = cache / self.name / f"{place}.parquet"
        return from_hub(path, self.name, definition.hub, split, columns, remedy, config or None, revision or None)

    def _filled(self, text: str, language: str, variant: str) -> str:
        known = {"language": language, "flores": languages.get(language).flores}
        known["name"] = self.variants[language][variant]
        return NAME.sub(lambda match: known.get(match[1], match[0]), text)

    # ---- how they are read -----------------------------------------------------------------------------------------

    def problems(self, language: str, variant: str, path: Path) -> list[Problem]:
        """BadInput where the file cannot be read, or lacks a column, or a row a value."""
        columns = self._columns(language, variant)
        problems, places = [], {}
        for position, (place, row) in enumerate(self._rows(path, language, variant, columns)):
            texts = {
                name: "\0".join(text_of(row[part], f"{place}: {part!r}") for part in parts)
                for name, parts in columns.items()
            }
            problem = self._problem(place, position, texts, language, variant)
            if "problem" in texts and (before := places.setdefault(problem.problem, place)) != place:
                key = problem.problem.replace("\0", " ")
                raise BadInput(
                    f"{place} is the problem {key!r}, as {before} is; map `problem` to what tells them apart."
                )
            problems.append(problem)
        if not problems:
            column = self.definition.language_column
            which = f" with {column} {self.variants[language][variant]!r}" if column else ""
            raise BadInput(f"{path} has no rows{which}; give a file with at least one.")
        return distinct(problems)

    def _columns(self, language: str, variant: str) -> dict[str, tuple[str, ...]]:
        """Our name -> the file's columns."""
        return {
            name: tuple(self._filled(column, language, variant) for column in columns)
            for name, columns in self.definition.columns.items()
        }

    def _read_columns(self, columns: Mapping[str, tuple[str, ...]]) -> list[str]:
        only = self.definition.language_column
        return [*(part for parts in columns.values() for part in parts), *([only] if only else [])]

    def _rows(
        self, path: Path, language: str, variant: str, columns: Mapping[str, tuple[str, ...]]
    ) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """(where it stands, the row under the file's names) of those that are this language's."""
        if form_of(path) == TEXT:
            if extra := set(columns) - {"question", "answer"}:
                raise BadInput(
                    f"{path} is a TSV file of questions and answers, and {self.name} has {sorted(extra)[0]!r} too."
                )
            for place, row in question_rows(path):
                yield place, {columns[name][0]: text for name, text in row.items()}
            return
        file, only = open_file(path), self.definition.language_column
        wanted = self._read_columns(columns)
        file.require(wanted, f"the benchmark {self.name} reads it for {language}")
        labels = () if only else [name for name in LABELS if name not in wanted]
        for number, row in file.rows([*wanted, *labels]):
            for name in labels:
                if is_other(row.get(name), language, unknown=False):  # python, say
                    raise BadInput(f"{file.place(number)} says that it is {row[name]}, not {language}; mend the label.")
            if not only or row[only] == self.variants[language][variant]:
                yield file.place(number), row

    def _problem(self, place: str, position: int, texts: Mapping[str, str], language: str, variant: str) -> Problem:
        question = NAME.sub(lambda match: texts[match[1]], self.definition.question)
        choices = tuple((letter, texts[name]) for letter, name in zip(LETTERS, self.definition.choices, strict=False))
        gold = self._gold(texts["answer"], choices, place)
        key = [language, variant, *([texts["problem"]] if "problem" in texts else [question, gold])]
        if choices:
            question += "\n\n" + "\n".join(f"{letter}) {text}" for letter, text in choices)
        turns = {"system": languages.get(language).instruction, "user": question}
        return Problem(
            id=row_id(self.name, key),
            problem=texts.get("problem", str(position)),  # rows are parallel where the set has no key of its own
            language=language,
            messages=[{"role": role, "content": content} for role, content in turns.items()],
            gold=gold,
            checker=self.checker,
            variant=variant,
            choices=choices,
        )

    def _gold(self, answer: str, choices: Choices, place: str) -> str:
        if pattern := self.definition.answer_pattern:
            match = re.search(pattern, answer)
            if match is None:
                raise BadInput(f"{place}: the answer {answer[-40:]!r} has no {pattern!r}; mend it.")
            answer = match[1]
        if not choices:
            return answer
        numbers = {str(at): letter for at, (letter, _) in enumerate(choices, self.definition.answer_from)}
        letter = numbers.get(answer, answer)
        if letter not in dict(choices):
            raise BadInput(
                f"{place}: the answer {answer!r} is none of {', '.join([*dict(choices), *numbers])}; mend it."
            )
        return f"{letter}::{dict(choices)[letter]}"
