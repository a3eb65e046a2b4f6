"""Asks the judges about every pair, in both orders. What was answered is in the store: no run asks it again."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sp3f_verl import languages
from sp3f_verl.errors import BadInput
from sp3f_verl.evaluation.arena.pairs import Pair
from sp3f_verl.evaluation.arena.settings import for_arena
from sp3f_verl.judge.base import Asked, Judged, JudgeStopped
from sp3f_verl.judge.desk import Desk
from sp3f_verl.judge.metrics import CUT_OFF, MALFORMED
from sp3f_verl.judge.settings import JudgeSettings
from sp3f_verl.judge.verdicts.jamming import is_of_the_way
from sp3f_verl.judge.verdicts.verdict import Verdict
from sp3f_verl.judge.verdicts.win_rates import credit_of_a
from sp3f_verl.stats.win_rates import TIES

ORDERS = ("candidate_first", "baseline_first")
GONE = 20  # failed questions in a row


@dataclass(frozen=True, slots=True)
class Question:
    """A pair in one order, put to one judge. outcome: a Verdict, or P(the first is better). usd: None: unknown."""

    judge: str
    order: str
    outcome: Verdict | float
    answer: str = ""
    failure: str | None = None
    tokens_in: int = 0
    tokens_out: int = 0
    usd: float | None = 0.0

    @property
    def first(self) -> float | None:
        """Credit of the answer shown first, a tie 0.5; None without a verdict."""
        return credit_of_a(self.outcome)

    def candidate(self, ties: str = "half") -> float | None:
        """Credit of the candidate, a tie as `ties` says; None without a verdict."""
        if self.outcome is Verdict.TIE:
            return TIES[ties]
        return self.first if self.first is None or self.order == ORDERS[0] else 1 - self.first


@dataclass
class PairVerdicts:
    """Of one pair: the questions that were asked, or, where none was, what the texts themselves settle: 1, 0 or 0.5."""

    questions: list[Question] = field(default_factory=list)
    settled: float | None = None

    def preference(self, ties: str, weights: dict[str, float]) -> float | None:
        """The candidate's credit: of each judge the mean of its two orders, then of the judges by weight. None where no
        judge gave a verdict in both: one order alone holds the judge's preference for a place in full."""
        if self.settled is not None:
            return TIES[ties] if self.settled == 0.5 else self.settled
        both = {judge: credits for judge, credits in self._credits(ties).items() if len(credits) == len(ORDERS)}
        total = sum(weights[judge] for judge in both)
        means = (weights[judge] * sum(credits) / len(credits) for judge, credits in both.items())
        return sum(means) / total if total else None

    @property
    def one_order(self) -> bool:
        """Whether a judge gave a verdict in one order alone."""
        return any(len(credits) < len(ORDERS) for credits in self._credits("half").values())

    @property
    def jammed(self) -> bool:
        """Whether a question failed for a reason that an answer can cause, as by a filter or by its length."""
        failures = (question.failure or "unknown" for question in self.questions if question.first is None)
        return not all(map(is_of_the_way, failures))

    def _credits(self, ties: str) -> dict[str, list[float]]:
        credits = defaultdict(list)
        for question in self.questions:
            if (credit := question.candidate(ties)) is not None:
                credits[question.judge].append(credit)
        return credits


@dataclass
class Judgement:
    """What was said of each pair, in their order; the judges' labels with weights and models; and what it took now."""

    verdicts: list[PairVerdicts]
    weights: dict[str, float] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    calls: int = 0
    stored: int = 0
    usd: float | None = None

    @property
    def questions(self) -> list[Question]:
        return [question for verdicts in self.verdicts for question in verdicts.questions]


def judge(
    settings: JudgeSettings, pairs: Sequence[Pair], store: Path, spending: Path, done: Callable[[], None]
) -> Judgement:
    """Asks each judge of the settings; `done` is called after each pair. Raises BadInput where a judge cannot be asked,
    refuses its key, or fails too often, and for a budget that is used up: what was answered is kept."""
    judgement = Judgement([PairVerdicts() for _ in pairs])
    for number, member in enumerate(settings.members()):
        desk = Desk(for_arena(member, store, spending))
        label = desk.judges[0].label() + (f"#{number}" if number else "")
        results = asyncio.run(_ask(desk, pairs, done, judgement, label))
        judgement.weights[label] = member.weight
        for verdicts, result in zip(judgement.verdicts, results, strict=True):
            _take(verdicts, result, label)
    return judgement


class _Watch:
    """Ends a run whose judge has gone: GONE questions in a row that came to no answer. The desk's own ceiling is a
    share of all questions, which a judge that dies late never passes. An answer without a verdict is an answer."""

    def __init__(self) -> None:
        self._failed: Counter[str] = Counter()
        self._in_a_row = 0

    def look(self, records: Sequence[Asked]) -> None:
        """Take in the questions of a pair. Raises JudgeStopped."""
        self._failed.update(record.failure for record in records if record.failure)
        answered = sum(record.failure in (None, MALFORMED, CUT_OFF) for record in records)
        self._in_a_row = 0 if answered else self._in_a_row + len(records)
        if records and not answered and self._in_a_row >= GONE:
            kinds = ", ".join(f"{kind}: {count}" for kind, count in self._failed.most_common(3))
            raise JudgeStopped(
                f"the last {self._in_a_row} questions to the judge failed ({kinds}); mend it and start the same "
                "command again: what was answered is kept."
            )


async def _ask(desk: Desk, pairs: Sequence[Pair], done, judgement: Judgement, label: str) -> list[Judged]:
    watch = _Watch()

    async def one(index: int, pair: Pair) -> Judged:
        row = {
            "id": str(index),
            "language": languages.get(pair.language).english_name,
            "query_en": pair.query,
            "solution_en": pair.reference_en or "",
            "reward_model": {"ground_truth": ""},
        }
        result = await desk.judge([side.text for side in pair.sides], row)
        watch.look(result.records)
        done()
        return result

    try:
        await desk.open()
        judgement.models[label] = await desk.judges[0].model()
        async with asyncio.TaskGroup() as together:
            tasks = [together.create_task(one(index, pair)) for index, pair in enumerate(pairs)]
    except JudgeStopped as stopped:
        raise BadInput(str(stopped)) from None
    except BaseExceptionGroup as errors:
        error = errors.exceptions[0]
        raise (BadInput(str(error)) if isinstance(error, JudgeStopped) else error) from None
    finally:
        await desk.close()
    metrics = desk.metrics
    judgement.calls, judgement.stored = judgement.calls + metrics.calls, judgement.stored + metrics.stored
    if desk.settings.known_price():
        judgement.usd = (judgement.usd or 0.0) + metrics.usd
    return [task.result() for task in tasks]


def _take(verdicts: PairVerdicts, result: Judged, label: str) -> None:
    comparisons = result.comparisons[0] if result.comparisons else []
    if not comparisons:
        verdicts.settled = result.rates[0]
        return
    records = {record.responses: record for record in result.records}
    for first, second, outcome in comparisons:
        question = Question(label, ORDERS[first], outcome)
        if record := records.get((first, second)):
            question = Question(
                label,
                ORDERS[first],
                outcome,
                answer=record.answer,
                failure=record.failure,
                tokens_in=record.usage.prompt_tokens,
                tokens_out=record.usage.completion_tokens,
                usd=record.usd,
            )
        verdicts.questions.append(question)
