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
from types import UnionType
from typing import Annotated, Any, Self, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from sp3f_verl.errors import BadInput, nearest


class mend(str):
    """What to do where a field's value does not fit, as the end of its sentence."""


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("is not a text; give one")
    return str(value)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value % 1:
        raise ValueError("is not a whole number; give one")
    return int(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("is not a number; give one")
    return float(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("is neither true nor false; give one of them")
    return value


Text = Annotated[str, BeforeValidator(_text)]
Whole = Annotated[int, BeforeValidator(_whole)]
Number = Annotated[float, BeforeValidator(_number)]
Flag = Annotated[bool, BeforeValidator(_flag)]


class Settings(BaseModel):
    """Settings that a user writes: unknown keys are refused, values are checked, and nothing changes afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, protected_namespaces=())

    @classmethod
    def read(cls, values: Any, place: str) -> Self:
        """The settings of a plain mapping; `place` names it in sentences. Raises BadInput, one sentence."""
        if not isinstance(values, Mapping):
            raise BadInput(f"{place}={values!r} is not a mapping; write {place}={{name: value}}.")
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
    path, fields, owner = _named(model, first["loc"])
    where = ".".join([place, *path]) if place else ".".join(path)
    value, kind = first["input"], first["type"]
    if kind == "extra_forbidden":
        return f"{where} does not exist{nearest(path[-1], fields)}; remove it or rename it."
    if kind == "missing":
        return f"{where} is missing; give it a value."
    told = next((entry for entry in _metadata(owner, path[-1] if path else "") if isinstance(entry, mend)), None)
    if value is None and cause is not None:
        return f"{where} is null; {told or 'give it a value'}."
    if told is not None:
        return f"{where}={value!r}; {told}."
    if cause is not None:
        return f"{where}={value!r} {str(cause).rstrip('.')}."
    if kind in ("literal_error", "enum"):
        known = _choices(owner, path[-1])
        return f"{where}={value}{nearest(str(value), known)}; it is one of {', '.join(known)}."
    if kind in ("dict_type", "mapping_type", "model_type"):
        return f"{where}={value!r} is not a mapping; write {where}={{name: value}}."
    if kind in ("list_type", "tuple_type"):
        return f"{where}={value!r} is not a list; write {where}=[value]."
    return f"{where}={value!r}: {first['msg'][0].lower()}{first['msg'][1:]}; mend it."


def _named(model: type[BaseModel], loc: Iterable[int | str]) -> tuple[list[str], list[str], type[BaseModel]]:
    """The names of a failure's place without pydantic's own marks, the names known there, and the model that has it."""
    path: list[str] = []
    owner: type[BaseModel] = model
    inner: Any = model
    for part in loc:
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            owner = inner
            path.append(str(part))
            field = inner.model_fields.get(str(part))
            inner = _without_none(field.annotation) if field else None
            continue
        if isinstance(part, int):
            path[-1:] = [f"{path[-1] if path else ''}[{part}]"]
        else:
            found = _model_named(inner, part)
            if found is not None or part in ("[key]", "str", "int", "float", "bool") or "[" in part or "-" in part:
                inner = found or inner  # a branch of a union, or a mark of pydantic's
                continue
            path.append(part)
        inner = next((each for each in _models(inner)), None)
    return path, sorted(owner.model_fields), owner


def _without_none(annotation: Any) -> Any:
    """`X` for `X | None`."""
    if get_origin(annotation) not in (Union, UnionType):
        return annotation
    rest = [part for part in get_args(annotation) if part is not type(None)]
    return rest[0] if len(rest) == 1 else annotation


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and not get_args(annotation):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [model for part in get_args(annotation) for model in _models(part)]


def _model_named(annotation: Any, name: str) -> type[BaseModel] | None:
    return next((model for model in _models(annotation) if model.__name__ == name), None)


def _metadata(owner: type[BaseModel], name: str) -> list[Any]:
    field = owner.model_fields.get(name.split("[")[0])
    return list(field.metadata) if field else []


def _choices(owner: type[BaseModel], name: str) -> list[str]:
    field = owner.model_fields.get(name.split("[")[0])
    parts = [field.annotation] if field else []
    if parts and get_origin(parts[0]) in (Union, UnionType):
        parts = list(get_args(parts[0]))
    return [str(choice) for part in parts for choice in get_args(part) if choice is not None]
