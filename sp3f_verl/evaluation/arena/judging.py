"""Asks the judges about every pair, in both orders. What was answered is in the store: no run asks it again."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sp3f_verl.errors import BadInput
from sp3f_verl.evaluation.arena.pairs import Pair, english_name
from sp3f_verl.evaluation.arena.settings import for_arena
from sp3f_verl.judge.aggregate import credit_of_a
from sp3f_verl.judge.judged import Judged
from sp3f_verl.judge.metrics import MALFORMED, StepPanel
from sp3f_verl.judge.service import Desk, JudgeStopped
from sp3f_verl.judge.settings import JudgeSettings
from sp3f_verl.judge.transcript import read_transcript
from sp3f_verl.judge.verdict import Verdict
from sp3f_verl.stats.win_rates import TIES

ORDERS = ("candidate_first", "baseline_first")
GONE = 20  # failed questions in a row


@dataclass(frozen=True, slots=True)
class Asked:
    """What one judge said of a pair in one order. outcome: a Verdict, or P(the first is better)."""

    judge: str
    order: str
    outcome: Verdict | float
    answer: str = ""
    failure: str | None = None
    tokens_in: int = 0
    tokens_out: int = 0

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
class Told:
    """Of one pair: what the judges said, or, where none was asked, what the texts themselves settle: 1, 0 or 0.5."""

    asked: list[Asked] = field(default_factory=list)
    settled: float | None = None

    def preference(self, ties: str, weights: dict[str, float]) -> float | None:
        """The candidate's credit: of each judge the mean of its two orders, then of the judges by weight. None where no
        judge gave a verdict in both: one order alone holds the judge's preference for a place in full."""
        if self.settled is not None:
            return TIES[ties] if self.settled == 0.5 else self.settled
        both = {judge: own for judge, own in self._credits(ties).items() if len(own) == len(ORDERS)}
        total = sum(weights[judge] for judge in both)
        means = (weights[judge] * sum(own) / len(own) for judge, own in both.items())
        return sum(means) / total if total else None

    @property
    def one_order(self) -> bool:
        """Whether a judge gave a verdict in one order alone."""
        return any(len(own) < len(ORDERS) for own in self._credits("half").values())

    def _credits(self, ties: str) -> dict[str, list[float]]:
        credits = defaultdict(list)
        for each in self.asked:
            if (credit := each.candidate(ties)) is not None:
                credits[each.judge].append(credit)
        return credits


@dataclass
class Judgement:
    """What was said of each pair, in their order; the judges' labels with weights and models; and what it took."""

    told: list[Told]
    weights: dict[str, float] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    calls: int = 0
    stored: int = 0
    usd: float | None = None


def judge(
    settings: JudgeSettings, pairs: Sequence[Pair], store: Path, spending: Path, work: Path, done: Callable[[], None]
) -> Judgement:
    """Asks each judge of the settings; `done` is called after each pair. Raises BadInput where a judge cannot be asked,
    refuses its key, or fails too often, and for a budget that is used up: what was answered is kept."""
    found = Judgement([Told() for _ in pairs])
    for number, member in enumerate(settings.members()):
        label = f"{member.name}:{member.model or 'as served'}" + (f"#{number}" if number else "")
        transcript = work / f"transcript.{number}.jsonl"
        one = for_arena(member, store, spending, transcript)
        results = asyncio.run(_ask(one, pairs, done, found, label))
        records = _records(transcript)
        found.weights[label] = member.weight
        for index, (pair, told, result) in enumerate(zip(pairs, found.told, results, strict=True)):
            _take(told, pair, result, label, records.get(str(index), {}))
    return found


class _Watch:
    """Ends a run whose judge has gone: GONE questions in a row that came to no answer. The desk's own ceiling is a
    share of all questions, which a judge that dies late never passes. An answer without a verdict is an answer."""

    def __init__(self, panel: StepPanel):
        self._panel, self._answered, self._failed_before = panel, 0, 0

    def look(self) -> None:
        """Raises JudgeStopped."""
        panel = self._panel
        failed = panel.failed.total() - panel.failed[MALFORMED]
        if panel.questions - failed > self._answered:
            self._answered, self._failed_before = panel.questions - failed, failed
        elif failed - self._failed_before >= GONE:
            kinds = ", ".join(f"{kind}: {count}" for kind, count in panel.failed.most_common(3))
            raise JudgeStopped(
                f"the last {failed - self._failed_before} questions to the judge failed ({kinds}); mend it and start "
                "the same command again: what was answered is kept."
            )


async def _ask(member: JudgeSettings, pairs: Sequence[Pair], done, found: Judgement, label: str) -> list[Judged]:
    desk = Desk(member)
    watch = _Watch(desk.panel)

    async def one(index: int, pair: Pair) -> Judged:
        row = {
            **{"id": str(index), "language": english_name(pair.language), "query_en": pair.query},
            **{"solution_en": pair.reference_en or "", "reward_model": {"ground_truth": ""}},
        }
        result = await desk.judge([side.text for side in pair.sides], row)
        watch.look()
        done()
        return result

    try:
        await desk.open()
        (found.models[label],) = await desk.models()
        async with asyncio.TaskGroup() as together:
            tasks = [together.create_task(one(index, pair)) for index, pair in enumerate(pairs)]
    except JudgeStopped as stopped:
        raise BadInput(str(stopped)) from None
    except BaseExceptionGroup as errors:
        error = errors.exceptions[0]
        raise (BadInput(str(error)) if isinstance(error, JudgeStopped) else error) from None
    finally:
        panel = desk.panel
        found.calls, found.stored = found.calls + panel.calls, found.stored + panel.stored
        if member.known_price():
            found.usd = (found.usd or 0.0) + panel.usd
        await desk.close()
    return [task.result() for task in tasks]


def _records(transcript: Path) -> dict[str, dict[tuple[str, ...], dict[str, Any]]]:
    found: dict[str, dict[tuple[str, ...], dict[str, Any]]] = defaultdict(dict)
    if transcript.is_file():
        for record in read_transcript(transcript):
            found[record["id"]][tuple(record["responses"])] = record
    return found


def _take(told: Told, pair: Pair, result: Judged, label: str, records: dict[tuple[str, ...], dict[str, Any]]) -> None:
    made = result.comparisons[0] if result.comparisons else []
    if not made:
        told.settled = result.rates[0]
        return
    texts = tuple(side.text for side in pair.sides)
    for first, _, outcome in made:
        record = records.get(texts if first == 0 else texts[::-1], {})
        tokens = {name: record.get(name, 0) for name in ("tokens_in", "tokens_out")}
        said = {"answer": record.get("answer", ""), "failure": record.get("failure")}
        told.asked.append(Asked(label, ORDERS[first], outcome, **said, **tokens))
