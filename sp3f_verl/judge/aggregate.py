"""From the verdicts of one group to one win rate per response, and to the numbers that show how a judge behaves.

A verdict is a triple (i, j, Verdict): responses i and j of the group were compared, i shown as A.
SP3F's reward is r_i = 1/(N-1) * sum over j != i of 1[judge prefers y_i to y_j] (a figure of arXiv 2601.18722).
"""

from collections.abc import Iterable, Iterator

from sp3f_verl.judge.verdict import Verdict

Comparison = tuple[int, int, Verdict]

NEUTRAL = 0.5  # of a response that no valid verdict is about: the mean of a group credited on both sides
_SHARE_OF_A = {Verdict.A: 1.0, Verdict.B: 0.0, Verdict.TIE: 0.5}


def win_rates(
    n: int, verdicts: Iterable[Comparison], credit: str = "both", *, failed_as_loss: bool = False
) -> list[float]:
    """Win rate in [0, 1] of each of n responses: wins / valid comparisons, a tie half a win, 0.5 without any.

    credit="both": a verdict counts for both participants. Under a schedule in which all meet equally often and none
        fails, the rates average exactly 0.5.
    credit="a_only": only the response shown as A is credited, as in the original code.
    A FAILED verdict says nothing and leaves the denominator. failed_as_loss=True, for reproducing the original, lets it
    count as lost by the response shown as A; there is no such loser under credit="both". (The original knows no tie.)

    Raises ValueError: an index outside 0..n-1, i == j, an unknown credit, or failed_as_loss with credit="both".
    Raises TypeError: something that is no Verdict, such as the letter "A".
    """
    if credit not in ("both", "a_only"):
        raise ValueError(f"credit must be 'both' or 'a_only', not {credit!r}.")
    if failed_as_loss and credit == "both":
        raise ValueError("failed_as_loss needs credit='a_only': on both sides, a failed comparison has no loser.")
    wins, compared = [0.0] * n, [0] * n
    for i, j, verdict in _checked(n, verdicts):
        if verdict is Verdict.FAILED and not failed_as_loss:
            continue
        share = _SHARE_OF_A.get(verdict, 0.0)
        wins[i] += share
        compared[i] += 1
        if credit == "both":
            wins[j] += 1.0 - share
            compared[j] += 1
    return [won / met if met else NEUTRAL for won, met in zip(wins, compared, strict=True)]


def judge_metrics(n: int, verdicts: Iterable[Comparison]) -> dict[str, float]:
    """How a judge behaved on one group of n: always the same keys, always numbers.

    pairs, failed, ties: counts.
    slot_a_rate: share of decided (A or B) verdicts that slot A won, 0.5 when none; far from 0.5 is position bias.
    swap_consistency: among unordered pairs with a valid verdict in both orders, the share with the same outcome (same
        winner, or a tie both times), 1.0 when none; a pair asked twice in one order counts as answered last.
    Raises as `win_rates` does.
    """
    checked = list(_checked(n, verdicts))
    shares = {(i, j): _SHARE_OF_A[verdict] for i, j, verdict in checked if verdict is not Verdict.FAILED}
    swapped = [shares[i, j] + shares[j, i] == 1.0 for i, j in shares if i < j and (j, i) in shares]
    count = {verdict: sum(v is verdict for _, _, v in checked) for verdict in Verdict}
    decided = count[Verdict.A] + count[Verdict.B]
    return {
        "pairs": float(len(checked)),
        "failed": float(count[Verdict.FAILED]),
        "ties": float(count[Verdict.TIE]),
        "slot_a_rate": count[Verdict.A] / decided if decided else 0.5,
        "swap_consistency": sum(swapped) / len(swapped) if swapped else 1.0,
    }


def _checked(n: int, verdicts: Iterable[Comparison]) -> Iterator[Comparison]:
    for i, j, verdict in verdicts:
        if not (0 <= i < n and 0 <= j < n):
            raise ValueError(f"Comparison ({i}, {j}) is outside a group of {n} responses.")
        if i == j:
            raise ValueError(f"Response {i} is compared with itself.")
        if not isinstance(verdict, Verdict):
            raise TypeError(f"Comparison ({i}, {j}) holds {verdict!r}, which is no Verdict.")
        yield i, j, verdict
