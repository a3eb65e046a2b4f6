r"""What the other judges answer (rankings, language codes, log-probabilities) and win rates from soft verdicts."""

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sp3f_verl.judge import Verdict, judge_metrics, win_rates
from sp3f_verl.judge.questions.schedule import all_pairs, ring
from sp3f_verl.judge.verdicts.verdict import parse_language, parse_ranking, preference_for_a

A, B, TIE, FAILED = Verdict.A, Verdict.B, Verdict.TIE, Verdict.FAILED


class TestRanking:
    @pytest.mark.parametrize(
        "box",
        [
            "3 > 1 > 2", "3>1>2", "3 ≻ 1 ≻ 2", "3, 1, 2", "3 1 2", "[3, 1, 2]", "{3 > 1 > 2}", "\\text{3 > 1 > 2}",
            "3 \\succ 1 \\succ 2", "3 \\gt 1 \\gt 2", "3\\,>\\,1\\,>\\,2", "Response 3 > Response 1 > Response 2",
            "\\text{Response 3} > \\text{Response 1} > \\text{Response 2}", "**3 > 1 > 2**", "3;1;2",
            "\\boxed{3 > 1 > 2}", "３ ＞ １ ＞ ２", "3、1、2", "3 → 1 → 2", "3 \\rightarrow 1 \\gg 2", "3 ≫ 1 » 2",
            "\\{3, 1, 2\\}",
            "回答3 > 回答1 > 回答2", "Respuesta 3 > Respuesta 1 > Respuesta 2", "R3 > R1 > R2", "#3 > #1 > #2",
            "3 &gt; 1 &gt; 2", "\u200e3 > 1 > 2\u200e", "Candidate 3, Candidate 1, Candidate 2",
        ],
    )  # fmt: skip
    def test_forms(self, box):
        assert parse_ranking(f"Analysis. \\boxed{{{box}}}.", 3) == [2, 0, 1]

    @pytest.mark.parametrize(
        "text",
        [
            "3 > 1 > 2", "", "\\boxed{}", "\\boxed{3 > 1}", "\\boxed{3 > 1 > 1}", "\\boxed{3 > 1 > 2 > 4}",
            "\\boxed{0 > 1 > 2}",
            "\\boxed{3 > 1 = 2}", "\\boxed{1 < 2 < 3}", "\\boxed{3 > 1 > 2", "\\boxed{A > B > C}", "\\boxed{312}",
            "\\boxed{3 > 1 > 2} so the answer is \\boxed{24}", "\\boxed{1. Response 3, 2. Response 1, 3. Response 2}",
            "\\boxed{-3 > 1 > 2}", "\\boxed{" + "9" * 50 + " > 1 > 2}", "\\boxed{³ > ¹ > ²}",
            "\\boxed{3 ~ 1 > 2}", "\\boxed{3 > 1 > 2} or \\boxed{1 > 2 > 3}", "not \\boxed{3 > 1 > 2}",
            "\\boxed{3 > 1 > 2" + " because" * 50 + "}",
        ],
    )  # fmt: skip
    def test_no_full_ranking(self, text):
        assert parse_ranking(text, 3) is None

    def test_the_last_box_decides(self):
        assert parse_ranking("\\boxed{1 > 2} or rather \\boxed{2 > 1}", 2) == [1, 0]
        assert parse_ranking("\\boxed{1 > 2} and \\boxed{2 >", 2) == [0, 1]

    @given(st.integers(1, 40).flatmap(lambda n: st.permutations(range(n))))
    def test_round_trip(self, ranking):
        named = " > ".join(f"Response {index + 1}" for index in ranking)
        assert parse_ranking(f"\\boxed{{{named}}}", len(ranking)) == ranking

    @given(st.text() | st.text("\\boxed{}123> ,"), st.integers(0, 5))
    def test_never_raises(self, text, n):
        ranking = parse_ranking(text, n)
        assert ranking is None or sorted(ranking) == list(range(n))


