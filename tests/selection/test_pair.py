"""Which two candidates of a prompt make a pair: oracle 6.6, faults, and the matrices against a plain loop."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sp3f_verl.errors import BadInput
from sp3f_verl.selection import RULES, select_pair, select_pairs
from sp3f_verl.selection.pairs import ALL_EQUAL, LENGTH, MARGIN, REASONS, TOO_SMALL, firsts_of_best

ORACLE = [3, 2, 1, 0, -1, -2, 2.5, 1.5]  # mean .875, std 1.634587, target -2.394174; q1 -.25
FINITE = st.floats(allow_nan=False, allow_infinity=False)
COARSE = st.integers(-3, 3).map(lambda n: n / 2)  # ties of all kinds
RULE = st.sampled_from(tuple(RULES))


def pair_or_reason(scores, rule="mean_minus_2sigma", *, min_margin=0.0, lengths=None, max_length_ratio=None):
    """The rule as a loop over the candidates of one prompt: (chosen, rejected), or why there is no pair."""
    scores = np.asarray(scores, float)
    if len(scores) < 2:
        return TOO_SMALL
    chosen = int(scores.argmax())
    with np.errstate(over="ignore"):
        steps = {
            ALL_EQUAL: lambda i: scores[i] < scores[chosen],
            MARGIN: lambda i: scores[chosen] - scores[i] >= min_margin,
            LENGTH: lambda i: (
                max_length_ratio is None
                or max(lengths[chosen], lengths[i]) <= max_length_ratio * min(lengths[chosen], lengths[i])
            ),
        }
        allowed = range(len(scores))
        for reason, may in steps.items():
            allowed = [i for i in allowed if may(i)]
            if not allowed:
                return reason
    values = np.ldexp(scores, -np.frexp(np.abs(scores).max())[1])
    ordered = np.sort(values)
    targets = {
        "mean_minus_2sigma": ordered.mean() - 2 * ordered.std(),
        "q1": np.percentile(ordered, 25),
        "min": ordered[0],
    }
    return chosen, min(allowed, key=lambda i: abs(values[i] - targets[rule]))


def reason_of(scores, lengths=None, **limits):
    """Why `select_pairs` makes no pair of one pool."""
    lengths = None if lengths is None else np.array(lengths)
    return REASONS[select_pairs(np.zeros(len(scores), int), np.array(scores), 1, lengths=lengths, **limits)[2][0]]


@pytest.mark.parametrize(("rule", "rejected"), [("mean_minus_2sigma", -2), ("q1", 0), ("min", -2)])
def test_oracle(rule, rejected):
    assert select_pair(ORACLE, rule) == (0, ORACLE.index(rejected))


def test_the_default_rule_passes_over_an_outlier():
    scores = [*(k / 10 for k in range(40)), -30.0]  # mean 1.17, std 4.99: the target is -8.8, nearest is 0.0
    assert select_pair(scores) == (39, 0)
    assert select_pair(scores, "min") == (39, 40)


@pytest.mark.parametrize("scores", [[], [1.0], [2.0, 2.0], [0.1] * 64])
def test_no_pair_without_two_different_scores(scores):
    assert select_pair(scores) is None


def test_huge_and_tiny_scores_together():
    assert select_pair([-1e300, 0.0, 5e-324], "min") == (2, 0)
    assert select_pair([1.7e308, -1.7e308, 1e308]) == (0, 1)
    assert select_pair([5e-324, 0.0]) == (0, 1)


def test_first_of_equal_ones():
    assert select_pair([1, 5, 0, 5, 0], "min") == (1, 2)
    assert select_pair([0, 1, 2], "q1") == (2, 0)  # the quartile .5 is as near to 0 as to 1


def test_limits_on_the_rejected():
    scores, lengths = [4.0, 3.5, 1.0, 0.0], [100, 100, 60, 30]
    assert select_pair(scores, "min", lengths=lengths, max_length_ratio=2) == (0, 2)
    assert select_pair(scores, "q1", min_margin=3.5) == (0, 3)  # the quartile .75 is nearest to 1.0, 3.0 below
    assert reason_of(scores, min_margin=4.1) == "margin_too_small"
    assert reason_of(scores, min_margin=1, lengths=lengths, max_length_ratio=1.5) == "no_length_match"
    assert select_pair(scores, min_margin=4.1) is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([1.0, math.nan],), "scores[1] is nan"),
        (([1.0, 2.0, -math.inf],), "scores[2] is -inf"),
        (([1.0, None],), "scores[1] is None"),
        ((["3", 1.0],), "scores[0] is '3'"),
        (([[1.0, 2.0]],), "flat list"),
        (([[1.0, 2.0], [1.0]],), "flat list"),
        (([1.0, 2.0], "mean_minus_2sigmas"), "did you mean 'mean_minus_2sigma'?"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(arguments, words):
    with pytest.raises(BadInput) as refused:
        select_pair(*arguments)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("limits", [{"min_margin": -1}, {"min_margin": math.nan}, {"max_length_ratio": 2}])
def test_limits_that_mean_nothing_are_refused(limits):
    with pytest.raises(BadInput):
        select_pair([1.0, 2.0], **limits)
    with pytest.raises(BadInput):
        select_pair([1.0, 2.0], lengths=[1, 2], max_length_ratio=0.5)
    with pytest.raises(BadInput):
        select_pair([1.0, 2.0], lengths=[1], max_length_ratio=2)


@given(st.lists(FINITE | COARSE, max_size=80), RULE)
def test_chosen_is_the_best_and_rejected_is_strictly_lower(scores, rule):
    pair = select_pair(scores, rule)
    if pair is None:
        assert len(set(scores)) < 2
    else:
        assert scores[pair[0]] == max(scores)
        assert scores[pair[1]] < scores[pair[0]]


@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=40), RULE)
def test_rejected_is_nearest_to_the_target_in_exact_arithmetic(scores, rule):
    pair = select_pair(scores, rule)
    if pair is None:
        return
    if rule == "mean_minus_2sigma":
        mean = Fraction(sum(scores), len(scores))
        target = float(mean) - 2 * math.sqrt(sum((score - mean) ** 2 for score in scores) / len(scores))
    elif rule == "q1":
        whole, part = divmod(Fraction(len(scores) - 1, 4), 1)
        low, high = [*sorted(scores), 0][int(whole) : int(whole) + 2]
        target = float(low + part * (high - low))
    else:
        target = min(scores)
    nearest = min(abs(score - target) for score in scores if score < max(scores))
    assert abs(scores[pair[1]] - target) == pytest.approx(nearest, abs=1e-9)


@given(st.lists(COARSE | st.floats(-10, 10), min_size=1, max_size=40), RULE, st.randoms())
def test_order_of_candidates_changes_no_pair_but_for_ties(scores, rule, random):
    shuffled = random.sample(scores, len(scores))
    one, other = select_pair(scores, rule), select_pair(shuffled, rule)
    if one is None:
        assert other is None
        return
    assert scores[one[0]] == shuffled[other[0]]
    top, low = scores[one[0]], {scores[one[1]], shuffled[other[1]]}
    if max(low) - min(low) > 1e-9:  # both at the same distance from the target, which is then between them
        target = sum(low) / 2
        assert not any(min(low) + 1e-9 < score < max(low) - 1e-9 for score in scores)
        if rule == "q1":
            assert target == pytest.approx(np.percentile(scores, 25), abs=1e-9)
        else:
            assert target == pytest.approx(np.mean(scores) - 2 * np.std(scores), abs=1e-9)
        assert max(low) < top


@given(
    st.lists(st.lists(st.tuples(FINITE | COARSE, st.integers(0, 5)), max_size=12), max_size=12),
    RULE,
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from([None, 1.0, 2.0]),
)
def test_many_pools_at_once_give_the_pairs_and_reasons_of_one_at_a_time(pools, rule, margin, ratio):
    flat = [candidate for pool in pools for candidate in pool]
    scores, lengths = (
        np.array([candidate[0] for candidate in flat], float),
        np.array([candidate[1] for candidate in flat], int),
    )
    pool = np.repeat(np.arange(len(pools)), [len(members) for members in pools]).astype(int)
    limits = {"min_margin": margin, "max_length_ratio": ratio}
    chosen, rejected, reason = select_pairs(pool, scores, len(pools), rule, lengths=lengths, **limits)
    best = firsts_of_best(pool, scores, len(pools))
    for at, members in enumerate(pools):
        begin = sum(map(len, pools[:at]))
        columns = [score for score, _ in members], [length for _, length in members]
        alone = pair_or_reason(columns[0], rule, lengths=columns[1], **limits)
        assert select_pair(columns[0], rule, lengths=columns[1], **limits) == (
            None if isinstance(alone, str) else alone
        )
        if isinstance(alone, str):
            assert (REASONS[reason[at]], chosen[at], rejected[at]) == (alone, -1, -1)
        else:
            assert (reason[at], chosen[at] - begin, rejected[at] - begin) == (0, *alone)
        assert best[at] == (begin + max(range(len(members)), key=lambda i: members[i][0]) if members else -1)


@pytest.mark.parametrize("size", [2, 3, 7, 8, 9, 16, 64, 127, 129, 448, 1000])
@pytest.mark.parametrize("rule", RULES)
def test_large_pools_agree_to_the_last_bit(size, rule):
    """Coarse scores: a sum that were rounded in another way would move a rejected."""
    scores = np.random.default_rng(size).normal(size=(30, size)).round(1) / 3
    pool = np.repeat(np.arange(30), size)
    chosen, rejected, reason = select_pairs(pool, scores.ravel(), 30, rule)
    alone = [pair_or_reason(row, rule) for row in scores]
    together = [
        (int(c) - size * at, int(r) - size * at) for at, (c, r) in enumerate(zip(chosen, rejected, strict=True))
    ]
    assert not reason.any()
    assert together == alone == [select_pair(row, rule) for row in scores]


def test_pools_out_of_order_are_refused():
    with pytest.raises(BadInput, match="ascending"):
        select_pairs(np.array([1, 0]), np.array([1.0, 2.0]), 2)
    with pytest.raises(BadInput, match="ascending"):
        select_pairs(np.array([0, 2]), np.array([1.0, 2.0]), 2)
