"""Failures that a response can cause, and where they gather on one: no response may gain by making its judge fail.

A failure is of the way (connection, time, 429, 5xx, key, budget), which no response has a hand in, or of the question
(refused, malformed, cut off, too long, or for any reason that is not known to be of the way). Those of the way leave
the count. Of the others, too, a few that fall by chance do: they move no response's expected rate. Where they gather
on one response more than chance would have it, `sp3f.judge.on_jam` says what becomes of the group.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, lgamma
from typing import TypeVar

from sp3f_verl.judge.verdicts.verdict import Verdict
from sp3f_verl.judge.verdicts.win_rates import Comparison, opposite
from sp3f_verl.llm.outcome import FailureKind

T = TypeVar("T", bound=Hashable)

OF_THE_WAY = frozenset(
    {
        FailureKind.TIMEOUT,
        FailureKind.CONNECTION,
        FailureKind.RATE_LIMITED,
        FailureKind.SERVER_ERROR,
        FailureKind.AUTHENTICATION,
        FailureKind.NO_MONEY,
        FailureKind.NOT_FOUND,
        FailureKind.DEADLINE,
    }
)
LEVEL = 0.05  # chance with which failures that fall at random are taken for a jam; benchmarks/judge_jamming.py


def is_of_the_way(failure: str) -> bool:
    """Whether a failure (a Asked's) says nothing about the responses that were shown."""
    return failure in OF_THE_WAY


@dataclass(frozen=True)
class Jam:
    """responses: those on which failures of the question gather. concentration: the largest share of one response's
    questions that failed so, 0 where none did."""

    responses: frozenset
    concentration: float = 0.0


def find_jam(questions: Mapping[tuple[T, ...], bool]) -> Jam:
    """questions: what was shown together, and whether that question failed of itself; without those that failed on the
    way.

    A response is jammed where none of its questions has a verdict, or where so many of them (a hypergeometric tail), or
    so many of its pairs in both orders, would fail together with a chance below LEVEL for any of the group, were as
    many failures spread over the group at random; or where one of its pairs failed in both orders, and nothing else
    did: such failures fall so by chance more often than LEVEL in groups of less than six, but there are such failures
    in two groups of a hundred at most.
    """
    total, failed = len(questions), sum(questions.values())
    if not failed:
        return Jam(frozenset())
    asked, jammed = Counter(), Counter()
    pairs: dict[frozenset, list[bool]] = defaultdict(list)
    for shown, fails in questions.items():
        asked.update(shown)
        jammed.update(shown if fails else ())
        pairs[frozenset(shown)].append(fails)
    both_orders = {pair: all(fails) for pair, fails in pairs.items() if len(fails) == 2}
    in_pairs = Counter(response for pair in both_orders for response in pair)
    anywhere = _log_comb(total, failed)
    lost_pairs = Counter(response for pair, lost in both_orders.items() if lost for response in pair)

    def chance(response: T) -> float:
        """Of what is seen at this response, at any of the group: bounds by the sum over all."""
        count, fails, lost = asked[response], jammed[response], lost_pairs[response]
        so_many = range(max(fails, failed - total + count), min(count, failed) + 1)
        ways = (_log_comb(count, x) + _log_comb(total - count, failed - x) for x in so_many)
        by_questions = len(asked) * sum(exp(way - anywhere) for way in ways)
        if not lost:
            return by_questions
        if failed == 2:
            return 0.0
        places = len(both_orders) if lost == 1 else len(asked) * exp(_log_comb(in_pairs[response], lost))
        return min(by_questions, places * exp(_log_comb(total - 2 * lost, failed - 2 * lost) - anywhere))

    gathered = {response for response in jammed if jammed[response] == asked[response] or chance(response) < LEVEL}
    return Jam(frozenset(gathered), max(jammed[response] / asked[response] for response in jammed))


def lost_by(comparisons: Sequence[Comparison], jammers: frozenset[int]) -> list[Comparison]:
    """The comparisons, those without a verdict lost by the jammer where one of the two is one."""
    return [
        (i, j, Verdict.B if i in jammers else Verdict.A)
        if verdict is Verdict.FAILED and (i in jammers) != (j in jammers)
        else (i, j, verdict)
        for i, j, verdict in comparisons
    ]


def from_other_order(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons, those without a verdict as the same pair came out in the other order, where it was asked so: a
    failure in one order takes no weight from the pair, so that none can be chosen to weigh less."""
    outcomes = {(i, j): verdict for i, j, verdict in comparisons}
    return [
        (i, j, opposite(outcomes.get((j, i), verdict)) if verdict is Verdict.FAILED else verdict)
        for i, j, verdict in comparisons
    ]


def _log_comb(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
