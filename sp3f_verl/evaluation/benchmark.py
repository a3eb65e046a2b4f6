"""A benchmark: one YAML file that says where its problems are and how they are read. The shipped ones: benchmarks/.

benchmark = Benchmark.load("mgsm")
sources = benchmark.sources(["es"], cache)
problems = benchmark.problems("es", "", sources["es", ""])
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from sp3f_verl import languages
from sp3f_verl.data.hub import from_hub
from sp3f_verl.data.rows import row_id
from sp3f_verl.data.sets.mgsm import read_questions
from sp3f_verl.data.tables.forms import TEXT, form_of
from sp3f_verl.errors import BadInput, nearest
from sp3f_verl.evaluation.problems import LETTERS, Layout, Problem
from sp3f_verl.rewards.answers.checkers import BUILT_IN, Checker, load_checkers
from sp3f_verl.settings import Settings, mend, read_yaml, shown

SHIPPED = Path(__file__).with_name("benchmarks")
NAME = re.compile(r"\{([\w-]+)\}")
DEFAULT = {True: "multiple_choice", False: "math"}  # checkers of questions with and without choices
OWN = "own"  # what a checker of the user's is called here

Quoted = Annotated[str, Field(strict=True), mend("give a text, in quotes")]
Columns = Annotated[dict[str, str | tuple[str, ...]], mend("give a mapping such as {question: COLUMN, answer: COLUMN}")]


def names() -> list[str]:
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


class Definition(Settings):
    """What the YAML says. config, file and columns may hold {language}, {flores} and {name}, the set's name for it."""

    hub: Quoted = ""
    """A data set on the Hugging Face Hub."""
    config: Quoted = ""
    split: Quoted = "test"
    revision: Quoted = ""
    file: Quoted = ""
    """Or files beside the YAML: parquet, JSON lines or MGSM's TSV."""
    language_column: Quoted = ""
    """Where one file holds several languages: the column that says which."""
    columns: Columns
    """Our name -> the file's column: `question` and `answer`; `problem` (one or several), the same in all languages of
    a problem; and what `question` and `choices` name."""
    question: Quoted = "{question}"
    """The question's text over these names."""
    choices: Annotated[tuple[Annotated[str, Field(strict=True)], ...], mend("give a list of names")] = ()
    """The names of the options, shown as `A) ...`; `answer` is then a letter, or a number from `answer_from`."""
    answer_from: Annotated[int, Field(strict=True), mend("give a whole number")] = 1
    answer_pattern: Quoted = ""
    """A regular expression whose first group is the answer."""
    checker: Quoted = ""
    """A name of docs/rewards.md, or package.module:function; by default multiple_choice with `choices`, else math."""
    languages: Annotated[dict[str, dict[str, str]], mend("give a list of codes of the language table")]
    """Codes of the language table, or {code: the set's name}, or {code: {variant: name}}."""

    @field_validator("columns", mode="before")
    @classmethod
    def _name_columns(cls, columns: Any) -> Any:
        for name, column in columns.items() if isinstance(columns, dict) else ():
            if not isinstance(name, str):
                raise BadInput(f"`columns` has the name {name!r}; give a text, in quotes.")
            if not isinstance(column, str) and not (column and _are_texts(column)):
                raise BadInput(
                    f"`columns.{name}` is {shown(column)}; give a column's name, in quotes, or a list of such."
                )
        return columns

    @field_validator("choices")
    @classmethod
    def _can_be_lettered(cls, choices: tuple[str, ...]) -> tuple[str, ...]:
        if len(choices) == 1 or len(choices) > len(LETTERS):
            raise BadInput(f"`choices` names {len(choices)} options; name 2 to {len(LETTERS)}.")
        return choices

    @field_validator("answer_pattern")
    @classmethod
    def _has_one_group(cls, pattern: str) -> str:
        try:
            groups = re.compile(pattern or "()").groups
        except re.error as error:
            raise BadInput(f"`answer_pattern` is no regular expression ({error}); mend it.") from None
        if groups != 1:
            raise BadInput(f"`answer_pattern` has {groups} groups; give it one, the answer.")
        return pattern

    @field_validator("languages", mode="before")
    @classmethod
    def _in_full(cls, given: Any) -> dict[str, dict[str, str]]:
        """language -> variant ("" for the only one) -> the set's name."""
        if not isinstance(given, list | dict) or not given:
            raise BadInput(f"`languages` is {shown(given)}; give a list of codes of the language table.")
        variants = {}
        for entry in given if isinstance(given, list) else [given]:
            for code, name in entry.items() if isinstance(entry, dict) else [(entry, entry)]:
                variants[code] = _variants(code, name)
        return dict(sorted(variants.items()))

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if bool(self.hub) == bool(self.file):
            raise BadInput("give either `hub` or `file`.")
        for name in ("answer", *self.choices, *NAME.findall(self.question)):
            if name not in self.columns:
                known = nearest(name, self.columns)
                raise BadInput(f"`columns` has no {name!r}{known}; say which column of the set it is.")
        return self


