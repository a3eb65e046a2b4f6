"""summary.json: what a benchmark comes to in a language, and the unweighted mean of several languages or variants.

A mean is over problems of the means of their samples; a problem without a scored sample is in none. An interval is the
bootstrap's by problem. Over several languages a problem counts with all its translations, which fail and succeed
together: taken for independent, they would make the interval too narrow.
"""

import math
from collections.abc import Mapping, Sequence

from sp3f_verl.evaluation.results import Estimate, Measures
from sp3f_verl.evaluation.scores import THRESHOLDS, Scored, ks
from sp3f_verl.stats.bootstrap import bootstrap
from sp3f_verl.stats.clustered import bounds_of_groups

Column = Mapping[str, Scored]  # problem -> what it came to

INTERVALS = ("accuracy", "majority", "fidelity")
MEANS = ("parseable", "tokens", "truncated", "undefined")
COUNTS = ("failed", "refused")
PASS = "pass@"


def describe(columns: Sequence[Column], samples: int) -> Measures:
    """The measures of a column, or the unweighted means of several; None for one that no sample has."""
    column = merged(columns)
    return Measures(
        problems=len(column),
        samples=samples,
        unscored=len(column) - _scored(column),
        complete=sum(not scored.failed for scored in column.values()),
        **{name: interval(columns, name) for name in INTERVALS},
        **{name: mean(column, name) for name in MEANS},
        pass_at_k={str(k): mean(column, f"{PASS}{k}") for k in ks(samples)},
        fidelity_curve={str(least): mean(column, f"fidelity@{least}") for least in THRESHOLDS},
        **{name: sum(getattr(scored, name) for scored in column.values()) for name in COUNTS},
    )


def mean(column: Column, name: str) -> float | None:
    values = _values(column, name)
    return math.fsum(values.values()) / len(values) if values else None


def interval(columns: Sequence[Column], name: str) -> Estimate | None:
    """Of a share; None where no sample has it, the bounds None where nothing is known of them.

    Where nothing varies within any of several columns (all right in one, all wrong in another) resampling shows
    nothing, and the bounds are the means of the columns' own.
    """
    values = _values(merged(columns), name)
    if not values:
        return None
    got = bootstrap([[values[problem]] for problem in sorted(values)])
    low, high = got.low, got.high
    if len(columns) > 1 and math.isnan(low):
        by_column = [_values(column, name) for column in columns]
        low, high = bounds_of_groups([[known[problem] for problem in sorted(known)] for known in by_column if known])
    if math.isnan(low):
        return Estimate(mean=got.mean, low=None, high=None)
    return Estimate(mean=got.mean, low=max(0.0, low), high=min(1.0, high))


def merged(columns: Sequence[Column]) -> Column:
    """One column whose means are the unweighted means of theirs, and bootstrap as those do.

    A measure that a column has nowhere is the mean of the other columns; but pass@k is of all, or there is none: a
    curve over k whose points are means of different languages would say nothing.
    """
    if len(columns) == 1:
        return columns[0]
    names = sorted({name for column in columns for one in column.values() for name in one.values})
    values: dict[str, dict[str, float]] = {problem: {} for column in columns for problem in column}
    for name in names:
        having = [_values(column, name) for column in columns]
        lacking = [column for column, known in zip(columns, having, strict=True) if _scored(column) and not known]
        if name.startswith(PASS) and lacking:
            continue
        for problem, value in influences([known for known in having if known]).items():
            values[problem][name] = value
    counts = {
        problem: [sum(getattr(column[problem], name) for column in columns if problem in column) for name in COUNTS]
        for problem in values
    }
    return {problem: Scored(values[problem], *counts[problem]) for problem in values}


def influences(columns: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Problem -> a value; their mean is the unweighted mean of the columns' means.

    Where every column has every problem it is the mean of the problem's values. Where some are missing, a column's
    problems stand for its whole: the ratio of means, linearised.
    """
    problems = sorted({problem for column in columns for problem in column})
    means = [math.fsum(column.values()) / len(column) for column in columns]
    pulls = {}
    for problem in problems:
        parts = [
            whole + (column[problem] - whole) * len(problems) / len(column) if problem in column else whole
            for column, whole in zip(columns, means, strict=True)
        ]
        pulls[problem] = round(math.fsum(parts) / len(parts), 12)  # all right is 1 and not nearly
    return pulls


def _values(column: Column, name: str) -> dict[str, float]:
    """Problem -> value. pass@k of all scored problems or of none: requests may fail more on hard problems, and without
    these it would rise with k by that alone."""
    values = {problem: one.values[name] for problem, one in column.items() if name in one.values}
    return {} if name.startswith(PASS) and len(values) < _scored(column) else values


def _scored(column: Column) -> int:
    return sum(bool(one.values) for one in column.values())
