"""The arena's numbers on simulated judges: planted strength is found, planted bias is told, failures move nothing."""

import random
from collections import Counter

import numpy as np
import pytest

from helpers.arenas import draw
from sp3f_verl.evaluation.arena.judging import ORDERS, Judgement, PairVerdicts, Question
from sp3f_verl.evaluation.arena.pairs import Pair, Pairing, Side
from sp3f_verl.evaluation.arena.rates import Outcome, difference, rates
from sp3f_verl.evaluation.arena.summary import summarise
from sp3f_verl.judge.verdicts.verdict import Verdict

LANGUAGES = ("de", "es", "sw")


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def field(prompts=200, gap=lambda rng: 0, seed=0, candidate="c"):
    rng = random.Random(seed)
    for number in range(prompts):
        for code in LANGUAGES:
            sides = [Side("x" * max(1, 800 + int(extra)), "ok", 1.0) for extra in (gap(rng), 0)]
            yield Pair(candidate, f"q{number}", code, 0, "?", None, "coding", tuple(sides))


def judged(pairs, strength=0.0, first=0.0, longer=0.0, ties=0.0, failed=0.0, seed=0):
    """Each pair in both orders by a judge with these logits."""
    rng, outcomes = random.Random(seed), []
    pairs = list(pairs)
    gaps = np.array([pair.sides[0].characters - pair.sides[1].characters for pair in pairs], float)
    spread = gaps.std() or 1.0
    for pair, gap in zip(pairs, gaps, strict=True):
        asked = []
        for order, sign in zip(ORDERS, (1, -1), strict=True):
            wins = rng.random() < sigmoid(sign * (strength + longer * np.tanh(gap / spread)) + first)
            outcome = Verdict.TIE if rng.random() < ties else Verdict.A if wins else Verdict.B
            lost = rng.random() < failed
            asked.append(
                Question("j", order, Verdict.FAILED if lost else outcome, failure="malformed" if lost else None)
            )
        verdicts = PairVerdicts(asked)
        outcomes.append(Outcome(pair, verdicts, *[verdicts.preference("half", {"j": 1.0})] * 2))
    return outcomes


def numbers(outcomes):
    return rates(outcomes, 0.7, 0, seed=0).model_dump()


@pytest.mark.parametrize("strength", [-0.8, 0.0, 0.5])
def test_strength_is_found_under_position_and_length_bias(strength):
    """The candidate is 500 characters longer on average, which the judge likes, and so is what stands first."""
    pairs = list(field(400, gap=lambda rng: rng.gauss(500, 400)))
    result = numbers(judged(pairs, strength, first=1.0, longer=1.2))
    truth = 100 * (sigmoid(strength + 1.0) + sigmoid(strength - 1.0)) / 2  # at equal length, the two orders' mean
    assert result["win_rate"]["mean"] > truth + 9, "the raw rate follows the length"
    assert result["lc_win_rate"]["low"] - 1.5 < truth < result["lc_win_rate"]["high"] + 1.5
    assert result["position_bias"]["first"]["low"] > 60


def test_a_judge_that_always_says_first_decides_nothing():
    """SPEC 6.8."""
    result = numbers(judged(field(), first=1e2))
    assert result["win_rate"]["mean"] == 50 and result["ties"] == 100
    assert result["lc_win_rate"]["mean"] == pytest.approx(50)
    assert result["position_bias"]["first"]["mean"] == 100 and result["position_bias"]["consistent"] == 0


def test_a_judge_without_bias_and_doubt():
    result = numbers(judged(field(), strength=1e2))
    assert result["win_rate"]["mean"] == result["lc_win_rate"]["mean"] == result["wins"] == 100
    assert result["win_rate"]["low"] < 100, "200 of 200 prompts are not certainty"
    assert result["position_bias"]["consistent"] == 100
    assert result["position_bias"]["first"]["mean"] == pytest.approx(50)


