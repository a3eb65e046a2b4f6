"""What a judge says of a group: the answer of every judge, whether it asks a model or not."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sp3f_verl.judge.aggregate import Comparison, win_rates
from sp3f_verl.judge.verdict import Verdict


@dataclass(frozen=True)
class Judged:
    """For a group of n: a win rate in [0, 1] for each response, the comparisons that the judge made (none for the
    language judge), and how many valid comparisons, settled without it or not, each response was in."""

    rates: list[float]
    comparisons: list[Comparison] = field(default_factory=list)
    valid: list[int] = field(default_factory=list)


def judged(n: int, comparisons: Sequence[Comparison], credit: str, settled: Sequence[Comparison] = ()) -> Judged:
    """The win rates of the comparisons that a judge made and those that were settled without it (see `win_rates`)."""
    valid = [0] * n
    for i, j, verdict in (*comparisons, *settled):
        if verdict is not Verdict.FAILED:
            valid[i] += 1
            valid[j] += 1
    return Judged(win_rates(n, (*comparisons, *settled), credit), list(comparisons), valid)


def average(results: Sequence[Judged], weights: Sequence[float]) -> Judged:
    """Several judges on one group: win rates averaged by weight, comparisons of all of them."""
    if len(results) == 1:
        return results[0]
    rates = [
        sum(weight * rate for weight, rate in zip(weights, of_one, strict=True)) / sum(weights)
        for of_one in zip(*(result.rates for result in results), strict=True)
    ]
    valid = [sum(of_one) for of_one in zip(*(result.valid for result in results), strict=True)]
    return Judged(rates, [each for result in results for each in result.comparisons], valid)
