"""Win rates: the oracle of the source specification, what ties and failures count as, and the length-controlled fit."""

import json
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sp3f_verl.errors import BadInput
from sp3f_verl.evaluation import length_controlled_win_rate, win_rate
from sp3f_verl.stats.bootstrap import bootstrap
from sp3f_verl.stats.clustered import grouped, grouped_difference, standard_error
from sp3f_verl.stats.win_rates import margin

PREFERENCES = [1, 1, 0, 0.5, 1, 0, 1, 0]
LENGTHS = [1200, 900, 400, 800, 1500, 300, 1000, 500]
REFERENCE = [800, 850, 700, 800, 900, 600, 1000, 900]


def test_the_oracle():
    """SPEC 6.3, worked out with the judge script of CroCo."""
    rate, controlled = win_rate(PREFERENCES), length_controlled_win_rate(PREFERENCES, LENGTHS, REFERENCE)
    assert rate == 56.25 and rate.standard_error == pytest.approx(17.52, abs=5e-3) and rate.n == 8
    assert controlled == pytest.approx(57.49, abs=5e-3)
    assert (controlled.theta, controlled.phi) == pytest.approx((0.3018, 0.7638), abs=5e-5)


def test_equal_length_gaps_leave_the_raw_mean():
    assert length_controlled_win_rate(PREFERENCES, [x + 7 for x in REFERENCE], REFERENCE) == pytest.approx(56.25)
    assert length_controlled_win_rate(PREFERENCES, [x + 7 for x in REFERENCE], REFERENCE).phi == 0


@pytest.mark.parametrize(("ties", "expected"), [("half", 50.0), ("win", 75.0), ("loss", 25.0)])
def test_what_a_tie_counts_as(ties, expected):
    assert win_rate([1, 0.5, 0, 0.5], ties=ties) == expected
    assert length_controlled_win_rate([1, 0.5, 0, 0.5], [1] * 4, [1] * 4, ties=ties) == pytest.approx(expected)


def test_no_verdict_is_no_loss():
    rate = win_rate([1, None, 0, math.nan, 1])
    assert rate == pytest.approx(200 / 3) and (rate.n, rate.failed) == (3, 2)
    with_holes = length_controlled_win_rate(
        [1, None, *PREFERENCES[1:]], [1200, 9, *LENGTHS[1:]], [800, 1, *REFERENCE[1:]]
    )
    assert with_holes == length_controlled_win_rate(PREFERENCES, LENGTHS, REFERENCE) and with_holes.failed == 1


def test_it_is_a_number_for_whoever_wants_one():
    rate = win_rate(np.array([1.0, 0.0, 1.0]))
    assert round(rate, 1) == 66.7 and json.loads(json.dumps({"rate": rate}))["rate"] == rate
    assert pickle.loads(pickle.dumps(rate)).standard_error == rate.standard_error
    assert f"{rate:.1f}" == "66.7" and rate - 50 == pytest.approx(16.666, abs=1e-3)


def test_the_ends():
    assert math.isnan(win_rate([])) and math.isnan(win_rate([1]).standard_error)
    assert math.isnan(length_controlled_win_rate([], [], []))
    won = length_controlled_win_rate([1, 1, 1], [5, 9, 1], [1, 1, 4])
    assert won == 100 and won.theta == math.inf
    assert length_controlled_win_rate([0, 0], [5, 9], [1, 1]) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: win_rate([2]), "2"),
        (lambda: win_rate([1], ties="halve"), "half"),
        (lambda: length_controlled_win_rate([1, 0], [1], [1, 2]), "1 lengths"),
        (lambda: length_controlled_win_rate([1, 0], [1, math.inf], [1, 2]), "length"),
        (lambda: margin(70, 40), "wins=70"),
    ],
)
def test_bad_input_is_one_sentence(call, names):
    with pytest.raises(BadInput) as expected:
        call()
    assert names in str(expected.value) and str(expected.value).endswith(".")


@given(
    st.lists(
        st.tuples(st.sampled_from([0, 0.25, 0.5, 0.75, 1]), st.integers(0, 5000), st.integers(0, 5000)),
        min_size=1, max_size=30,
    )
)  # fmt: skip
def test_swapping_the_models_mirrors_both_rates(rows):
    won, mine, other = map(list, zip(*rows, strict=True))
    lost = [1 - one for one in won]
    assert win_rate(won) + win_rate(lost) == pytest.approx(100)
    both = length_controlled_win_rate(won, mine, other) + length_controlled_win_rate(lost, other, mine)
    assert both == pytest.approx(100, abs=1e-5)


