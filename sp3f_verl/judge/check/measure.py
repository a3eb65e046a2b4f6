"""`sp3f judge-check`: asks a judge pairs of which the better one is known, and measures what it answers.

The same numbers come out of the transcript of a training run (`--replay`), where a pair is labelled by the correctness
of its two boxed answers.
"""

import asyncio
import math
import random
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from sp3f_verl.judge.base import GroupNotJudged
from sp3f_verl.judge.check.pairs import LabelledPair
from sp3f_verl.judge.desk import Desk
from sp3f_verl.judge.metrics import REMEDIES
from sp3f_verl.judge.settings import JudgeSettings
from sp3f_verl.judge.transcript import Entry, entries
from sp3f_verl.judge.verdicts.verdict import Verdict
from sp3f_verl.judge.verdicts.win_rates import credit_of_a, same_outcome
from sp3f_verl.llm.totals import Reasons
from sp3f_verl.rewards.answers.accuracy import answers_match
from sp3f_verl.rewards.boxed import extract_boxed
from sp3f_verl.rewards.text import strip_think

Z95 = 1.96
GAME = "game "  # how kinds of pairs begin that game a judge
DECISIVE = ("answer", "accuracy")  # kinds of pairs in which a good judge has no doubt
LEAST_ANSWERED = 0.5  # of the questions; below it, the verdicts are of a choice that the failures made
ENOUGH = 10  # pairs of a kind before chance is ruled out
Label = Callable[[Entry], tuple[str, float] | None]


Pairs = dict[tuple[str, ...], list[float]]  # group and texts -> a number for each order that has a verdict


def new_pairs() -> Pairs:
    return defaultdict(list)


def means(pairs: Pairs) -> list[float]:
    """One number a pair: the mean of its orders."""
    return [statistics.fmean(orders) for orders in pairs.values()]


@dataclass
class Check:
    """What the answers say. Agreement is credit for the better response: 1 preferred, 0.5 a tie, 0 not preferred.

    A pair is one observation: the answers to its two orders know of each other. `agreement`, `languages` and `slot_a`
    hold lists of what its orders came to.
    """

    agreement: dict[str, Pairs] = field(default_factory=lambda: defaultdict(new_pairs))  # by kind of pair
    languages: dict[str, Pairs] = field(default_factory=lambda: defaultdict(new_pairs))  # by language
    slot_a: Pairs = field(default_factory=lambda: new_pairs())  # credit of slot A
    reasons: Reasons = field(default_factory=Reasons)  # of failures: what the server said
    verdicts: int = 0
    swapped: list[bool] = field(default_factory=list)  # pairs asked in both orders: the same outcome?
    questions: int = 0
    failures: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    calls: int = 0
    retries: Counter[str] = field(default_factory=Counter)  # failures after which a question was sent again
    asked_again: int = 0  # after an answer without a verdict
    seconds: list[float] = field(default_factory=list)
    tokens: list[tuple[int, int]] = field(default_factory=list)  # (in, out) a question


async def ask_pairs(desk: Desk, pairs: Sequence[LabelledPair], done: Callable[[], None]) -> list[Entry]:
    """Ask an open desk of one judge about each pair; `done` is called after each. Raises JudgeStopped."""

    async def one(pair: LabelledPair) -> list[Entry]:
        try:
            records = (await desk.judge([pair.better, pair.worse], pair.row)).records
        except GroupNotJudged as error:
            records = error.records
        done()
        return entries(records, pair.row, desk.judges[0])

    try:
        async with asyncio.TaskGroup() as together:
            tasks = [together.create_task(one(pair)) for pair in pairs]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [entry for task in tasks for entry in task.result()]


def label_by_pairs(pairs: Iterable[LabelledPair]) -> Label:
    """(kind, 1 where the better response was A, else 0) of an entry of `ask_pairs`."""

    def shown(response: str) -> str:  # what the judge is shown, and the entry holds
        return strip_think(response).strip()

    better = {(pair.row["id"], shown(pair.better), shown(pair.worse)): pair.kind for pair in pairs}

    def label(entry: Entry) -> tuple[str, float] | None:
        a, b = entry.responses
        if kind := better.get((entry.id, a, b)):
            return kind, 1.0
        kind = better.get((entry.id, b, a))
        return (kind, 0.0) if kind else None

    return label


def label_by_accuracy(entry: Entry) -> tuple[str, float] | None:
    """("accuracy", 1 where A is the correct one, else 0); None where both or neither are correct."""
    a, b = (
        answers_match(extract_boxed(response), entry.ground_truth, language=entry.language)
        for response in entry.responses
    )
    return ("accuracy", float(a)) if a != b else None


