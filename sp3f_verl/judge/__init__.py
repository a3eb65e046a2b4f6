"""Pairwise judging of a group of responses, and the table of the kinds of judge.

settings = JudgeSettings.from_mapping({"name": "openai", "base_url": "http://localhost:8000/v1"})
desk = Desk(settings)                        # judge/desk.py: opens, asks and counts for a whole run
parse_verdict(text), win_rates(n, verdicts)  # the pure core, in verdicts/

`base.py` is what every judge is; `model_judge.py` those that ask a model: `group.py`, a group as it is asked about, and
`questions/`, what is asked and how.
"""

import importlib

from sp3f_verl.errors import BadInput, nearest
from sp3f_verl.judge.base import Judge
from sp3f_verl.judge.model_judge import LocalJudge, OpenAIJudge, PolicyJudge
from sp3f_verl.judge.reference import ReferenceJudge
from sp3f_verl.judge.settings import NONE, JudgeSettings
from sp3f_verl.judge.verdicts.verdict import Verdict, parse_verdict
from sp3f_verl.judge.verdicts.win_rates import judge_metrics, win_rates

__all__ = ["Verdict", "judge_metrics", "parse_verdict", "win_rates"]

JUDGES: dict[str, type[Judge]] = {
    "openai": OpenAIJudge,
    "local": LocalJudge,
    "policy": PolicyJudge,
    "reference": ReferenceJudge,
}


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
