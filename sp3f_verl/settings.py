"""One schema for every file and config that a user writes: a pydantic model, and one sentence where it does not fit.

    class Transcript(Settings):
        '''Where the judge's questions and answers are written down.'''

        path: Text | None = None
        share: Annotated[Number, Field(ge=0, le=1), mend("set it to a share from 0 to 1")] = 0.0

    Transcript.read({"share": 2}, "sp3f.judge.transcript")   # BadInput: sp3f.judge.transcript.share=2; set it to ...

The types below take what YAML and the command line give: a number for a text, 3.0 for a whole number, but no boolean
for a number and no text for one. Other failures of a field carry their own words: a validator raises `BadInput` with a
whole sentence, or `ValueError` with what follows the value ("is no price; give USD per million tokens").
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Self, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from sp3f_verl.errors import BadInput, nearest

LONGEST = 200  # characters of a user's value that a sentence shows


def read_yaml(path: Path, what: str = "it") -> Any:
    """A YAML file's content. BadInput, one sentence with the file, for one that cannot be read or nests too deeply."""
    import yaml  # here, so that importing the package stays cheap in every worker

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except RecursionError:
        reason = "it is nested too deeply"
    except (OSError, ValueError, yaml.YAMLError) as error:  # ValueError: the encoding, a number or date that is none
        reason = _one_line(str(error)).rstrip(".")
    raise BadInput(f"{path}: {what} cannot be read as YAML ({_cut(reason)}); mend the file.")


class mend(str):
    """What to do where a field's value does not fit, as the end of its sentence."""


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("is not a text; give one")
    return str(value)


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("is blank; write a text that is not empty")
    return text


def _whole(value: Any) -> int:
    if type(value) is int:
        return value
    if not isinstance(value, float) or not value.is_integer():
        raise ValueError("is not a whole number; give one")
    return int(value)


def _number(value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool) or not isinstance(value, int | float) else float(value)
    except OverflowError:  # a float has a limit, an integer none
        number = math.inf
    if not math.isfinite(number):
        raise ValueError("is not a number; give one")
    return number


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("is neither true nor false; give one of them")
    return value


Text = Annotated[str, BeforeValidator(_text)]
Whole = Annotated[int, BeforeValidator(_whole)]
Number = Annotated[float, BeforeValidator(_number)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Filled = Annotated[Text, AfterValidator(_not_blank)]


class Settings(BaseModel):
    """Settings that a user writes: unknown keys are refused, values are checked, and nothing changes afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, protected_namespaces=())

    @classmethod
    def read(cls, values: Any, place: str) -> Self:
        """The settings of a plain mapping; `place` names it in sentences. Raises BadInput, one sentence."""
        if not isinstance(values, Mapping):
            raise BadInput(f"{place}={shown(values)} is not a mapping; write {place}={{name: value}}.")
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise BadInput(sentence(cls, error, place)) from None


def sentence(model: type[BaseModel], error: ValidationError, place: str) -> str:
    """The first failure of a pydantic model as one sentence: the field, the value, the mend, and the nearest name."""
    first = error.errors(include_url=False)[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, BadInput):
        return str(cause)
    path, owner, field = _place_of(model, first["loc"])
    where = _one_line(".".join([place, *path] if place else path))
    value, kind = shown(first["input"]), first["type"]
    if kind in ("extra_forbidden", "invalid_key"):
        return f"{where} does not exist{nearest(path[-1], _names(owner))}; remove it or rename it."
    remedy = next((entry for entry in field.metadata if isinstance(entry, mend)), None) if field else None
    if kind == "missing":
        return f"{where} is missing; {remedy or 'give it a value'}."
    if first["input"] is None and cause is not None:
        return f"{where} is null; {remedy or 'give it a value'}."
    if remedy is not None:
        return f"{where}={value}; {remedy}."
    if cause is not None:
        return f"{where}={value} {_one_line(str(cause)).rstrip('.')}."
    if kind in ("literal_error", "enum"):
        name, known = _one_line(_cut(str(first["input"]))), _choices(field)
        return f"{where}={name}{nearest(name, known)}; it is one of {', '.join(known)}."
    if kind in ("dict_type", "mapping_type", "model_type"):
        return f"{where}={value} is not a mapping; write {where}={{name: value}}."
    if kind in ("list_type", "tuple_type"):
        return f"{where}={value} is not a list; write {where}=[value]."
    return f"{where}={value}: {first['msg'][0].lower()}{_one_line(first['msg'][1:])}; mend it."


def _names(model: type[BaseModel]) -> list[str]:
    """The keys that a user may write."""
    return sorted(field.alias or name for name, field in model.model_fields.items())


def shown(value: Any) -> str:
    """A value of the user's as a sentence shows it: its repr, of at most LONGEST characters."""
    try:
        return _cut(repr(value))
    except (ValueError, RecursionError):  # a number of more digits than Python writes
        return f"a {type(value).__name__}"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _one_line(text: str) -> str:
    return " ".join(text.split()) if text.splitlines() != [text] else text


def _place_of(model: type[BaseModel], loc: Iterable[int | str]) -> tuple[list[str], type[BaseModel], FieldInfo | None]:
    """(the names of a failure's place, without pydantic's marks; the innermost model there; its field)."""
    path: list[str] = []
    owner, field, annotation = model, None, model
    for part in loc:
        annotation = _bare(annotation)
        origin, arguments = get_origin(annotation), get_args(annotation)
        if isinstance(annotation, type) and origin is None and issubclass(annotation, BaseModel):
            owner, field = annotation, annotation.model_fields.get(str(part))
            path.append(str(part))
            annotation = field.annotation if field else None
        elif origin in (Union, UnionType):  # the part is pydantic's name of the branch
            annotation = next((branch for branch in arguments if getattr(branch, "__name__", "") == part), None)
        elif isinstance(part, int):
            path[-1:] = [f"{path[-1] if path else ''}[{part}]"]
            annotation = arguments[0] if arguments else None
        elif part != "[key]" and isinstance(origin, type) and issubclass(origin, Mapping):
            path.append(_cut(part))
            annotation = arguments[1]
    return path, owner, field


def _bare(annotation: Any) -> Any:
    """`X` for `Annotated[X, ...]` and for `X | None`."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        rest = [part for part in get_args(annotation) if part is not type(None)]
        return _bare(rest[0]) if len(rest) == 1 else annotation
    return annotation


def _choices(field: FieldInfo | None) -> list[str]:
    return [str(choice) for choice in get_args(_bare(field.annotation if field else None)) if choice is not None]