def test_failures_change_no_expectation():
    """One question in ten fails: a fifth of the pairs is judged in one order and left out, and the mean stays (30
    simulations)."""
    sides = [
        np.mean([numbers(judged(field(60), 0.6, first=0.8, failed=failed, seed=seed))["win_rate"]["mean"]
                 for seed in range(30)])
        for failed in (0.0, 0.1)
    ]  # fmt: skip
    assert sides[0] == pytest.approx(sides[1], abs=1.2)
    result = numbers(judged(field(), failed=0.1))
    assert result["unparseable"] == pytest.approx(0.1 * 2 * 600, rel=0.25) and result["failed"] == 0
    assert result["one_order"] == pytest.approx(0.18 * 600, rel=0.25)
    assert result["unjudged"] - result["one_order"] == pytest.approx(0.01 * 600, abs=10)


def test_who_makes_the_judge_fail_is_counted_and_shown_as_if_it_had_lost():
    """60 pairs: 30 won, 15 on which the judge is jammed in both orders, 15 that failed on the way."""
    won, jam, way = (
        PairVerdicts([Question("j", order, verdict, failure=failure) for order in ORDERS])
        for verdict, failure in ((Verdict.A, None), (Verdict.FAILED, "too_long"), (Verdict.FAILED, "timeout"))
    )
    won.questions = [Question("j", ORDERS[0], Verdict.A), Question("j", ORDERS[1], Verdict.B)]
    outcomes = []
    for pair in field(20):
        verdicts = (won, won, jam, way)[int(pair.id[1:]) % 4]
        outcomes.append(Outcome(pair, verdicts, *[verdicts.preference("half", {"j": 1.0})] * 2))
    result = numbers(outcomes)
    assert (result["unjudged"], result["jammed"], result["prompts"]) == (30, 15, 10)
    assert result["win_rate"]["mean"] == 100 and result["win_rate_jams_lost"]["mean"] == pytest.approx(200 / 3)
    assert numbers([outcome for outcome in outcomes if outcome.verdicts is not jam])["win_rate_jams_lost"] is None


def test_one_order_alone_says_nothing_of_the_answers():
    """A judge that always says first, whose answers in the other order hold no verdict: not 100 % won."""
    verdicts = PairVerdicts(
        [Question("j", ORDERS[0], Verdict.A), Question("j", ORDERS[1], Verdict.FAILED, failure="malformed")]
    )
    result = numbers([Outcome(pair, verdicts, *[verdicts.preference("half", {"j": 1.0})] * 2) for pair in field(20)])
    assert result["win_rate"]["mean"] is None and result["wins"] is None
    assert (result["one_order"], result["unjudged"], result["unparseable"], result["prompts"]) == (60, 60, 60, 0)


@pytest.mark.parametrize("ties", ["half", "win", "loss"])
def test_wins_ties_and_losses_are_the_same_whatever_a_tie_counts_as(ties):
    verdicts = [(Verdict.A, Verdict.B), (Verdict.TIE, Verdict.TIE), (Verdict.B, Verdict.A), (Verdict.TIE, Verdict.TIE)]
    pairs = [Pair("c", f"q{at}", "de", 0, "?", None, None, (Side("x", "ok", 1.0),) * 2) for at in range(4)]
    judgement = Judgement(
        [PairVerdicts([Question("j", *one) for one in zip(ORDERS, item, strict=True)]) for item in verdicts], {"j": 1.0}
    )
    result = summarise(Pairing(pairs, {"c": Counter()}), judgement, ties, 0.7, 0).mean
    assert (result.wins, result.ties, result.losses) == (25, 50, 25)
    assert result.win_rate.mean == {"half": 50, "win": 75, "loss": 25}[ties]


def test_all_won_in_one_language_and_all_lost_in_another_is_not_certainty():
    pairs = [pair for pair in field(30) if pair.language != "sw"]
    won = [judged([pair], strength=100 if pair.language == "es" else -100)[0] for pair in pairs]
    for rate in (numbers(won)[name] for name in ("win_rate", "lc_win_rate")):
        assert rate["mean"] == pytest.approx(50) and 40 < rate["low"] < 48 and 52 < rate["high"] < 60


