"""Means of the means of groups, such as languages, over the same clusters: a prompt comes back in every language.

The mean over groups is unweighted (CroCo, SP3F). What is resampled is the cluster with its values in all groups:
answers to one prompt in ten languages are not ten prompts.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from sp3f_verl.stats.bootstrap import Difference, Interval, bca, bootstrap, sign_flip

_AT_ONCE = 4_000_000
UNVARIED = 1e-9  # resampled values no further apart show no variation: a panel's weights round


def grouped(table: np.ndarray, resamples: int = 2000, level: float = 0.95, seed: int = 0) -> Interval:
    """Mean over groups of their means, with its interval. table: (clusters, groups), NaN where there is no value.

    `n` is the number of clusters with a value. With one group it is `bootstrap`. Where nothing varies within any group
    (all won in one, all lost in another), or it cancels in the mean, the bounds are `bounds_of_groups`.
    """
    table = _kept(table)
    if table.shape[1] <= 1 or len(table) <= 1:
        values = np.nanmean(table, axis=1) if table.size else np.array([])
        return bootstrap(values[:, None], resamples, level, seed)
    known, values = ~np.isnan(table), np.nan_to_num(table)
    if np.ptp(table[known]) == 0:
        return bootstrap(np.full((len(table), 1), table[known][0]), resamples, level, seed)
    drawn = []
    for counts in resampled_counts(len(table), resamples, seed):
        with np.errstate(invalid="ignore"):
            drawn.append(np.nanmean(counts @ values / (counts @ known), axis=1))  # a group may not be drawn at all
    mean, drawn = float(np.nanmean(table, axis=0).mean()), np.concatenate(drawn)
    if np.ptp(drawn[np.isfinite(drawn)]) < UNVARIED:
        columns = [column[~np.isnan(column)] for column in table.T]
        return Interval(mean, *bounds_of_groups(columns, resamples, level, seed), len(table))
    return Interval(mean, *bca(mean, drawn, influences(table), len(table), level), len(table))


def bounds_of_groups(
    groups: Sequence[Sequence[float]], resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """The means of the groups' own bounds, for a mean over groups of which resampling shows nothing; NaN where one of
    the groups knows nothing either."""
    intervals = [bootstrap([[value] for value in group], resamples, level, seed) for group in groups]
    return tuple(sum(getattr(interval, name) for interval in intervals) / len(groups) for name in ("low", "high"))


def grouped_difference(
    a: np.ndarray, b: np.ndarray, resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> Difference:
    """`grouped` of a - b, where both have a value, and the p-value of the sign-flip test over clusters."""
    gaps = _kept(a - b)
    interval = grouped(gaps, resamples, level, seed)
    if not interval.n:
        return Difference(interval.mean, interval.low, interval.high, float("nan"), 0)
    low, high = (interval.low, interval.high) if np.ptp(gaps[~np.isnan(gaps)]) else (interval.mean, interval.mean)
    return Difference(interval.mean, low, high, sign_flip(influences(gaps, centred=False), resamples, seed), interval.n)


def influences(table: np.ndarray, centred: bool = True) -> np.ndarray:
    """(clusters,): what each cluster adds to the mean over groups, its deviation from the groups' means or as it is."""
    known = ~np.isnan(table)
    shift = np.nanmean(table, axis=0) if centred else 0.0
    return (np.nan_to_num(table - shift) / known.sum(axis=0)).sum(axis=1) / table.shape[1]


def standard_error(table: np.ndarray) -> float:
    """Of the mean over groups; with one group sd(ddof 1) / sqrt(n). NaN for fewer than two clusters."""
    table = _kept(table)
    n = len(table)
    return float(np.sqrt(n / (n - 1) * (influences(table) ** 2).sum())) if n > 1 else float("nan")


def resampled_counts(n: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each of n clusters is drawn, (some, n) at a time, `resamples` rows in all."""
    rng, step = np.random.default_rng(seed), max(1, _AT_ONCE // n)
    for start in range(0, resamples, step):
        yield rng.multinomial(n, np.full(n, 1 / n), size=min(step, resamples - start)).astype(float)


def _kept(table: np.ndarray) -> np.ndarray:
    """Without clusters and groups that have no value."""
    known = ~np.isnan(table)
    return table[known.any(axis=1)][:, known.any(axis=0)]
