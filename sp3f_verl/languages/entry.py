"""One entry of a language table, checked: the head of `table.yaml` says what each field means."""

import re
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from sp3f_verl.settings import Filled, Flag, Settings, Text, mend

CODE = re.compile(r"[a-z]{2,3}")
QUICKSTART_LENGTH = 3  # the two lists of a quickstart block run parallel across languages
#: The templates of a quickstart block and the placeholders each holds (a placeholder may stand twice).
QUICKSTART_TEMPLATES = {
    "add_question": {"name", "object", "a", "b"},
    "add_answer": {"name", "object", "work"},
    "sub_question": {"name", "object", "a", "b"},
    "sub_answer": {"name", "object", "work"},
    "sum_question": {"work"},
    "sum_answer": {"work"},
}
_PLACEHOLDER = re.compile(r"\{(\w+)\}")

_ITEMS = mend("write a list of texts (quote the code 'no': YAML reads it as false)")
Items = Annotated[tuple[Annotated[str, Field(min_length=1, strict=True)], ...], _ITEMS]
_WORDS = mend(f"write a list of {QUICKSTART_LENGTH} words")
Words = Annotated[
    tuple[Annotated[str, Field(min_length=1, strict=True)], ...],
    Field(min_length=QUICKSTART_LENGTH, max_length=QUICKSTART_LENGTH),
    _WORDS,
]


class Quickstart(Settings):
    """Names, things to count and templates of `make train`'s sums."""

    names: Words
    objects: Words
    add_question: Text
    add_answer: Text
    sub_question: Text
    sub_answer: Text
    sum_question: Text
    sum_answer: Text

    @field_validator(*QUICKSTART_TEMPLATES)
    @classmethod
    def _holds_its_placeholders(cls, template: str, info: ValidationInfo) -> str:
        wanted = QUICKSTART_TEMPLATES[info.field_name]
        if set(_PLACEHOLDER.findall(template)) != wanted or re.search(r"[{}\n]", _PLACEHOLDER.sub("", template)):
            named = " ".join(f"{{{name}}}" for name in sorted(wanted))
            raise ValueError(f"must be one line with exactly the placeholders {named}")
        return template


class Language(Settings):
    """What is known of a language; hashable, and equal where all fields are."""

    code: Filled
    iso639_3: Filled
    flores: Filled
    locale: Filled
    scripts: Annotated[Items, Field(min_length=1), mend("name at least one script, in a list")]
    english_name: Filled
    native_name: Filled
    decimal_comma: Flag
    confusables: Items
    instruction: Filled
    answer_sentence: Filled
    labels: Items = ()
    markers: Items = ()
    quickstart: Quickstart | None = None

    @field_validator("confusables")
    @classmethod
    def _are_other_codes(cls, confusables: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for other in confusables:
            if not CODE.fullmatch(other) or other == info.data.get("code"):
                raise ValueError(f"holds {other!r}, which is not the code of another language")
        return confusables

    @field_validator("instruction")
    @classmethod
    def _asks_for_the_box(cls, instruction: str) -> str:
        if r"\boxed{}" not in instruction:
            raise ValueError(r"must hold the command \boxed{} exactly so")
        return instruction

    @field_validator("answer_sentence")
    @classmethod
    def _has_one_place(cls, sentence: str) -> str:
        if sentence.count("{answer}") != 1:
            raise ValueError("must hold the placeholder {answer} exactly once")
        return sentence
