"""From the verdicts of one group to one win rate per response, and to the numbers that show how a judge behaves.

A comparison is a triple (i, j, outcome): responses i and j of the group were compared, i shown as A. The outcome is a
Verdict or, as soft credit, a float in [0, 1]: the probability that A is better.
SP3F's reward is r_i = 1/(N-1) * sum over j != i of 1[judge prefers y_i to y_j] (a figure of arXiv 2601.18722).
"""

import math
from collections.abc import Iterable, Iterator

from sp3f_verl.judge.verdicts.verdict import Verdict

Comparison = tuple[int, int, Verdict | float]

NEUTRAL = 0.5  # of a response that no valid verdict is about: the mean of a group credited on both sides
_OPPOSITE = {
    Verdict.A: Verdict.B,
    Verdict.B: Verdict.A,
    Verdict.TIE: Verdict.TIE,
    Verdict.FAILED: Verdict.FAILED,
}
_SHARE_OF_A = {Verdict.A: 1.0, Verdict.B: 0.0, Verdict.TIE: 0.5, Verdict.FAILED: None}


def win_rates(
    n: int, verdicts: Iterable[Comparison], credit: str = "both", *, failed_as_loss: bool = False
) -> list[float]:
    """Win rate in [0, 1] of each of n responses: wins / valid comparisons, a tie half a win, 0.5 without any.

    A soft verdict p is p of a win for A and 1 - p for B.
    credit="both": a verdict counts for both participants. Under a schedule in which all meet equally often and none
        fails, the rates average exactly 0.5.
    credit="a_only": only the response shown as A is credited, as in the original code.
    A FAILED verdict says nothing and leaves the denominator. failed_as_loss=True, for reproducing the original, lets it
    count as lost by the response shown as A; there is no such loser under credit="both". (The original knows no tie.)

    Raises ValueError: an index outside 0..n-1, i == j, a float outside [0, 1] or NaN, an unknown credit, or
    failed_as_loss with credit="both".
    Raises TypeError: something that is neither Verdict nor float, such as the letter "A" or a bool.
    """
    if credit not in ("both", "a_only"):
        raise ValueError(f"credit must be 'both' or 'a_only', not {credit!r}.")
    if failed_as_loss and credit == "both":
        raise ValueError("failed_as_loss needs credit='a_only': on both sides, a failed comparison has no loser.")
    credits: list[list[float]] = [[] for _ in range(n)]
    for i, j, share in _shares(n, verdicts):
        if share is None:
            if not failed_as_loss:
                continue
            share = 0.0
        credits[i].append(share)
        if credit == "both":
            credits[j].append(1.0 - share)
    # fsum: in whatever order they met, responses with the same credits have the same rate
    return [math.fsum(of_one) / len(of_one) if of_one else NEUTRAL for of_one in credits]


def judge_metrics(n: int, verdicts: Iterable[Comparison]) -> dict[str, float]:
    """How a judge behaved on one group of n: always the same keys, always numbers.

    pairs, failed, ties: counts; a soft verdict of exactly 0.5 is a tie.
    slot_a_rate: mean credit of slot A over the verdicts that are neither failed nor a tie, 0.5 when none: the share of
        A among hard verdicts, the mean probability of A among soft ones; far from 0.5 is position bias.
    swap_consistency: among unordered pairs with a valid verdict in both orders, the share with the same outcome (same
        winner, whose probability is above 0.5 in both orders, or a tie both times), 1.0 when none; a pair asked twice
        in one order counts as answered last.
    Raises as `win_rates` does.
    """
    checked = list(_shares(n, verdicts))
    valid = [(i, j, share) for i, j, share in checked if share is not None]
    decided = [share for _, _, share in valid if share != 0.5]
    last = {(i, j): share for i, j, share in valid}
    swapped = [same_outcome(last[i, j], last[j, i]) for i, j in last if i < j and (j, i) in last]
    return {
        "pairs": float(len(checked)),
        "failed": float(len(checked) - len(valid)),
        "ties": float(len(valid) - len(decided)),
        "slot_a_rate": sum(decided) / len(decided) if decided else 0.5,
        "swap_consistency": sum(swapped) / len(swapped) if swapped else 1.0,
    }


def credit_of_a(outcome: Verdict | float) -> float | None:
    """What an outcome credits response A with, in [0, 1]; None for a FAILED one."""
    return _SHARE_OF_A[outcome] if isinstance(outcome, Verdict) else outcome


def same_outcome(credit: float, swapped: float) -> bool:
    """Whether a pair came out the same in both orders: credit of A in one, and of the other response as A."""
    return (credit > 0.5, credit < 0.5) == (swapped < 0.5, swapped > 0.5)


def opposite(outcome: Verdict | float) -> Verdict | float:
    """The outcome of the same pair with its places exchanged."""
    return _OPPOSITE[outcome] if isinstance(outcome, Verdict) else 1.0 - outcome


def _shares(n: int, verdicts: Iterable[Comparison]) -> Iterator[tuple[int, int, float | None]]:
    """(i, j, credit of A in [0, 1]) of every comparison; None for a FAILED one."""
    for i, j, verdict in verdicts:
        if not (0 <= i < n and 0 <= j < n):
            raise ValueError(f"Comparison ({i}, {j}) is outside a group of {n} responses.")
        if i == j:
            raise ValueError(f"Response {i} is compared with itself.")
        if isinstance(verdict, Verdict):
            yield i, j, _SHARE_OF_A[verdict]
        elif not isinstance(verdict, float):
            raise TypeError(f"Comparison ({i}, {j}) holds {verdict!r}, which is no Verdict and no float.")
        elif not 0.0 <= verdict <= 1.0:
            raise ValueError(f"Comparison ({i}, {j}) holds {verdict!r}, which is no probability.")
        else:
            yield i, j, float(verdict)