def test_the_fit_is_where_no_step_helps():
    rng = np.random.default_rng(1)
    gaps, won = rng.normal(0, 300, 60), rng.integers(0, 3, 60) / 2
    result = length_controlled_win_rate(won, gaps + 1000, [1000] * 60)
    x = np.tanh(gaps / gaps.std())

    def loss(theta, phi):
        logit = theta + phi * x
        return float(np.sum(np.logaddexp(0, logit) - won * logit) + phi**2)

    best = loss(result.theta, result.phi)
    steps = [(0.01, 0), (-0.01, 0), (0, 0.01), (0, -0.01), (0.01, 0.01), (-0.01, -0.01)]
    assert all(loss(result.theta + dt, result.phi + dp) > best for dt, dp in steps)


def test_length_control_finds_the_strength_under_a_planted_length_bias():
    """Strength 0.6 logits, 1.5 more for a much longer answer; the candidate is nearly always longer."""
    rng = np.random.default_rng(4)
    gaps = rng.normal(400, 300, 4000)
    won = rng.random(4000) < 1 / (1 + np.exp(-(0.6 + 1.5 * np.tanh(gaps / gaps.std()))))
    raw, controlled = win_rate(won), length_controlled_win_rate(won, 1000 + gaps, [1000] * 4000)
    assert raw > 77 and controlled == pytest.approx(100 / (1 + math.exp(-0.6)), abs=4)


class TestGroups:
    def test_one_group_is_the_bootstrap(self):
        values = np.random.default_rng(0).random(50)
        assert grouped(values[:, None]) == bootstrap(values[:, None])
        assert standard_error(values[:, None]) == pytest.approx(values.std(ddof=1) / math.sqrt(50))

    def test_the_mean_over_languages_is_unweighted_and_resamples_prompts(self):
        """Two languages that agree on every prompt know no more than one of them."""
        values = np.random.default_rng(0).random(60)
        alike = grouped(np.stack([values, values], axis=1))
        once = grouped(values[:, None])
        assert alike.high - alike.low == pytest.approx(once.high - once.low, rel=0.15)
        assert grouped(np.array([[1.0, math.nan], [1.0, 0.0], [1.0, math.nan]])).mean == 0.5

    def test_where_nothing_varies_within_the_groups_their_own_bounds_count(self):
        result, one = grouped(np.array([[1.0, 0.0]] * 20)), bootstrap([[1.0]] * 20)
        assert result.mean == 0.5 and result.n == 20
        assert (result.low, result.high) == pytest.approx((one.low / 2, (1 + 1 - one.low) / 2))
        cancelling = grouped(np.array([[1.0, 0.0], [0.0, 1.0]] * 10))
        assert cancelling.mean == 0.5 and cancelling.low < 0.35 and cancelling.high > 0.65
        assert math.isnan(grouped(np.full((20, 2), 0.5)).low) and math.isnan(grouped(np.array([[1.0, 0.0]])).low)

    def test_it_covers(self):
        rng, covered = np.random.default_rng(6), 0
        for number in range(400):
            prompts = rng.normal(size=(40, 1)) * 0.15
            table = np.clip(0.5 + prompts + rng.normal(size=(40, 3)) * 0.2, 0, 1)
            table[rng.random((40, 3)) < 0.1] = math.nan
            result = grouped(table, resamples=500, seed=number)
            covered += result.low <= 0.5 <= result.high
        assert 0.92 <= covered / 400 <= 0.98

    def test_the_difference_of_two_candidates_uses_prompts_that_both_have(self):
        rng = np.random.default_rng(2)
        a = rng.random((80, 2))
        b = a - 0.1 + rng.normal(size=(80, 2)) * 0.05
        b[0] = math.nan
        result = grouped_difference(a, b)
        assert result.n == 79 and result.low > 0.07 and result.high < 0.13 and result.p < 0.001
        same = grouped_difference(a, a)
        assert (same.mean, same.low, same.high, same.p) == (0, 0, 0, 1)
        assert math.isnan(grouped_difference(np.full((3, 1), math.nan), a[:3, :1]).p)
