"""Intervals and paired tests over problems: what a reader needs to tell a change from chance.

The unit is the cluster, a problem with all samples drawn for it: samples of one problem agree with each other, so
counting them one by one would promise too much. An estimate is the mean over clusters of the cluster means, so that a
problem weighs the same however many of its samples failed; a cluster without values is left out, and `n` says so.

Intervals are BCa (Efron 1987, "Better bootstrap confidence intervals"), since rates near 0 or 1 are skewed and the
percentile interval is then not wide enough on their far side; its level is widened to Student's t (Hesterberg 2015,
"What teachers should know about the bootstrap"), since resampling n clusters varies too little by (n - 1) / n. Where
all clusters are 0, or all 1, resampling shows no variation at all, and the interval is Clopper and Pearson's; where
they are one value between, or there is one alone, nothing is known of it, and the bounds are NaN.
tests/stats/test_bootstrap.py measures what they cover. Below ten clusters no interval of this kind is to be trusted.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

_AT_ONCE = 4_000_000  # resampled values in memory
_NORMAL = NormalDist()


@dataclass(frozen=True)
class Interval:
    """A mean over `n` clusters and its interval [low, high]; NaN where nothing is known of them."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Difference:
    """Mean of a - b over the `n` clusters that both have, its interval, and the p-value of "no difference"."""

    mean: float
    low: float
    high: float
    p: float
    n: int


def bootstrap(
    clusters: Sequence[Sequence[float]], resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> Interval:
    """Mean over clusters of the cluster means with its BCa interval; the same input gives the same result.

    clusters: the values of each problem. Raises ValueError for a value that is not finite.
    """
    means = np.array([mean for mean in map(_mean, clusters) if mean is not None])
    if not len(means):
        return Interval(math.nan, math.nan, math.nan, 0)
    return Interval(float(means.mean()), *_interval(means, resamples, level, seed), len(means))


def paired(
    a: Sequence[Sequence[float]],
    b: Sequence[Sequence[float]],
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Difference:
    """a - b over the same clusters, a[k] and b[k] being the values of one problem under two conditions.

    The p-value is that of the two-sided sign-flip test (Fisher's randomisation): the share of random signs of the
    clusters' differences whose mean is as far from 0 as theirs. It and the interval are made differently and can
    disagree at the edge. Raises ValueError for unequal lengths, or a value that is not finite.
    """
    both = [(_mean(one), _mean(other)) for one, other in zip(a, b, strict=True)]
    gaps = np.array([one - other for one, other in both if one is not None and other is not None])
    if not len(gaps):
        return Difference(math.nan, math.nan, math.nan, math.nan, 0)
    mean, (low, high) = float(gaps.mean()), _interval(gaps, resamples, level, seed, is_share=False)
    return Difference(mean, low, high, sign_flip(gaps, resamples, seed), len(gaps))


def _mean(cluster: Sequence[float]) -> float | None:
    if not len(cluster):
        return None
    mean = math.fsum(cluster) / len(cluster)
    if not math.isfinite(mean):
        raise ValueError(f"{list(cluster)!r} holds a value that is not finite; leave failed samples out.")
    return mean


def _interval(means: np.ndarray, resamples: int, level: float, seed: int, is_share: bool = True) -> tuple[float, float]:
    n, mean = len(means), means.mean()
    if np.ptp(means) == 0:
        if not is_share:
            return float(mean), float(mean)
        if means[0] not in (0, 1):
            return math.nan, math.nan
        reach = ((1 - level) / 2) ** (1 / n)  # the rate at which n of n still happens that often
        return (float(reach), 1.0) if means[0] else (0.0, float(1 - reach))
    return bca(mean, _resampled(means, resamples, seed), means - mean, n, level)


def bca(estimate: float, drawn: np.ndarray, influences: np.ndarray, n: int, level: float = 0.95) -> tuple[float, float]:
    """(low, high) of an estimate over n > 1 clusters whose resampled values are `drawn`.

    influences: how far each cluster pulls the estimate, up to a common factor; zeros where that is not known, which
    leaves the correction for skewness out.
    """
    drawn = drawn[np.isfinite(drawn)]
    below = np.mean(drawn < estimate - 1e-12) + np.mean(np.abs(drawn - estimate) <= 1e-12) / 2  # ties count half
    bias = _NORMAL.inv_cdf(min(max(below, 1 / len(drawn)), 1 - 1 / len(drawn)))
    skew = float((influences**3).sum() / max(6 * (influences**2).sum() ** 1.5, 1e-300))
    z = _t_quantile((1 - level) / 2, n - 1) * math.sqrt(n / (n - 1))
    low, high = np.quantile(drawn, [_bca(bias, skew, z), _bca(bias, skew, -z)])
    return float(low), float(high)


def _bca(bias: float, skew: float, z: float) -> float:
    moved = bias + z
    return _NORMAL.cdf(bias + moved / max(1 - skew * moved, 1e-3))


def _resampled(means: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Means of `resamples` draws of n of the n clusters."""
    n, rng = len(means), np.random.default_rng(seed)
    step = max(1, _AT_ONCE // n)
    parts = [min(step, resamples - start) for start in range(0, resamples, step)]
    return np.concatenate([means[rng.integers(0, n, (part, n))].mean(axis=1) for part in parts])


def sign_flip(gaps: np.ndarray, resamples: int = 2000, seed: int = 0) -> float:
    """The two-sided p-value of "the gaps are as likely to be positive as negative"; exact for 12 or fewer."""
    gaps = gaps[gaps != 0]  # no sign turns them
    n, rng = len(gaps), np.random.default_rng(seed)
    if not n:
        return 1.0
    reach = abs(gaps.sum()) * (1 - 1e-12)
    if n <= 12:  # every sign there is
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float(np.mean(np.abs(signs @ gaps) >= reach))
    step = max(1, _AT_ONCE // n)
    parts = [min(step, resamples - start) for start in range(0, resamples, step)]
    as_far = sum(int((np.abs((rng.integers(0, 2, (part, n)) * 2 - 1) @ gaps) >= reach).sum()) for part in parts)
    return (as_far + 1) / (resamples + 1)


def t_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Mean and Student's interval of a handful of runs, such as seeds, whose values are nearly normal; the bounds are
    NaN for fewer than three."""
    n, mean = len(values), statistics.fmean(values)
    reach = -_t_quantile((1 - level) / 2, n - 1) * statistics.stdev(values) / math.sqrt(n) if n > 2 else math.nan
    return Interval(mean, mean - reach, mean + reach, n)


def _t_quantile(tail: float, freedom: int) -> float:
    """Student's t by the Cornish-Fisher series (Abramowitz and Stegun 26.7.5): for 95 % it is 1 % off at 2 degrees."""
    z = _NORMAL.inv_cdf(tail)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92_160,
    )
    return z + sum(term / freedom ** (power + 1) for power, term in enumerate(terms))