class TestLanguage:
    @pytest.mark.parametrize(
        ("text", "code"),
        [
            ("\\boxed{th}", "th"), ("\\boxed{\\text{th}}", "th"), ("\\boxed{TH}", "th"), ("\\boxed{th-TH}", "th"),
            ("\\boxed{zh_Hans_CN}", "zh"), ("**\\boxed{ 'yo' }**", "yo"), ("\\boxed{ceb}", "ceb"),
            ("\\boxed{{sw}}", "sw"),
            ("\\boxed{en}, no: \\boxed{id}", "id"), ("\\boxed{en} \\boxed{id", "en"),
            ("\\boxed{ＴＨ}", "th"), ("\\boxed{\u200eth\u200e}", "th"), ("~~\\boxed{en}~~ \\boxed{th}", "th"),
            ("\\boxed{th} or \\boxed{en}", None), ("\\boxed{th} hoặc \\boxed{en}", None), ("not \\boxed{th}", None),
            ("th", None), ("", None), ("\\boxed{}", None), ("\\boxed{Thai}", None), ("\\boxed{t}", None),
            ("\\boxed{th or lo}", None),
            ("\\boxed{24}", None), ("\\boxed{th} \\boxed{24}", None), ("\\boxed{th-}", None), ("\\boxed{ไท}", None),
        ],
    )  # fmt: skip
    def test_forms(self, text, code):
        assert parse_language(text) == code

    @given(st.text() | st.text("\\boxed{}th-_ "))
    def test_never_raises(self, text):
        code = parse_language(text)
        assert code is None or (code.isascii() and code.islower() and len(code) in (2, 3))


