"""Which questions a group needs: identical responses are asked about once and tie with each other, and an empty one
loses to any other without a question.

Texts are responses without their thoughts, in the group's order.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sp3f_verl.judge.aggregate import Comparison
from sp3f_verl.judge.schedule import SCHEDULES
from sp3f_verl.judge.settings import JudgeSettings
from sp3f_verl.judge.verdict import Verdict

Question = tuple[str, ...]  # the texts to show, in their order


@dataclass(frozen=True)
class Plan:
    """The distinct questions of a group, and the pairs of responses that they decide."""

    questions: list[Question]
    pairs: list[tuple[int, int]] = field(default_factory=list)


def make_plan(texts: Sequence[str], settings: JudgeSettings, rng: random.Random) -> Plan:
    """The questions of the settings' schedule."""
    distinct = sorted({text for text in texts if text})
    if settings.schedule == "language":
        return Plan([(text,) for text in distinct])
    if settings.schedule == "listwise":
        rng.shuffle(distinct)
        pairs = [(i, j) for i in range(len(texts)) for j in range(i + 1, len(texts))]
        return Plan([tuple(distinct)] if len(distinct) > 1 else [], pairs)
    pairs = SCHEDULES[settings.schedule](len(texts), settings, rng)
    needed = ((texts[i], texts[j]) for i, j in pairs if not is_settled(texts[i], texts[j]))
    return Plan(sorted(dict.fromkeys(needed)), pairs)  # the same A together, for fence=group


def is_settled(a: str, b: str) -> bool:
    """Whether a comparison needs no judge."""
    return a == b or not a or not b


def compare(texts: Sequence[str], plan: Plan, values: Mapping[Question, Any], *, ranked: bool) -> list[Comparison]:
    """The plan's pairs with their outcomes. values: what each question came to, None where it failed: a verdict, P(A),
    or, where the group is ranked, the indices of the shown texts, best first."""
    if not ranked:
        return [(i, j, _outcome(texts[i], texts[j], values.get((texts[i], texts[j])))) for i, j in plan.pairs]
    place: dict[str, int] = {}
    for question in plan.questions:
        if (ranking := values[question]) is not None:
            place = {question[index]: rank for rank, index in enumerate(ranking)}
    comparisons: list[Comparison] = []
    for i, j in plan.pairs:
        a, b = texts[i], texts[j]
        verdict = None
        if a in place and b in place:
            verdict = Verdict.A if place[a] < place[b] else Verdict.B
        comparisons.append((i, j, _outcome(a, b, verdict)))
    return comparisons


def _outcome(a: str, b: str, verdict: Verdict | float | None) -> Verdict | float:
    if is_settled(a, b):
        return Verdict.TIE if a == b else Verdict.A if a else Verdict.B
    return Verdict.FAILED if verdict is None else verdict
