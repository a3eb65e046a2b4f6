"""What a benchmark's YAML file says: where its problems are and how they are read."""

import re
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from sp3f_verl import languages
from sp3f_verl.errors import BadInput, nearest
from sp3f_verl.settings import Settings, mend, shown

LETTERS = "ABCDEFGHIJ"  # of options
NAME = re.compile(r"\{([\w-]+)\}")

Quoted = Annotated[str, Field(strict=True), mend("give a text, in quotes")]
Columns = Annotated[dict[str, tuple[str, ...]], mend("give a mapping such as {question: COLUMN, answer: COLUMN}")]


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
    def _in_lists(cls, columns: Any) -> Any:
        """A column alone is a list of one."""
        if not isinstance(columns, dict):
            return columns
        for name, column in columns.items():
            if not isinstance(name, str):
                raise BadInput(f"`columns` has the name {name!r}; give a text, in quotes.")
            if not isinstance(column, str) and not (column and _are_texts(column)):
                raise BadInput(
                    f"`columns.{name}` is {shown(column)}; give a column's name, in quotes, or a list of such."
                )
        return {name: (column,) if isinstance(column, str) else tuple(column) for name, column in columns.items()}

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
