"""Intervals over problems: what they cover, and what they do with the smallest and the strangest sets."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sp3f_verl.stats.bootstrap import bootstrap, paired, t_interval

SETS = 1000


def _rates(rng, n):
    """Eight samples of n problems, each solved at a rate of its own, most nearly always: skewed."""
    return rng.binomial(8, rng.beta(1.6, 0.4, n))[:, None] / 8, 0.8


def _one_sample(rng, n):
    """One 0/1 sample a problem; the rate differs from set to set, as at any one rate the steps of 1/n decide."""
    rate = rng.uniform(0.85, 0.95)
    return (rng.random(n) < rate).astype(float)[:, None], rate


def _even(rng, n):
    rate = rng.uniform(0.3, 0.7)
    return (rng.random(n) < rate).astype(float)[:, None], rate


def _verdicts(rng, n):
    """The mean of two orders of a judge, ties among them."""
    rate = rng.uniform(0.5, 0.8)
    return rng.binomial(2, rate, n)[:, None] / 2, rate


def _lengths(rng, n):
    return rng.lognormal(5, 0.6, (n, 1)), math.exp(5 + 0.6**2 / 2)


@pytest.mark.parametrize(
    ("draw", "n"), [(_rates, 30), (_rates, 100), (_one_sample, 100), (_even, 40), (_verdicts, 25), (_lengths, 150)]
)
def test_a_95_percent_interval_covers_the_truth_in_93_to_97_of_100_sets(draw, n):
    rng, covered = np.random.default_rng(5), 0
    for number in range(SETS):
        values, truth = draw(rng, n)
        result = bootstrap(values, resamples=1000, seed=number)
        covered += result.low <= truth <= result.high
    assert 0.93 <= covered / SETS <= 0.97


def test_samples_of_one_problem_do_not_count_as_problems():
    rng = np.random.default_rng(2)
    solved = (rng.random(40) < 0.5).astype(float)
    one, many = bootstrap(solved[:, None]), bootstrap(np.repeat(solved[:, None], 8, axis=1))
    assert (one.low, one.high, one.n) == (many.low, many.high, many.n)


def test_each_problem_weighs_the_same_and_one_without_values_is_left_out():
    result = bootstrap([[1, 1, 1, 1], [0], []])
    assert (result.mean, result.n) == (0.5, 2)


def test_a_rate_that_was_always_one_is_not_certain():
    """20 of 20: Clopper and Pearson's lower bound solves p^20 = 0.025."""
    result = bootstrap([[1.0]] * 20)
    assert (result.mean, result.high) == (1, 1)
    assert result.low == pytest.approx(0.025 ** (1 / 20)) and result.low**20 == pytest.approx(0.025)
    assert bootstrap([[0.0]] * 20).high == pytest.approx(1 - result.low)


def test_nothing_and_one_cluster():
    assert math.isnan(bootstrap([]).mean) and bootstrap([[]]).n == 0
    assert bootstrap([[300.0, 500.0]]) == bootstrap([[400.0]])
    assert math.isnan(paired([[]], [[1.0]]).p)


@pytest.mark.parametrize("clusters", [[[0.5]], [[0.0, 1.0]], [[0.5]] * 20])
def test_what_never_varies_between_0_and_1_has_no_interval(clusters):
    """One tie, or twenty, is no proof that every other would tie."""
    result = bootstrap(clusters)
    assert result.mean == 0.5 and math.isnan(result.low) and math.isnan(result.high)


def test_a_value_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="not finite"):
        bootstrap([[1.0], [float("nan")]])


@given(st.lists(st.lists(st.floats(0, 1), max_size=4), min_size=1, max_size=30), st.floats(-3, 3), st.floats(0.5, 4))
def test_intervals_stay_in_the_range_and_move_with_the_scale(clusters, shift, scale):
    result = bootstrap(clusters, resamples=200)
    if not result.n:
        return
    means = {sum(one) / len(one) for one in clusters if one}
    known = len(means) > 1 or means <= {0, 1}
    assert 0 <= result.low <= result.high <= 1 if known else math.isnan(result.low) and math.isnan(result.high)
    if len(means) > 1 and max(means) - min(means) > 1e-6:
        moved = bootstrap([[shift + scale * value for value in one] for one in clusters], resamples=200)
        for name in ("mean", "low", "high"):
            assert getattr(moved, name) == pytest.approx(shift + scale * getattr(result, name), abs=0.02)


def test_paired_sees_what_two_intervals_do_not():
    """Problems differ by far more than the two models do."""
    rng = np.random.default_rng(3)
    hard = rng.uniform(0.1, 0.9, 80)
    a = [(rng.random(8) < rate + 0.09).astype(float) for rate in hard]
    b = [(rng.random(8) < rate).astype(float) for rate in hard]
    apart = bootstrap(a).low > bootstrap(b).high
    result = paired(a, b)
    assert not apart and result.low > 0 and result.p < 0.01
    assert paired(b, a).mean == pytest.approx(-result.mean) and paired(b, a).p == result.p


def test_p_of_few_clusters_is_exact():
    """Three differences of the same sign: 2 of the 8 sign patterns are as extreme."""
    assert paired([[1], [1], [1]], [[0], [0], [0]]).p == 0.25
    assert paired([[1], [0]], [[1], [0]]).p == 1


def test_p_is_uniform_where_there_is_no_difference():
    rng, small = np.random.default_rng(7), 0
    for number in range(400):
        gaps = rng.normal(size=(25, 1))
        small += paired(gaps, np.zeros((25, 1)), resamples=400, seed=number).p <= 0.1
    assert 0.06 < small / 400 < 0.14


def test_the_same_set_gives_the_same_interval_and_unequal_ones_are_refused():
    clusters = [[0.0], [1.0], [1.0], [0.5]]
    assert bootstrap(clusters) == bootstrap(clusters)
    with pytest.raises(ValueError):
        paired(clusters, clusters[1:])


@pytest.mark.parametrize(("n", "t"), [(3, 4.303), (4, 3.182), (6, 2.571), (31, 2.042)])
def test_students_interval_of_a_handful_of_runs(n, t):
    values = [float(at) for at in range(n)]
    found = t_interval(values)
    assert found.mean == pytest.approx((n - 1) / 2)
    reach = t * np.std(values, ddof=1) / math.sqrt(n)
    assert found.high - found.mean == pytest.approx(reach, rel=0.01) == found.mean - found.low
    assert math.isnan(t_interval([1.0, 2.0]).low)
