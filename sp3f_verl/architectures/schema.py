"""The keys of an architecture's YAML, as pydantic settings. `plan.py` says what they mean together."""

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from sp3f_verl.settings import Settings, Text, Whole, mend

ROLES = ("prompt", "chosen", "rejected")
LANGUAGE_SHARE = 0.7  # of a text's letters that are in its language, below which the row is left out


@dataclass(frozen=True)
class Role:
    """How a text is made: copied, translated from the English text of `of`, or generated from the new prompt."""

    how: str  # copy, translate, generate
    model: str = ""
    of: str = ""
    min_language_share: float = LANGUAGE_SHARE


def _share(value: Any) -> float:
    if _weight(value) > 1:
        raise ValueError("is no share; give one from 0 to 1")
    return float(value)


def _weight(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or value < 0:
        raise ValueError("does not count; give a number of 0 or more")
    return float(value)


def _shares(value: Any) -> Any:
    is_list = isinstance(value, list) and all(isinstance(code, str) for code in value)
    return dict.fromkeys(value, 1) if is_list else value


def _way(value: Any) -> Any:
    return {"copy": True} if value == "copy" else value


Share = Annotated[float, BeforeValidator(_share)]
Weight = Annotated[float, BeforeValidator(_weight)]


class AnswerRole(Settings):
    """How the file says that an answer is made: one of copy, translate and generate."""

    ways: ClassVar[tuple[str, ...]] = ("copied", "translate", "generate")

    copied: Any = Field(None, alias="copy")
    translate: Text | None = None
    generate: Text | None = None
    of: Literal["chosen", "rejected"] | None = None
    min_language_share: Share | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        named = [way for way in AnswerRole.ways if getattr(self, way) is not None]
        if len(named) != 1 or named[0] not in self.ways:
            raise ValueError  # the field's mend says the rest
        return self

    @field_validator("of", mode="after")
    @classmethod
    def _of_a_text(cls, of: str | None, info: ValidationInfo) -> str | None:
        if of is not None and info.data.get("generate") is not None:
            raise ValueError("is for what is copied or translated; remove it")
        return of

    def role(self, name: str, share: float | None) -> Role:
        """share: of the whole config, where the role says none."""
        how = next(way for way in self.ways if getattr(self, way) is not None)
        shares = (self.min_language_share, share, LANGUAGE_SHARE)
        least = next(value for value in shares if value is not None)
        return Role("copy" if how == "copied" else how, self.translate or self.generate or "", self.of or name, least)


class PromptRole(AnswerRole):
    """How the file says that a prompt is made: copied, or translated."""

    ways: ClassVar[tuple[str, ...]] = ("copied", "translate")

    of: Literal["prompt"] | None = None


MEND_ANSWER = mend("say one of copy, translate and generate")


class Architecture(Settings):
    """A config file: its three roles, or a mix of other configs."""

    name: Text | None = None
    mix: dict[str, Weight] | None = None
    languages: Annotated[dict[str, Share] | None, BeforeValidator(_shares)] = None
    english: Literal["copy", "architecture"] = "copy"
    seed: Whole = 1
    min_language_share: Share | None = None
    prompt: Annotated[PromptRole | None, BeforeValidator(_way), mend("say one of copy, translate")] = None
    chosen: Annotated[AnswerRole | None, BeforeValidator(_way), MEND_ANSWER] = None
    rejected: Annotated[AnswerRole | None, BeforeValidator(_way), MEND_ANSWER] = None
    models: dict[str, Any] = Field(default_factory=dict)