def test_ties_are_kept_and_told():
    result = numbers(judged(field(), ties=1.0))
    assert result["win_rate"]["mean"] == 50 and result["ties"] == 100 and result["position_bias"]["tied"] == 100
    assert result["position_bias"]["first"] is None and result["position_bias"]["consistent"] == 100


def test_what_a_tie_counts_as_holds_in_both_orders():
    verdicts = PairVerdicts([Question("j", order, Verdict.TIE) for order in ORDERS])
    assert [verdicts.preference(ties, {"j": 1.0}) for ties in ("half", "win", "loss")] == [0.5, 1.0, 0.0]


def test_the_verdict_is_mapped_back_from_its_order():
    """B, where the baseline stood first, is the candidate's; a soft verdict is P(first)."""
    asked = [Question("j", ORDERS[0], Verdict.B), Question("j", ORDERS[1], Verdict.B), Question("j", ORDERS[1], 0.2)]
    assert [one.candidate() for one in asked] == [0.0, 1.0, 0.8]


def test_judges_are_weighed_and_one_that_failed_says_nothing():
    verdicts = {"a": (Verdict.A, Verdict.B), "b": (Verdict.B, Verdict.A), "c": (Verdict.A, Verdict.FAILED)}
    asked = [Question(judge, *one) for judge, both in verdicts.items() for one in zip(ORDERS, both, strict=True)]
    assert PairVerdicts(asked).preference("half", {"a": 3.0, "b": 1.0, "c": 9.0}) == 0.75
    assert PairVerdicts(asked).one_order and not PairVerdicts(asked[:4]).one_order
    assert PairVerdicts(asked[4:]).preference("half", {"c": 1.0}) is None


def test_the_mean_of_languages_is_unweighted_and_its_interval_is_by_prompt():
    outcomes = judged(field(100), 0.4)
    few = [one for one in outcomes if one.pair.language != "sw" or one.pair.id in ("q1", "q2")]
    by_language = [numbers([one for one in few if one.pair.language == code]) for code in LANGUAGES]
    assert numbers(few)["win_rate"]["mean"] == pytest.approx(np.mean([one["win_rate"]["mean"] for one in by_language]))
    again = [Outcome(one.pair, one.verdicts, *[float(draw(one.pair.id) < 0.5)] * 2) for one in outcomes]
    alone = numbers([one for one in again if one.pair.language == "de"])["win_rate"]
    whole = numbers(again)["win_rate"]  # three languages that agree are no more prompts
    assert whole["high"] - whole["low"] == pytest.approx(alone["high"] - alone["low"], rel=0.2)


def test_two_candidates_are_compared_prompt_by_prompt():
    """Prompts differ in how hard the baseline is to beat; the pairing takes that out."""
    rng = random.Random(3)
    hard = {f"q{number}": rng.gauss(0, 2.5) for number in range(150)}

    def of(strength, seed):
        result = []
        for pair in field(150):
            one = judged([pair], strength + hard[pair.id], seed=draw(seed, pair.id, pair.language))
            result += one
        return result

    a, b = of(0.7, 1), of(0.0, 2)
    gap = difference(a, b, seed=0).model_dump()
    assert gap["prompts"] == 150 and gap["low"] > 0 and gap["p"] < 0.01
    assert gap["mean"] == pytest.approx(numbers(a)["win_rate"]["mean"] - numbers(b)["win_rate"]["mean"])
    same = difference(a, a, seed=0).model_dump()
    assert (same["mean"], same["p"]) == (0, 1)


def test_nothing_judged_is_null_and_not_zero():
    result = numbers([])
    assert result["prompts"] == 0 and result["win_rate"] == {"mean": None, "low": None, "high": None}
    assert result["wrong_language"] is None and result["characters"] is None and result["standard_error"] is None
    lost = numbers(judged(field(3), failed=1.0))
    assert lost["win_rate"]["mean"] is None and lost["unjudged"] == 9 and lost["unparseable"] == 18
