r"""The judge without a model: what it prefers, what it must not see, and that its ties are exact."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sp3f_verl.judge import Verdict, judge_metrics, win_rates
from sp3f_verl.judge.agreement import step_f1, step_items, wording
from sp3f_verl.judge.reference import Privileged, judge_group, reference_key

A, B, TIE = Verdict.A, Verdict.B, Verdict.TIE

# Made for this test in the form of GSM8K: 12 boxes of 3 eggs, 9 eaten.
ENGLISH = "There are 12*3=<<12*3=36>>36 eggs.\nAfter eating 9 there are 36-9=<<36-9=27>>27 eggs left.\n#### 27"
INDONESIAN = "Ada 12 × 3 = 36 telur.\nSetelah makan 9 butir, tersisa 36 − 9 = 27 telur.\nJawabannya \\boxed{27}."
BENGALI = "মোট ডিম ১২ × ৩ = ৩৬টি।\n৯টি খাওয়ার পর থাকে ৩৬ - ৯ = ২৭টি।\n\\boxed{27}"
ENGLISH_COPY = "There are 12*3=36 eggs.\nAfter eating 9 there are 36-9=27 eggs left.\n\\boxed{27}"
GUESS = "Jawabannya \\boxed{27}."
DETOUR = "Ada 12 + 3 = 15, lalu 15 + 21 = 36, dan 36 − 9 = 27.\n\\boxed{27}"
WRONG = "Ada 12 × 3 = 36 telur.\nSetelah makan 9 butir, tersisa 36 − 9 = 27 telur.\nJawabannya \\boxed{28}."
ROW = Privileged(gold="27", solution_en=ENGLISH)
ROW_WITH_OWN = Privileged(gold="27", solution_en=ENGLISH, solution_own=INDONESIAN)


def duel(first, second, privileged=ROW):
    """Verdict on (first, second), after checking that the other order says the same."""
    (_, _, forward), (_, _, backward) = judge_group([first, second], privileged)
    assert backward is {A: B, B: A, TIE: TIE}[forward]
    return forward


class TestPreference:
    def test_right_beats_wrong_even_with_fewer_steps(self):
        assert duel(GUESS, WRONG) is A

    def test_among_right_answers_the_steps_that_agree_win(self):
        assert duel(INDONESIAN, DETOUR) is A
        assert duel(DETOUR, GUESS) is A

    def test_among_wrong_answers_too(self):
        assert duel(WRONG, "\\boxed{28}") is A

    def test_an_english_copy_of_the_reference_only_ties(self):
        """The same numbers and operations: English words earn nothing."""
        assert duel(ENGLISH_COPY, INDONESIAN) is TIE
        assert duel(ENGLISH_COPY, BENGALI) is TIE

    def test_the_own_language_wins_where_the_row_has_a_solution_in_it(self):
        paraphrase = INDONESIAN.replace("Ada", "Terdapat").replace("Jawabannya", "Jadi")
        assert duel(paraphrase, ENGLISH_COPY, ROW_WITH_OWN) is A
        assert duel(INDONESIAN, paraphrase, ROW_WITH_OWN) is A

    def test_wording_never_outweighs_steps(self):
        assert duel(ENGLISH_COPY, INDONESIAN.replace("12 × 3", "12 + 3"), ROW_WITH_OWN) is A

    def test_a_group_is_ranked(self):
        """Own language full solution > detour > guess > wrong > empty."""
        group = [WRONG, INDONESIAN, "", GUESS, DETOUR]
        assert win_rates(5, judge_group(group, ROW)) == [0.25, 1.0, 0.0, 0.5, 0.75]

    def test_the_caller_may_decide_what_is_correct(self):
        assert reference_key("27", ROW)[0] == 0
        assert reference_key("27", ROW, is_correct=lambda response, gold: response == gold)[0] == 1


class TestEmptyAndEqual:
    @pytest.mark.parametrize("empty", ["", "  \n\t", "\u3000"])
    def test_empty_loses_against_anything_and_ties_with_empty(self, empty):
        assert duel("x", empty) is A
        assert duel(WRONG, empty) is A
        assert duel(empty, "") is TIE

    def test_the_same_text_ties(self):
        assert duel(INDONESIAN, f"  {INDONESIAN}\n", ROW_WITH_OWN) is TIE

    def test_equal_agreement_ties_exactly(self):
        """Each shares one number, not the same, with the reference: 2 * 1 / (2 + 8) = 1/5, which no float is."""
        row = Privileged(gold="9", solution_en="1 2 3 4 5 6 7 8")
        assert step_f1("1 90", row.solution_en) == step_f1("8 91", row.solution_en) == Fraction(1, 5)
        assert duel("1 90", "8 91", row) is TIE

    def test_a_reference_without_steps_leaves_the_answer_to_decide(self):
        row = Privileged(gold="yes", solution_en="Because it is so.")
        assert reference_key("1 + 1 = 2", row) == (0, 0, 0)
        assert duel("1 + 1 = 2", "no numbers", row) is TIE


class TestStepItems:
    @pytest.mark.parametrize(
        ("text", "items"),
        [
            ("48/2 = 24", ["48", "/", "2", "=", "24"]),
            ("48 ÷ 2 = 24", ["48", "/", "2", "=", "24"]),
            ("5 × 3, 5·3, 5 x 3", ["5", "*", "3"] * 3),
            ("7 − 2", ["7", "-", "2"]),
            ("৪৮ ÷ ২", ["48", "/", "2"]),
            ("٤٨ / ٢", ["48", "/", "2"]),
            ("๔๘ / ๒", ["48", "/", "2"]),
            ("４８／２＝２４", ["48", "/", "2", "=", "24"]),
            ("$130,000; 130.000; 130 000; 130\u202f000; 1,30,000", ["130000"] * 5),
            ("2 100 3 200", ["2100", "3200"]),
            ("3.125 3,125", ["3125"] * 2),
            ("1{,}000 1\\,000 1٬000", ["1000"] * 3),
            ("1.5 1,5 1٫50 01.5", ["1.5"] * 4),
            ("0.125 0,125", ["0.125"] * 2),
            ("1.000,50 1,000.5", ["1000.5"] * 2),
            ("1,2,3", ["1", "2", "3"]),
            ("2² kg", ["2"]),
            (r"\frac{48}{2} = 24", ["/", "48", "2", "=", "24"]),
            (r"6 \times 7 = \$42", ["6", "*", "7", "=", "42"]),
            ("**24** well-known km/h a/b", ["24"]),
            ("- 5 eggs\n* 6 eggs\n1. 7 eggs", ["5", "6", "7"]),
            ("48/2=<<48/2=24>>24 clips", ["48", "/", "2", "=", "24"]),
            ("2 + 3\n#### 5", ["2", "+", "3"]),
            ("2 + 3 \\boxed{5}", ["2", "+", "3"]),
            ("2 \\boxed{\\boxed{5} + \\frac{1}{2}} 3", ["2", "3"]),
            ("2 \\boxed{5", ["2", "5"]),
            ("none", []),
        ],
    )
    def test_by_hand(self, text, items):
        assert sorted(step_items(text).elements()) == sorted(items)

    def test_calculator_marks_do_not_count_twice(self):
        assert step_f1(ENGLISH_COPY, ENGLISH) == 1

    def test_f1_by_hand(self):
        """12 + 3 = 15 against 12 * 3 = 36 in ENGLISH (11 items): of 5 items 12, 3, = are common -> 2 * 3 / (5 + 11).
        A repeated number counts once per time it stands in the reference."""
        assert step_f1("12 + 3 = 15", ENGLISH) == Fraction(6, 16)
        assert step_f1("9 9 9 9", "9 9 8 8") == Fraction(1, 2)
        assert step_f1("", "") == 0

    @pytest.mark.timeout(120)  # linear: half a second; a quadratic scan would need many minutes
    @pytest.mark.parametrize(
        "unit", ["1", "1,", "1 000 ", "####", "<<", "\\boxed{", "*", " ", "\n", "= ", "-(", "1 x "]
    )
    def test_any_amount_of_junk_takes_linear_time(self, unit):
        step_items(unit * (300_000 // len(unit)))

    def test_a_long_answer_of_digits_is_only_text(self):
        """int() refuses more than 4300 digits; the items never pass through it."""
        assert step_items("7" * 10_000).total() == 1


class TestWording:
    def test_by_hand(self):
        """abc against abd, n = 1..3: precision and recall 2/3, 1/2, 0, mean 7/18; equal, so F is the same."""
        assert wording("a b c", "abd") == pytest.approx(7 / 18, abs=1e-11)

    def test_recall_weighs_four_times(self):
        """ab against abab, n = 1, 2: precision 1, 1; recall 2/4, 1/3, mean 5/12;
        F = 5 * 1 * 5/12 / (4 * 1 + 5/12) = 25/53.
        abab against ab has the two exchanged: 5 * 5/12 * 1 / (4 * 5/12 + 1) = 25/32."""
        assert wording("ab", "abab") == pytest.approx(25 / 53, abs=1e-11)
        assert wording("abab", "ab") == pytest.approx(25 / 32, abs=1e-11)

    def test_limits(self):
        assert wording("মোট ডিম", "মোট  ডিম\n") == 1
        assert wording("xyz", "abc") == wording("", "abc") == wording("abc", "") == 0


responses = st.lists(
    st.sampled_from(["", " ", "x", ENGLISH_COPY, INDONESIAN, BENGALI, GUESS, DETOUR, WRONG]) | st.text(max_size=40),
    min_size=1,
    max_size=5,
)


class TestGroup:
    @given(responses, st.sampled_from([ROW, ROW_WITH_OWN]))
    def test_antisymmetric_and_deterministic(self, group, privileged):
        verdicts = judge_group(group, privileged)
        assert verdicts == judge_group(group, privileged)
        outcome = {(i, j): verdict for i, j, verdict in verdicts}
        assert len(outcome) == len(group) * (len(group) - 1)
        for (i, j), verdict in outcome.items():
            assert outcome[j, i] is {A: B, B: A, TIE: TIE}[verdict]
            if group[i].strip() == group[j].strip():
                assert verdict is TIE
        metrics = judge_metrics(len(group), verdicts)
        assert metrics["swap_consistency"] == 1.0
        assert metrics["slot_a_rate"] == 0.5

    def test_one_response_has_nobody_to_meet(self):
        assert judge_group([GUESS], ROW) == []