def _variants(code: Any, name: Any) -> dict[str, str]:
    if code is False or name is False:
        raise BadInput('`languages` has False, as YAML reads a bare no; write "no" in quotes.')
    languages.get(code)
    variants = name if isinstance(name, dict) else {"": name}
    if not variants:
        raise BadInput(f"`languages` has no variant of {code!r}; give {{variant: name}}.")
    for text in (*variants, *variants.values()):
        if not isinstance(text, str):
            raise BadInput(f"`languages` names the set of {code!r} {shown(text)}; give a text, in quotes.")
    return variants


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


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
        definition = self.definition
        columns = {name: self._columns(column, language, variant) for name, column in definition.columns.items()}
        pattern, only = definition.answer_pattern, definition.language_column
        layout = Layout(
            name=self.name,
            language=language,
            variant=variant,
            columns=columns,
            question=definition.question,
            choices=definition.choices,
            answer_pattern=re.compile(pattern) if pattern else None,
            answer_from=definition.answer_from,
            checker=self.checker,
            only=(only, self.variants[language][variant]) if only else None,
        )
        if form_of(path) != TEXT:
            return layout.read(path)
        if extra := set(columns) - {"question", "answer"}:
            raise BadInput(
                f"{path} is a TSV file of questions and answers, and {self.name} has {sorted(extra)[0]!r} too."
            )
        named = [columns["question"], columns["answer"]]
        rows = enumerate(read_questions(path), 1)
        return layout.problems((f"{path}, line {at}", dict(zip(named, row, strict=True))) for at, row in rows)

    def _columns(self, column: str | tuple[str, ...], language: str, variant: str) -> str | tuple[str, ...]:
        if isinstance(column, str):
            return self._filled(column, language, variant)
        return tuple(self._filled(name, language, variant) for name in column)

    def _source(self, language: str, variant: str, cache: Path) -> Path:
        if (given := self._file(language, variant)) is not None:
            return given
        definition = self.definition
        if definition.file:
            return self.path.parent / self._filled(definition.file, language, variant)
        config, revision, split = definition.config, definition.revision, definition.split
        config = self._filled(config, language, variant)
        filled = [self._columns(column, language, variant) for column in definition.columns.values()]
        columns = {name for column in filled for name in ([column] if isinstance(column, str) else column)}
        columns = sorted({*columns, *filter(None, [definition.language_column])})
        digest = row_id(definition.hub, columns)  # a YAML that was changed is another set under the same name
        place = "-".join(filter(None, [config, split, revision, variant, language, digest]))
        remedy = f"give the file by --file {self.name}:{language}=FILE"
        path = cache / self.name / f"{place}.parquet"
        return from_hub(path, self.name, definition.hub, split, columns, remedy, config or None, revision or None)

    def _filled(self, text: str, language: str, variant: str) -> str:
        known = {"language": language, "flores": languages.get(language).flores}
        known["name"] = self.variants[language][variant]
        return NAME.sub(lambda match: known.get(match[1], match[0]), text)