@pytest.mark.timeout(120)  # linear: half a second; a quadratic scan would need many minutes
@pytest.mark.parametrize("unit", ["\\boxed{", "\\boxed{1 > 2} ", "9", "1 > ", "\\succ", "a-", "a" * 8 + "-", "{", " "])
def test_any_amount_of_junk_takes_linear_time(unit):
    text = unit * (300_000 // len(unit))
    for junk in (text, f"\\boxed{{{text}}}"):
        parse_ranking(junk, 8)
        parse_ranking(junk, 100_000)
        parse_language(junk)
    preference_for_a({text: 0.0, "A" + text: 0.0})


class TestPreference:
    def test_by_hand(self):
        """0.6 for A and 0.2 for B: 0.75. What else may follow has no say."""
        assert preference_for_a({"A": math.log(0.6), "B": math.log(0.2), "The": math.log(0.2)}) == pytest.approx(0.75)

    def test_variants_count_together(self):
        logprobs = {
            "A": math.log(0.3),
            " A": math.log(0.1),
            "ĠA": math.log(0.1),
            "**A": math.log(0.1),
            "B": math.log(0.2),
        }
        assert preference_for_a(logprobs) == pytest.approx(0.75)

    @pytest.mark.parametrize(
        "token",
        [
            "A",
            " A",
            "▁A",
            "ĠA",
            "ĊA",
            "\nA",
            "**A",
            "(A",
            "[A",
            "A.",
            "A)",
            "A:",
            '"A"',
            "`A`",
            "{A",
            "「A",
            "A。",
            "A۔",
            "A።",
        ],
    )
    def test_what_counts(self, token):
        assert preference_for_a({token: -0.1}) == 1.0
        assert preference_for_a({token.replace("A", "B"): -0.1}) == 0.0
        assert preference_for_a({token.replace("A", "Ａ"): -0.1}) == 1.0

    @pytest.mark.parametrize("token", ["a", " a", "AB", "An", "A B", "-A", "Α", "А", "Answer", "", "1", "<A>", "A's"])
    def test_what_does_not(self, token):
        """Words, mixtures, and the Greek and Cyrillic look-alikes."""
        assert preference_for_a({token: 0.0}) is None
        assert preference_for_a({token: math.log(0.4), "B": math.log(0.6)}) == 0.0

    def test_too_little_mass_says_nothing(self):
        assert preference_for_a({"A": math.log(0.3), "B": math.log(0.15), "The": math.log(0.5)}) is None
        assert preference_for_a({"A": math.log(0.4), "B": math.log(0.2)}) == pytest.approx(2 / 3)
        assert preference_for_a({"A": -9999.0}) is None
        assert preference_for_a({}) is None
        assert preference_for_a(None) is None

    def test_bad_numbers_have_no_mass(self):
        bad = {" A": math.nan, "ĠA": -math.inf, "▁A": math.inf}
        assert preference_for_a(bad) is None
        assert preference_for_a({**bad, "B": -0.5}) == 0.0
        assert preference_for_a({"A": 1e-7, "B": 5000.0}) == 0.5

    @given(st.floats(-20, 0), st.floats(-20, 0))
    def test_antisymmetric(self, a, b):
        forward, backward = preference_for_a({"A": a, "B": b}), preference_for_a({"A": b, "B": a})
        if forward is None:
            assert backward is None
        else:
            assert forward + backward == pytest.approx(1.0)
            assert 0.0 <= forward <= 1.0


soft = st.floats(0.0, 1.0)
outcomes = st.one_of(soft, st.sampled_from(Verdict))


@st.composite
def groups(draw, outcome=outcomes):
    n = draw(st.integers(1, 6))
    return n, [(i, j, draw(outcome)) for i, j in all_pairs(n)]


def turned(outcome):
    return 1.0 - outcome if isinstance(outcome, float) else {A: B, B: A}.get(outcome, outcome)


class TestSoftWinRates:
    def test_by_hand(self):
        """0 against 1: 0.75 as A, then 1 - 0.5 as B, 1.25 of 2; against 2 a win: 2.25 of 3.
        1: 0.25 + 0.5, and failed against 2: 0.75 of 2. 2: lost one."""
        verdicts = [(0, 1, 0.75), (1, 0, 0.5), (0, 2, A), (1, 2, FAILED)]
        assert win_rates(3, verdicts) == [2.25 / 3, 0.75 / 2, 0.0]
        assert win_rates(3, verdicts, credit="a_only") == [1.75 / 2, 0.5, 0.5]
        assert win_rates(3, verdicts, credit="a_only", failed_as_loss=True) == [1.75 / 2, 0.25, 0.5]

    @given(groups(st.sampled_from([A, B, TIE])))
    def test_certainty_is_a_hard_verdict(self, group):
        n, verdicts = group
        as_soft = [(i, j, {A: 1.0, B: 0.0, TIE: 0.5}[verdict]) for i, j, verdict in verdicts]
        assert win_rates(n, as_soft) == win_rates(n, verdicts)
        assert judge_metrics(n, as_soft) == judge_metrics(n, verdicts)

    @given(groups(soft))
    def test_zero_sum(self, group):
        n, verdicts = group
        rates = win_rates(n, verdicts)
        assert sum(rates) / n == pytest.approx(0.5, abs=1e-9)
        assert all(0.0 <= rate <= 1.0 for rate in rates)

    @given(groups())
    def test_swapping_slots_and_outcomes_changes_nothing(self, group):
        n, verdicts = group
        swapped = [(j, i, turned(outcome)) for i, j, outcome in verdicts]
        assert win_rates(n, swapped) == pytest.approx(win_rates(n, verdicts), abs=1e-12)

    @pytest.mark.parametrize("schedule", [all_pairs, lambda n: ring(n, 2, random.Random(0))])
    def test_a_constant_bias_cancels(self, schedule):
        """SPEC 6.8 for soft verdicts: slot A always gets 0.8; where slots are balanced, every rate is 0.5."""
        verdicts = [(i, j, 0.8) for i, j in schedule(6)]
        assert win_rates(6, verdicts) == pytest.approx([0.5] * 6)
        assert judge_metrics(6, verdicts)["slot_a_rate"] == pytest.approx(0.8)

    @pytest.mark.parametrize("function", [win_rates, judge_metrics])
    def test_misuse_is_named(self, function):
        for value in (-0.01, 1.01, math.nan, math.inf):
            with pytest.raises(ValueError, match="no probability"):
                function(2, [(0, 1, value)])
        for value in (True, False, 1, "A", None):
            with pytest.raises(TypeError, match="no Verdict and no float"):
                function(2, [(0, 1, value)])


class TestSoftMetrics:
    def test_by_hand(self):
        """Decided: 0.9, 0.3, 1 (A), 0 (B), mean 0.55; ties: 0.5 and TIE; one failed."""
        verdicts = [(0, 1, 0.9), (1, 0, 0.3), (0, 2, A), (2, 0, B), (1, 2, 0.5), (2, 1, TIE), (0, 3, FAILED)]
        metrics = judge_metrics(4, verdicts)
        assert metrics.pop("slot_a_rate") == pytest.approx(0.55)
        assert metrics == {"pairs": 7, "failed": 1, "ties": 2, "swap_consistency": 1.0}

    @pytest.mark.parametrize(("forward", "backward"), itertools.product([0.2, 0.5, 0.7, A, B, TIE], repeat=2))
    def test_consistent_means_the_same_winner(self, forward, backward):
        """The winner of (0, 1) and of (1, 0), None for a tie; how sure the judge is does not matter."""
        of_forward = {0.2: 1, 0.5: None, 0.7: 0, A: 0, B: 1, TIE: None}[forward]
        of_backward = {0.2: 0, 0.5: None, 0.7: 1, A: 1, B: 0, TIE: None}[backward]
        consistency = judge_metrics(2, [(0, 1, forward), (1, 0, backward)])["swap_consistency"]
        assert consistency == float(of_forward == of_backward)

    @given(groups())
    def test_ranges_and_constant_keys(self, group):
        n, verdicts = group
        metrics = judge_metrics(n, verdicts)
        assert list(metrics) == ["pairs", "failed", "ties", "slot_a_rate", "swap_consistency"]
        assert all(isinstance(value, float) for value in metrics.values())
        assert 0.0 <= metrics["slot_a_rate"] <= 1.0
        assert 0.0 <= metrics["swap_consistency"] <= 1.0
