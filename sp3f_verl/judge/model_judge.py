"""A judge that asks a model about one group: whom to compare, what need not be asked, and what the answers come to.

Identical responses are asked about once and tie with each other; an empty response loses to any other without a call.
"""

import asyncio
import functools
import random
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sp3f_verl.judge.aggregate import NEUTRAL, Comparison
from sp3f_verl.judge.dispatch import Dispatcher
from sp3f_verl.judge.judged import Judged, judged
from sp3f_verl.judge.query import Answer, Asking, Case
from sp3f_verl.judge.sanitize import neutralise, new_fence
from sp3f_verl.judge.schedule import SCHEDULES
from sp3f_verl.judge.transcript import TranscriptWriter
from sp3f_verl.judge.verdict import Verdict
from sp3f_verl.llm.outcome import FailureKind
from sp3f_verl.rewards.text import strip_think

CUT_OFF = Answer(None, FailureKind.DEADLINE.value)  # of a question that the group's deadline came before


class GroupNotJudged(RuntimeError):
    """Too few of a group's comparisons have a verdict. The group must not train. The message is one sentence."""


class ModelJudge:
    """SP3F's judge (arXiv 2601.18722): a model that, unless it is an ablation, sees the English reference solution."""

    def __init__(self, asking: Asking, dispatcher: Dispatcher, transcript: TranscriptWriter | None = None):
        self.asking, self.settings = asking, asking.settings
        self._dispatcher, self._transcript = dispatcher, transcript

    async def judge(self, responses: Sequence[str], row: Mapping[str, Any]) -> Judged:
        """Win rates of the responses (n,) to the prompt of a canonical row.

        Raises GroupNotJudged where fewer than `min_valid` of the comparisons have a verdict, and what `Asking` raises.
        """
        deadline = asyncio.get_running_loop().time() + self.settings.group_seconds
        prepared = functools.cache(lambda: self._prepare(responses, row))  # not before its turn: thousands may wait

        async def ask(question: tuple[str, ...]) -> Answer:
            case, shown, affinity = prepared().case, prepared().shown, prepared().affinity
            return await self.asking.ask(case, [shown[text] for text in question], deadline, affinity)

        answered = await self._dispatcher.run(lambda: prepared().plan.questions, ask, deadline)
        said, plan = prepared().said, prepared().plan
        answers = {question: answered[question] or CUT_OFF for question in plan.questions}
        self.asking.panel.questions += len(answers)
        self.asking.panel.failed.update(answer.failure for answer in answers.values() if answer.failure)
        if self._transcript is not None and self._transcript.wants():
            self._transcript.write(self._records(row, answers))
        return self._conclude(said, plan, answers, row)

    def _prepare(self, responses: Sequence[str], row: Mapping[str, Any]) -> "Prepared":
        said = [strip_think(each).strip() for each in responses]
        shown = {text: neutralise(text) for text in said}
        said = [text if shown[text].strip() else "" for text in said]  # invisible characters say nothing
        fence = new_fence(random.SystemRandom(), shown.values()) if self.settings.fence == "group" else None
        case = Case.of(row, self.settings.privileged, fence)
        rng = random.Random(f"{self.settings.seed} {row['id']} {sorted(said)}")
        asked = {"listwise": _asked_listwise, "language": _asked_one_by_one}.get(self.settings.schedule, _asked_pairs)
        return Prepared(said, case, shown, asked(said, self.settings, rng), rng.getrandbits(32))

    def _conclude(self, said: list[str], plan: "Plan", answers: dict[tuple[str, ...], Answer], row) -> Judged:
        n, panel = len(said), self.asking.panel
        if self.settings.schedule == "language":
            values = [answers[text,].value if text else "" for text in said]
            valid = [int(value is not None) for value in values]
            result = Judged([NEUTRAL if v is None else float(v == row["language"]) for v in values], [], valid)
            share = sum(valid) / n
        else:
            if self.settings.schedule == "listwise":
                comparisons = _from_ranking(said, plan, answers)
            else:
                comparisons = [(i, j, _verdict(said[i], said[j], answers)) for i, j in plan.pairs]
            settled = [each for each in comparisons if _is_settled(said[each[0]], said[each[1]])]
            made = [each for each in comparisons if not _is_settled(said[each[0]], said[each[1]])]
            panel.skipped += len(settled)
            result = judged(n, made, self.settings.credit, settled)
            failed = sum(verdict is Verdict.FAILED for _, _, verdict in comparisons)
            share = 1 - failed / len(comparisons) if comparisons else 1.0
        if share < self.settings.min_valid:
            panel.groups_failed += 1
            kinds = sorted({answer.failure for answer in answers.values() if answer.failure})
            raise GroupNotJudged(
                f"judge {self.settings.name} gave a verdict on {share:.0%} of the comparisons of prompt {row['id']}, "
                f"fewer than sp3f.judge.min_valid={self.settings.min_valid:g} asks for ({', '.join(kinds)})."
            )
        return result

    def _records(self, row: Mapping[str, Any], answers: Mapping[tuple[str, ...], Answer]):
        group = uuid.uuid4().hex  # a prompt comes back every epoch
        for question, answer in answers.items():
            value = answer.value
            yield {
                "group": group,
                "judge": self.settings.name,
                "model": self.settings.model,
                "prompt": self.asking.prompt.name,
                "prompt_version": self.asking.prompt.version,
                "id": row["id"],
                "language": row["language"],
                "query_en": row["query_en"],
                "solution_en": row["solution_en"] if self.settings.privileged else None,
                "ground_truth": row["reward_model"]["ground_truth"],
                "responses": list(question),
                "answer": answer.text,
                "value": value.name if isinstance(value, Verdict) else value,
                "failure": answer.failure,
                "tokens_in": answer.usage.prompt_tokens,
                "tokens_out": answer.usage.completion_tokens,
                "seconds": answer.seconds,
                "calls": answer.calls,
            }


