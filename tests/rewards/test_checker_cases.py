"""The answer checker against its table of hand-written cases, and its laws."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.shared import SHARED_DATA as DATA
from sp3f_verl import languages
from sp3f_verl.rewards import answers_match, extract_boxed
from sp3f_verl.rewards.answers import algebra
from sp3f_verl.rewards.answers.compare import compare

CASES = yaml.safe_load(Path(__file__).with_name("checker_cases.yaml").read_text(encoding="utf-8"))
FLAT = [(kind, *case) for kind, cases in CASES.items() for case in cases]


def match(answer, gold, language=None):
    """`answers_match` with the algebra in this process: the same code without a worker, for hundreds of cases."""
    return compare(answer, gold, language, algebra.equal)


@pytest.mark.parametrize("case", FLAT, ids=lambda case: f"{case[0]}: {case[1]} = {case[2]}"[:60])
def test_case(case):
    _, answer, gold, equal, *language = case
    assert match(answer, gold, *language) is equal
    if not language:
        assert match(gold, answer) is equal


def test_there_are_200_cases_and_both_verdicts_of_most_kinds():
    assert len(FLAT) >= 200 and len({tuple(map(str, case)) for case in FLAT}) == len(FLAT)
    assert sum({True, False} == {case[2] for case in cases} for cases in CASES.values()) >= 15


# Expressions that the checker can read, small enough that sympy answers at once.
NUMBERS = st.integers(-99, 99).map(str) | st.sampled_from(
    ["0.5", "1.25", r"\frac{1}{2}", r"-\frac{3}{4}", "1,000", "50\\%"]
)
SINGLE = st.one_of(
    NUMBERS,
    st.builds(r"{}\sqrt{{{}}}{:+d}".format, st.integers(2, 9), st.integers(2, 9), st.integers(1, 9)),
    st.builds(r"{}x^{}{:+d}y".format, st.integers(2, 5), st.integers(2, 5), st.integers(1, 9)),
    st.builds(r"\frac{{{}\pi}}{{{}}}".format, st.integers(2, 9), st.integers(2, 9)),
)
ANSWERS = SINGLE | st.builds(
    lambda brackets, items: brackets[0] + ", ".join(items) + brackets[1],
    st.sampled_from([("(", ")"), ("[", ")"), ("[", "]"), (r"\{", r"\}"), ("", "")]),
    st.lists(SINGLE, min_size=2, max_size=3),
)


@given(ANSWERS)
@settings(max_examples=200)
def test_reflexive(answer):
    assert match(answer, answer) is True
    assert match(answer + " + 7q", answer) is False  # and not because everything is equal


@given(ANSWERS, ANSWERS)
@settings(max_examples=150)
def test_symmetric(one, other):
    assert match(one, other) is match(other, one)


@given(ANSWERS, ANSWERS, st.data())
@settings(max_examples=150)
def test_indifferent_to_white_space_and_to_the_size_of_brackets(one, other, data):
    tall = one.replace("(", r"\left(").replace(")", r"\right)").replace("[", r"\left[").replace("]", r"\right]")
    spaced = "".join(
        char + data.draw(st.sampled_from(["", " ", r"\,"])) if char in "+-*/()=^" else char for char in one
    )
    assert match(tall, one) and match(one, tall)
    assert match(spaced, one) and match(one, spaced)
    assert match(tall, other) is match(spaced, other) is match(one, other)


@given(st.text(alphabet=r"0123456789.,;()[]{}\ +-*/^_=<>x%$abcfrtq&|!", max_size=40), st.sampled_from(["", *"5x"]))
@settings(max_examples=300)
def test_no_answer_raises_and_a_guess_is_not_five(answer, end):
    assert match(answer + end, answer + end) in (True, False)
    assert compare(answer, "5") in (True, False, None)
    assert compare("5", answer) in (True, False, None)


@pytest.mark.parametrize("nest", ["({}", "\\{{{}", "[{}", "{}^", "-{}"])
def test_deep_nesting_neither_raises_nor_equals(nest):
    text = ""
    for _ in range(900):
        text = nest.format(text)
    assert not compare(text + "5", "5")
    assert not compare("(" * 900 + "5" + ")" * 900, "6")


def local(number: str, language: str) -> str:
    """A gold answer of MGSM, such as 276,000, the way the language writes it."""
    zero = {"bn": "০", "te": "౦", "th": "๐"}.get(language, "0")
    written = f"{int(number.replace(',', '')):,}"
    if languages.get(language).decimal_comma:
        written = written.replace(",", "." if language in ("de", "es") else " ")
    return "".join(chr(ord(zero) + int(char)) if char.isdigit() else char for char in written)


def test_every_answer_of_mgsm_in_the_local_style_of_numbers(subtests):
    for language in "bn de en es fr ja ru sw te th zh".split():
        file = DATA / "mgsm" / f"mgsm_{language}.tsv"
        if not file.is_file():
            pytest.skip(f"no real data: set SP3F_REAL_DATA to the folder that holds mgsm/{file.name}")
        golds = [line.split("\t")[1].strip() for line in file.read_text(encoding="utf-8").rstrip("\n").split("\n")]
        with subtests.test(language=language):
            check_local_style(golds, language)


def check_local_style(golds, language):
    assert len(golds) == 250
    for gold, following in zip(golds, golds[1:] + golds[:1], strict=True):
        answer = extract_boxed(rf"... \boxed{{{local(gold, language)}}}")
        assert answers_match(answer, gold, language=language), (answer, gold)
        if following.replace(",", "") != gold.replace(",", ""):
            assert not answers_match(answer, following, language=language), (answer, following)


@pytest.mark.parametrize(("name", "rows"), [("train", 7473), ("test_first_250", 250)])
def test_the_final_number_of_every_gsm8k_solution_is_found(name, rows):
    from sp3f_verl.data.sets.mgsm import read_solutions

    file = DATA / "gsm8k" / f"{name}.jsonl"
    if not file.is_file():
        pytest.skip(f"no real data: set SP3F_REAL_DATA to the folder that holds gsm8k/{file.name}")
    finals = [json.loads(line)["answer"].rpartition("#### ")[2].strip() for line in file.read_text().splitlines()]
    solved = read_solutions(file)
    assert len(solved) == len(finals) == rows
    for (_, solution, _), final in zip(solved, finals, strict=True):
        answer = extract_boxed(solution)
        assert answers_match(answer, final) and answers_match(answer, str(int(final.replace(",", ""))))
        assert not answers_match(answer, str(int(final.replace(",", "")) + 1))
