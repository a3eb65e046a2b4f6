"""`sp3f judge-check`: asks a judge pairs of which the better one is known, and measures it from the transcript.

The same numbers come out of the transcript of a training run (`--replay`), where a pair is labelled by the correctness
of its two boxed answers.
"""

import asyncio
import contextlib
import math
import random
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sp3f_verl.judge.aggregate import credit_of_a
from sp3f_verl.judge.check_pairs import LabelledPair
from sp3f_verl.judge.model_judge import GroupNotJudged
from sp3f_verl.judge.schedule import SCHEDULES
from sp3f_verl.judge.service import Desk
from sp3f_verl.judge.settings import JudgeSettings
from sp3f_verl.judge.verdict import Verdict
from sp3f_verl.rewards.accuracy import answers_match
from sp3f_verl.rewards.boxed import extract_boxed
from sp3f_verl.rewards.text import strip_think

Z95 = 1.96
Record = Mapping[str, Any]


@dataclass
class Check:
    """What the records say. Agreement is credit for the better response: 1 preferred, 0.5 a tie, 0 not preferred."""

    agreement: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))  # by kind of pair
    slot_a: list[float] = field(default_factory=list)  # credit of slot A, by question
    swapped: list[bool] = field(default_factory=list)  # pairs asked in both orders: the same outcome?
    questions: int = 0
    failures: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    calls: int = 0
    seconds: list[float] = field(default_factory=list)
    tokens: list[tuple[int, int]] = field(default_factory=list)  # (in, out) a question


async def ask_pairs(desk: Desk, pairs: Sequence[LabelledPair], done: Callable[[], None]) -> None:
    """Ask an open desk about each pair; `done` is called after each. The answers are in its transcript.

    Raises JudgeStopped.
    """

    async def one(pair: LabelledPair) -> None:
        with contextlib.suppress(GroupNotJudged):  # its failed questions are in the transcript
            await desk.judge([pair.better, pair.worse], pair.row)
        done()

    try:
        async with asyncio.TaskGroup() as together:
            for pair in pairs:
                together.create_task(one(pair))
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


def label_by_pairs(pairs: Iterable[LabelledPair]) -> Callable[[Record], tuple[str, float] | None]:
    """(kind, 1 where the better response was A, else 0) of a record of `ask_pairs`."""

    def said(response: str) -> str:  # what the judge is shown, and the transcript holds
        return strip_think(response).strip()

    better = {(pair.row["id"], said(pair.better), said(pair.worse)): pair.kind for pair in pairs}

    def label(record: Record) -> tuple[str, float] | None:
        a, b = record["responses"]
        if kind := better.get((record["id"], a, b)):
            return kind, 1.0
        kind = better.get((record["id"], b, a))
        return (kind, 0.0) if kind else None

    return label


def label_by_accuracy(record: Record) -> tuple[str, float] | None:
    """("accuracy", 1 where A is the correct one, else 0); None where both or neither are correct."""
    gold, language = record["ground_truth"], record.get("language")
    a, b = (answers_match(extract_boxed(each), gold, language=language) for each in record["responses"])
    return ("accuracy", float(a)) if a != b else None


def measure(records: Iterable[Record], label: Callable[[Record], tuple[str, float] | None]) -> Check:
    """Read a transcript's records of pairwise questions; others (rankings, languages) are left out."""
    check = Check()
    credits: dict[tuple[str, str, str], float] = {}
    for record in records:
        if len(record["responses"]) != 2 or isinstance(record["value"], list):
            continue
        check.questions += 1
        check.calls += record["calls"]
        if record["tokens_in"]:  # none where every attempt failed: that says nothing about the cost of an answer
            check.tokens.append((record["tokens_in"], record["tokens_out"]))
        if record["failure"]:
            check.failures[record["failure"]] += 1
            continue
        check.seconds.append(record["seconds"])
        value = record["value"]
        credit = credit_of_a(Verdict[value] if isinstance(value, str) else value)
        check.slot_a.append(credit)
        if labelled := label(record):
            kind, a_is_better = labelled
            check.agreement[kind].append(credit if a_is_better else 1 - credit)
        a, b = record["responses"]
        key, swapped = (record["group"], a, b), (record["group"], b, a)
        credits[key] = credit
        if swapped in credits:
            other = 1 - credits[swapped]
            check.swapped.append((credit > 0.5) == (other > 0.5) and (credit == 0.5) == (other == 0.5))
    return check


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """(mean, low, high) of shares in [0, 1]: Wilson's 95 % interval, which a fractional credit makes a little wide."""
    n = len(values)
    mean = sum(values) / n
    centre = (mean + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * math.sqrt(mean * (1 - mean) / n + Z95**2 / (4 * n**2))
    return mean, max(0.0, centre - half), min(1.0, centre + half)


def questions_of_a_group(settings: JudgeSettings, n: int) -> int:
    """How many questions the schedule asks about n different responses."""
    if settings.schedule == "listwise":
        return 1
    if settings.schedule == "language":
        return n
    return len(SCHEDULES[settings.schedule](n, settings, random.Random(0)))


def estimated_usd(check: Check, settings: JudgeSettings, questions: float) -> tuple[float, float, float] | None:
    """(mean, low, high) dollars of so many questions, 95 %; None without a price. Malformed answers count."""
    price = settings.known_price()
    if price is None or not check.tokens:
        return None
    each = [(tokens_in * price.input + tokens_out * price.output) / 1e6 for tokens_in, tokens_out in check.tokens]
    mean = statistics.fmean(each)
    half = Z95 * statistics.stdev(each) / math.sqrt(len(each)) if len(each) > 1 else mean
    return questions * mean, questions * max(0.0, mean - half), questions * (mean + half)
