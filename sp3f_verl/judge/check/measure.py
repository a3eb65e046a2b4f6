"""`sp3f judge-check`: asks a judge pairs of which the better one is known, and measures what it answers.

The same numbers come out of the transcript of a training run (`--replay`), where a pair is labelled by the correctness
of its two boxed answers.
"""

import asyncio
import math
import random
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sp3f_verl.judge.base import GroupNotJudged
from sp3f_verl.judge.check.pairs import LabelledPair
from sp3f_verl.judge.desk import Desk
from sp3f_verl.judge.metrics import CUT_OFF, MALFORMED, REMEDIES, quantile
from sp3f_verl.judge.settings import JudgeSettings
from sp3f_verl.judge.transcript import Entry, entries
from sp3f_verl.judge.verdicts.verdict import Verdict
from sp3f_verl.judge.verdicts.win_rates import credit_of_a, same_outcome
from sp3f_verl.llm.totals import Reasons
from sp3f_verl.rewards.answers.accuracy import answers_match
from sp3f_verl.rewards.boxed import extract_boxed
from sp3f_verl.rewards.text import strip_think

Z95 = 1.96
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

    Where the values vary less than shares of 0 and 1 with this mean would, as means of a pair's two orders do, they
    count as more observations, at most twice as many. benchmarks/judge_intervals.py measures the coverage.
    """
    mean = statistics.fmean(values)
    spread = statistics.variance(values) / (mean * (1 - mean)) if len(values) > 1 and 0 < mean < 1 else 1.0
    n = len(values) / min(1.0, max(0.5, spread))
    centre = (mean + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * math.sqrt(max(0.0, mean * (1 - mean)) / n + Z95**2 / (4 * n**2))
    return mean, max(0.0, centre - half), min(1.0, centre + half)


def distrust(check: Check) -> str | None:
    """Why the judge's numbers cannot be trusted, as a sentence; None where they can."""
    if check.verdicts < LEAST_ANSWERED * check.questions:
        answered = f"{check.verdicts} of {check.questions} questions got a verdict"
        return f"{answered}; mend the judge: {check.reasons.commonest() or 'see the transcript'}"
    for kind in DECISIVE:
        values = means(check.agreement.get(kind, {}))
        if len(values) >= ENOUGH and interval(values)[1] <= 0.5:
            return f"the judge prefers the better response of the pairs `{kind}` no more often than chance does"
    gamed = [value for kind, pairs in check.agreement.items() if kind.startswith("game ") for value in means(pairs)]
    if len(gamed) >= ENOUGH and interval(gamed)[1] <= 0.5:
        return f"the judge can be gamed: {statistics.fmean(gamed):.0%} of the pairs `game ...` came out right"
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


def report(check: Check, usd: tuple[float, float, float] | None = None, run: str = "") -> str:
    """A plain-text table. `usd`: (mean, low, high) of the run that `run` describes."""
    return "\n".join(_lines(check, usd, run))


def _lines(check: Check, usd: tuple[float, float, float] | None, run: str) -> Iterator[str]:
    yield f"{check.questions} questions, {check.calls} answers"
    if not check.questions:
        return
    yield ""
    yield "prefers the better response (95 % interval by pair; chance gives 50 %)"
    yield from _table(check.agreement)
    if not check.agreement:
        yield "  no labelled pair got a verdict"
    if check.languages:
        yield f"by language, of the pairs {', '.join(DECISIVE)}"
        yield from _table(check.languages)
    yield f"to tell 60 % from chance takes {pairs_needed(0.6)} pairs of a kind, 70 % takes {pairs_needed(0.7)}"
    yield ""
    if check.slot_a:
        mean, low, high = interval(means(check.slot_a))
        yield f"position bias: slot A wins {mean:.1%} [{low:.1%}, {high:.1%}]; 50 % is none"
    if check.swapped:
        mean, low, high = interval([float(same) for same in check.swapped])
        yield f"same outcome in both orders: {mean:.1%} [{low:.1%}, {high:.1%}]  n={len(check.swapped)}"
    failed = sum(check.failures.values())
    answered = [1.0] * check.verdicts + [0.0] * (check.failures.get(MALFORMED, 0) + check.failures.get(CUT_OFF, 0))
    if answered:
        mean, low, high = interval(answered)
        yield f"parsed: {mean:.1%} [{low:.1%}, {high:.1%}] of the questions that were answered"
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(check.failures.items())) or "none"
    yield f"failed: {failed} ({kinds})"
    if reason := check.reasons.commonest():
        yield f"  most often: {reason}"
    if check.seconds:
        ordered = sorted(check.seconds)
        yield f"latency: median {quantile(ordered, 0.5):.2f} s, 95 % below {quantile(ordered, 0.95):.2f} s"
    if check.tokens:
        tokens_in, tokens_out = (sum(side) / len(check.tokens) for side in zip(*check.tokens, strict=True))
        yield f"tokens a question: {tokens_in:.0f} in, {tokens_out:.0f} out"
    if usd is not None:
        yield f"cost of the run ({run}): {usd[0]:.2f} USD [{usd[1]:.2f}, {usd[2]:.2f}]"
    elif run:
        yield f"cost of the run ({run}): unknown, set sp3f.judge.price"


def _table(rows: Mapping[str, Pairs]) -> Iterator[str]:
    for name, pairs in sorted(rows.items()):
        values = means(pairs)
        mean, low, high = interval(values)
        yield f"  {name:<15} {mean:6.1%}  [{low:.1%}, {high:.1%}]  n={len(values)}"


def pairs_needed(share: float) -> int:
    """Pairs after which a judge that is right so often is told from chance in most draws (95 % interval, half of the
    draws above it)."""
    return math.ceil((Z95 * 0.5 / (share - 0.5)) ** 2)


def waits(check: Check, questions: int, concurrency: int, steps: int) -> str:
    """How long the questions of a step, and of the run, wait for the judge: rounds of so many at once."""
    if not check.seconds:
        return ""
    latency = statistics.fmean(check.seconds)
    per_step = math.ceil(questions / concurrency) * latency
    more = math.ceil(questions / (4 * concurrency)) * latency
    return (
        f"wait for the judge: {questions} questions a step, {concurrency} at once (sp3f.judge.concurrency), "
        f"{latency:.2f} s each: {per_step:.1f} s a step, {steps * per_step / 3600:.1f} h for the run; "
        f"with {4 * concurrency} at once {more:.1f} s a step"
    )
