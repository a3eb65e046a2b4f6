"""Pairwise judging of a group of responses, and the table of the kinds of judge.

settings = read_settings({"name": "openai", "base_url": "http://localhost:8000/v1"})
service = JudgeService(settings)                   # judge/service.py: opens, asks and counts for a whole run
parse_verdict(text), win_rates(n, verdicts)        # the pure core
"""

import importlib
from collections.abc import Mapping
from typing import Any

from sp3f_verl.errors import BadInput, nearest
from sp3f_verl.judge.aggregate import judge_metrics, win_rates
from sp3f_verl.judge.base import Judge
from sp3f_verl.judge.model_judge import LocalJudge, OpenAIJudge, PolicyJudge
from sp3f_verl.judge.reference import ReferenceJudge
from sp3f_verl.judge.settings import NONE, JudgeSettings
from sp3f_verl.judge.verdict import Verdict, parse_verdict

__all__ = ["Verdict", "judge_metrics", "parse_verdict", "win_rates"]

JUDGES: dict[str, type[Judge]] = {
    "openai": OpenAIJudge,
    "local": LocalJudge,
    "policy": PolicyJudge,
    "reference": ReferenceJudge,
}
OF_THE_RUN = ("failure_ceiling", "budget_usd", "spending_file", "store", "transcript", "panel")  # one for all judges
WHERE_IT_IS = ("name", "kind", "base_url", "base_url_env")
OF_THE_ENDPOINT = ("model", "price", "base_url", "base_url_env", "api_key_env", "headers", "extra_body")


def judge_class(settings: JudgeSettings, place: str = "sp3f.judge") -> type[Judge]:
    """The class of a judge: the one that `kind` names, else the table's. Raises BadInput."""
    if settings.kind is None:
        if settings.name not in JUDGES:
            names = (*JUDGES, NONE)
            raise BadInput(
                f"{place}.name={settings.name}{nearest(settings.name, names)}; it is one of {', '.join(names)}, or "
                f"{place}.kind names a class."
            )
        return JUDGES[settings.name]
    module, _, name = settings.kind.partition(":")
    try:
        judge = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise BadInput(
            f"{place}.kind={settings.kind} cannot be imported ({error}); give package.module:Class of a judge."
        ) from None
    if not (isinstance(judge, type) and issubclass(judge, Judge)):
        raise BadInput(f"{place}.kind={settings.kind} is no subclass of sp3f_verl.judge.base.Judge; make it one.")
    return judge


def make_judge(settings: JudgeSettings) -> Judge:
    """A judge that is not opened yet."""
    return judge_class(settings)(settings)


def read_settings(values: Any, place: str = "sp3f.judge") -> JudgeSettings:
    """Settings of a plain mapping (a resolved config). Raises BadInput that names the field, value and mend."""
    if not isinstance(values, Mapping):
        return JudgeSettings.read(values, place)
    values = dict(values)
    panel = values.pop("panel", None) or []
    if not isinstance(panel, list | tuple):
        raise BadInput(f"{place}.panel={panel!r} is not a list; write {place}.panel=[{{name: value}}].")
    settings = _read_one(values, place)
    if panel and settings.name == NONE:
        raise BadInput(f"{place}.panel has judges, but judge=none; make one of them the first, judge=<name>.")
    members = [_read_member(values, overrides, f"{place}.panel[{k}]") for k, overrides in enumerate(panel)]
    return settings.changed(panel=tuple(members))


def _read_one(values: dict[str, Any], place: str) -> JudgeSettings:
    named = JudgeSettings.read({key: values[key] for key in ("name", "kind") if key in values}, place)
    if named.name == NONE:
        if named.kind is not None:
            raise BadInput(f"{place}.kind={named.kind} has no {place}.name; give the judge one.")
        return JudgeSettings.read(values, place)
    kind = judge_class(named, place)
    settings = kind.Settings.read(values, place)
    kind(settings).check(place)
    return settings


def _read_member(first: dict[str, Any], overrides: Any, place: str) -> JudgeSettings:
    """A judge of the panel: the first one's settings, but for what it says itself; one that is elsewhere inherits
    nothing OF_THE_ENDPOINT."""
    if not isinstance(overrides, Mapping):
        raise BadInput(f"{place}={overrides!r} is not a mapping; give the settings in which this judge differs.")
    if shared := [name for name in OF_THE_RUN if name in overrides]:
        raise BadInput(f"{place}.{shared[0]} would hold for one judge, but the run has one for all; remove it.")
    if overrides.get("name", first["name"]) != first["name"]:
        overrides = {"kind": None, **overrides}
    moved = () if overrides.get("model", first.get("model")) == first.get("model") else ("price",)
    if any(name in overrides and overrides[name] != first.get(name) for name in WHERE_IT_IS):
        moved = OF_THE_ENDPOINT  # above all, a key goes to no other host
    inherited = {name: value for name, value in first.items() if name not in moved}
    if first.get("kind") is not None and "kind" in overrides:  # settings of another class
        inherited = {name: value for name, value in inherited.items() if name in JudgeSettings.model_fields}
    return _read_one({**inherited, **overrides}, place)
