"""What a judge says of a group: the answer of every judge, whether it asks a model or not."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sp3f_verl.judge.aggregate import NEUTRAL, Comparison, win_rates
from sp3f_verl.judge.verdict import Verdict


@dataclass(frozen=True)
class Judged:
    """For a group of n: a win rate in [0, 1] for each response, and how many valid comparisons, settled without a judge
    or not, each response was in. `comparisons` has the ones that were made, a list for each judge (the language judge
    makes none)."""

    rates: list[float]
    comparisons: list[list[Comparison]] = field(default_factory=list)
    valid: list[int] = field(default_factory=list)


def judged(n: int, comparisons: Sequence[Comparison], credit: str, settled: Sequence[Comparison] = ()) -> Judged:
    """The win rates of the comparisons that a judge made and those that were settled without it (see `win_rates`)."""
    valid = [0] * n
    for i, j, verdict in (*comparisons, *settled):
        if verdict is not Verdict.FAILED:
            valid[i] += 1
            valid[j] += 1
    return Judged(win_rates(n, (*comparisons, *settled), credit), [list(comparisons)], valid)


def average(results: Sequence[Judged], weights: Sequence[float]) -> Judged:
    """Several judges on one group: win rates averaged by weight, for each response over the judges that have a valid
    comparison of it: a judge that failed says nothing, and its 0.5 must not pull the others' rates to the middle."""
    if len(results) == 1:
        return results[0]
    rates = []
    for index in range(len(results[0].rates)):
        said = [(weight, each.rates[index]) for weight, each in zip(weights, results, strict=True) if each.valid[index]]
        total = sum(weight for weight, _ in said)
        rates.append(sum(weight * rate for weight, rate in said) / total if said else NEUTRAL)
    valid = [sum(of_one) for of_one in zip(*(result.valid for result in results), strict=True)]
    return Judged(rates, [each for result in results for each in result.comparisons], valid)