@dataclass(frozen=True)
class Plan:
    """The distinct questions of a group, each the texts to show, and the pairs of responses that they decide."""

    questions: list[tuple[str, ...]]
    pairs: list[tuple[int, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Prepared:
    """A group as it is asked about: what each response said without its thoughts, and how that text is shown.

    affinity: all questions of the group go to one server, where they share a prefix.
    """

    said: list[str]
    case: Case
    shown: dict[str, str]
    plan: Plan
    affinity: int


def _asked_pairs(said: list[str], settings, rng: random.Random) -> Plan:
    pairs = SCHEDULES[settings.schedule](len(said), settings, rng)
    needed = ((said[i], said[j]) for i, j in pairs if not _is_settled(said[i], said[j]))
    return Plan(sorted(dict.fromkeys(needed)), pairs)  # the same A together, for fence=group


def _asked_listwise(said: list[str], settings, rng: random.Random) -> Plan:
    texts = sorted({text for text in said if text})
    rng.shuffle(texts)
    pairs = [(i, j) for i in range(len(said)) for j in range(i + 1, len(said))]
    return Plan([tuple(texts)] if len(texts) > 1 else [], pairs)


def _asked_one_by_one(said: list[str], settings, rng: random.Random) -> Plan:
    return Plan([(text,) for text in sorted({text for text in said if text})])


def _is_settled(a: str, b: str) -> bool:
    """Whether a comparison needs no judge."""
    return a == b or not a or not b


def _verdict(a: str, b: str, answers: Mapping[tuple[str, ...], Answer]) -> Verdict | float:
    if _is_settled(a, b):
        return Verdict.TIE if a == b else Verdict.A if a else Verdict.B
    value = answers[a, b].value
    return Verdict.FAILED if value is None else value


def _from_ranking(said: list[str], plan: Plan, answers: Mapping[tuple[str, ...], Answer]) -> list[Comparison]:
    place: dict[str, int] = {}
    for question in plan.questions:
        if (ranking := answers[question].value) is not None:
            place = {question[index]: rank for rank, index in enumerate(ranking)}
    comparisons: list[Comparison] = []
    for i, j in plan.pairs:
        a, b = said[i], said[j]
        if _is_settled(a, b):
            verdict = _verdict(a, b, {})
        elif a in place:
            verdict = Verdict.A if place[a] < place[b] else Verdict.B
        else:
            verdict = Verdict.FAILED
        comparisons.append((i, j, verdict))
    return comparisons
