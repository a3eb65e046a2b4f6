"""The rule rewards: boxes, the answer checker against its oracle table, terms and weights."""

import asyncio
import subprocess
import sys
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sp3f_verl import rewards
from sp3f_verl.rewards import answers_match, answers_match_async, check_weights, extract_boxed, total
from sp3f_verl.rewards.answers import symbolic
from sp3f_verl.rewards.text import prose, strip_think

BOXES = [
    (r"\boxed{5}", "5"),
    (r"\boxed{\frac{1}{2}} and so on", r"\frac{1}{2}"),
    (r"\boxed {a{b}{c{d}}}", "a{b}{c{d}}"),
    ("".join(rf"\boxed{{{n}}} " for n in range(10)), "9"),
    (r"\boxed{5} but \boxed{6", "5"),
    (r"\boxed{ 7 } \boxed", "7"),
    (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
    (r"\boxed{5} <think> \boxed{6} </think> done", None),
    (r"<think> \boxed{6} </think> \boxed{5}", "5"),
    (r"\boxed{5} <think> \boxed{6}", "5"),
    (r"\fbox{5}", None),
    (r"\boxed5", None),
    ("", None),
]
EMPTY = ["", "  ", "{}", r"\text{ }", r"\,", "$$", "~", "\u200e", "\u200b\ufeff", "\u3164"]
EMPTY += [r"\hspace{1cm}", r"\phantom{5}", r"\phantom{\frac{1}{2}}", r"\textit{}"]
EMPTY += ["\\ ", "\\  ", r"\~", r"\text{\ }"]
BOXES += [(rf"\boxed{{5}} \boxed{{{empty}}}", None) for empty in EMPTY]

# Oracle table 6.5 of the specification, in its order, then this project's own cases.
EQUAL = [
    (r"\frac{\pi}{4}", r"\frac{\pi}{4}"),
    ("x^2+1", "x^2+1"),
    ("(1,2)", "(1,2)"),
    ("[0,1)", "[0,1)"),
    ("A", "A"),
    (r"2\sqrt{3}-1", r"2\sqrt{3} - 1"),
    (r"\frac{1}{2}", "0.5"),
    ("1,000", "1000"),
    (r"\$5", "5"),
    ("৫", "5"),
    ("٥", "5"),
    ("1 000", "1000"),
    ("1,00,000", "100000"),
    (r"1\,000", "1000"),
    ("1{,}000", "1000"),
    ("3,5", "3.5"),
    ("٣٫٥", "3.5"),
    (r"50\%", "50"),
    (r"90^\circ", "90"),
    ("5.", "5"),
    ("5।", "5"),
    ("{5}", "5"),
    ("$18$", "18"),
    ("18 €", "18"),
    ("x = 5", "5"),
    ("5", "x=5"),
    ("5.00", "5"),
    ("−5", "-5"),
    (r"\frac12", "0.5"),
    ("½", "1/2"),
    ("x²", "x^2"),
    (r"\text{A}", "A"),
    (r"\left(1,2\right)", "(1,2)"),
    ("1+x^2", "x^2+1"),
    ("2,1", "1,2"),
    (r"\sqrt{12}-1", r"2\sqrt{3}-1"),
    ("π/4", r"\frac{\pi}{4}"),
    (r"(5,\infty)", "x>5"),
    ("५ सेब", "5 सेब"),
]
UNEQUAL = [
    (r"7\sqrt{5} - 1", r"2\sqrt{3} - 1"),
    ("5", "6"),
    ("-1", "1"),
    ("A", "B"),
    ("", "5"),
    (None, "5"),
    ("5", ""),
    ("0.33333333", "1/3"),
    ("1.000", "1000"),
    ("1", "1,000"),
    ("1/0", "1"),
    ("1½", "5.5"),
    ("x²", "x2"),
    ("10^{-7}", "10^{-8}"),
    ("Calcium", "C"),
]
# Where a partial parse, letters or neighbours multiplied, or brackets forgotten would make unequal answers equal.
PARTIAL = [
    ("5 or 6", "5"),
    ("1 2 3", "6"),
    ("12", "1 2"),
    ("x+1=5", "5"),
    ("3=5", "5"),
    ("5 crates", "5"),
    ("5 apples", "5"),
    (r"5\ldots", "5"),
    ("f'(x)", "f(x)"),
    (r"\{1,2\}", "(1,2)"),
    ("muCalci", "Calcium"),
    ("vife", "five"),
    ("20:30", "2/3"),
    (r"\{5", "5"),
    (r"\text{about }5", "5"),
    (r"5, \text{ no, } 6", "5"),
]


@pytest.mark.parametrize(("text", "content"), BOXES)
def test_the_last_complete_box_outside_the_thinking_counts(text, content):
    assert extract_boxed(text) == content


@given(st.text() | st.text(alphabet="\\boxed{} <think>/$", max_size=200))
@example("\\")
def test_no_text_raises(text):
    extract_boxed(text)
    prose(text)
    assert strip_think(strip_think(text)) == strip_think(text)


@given(st.text(alphabet="abc019 +-*^=()[],.", min_size=1).filter(str.strip), st.text(alphabet="ab \\}{"))
def test_what_is_put_into_a_box_comes_out(content, before):
    assert extract_boxed(before + " \\boxed{" + content + "}") == content.strip()


@pytest.mark.timeout(120)  # linear: a second; a quadratic scan would need hours
@pytest.mark.parametrize("unit", ["\\boxed{", "{", "}", "\\", "\\(", "$", "\\a{x}", "\\phantom{{}"])
def test_a_megabyte_of_braces_takes_linear_time(unit):
    text = unit * (1_000_000 // len(unit))
    assert extract_boxed(text) is None
    assert answers_match(text, "5") is False


@pytest.mark.parametrize(("answer", "gold"), EQUAL)
def test_equal_answers_match(answer, gold):
    assert answers_match(answer, gold)


@pytest.mark.parametrize(("answer", "gold"), UNEQUAL + PARTIAL)
def test_unequal_answers_do_not_match(answer, gold):
    assert not answers_match(answer, gold)


@given(st.fractions(max_denominator=1000), st.fractions(max_denominator=1000))
def test_numbers_match_exactly_when_they_are_equal(one, other):
    written = {f"{one.numerator}/{one.denominator}", rf"\frac{{{one.numerator}}}{{{one.denominator}}}", str(one)}
    for form in written:
        assert answers_match(form, str(one)) and answers_match(str(one), form)
        assert answers_match(form, str(other)) == answers_match(str(other), form) == (one == other)


@given(st.integers(-(10**12), 10**12), st.sampled_from("٠০०๐౦0"))
def test_digits_of_every_script_and_thousands_separators_match(value, zero):
    written = "".join(chr(ord(zero) + int(char)) if char.isdigit() else char for char in f"{value:,}")
    assert answers_match(written, str(value))
    assert not answers_match(written, str(value + 1))


@given(st.decimals(-1000, 1000, places=3, allow_nan=False))
def test_a_decimal_matches_its_fraction(value):
    exact = Fraction(str(value))
    assert answers_match(str(value), f"{exact.numerator}/{exact.denominator}")


@given(st.text(max_size=60))
@settings(max_examples=300)
def test_settling_an_answer_never_raises_and_it_equals_itself(text):
    from sp3f_verl.rewards.answers.compare import compare
    from sp3f_verl.rewards.answers.normalise import clean, unwrap

    assert compare(text, text) is bool(unwrap(clean(text)))
    compare(text, "12")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("hostile", ["9^{9^{9^9}}", "10^{10^{10}}", "(x+1)^{99999}"])
def test_an_answer_that_never_ends_costs_one_deadline(hostile, monkeypatch):
    assert answers_match("1+x", "x+1")  # the worker is up: what follows is the deadline alone
    monkeypatch.setattr(symbolic, "DEADLINE_SECONDS", 1.0)
    before = dict(symbolic.counts)
    assert answers_match(hostile, r"\pi") is False
    lost = {kind: symbolic.counts[kind] - before.get(kind, 0) for kind in ("timeouts", "crashes", "errors")}
    assert sum(lost.values()) == 1 and lost["timeouts"] + lost["crashes"] == 1
    monkeypatch.undo()
    assert answers_match("1+x", "x+1")  # a fresh worker took over


def test_the_event_loop_runs_on_while_an_answer_is_compared(monkeypatch):
    answers_match("1+x", "x+1")
    monkeypatch.setattr(symbolic, "DEADLINE_SECONDS", 1.0)

    async def scene():
        hostile = asyncio.ensure_future(answers_match_async("9^{9^{9^9}}", r"\pi"))
        ticks = 0
        while not hostile.done():
            await asyncio.sleep(0.01)
            ticks += 1
        return await hostile, ticks, await answers_match_async("1+x", "x+1"), await answers_match_async("5", "6")

    verdict, ticks, later, plain = asyncio.run(scene())
    assert (verdict, later, plain) == (False, True, False)
    assert ticks > 10


def test_results_come_back_in_order_around_answers_that_never_end(monkeypatch):
    answers_match("1+x", "x+1")
    monkeypatch.setattr(symbolic, "DEADLINE_SECONDS", 1.0)
    pairs = [(f"9^{{9^{{9^{k + 9}}}}}" if k % 10 == 3 else f"{k}+x", f"x+{k - k % 2}") for k in range(30)]

    async def scene():
        return await asyncio.gather(*(answers_match_async(answer, gold) for answer, gold in pairs))

    before = symbolic.counts["timeouts"] + symbolic.counts["crashes"]
    assert asyncio.run(scene()) == [k % 10 != 3 and k % 2 == 0 for k in range(30)]
    assert symbolic.counts["timeouts"] + symbolic.counts["crashes"] == before + 3


def test_every_response_has_the_same_numeric_terms():
    right = rewards.rule_terms(r"Anna has seven apples and buys five more: \boxed{12}", "12", "en")
    assert (right["accuracy"], right["parseable"], right["language"], right["correct_off_language"]) == (1, 1, 1, 0)
    assert right["language_share"] == right["english_share"] > 0.9
    astray = rewards.rule_terms(r"Anna has seven apples and buys five more: \boxed{12}", "12", "sw")
    assert (astray["accuracy"], astray["language"], astray["correct_off_language"]) == (1, 0, 1)
    assert astray["english_share"] > 0.9
    bare = rewards.rule_terms("", "12", "sw")
    assert bare == asyncio.run(rewards.rule_terms_async("", "12", "sw"))
    assert (bare["accuracy"], bare["parseable"], bare["language"]) == (0, 0, 0)
    assert (bare["language_share"], bare["english_share"]) == (-1, -1)
    assert set(right) == set(astray) == set(bare)
    assert all(type(value) is float for terms in (right, astray, bare) for value in terms.values())


def test_the_total_is_the_weighted_sum():
    terms = {"accuracy": 1.0, "parseable": 1.0, "language": 0.0, "judge": 0.5}
    assert total(terms, {"accuracy": 2, "language": 1, "judge": 0.5}) == 2.25
    assert total({}, {"judge": 0}) == 0.0
    with pytest.raises(KeyError):
        total({"accuracy": 1.0}, {"judge": 1})


def test_weights_are_checked_by_name_and_value():
    check_weights({"accuracy": 1, "judge": 0.0})
    with pytest.raises(ValueError, match=r"unknown reward term 'acuracy' \(the nearest is 'accuracy'\)"):
        check_weights({"acuracy": 1})
    for weight in (float("nan"), float("inf"), "1", None, True):
        with pytest.raises(ValueError, match="finite number"):
            check_weights({"judge": weight})


def test_importing_the_rewards_loads_nothing_heavy():
    heavy = "{'numpy', 'py3langid', 'sympy', 'math_verify', 'torch', 'verl', 'ray'}"
    code = f"import sys, sp3f_verl.rewards; assert not {heavy} & set(sys.modules), sys.modules.keys() & {heavy}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_worker_that_cannot_start_is_an_error_and_no_hang(monkeypatch):
    monkeypatch.setattr(symbolic, "START_SECONDS", 0.0)
    with pytest.raises(RuntimeError, match="did not start"):
        symbolic._Worker().compare("1+x", "x+1", None)