def measure(entries: Iterable[Entry], label: Label) -> Check:
    """What pairwise questions say of the judge; others (rankings, languages) are left out."""
    check = Check()
    credits: dict[tuple[str, str, str], float] = {}
    for entry in entries:
        if len(entry.responses) != 2 or isinstance(entry.value, list):
            continue
        check.questions += 1
        check.calls += entry.calls
        check.asked_again += max(0, entry.calls - 1)
        check.retries.update(entry.retries)
        if entry.tokens_in:  # none where every attempt failed: that says nothing about the cost of an answer
            check.tokens.append((entry.tokens_in, entry.tokens_out))
        if entry.failure:
            check.failures[entry.failure] += 1
            check.reasons.add(entry.failure, REMEDIES.get(entry.failure, entry.answer))
            continue
        check.seconds.append(entry.seconds)
        credit = credit_of_a(Verdict[entry.value] if isinstance(entry.value, str) else entry.value)
        check.verdicts += 1
        a, b = entry.responses
        pair = (entry.group, *sorted((a, b)))
        if credit != 0.5:  # as `judge_metrics` counts: a tie is for no slot
            check.slot_a[pair].append(credit)
        if labelled := label(entry):
            kind, a_is_better = labelled
            right = credit if a_is_better else 1 - credit
            check.agreement[kind][pair].append(right)
            if kind in DECISIVE:
                check.languages[entry.language or "?"][pair].append(right)
        key, swapped = (entry.group, a, b), (entry.group, b, a)
        credits[key] = credit
        if swapped in credits:
            check.swapped.append(same_outcome(credit, credits[swapped]))
    return check


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """(mean, low, high) of shares in [0, 1]: Wilson's 95 % interval of so many observations.

    benchmarks/judge_intervals.py measures the coverage.
    """
    mean = statistics.fmean(values)
    return mean, *_wilson(mean, len(values) / _spread(values))


def pairs_for(values: Sequence[float], points: float = 0.05) -> int:
    """Pairs like these after which the interval ends so near to its mean, so that a difference as large is seen."""
    mean, n = statistics.fmean(values), 1
    while max(mean - _wilson(mean, n)[0], _wilson(mean, n)[1] - mean) > points:
        n += 1
    return math.ceil(n * _spread(values))


def _wilson(mean: float, n: float) -> tuple[float, float]:
    centre = (mean + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * math.sqrt(max(0.0, mean * (1 - mean)) / n + Z95**2 / (4 * n**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def _spread(values: Sequence[float]) -> float:
    """Variance over that of shares of 0 and 1 with this mean, from a half to 1: where values vary less, as means of a
    pair's two orders do, they count as more observations, at most twice as many."""
    mean = statistics.fmean(values)
    spread = statistics.variance(values) / (mean * (1 - mean)) if len(values) > 1 and 0 < mean < 1 else 1.0
    return min(1.0, max(0.5, spread))


def game_outcome(values: Sequence[float]) -> str:
    """What a judge made of pairs that game it: of one kind, or of all."""
    _, low, high = interval(values)
    return "withstood" if low > 0.5 else "GAMED" if high < 0.5 else "open: too few pairs"


def distrust(check: Check) -> str | None:
    """Why the judge's numbers cannot be trusted, as a sentence; None where they can."""
    if check.verdicts < LEAST_ANSWERED * check.questions:
        answered = f"{check.verdicts} of {check.questions} questions got a verdict"
        return f"{answered}; mend the judge: {check.reasons.commonest() or 'see the transcript'}"
    for kind in DECISIVE:
        values = means(check.agreement.get(kind, {}))
        if len(values) >= ENOUGH and interval(values)[1] <= 0.5:
            return f"the judge prefers the better response of the pairs `{kind}` no more often than chance does"
    games = {kind: means(pairs) for kind, pairs in check.agreement.items() if kind.startswith(GAME)}
    together = [value for values in games.values() for value in values]
    gamed = {kind: values for kind, values in games.items() if game_outcome(values) == "GAMED"}
    if not gamed and len(together) >= ENOUGH and interval(together)[1] <= 0.5:
        gamed = games
    if gamed:
        share = statistics.fmean(value for values in gamed.values() for value in values)
        return f"the judge can be gamed: {share:.0%} of the pairs {', '.join(sorted(gamed))} came out right"
    return None


def questions_of_a_group(settings: JudgeSettings, n: int) -> int:
    """How many questions the schedule asks about n different responses."""
    questions, _ = settings.question.questions([str(number) for number in range(n)], settings, random.Random(0))
    return len(questions)


def estimated_usd(check: Check, settings: JudgeSettings, questions: float) -> tuple[float, float, float] | None:
    """(mean, low, high) dollars of so many questions, 95 %; None without a price. Malformed answers count."""
    price = settings.known_price()
    if price is None or not check.tokens:
        return None
    costs = [(tokens_in * price.input + tokens_out * price.output) / 1e6 for tokens_in, tokens_out in check.tokens]
    mean = statistics.fmean(costs)
    half = Z95 * statistics.stdev(costs) / math.sqrt(len(costs)) if len(costs) > 1 else mean
    return questions * mean, questions * max(0.0, mean - half), questions * (mean + half)
