"""Terms and weights: schedules, penalties, and what a policy cannot earn."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sp3f_verl.rewards import active, check_weights, rule_terms, weights_at
from sp3f_verl.rewards.repetition import repetition

SWAHILI = "Anna ana matufaha saba na ananunua matano zaidi, kwa hiyo ana matufaha kumi na mawili."
ENGLISH = "Anna has seven apples and she buys five more, so now she has twelve apples."


def test_a_schedule_goes_straight_from_one_weight_to_the_next_or_holds():
    weights = {"accuracy": 2, "language": {100: 1.0, 0: 0.0, 200: 0.5}, "length": {0: 0, 50: -1, "shape": "step"}}
    assert weights_at(weights, 0) == {"accuracy": 2, "language": 0, "length": 0}
    assert weights_at(weights, 49) == {"accuracy": 2, "language": 0.49, "length": 0}
    assert weights_at(weights, 150) == {"accuracy": 2, "language": 0.75, "length": -1}
    assert weights_at(weights, 9999) == {"accuracy": 2, "language": 0.5, "length": -1}
    assert weights_at({"judge": [{10: 1.0}, {20: 3.0}]}, 5)["judge"] == 1.0
    assert weights_at({"judge": [{10: 1.0}, {20: 3.0}]}, 15)["judge"] == 2.0


def test_a_term_counts_if_it_ever_does():
    assert active({"accuracy": 1, "judge": 0, "language": {0: 0, 9: 1}, "length": {0: 0, 5: 0.0}}) == {
        "accuracy",
        "language",
    }


NO_SCHEDULES = [{}, [], "0: 1", {"0": 1}, {0: "1"}, {0: float("nan")}, {-1: 1}, {True: 1}, {0.5: 1}, None, True]
NO_SCHEDULES += [{0: 1, "shape": "cubic"}, {"shape": "step"}, [1, 2], [{0: 1}, {0: 2}]]


@pytest.mark.parametrize("weight", NO_SCHEDULES)
def test_a_schedule_that_is_none_is_refused_by_name(weight):
    with pytest.raises(ValueError, match="reward term 'language'"):
        check_weights({"language": weight})


@given(
    st.dictionaries(st.integers(0, 100), st.floats(-5, 5), min_size=1, max_size=4),
    st.sampled_from(["linear", "step"]),
    st.integers(0, 120),
)
def test_a_scheduled_weight_stays_between_its_points(points, shape, step):
    value = weights_at({"judge": {**points, "shape": shape}}, step)["judge"]
    assert min(points.values()) - 1e-9 <= value <= max(points.values()) + 1e-9
    assert step not in points or value == points[step]


def test_soft_language_and_english_leave_english_rows_alone():
    swahili, astray = (rule_terms(text, "12", "sw") for text in (SWAHILI, ENGLISH))
    assert (swahili["soft_language"], swahili["english"]) == (1, 0)
    assert (astray["soft_language"], astray["english"]) == (0, 1)
    english = rule_terms(ENGLISH, "12", "en")
    assert (english["soft_language"], english["english"], english["english_share"]) == (0, 0, 1)
    silent = rule_terms("12", "12", "sw")
    assert (silent["soft_language"], silent["english"], silent["language_share"]) == (0, 0, -1)


def test_the_length_penalty_begins_and_ends_where_it_is_told():
    lengths = {
        size: rule_terms("a" * size, "1", "en", length_limits=(100, 200))["length"] for size in (0, 100, 150, 300)
    }
    assert lengths == {0: 0, 100: 0, 150: 0.5, 300: 1}
    assert rule_terms("a" * 100, "1", "en", length_limits=(100, 100))["length"] == 1


def test_the_control_is_a_coin_that_falls_the_same_way_for_the_same_text():
    falls = [rule_terms(f"attempt {k}", "1", "en")["random"] for k in range(200)]
    assert 60 < sum(falls) < 140 and set(falls) == {0, 1}
    assert falls == [rule_terms(f"attempt {k}", "1", "en")["random"] for k in range(200)]


# What a policy that looks for points would try.
def test_an_empty_box_earns_nothing():
    for empty in (r"\boxed{}", r"\boxed{ }", r"\boxed{\text{}}", r"\boxed{5} \boxed{}", r"\boxed{$~$}", r"\boxed{5"):
        terms = rule_terms(SWAHILI + " " + empty, "5", "sw")
        assert (terms["accuracy"], terms["parseable"]) == (0, 0), empty


def test_of_ten_boxes_only_the_last_counts():
    guesses = [rf"\boxed{{{n}}}" for n in range(10)]
    for gold in range(10):
        assert rule_terms(" ".join(guesses), str(gold), "sw")["accuracy"] == (gold == 9)
    assert rule_terms(r"\boxed{" + ", ".join(map(str, range(10))) + "}", "7", "sw")["accuracy"] == 0
    assert rule_terms(r"\boxed{7 \text{ or } 8}", "7", "sw")["accuracy"] == 0


def test_a_right_answer_in_the_wrong_language_is_visible():
    terms = rule_terms(ENGLISH + r" \boxed{12}", "12", "sw")
    assert (terms["accuracy"], terms["correct_off_language"], terms["language"]) == (1, 1, 0)


def test_the_language_cannot_be_earned_by_thinking_by_maths_or_by_silence():
    for text in (f"<think>{SWAHILI}</think> {ENGLISH}", f"{ENGLISH} <think>{SWAHILI}", "x = 12", r"\boxed{12}", ""):
        assert rule_terms(text, "12", "sw")["language"] == 0


def test_thoughts_and_answer_each_count_by_themselves():
    good = f"<think>{SWAHILI}</think> {SWAHILI}"
    assert rule_terms(good, "12", "sw")["thinking_language"] == 1
    assert rule_terms(good.removeprefix("<think>"), "12", "sw")["thinking_language"] == 1, "opened by the template"
    for text in (
        SWAHILI,
        f"<think>{SWAHILI} {SWAHILI}",
        f"<think>{SWAHILI} {ENGLISH} {ENGLISH}</think> {SWAHILI} {SWAHILI} {SWAHILI}",
        f"<think>{SWAHILI}</think> {ENGLISH}",
        f"<think>12</think> {SWAHILI}",
        f"<think>{SWAHILI}</think> 12",
        f"{good}</think> {SWAHILI}",
        f"<think>{SWAHILI}<think>{SWAHILI}</think> {SWAHILI}",
        f"{SWAHILI} <think>{SWAHILI}</think> {SWAHILI}",
        f"<think>{SWAHILI}</think> {SWAHILI} <think> {SWAHILI}",
    ):
        assert rule_terms(text, "12", "sw")["thinking_language"] == 0, text
    off = f"<think>{ENGLISH}</think> {SWAHILI}"
    boxed = (good + r" \boxed{12}", good + r" \boxed{13}", off + r" \boxed{12}")
    assert [rule_terms(text, "12", "sw")["accuracy_in_language"] for text in boxed] == [1, 0, 0]


def test_a_short_answer_in_english_words_inside_maths_is_still_english():
    assert rule_terms(rf"$\text{{{ENGLISH}}}$ \boxed{{12}}", "12", "sw")["language"] == 0


def test_repeated_text_is_counted():
    assert repetition(SWAHILI) == repetition("") == repetition("aaa") == 0
    assert repetition((SWAHILI + " ") * 10) > 0.85
    assert repetition((SWAHILI + "\n\n   ") * 10) > 0.85
    assert repetition("ha" * 500) > 0.95 and repetition("所以答案是十二个苹果因为七加五等于十二" * 20) > 0.9
    once, twice = repetition(SWAHILI + " " + ENGLISH), repetition((SWAHILI + " " + ENGLISH + " ") * 2)
    assert once == 0 and 0.4 < twice < 0.6
    assert rule_terms((SWAHILI + " ") * 10, "12", "sw")["repetition"] > 0.85


@given(st.text(max_size=400))
def test_repetition_is_a_share_of_any_text(text):
    assert 0 <= repetition(text) <= 1
