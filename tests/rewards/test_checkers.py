"""Checkers other than the default, and how a run registers its own."""

import asyncio
import sys

import pytest

from sp3f_verl.errors import BadInput
from sp3f_verl.rewards import rule_terms, rule_terms_async
from sp3f_verl.rewards.answers.checkers import (
    BUILT_IN,
    CheckerFailed,
    checker_of,
    load_checkers,
    multiple_choice,
    numeric,
)

CHOICES = [
    ("C", "C", True),
    ("c", "C", True),
    ("(C)", "C", True),
    (r"\text{C}", "C", True),
    (r"\textbf{(C)}", "C", True),
    ("C.", "C::Calcium", True),
    ("C) Calcium", "C::Calcium", True),
    ("C: Vitamin C", "C::Vitamin C", True),
    ("Calcium", "C::Calcium", True),
    ("calcium ", "C::Calcium", True),
    ("C - it is a metal", "C", True),
    ("Ｃ", "C", True),
    ("C，钙", "C::钙", True),
    ("钙", "C::钙", True),
    ("C. Vitamin D", "C", True),
    ("C - it's a metal", "C", True),
    ("C) -5", "C::-5", True),
    ("A água", "A::água", True),
    ("**C**", "C", True),
    ("[C]", "C", True),
    ("Option C", "C", True),
    ("A água", "A::O fogo", False),
    ("A dog", "A::A cat", False),
    ("A dog", "A", False),
    ("D'accord", "D::Non", False),
    ("C'est le calcium", "C::Sodium", False),
    ("C) Sodium", "C::Calcium", False),
    ("C) -5", "C::5", False),
    ("C.5", "C::5", False),
    ("A", "C::A", False),
    ("a or b", "A", False),
    ("a, b, c, d", "A", False),
    ("A/b", "A", False),
    ("C - wait, no: d", "C", False),
    ("C. Option D", "C", False),
    ("C++", "C", False),
    ("(C", "C", False),
    ("Calcium", "C", False),
    ("Cesium", "C::Calcium", False),
    ("Çelik", "C", False),
    ("C or D", "C", False),
    ("C, D", "C::Calcium", False),
    ("A, B, C, D", "A", False),
    ("D", "C::Calcium", False),
    ("D) Calcium", "C::Calcium", False),
    ("", "C::Calcium", False),
    ("C" * 5000, "C", False),
]


@pytest.mark.parametrize(("answer", "gold", "equal"), CHOICES)
def test_multiple_choice(answer, gold, equal):
    assert multiple_choice(answer, gold) is equal


@pytest.mark.parametrize(
    ("answer", "gold", "equal"),
    [
        ("0.3333333333", "1/3", True),
        ("0.333", "1/3", False),
        (r"3.00000001 \text{ m}", "3", True),
        ("3", "0", False),
        ("0", "0", True),
        ("x", "3", False),
        ("3 or 4", "3", False),
        ("5 km", "5 km", True),
        ("5 km", "5 cm", False),
        ("$5", r"5\%", False),
    ],
)
def test_numeric_allows_for_rounding_and_for_nothing_else(answer, gold, equal):
    assert numeric(answer, gold) is equal


def test_numeric_reads_the_decimal_comma_of_the_language():
    for text, language, right in (
        (r"\boxed{1.250,5}", "de", 1),
        (r"\boxed{2,125}", "de", 0),
        (r"\boxed{2,125}", "en", 1),
    ):
        gold = "1250.5" if "." in text else "2125"
        terms = rule_terms(text, gold, language, checker="numeric")
        assert terms["accuracy"] == right
        assert terms == asyncio.run(rule_terms_async(text, gold, language, checker="numeric"))


def test_a_row_names_its_checker():
    text = r"The answer is clearly the third one. \boxed{C) Calcium}"
    assert rule_terms(text, "C::Calcium", "en")["accuracy"] == 0
    assert rule_terms(text, "C::Calcium", "en", checker="multiple_choice")["accuracy"] == 1
    assert rule_terms(r"\boxed{1/2}", "0.5", "en", checker="exact")["accuracy"] == 0
    assert rule_terms(r"no box here, so C", "C", "en", checker="multiple_choice")["accuracy"] == 0
    assert checker_of({}) == checker_of(None) == checker_of({"checker": None}) == "math"
    assert checker_of({"checker": "exact"}) == "exact"


@pytest.mark.parametrize("name", ["maths", "os:system", "os.system", 3, ["math"]])
def test_a_row_cannot_name_code(name):
    with pytest.raises(BadInput, match=r"extra_info.checker is .*the checkers are math, math_reduced, multiple_choice"):
        checker_of({"checker": name})
    with pytest.raises(KeyError):
        rule_terms(r"\boxed{5}", "5", "en", checker=str(name))


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "sp3f_test_checks.py").write_text(
        "def half(answer, gold): return 0.5 if answer == gold else 0\n"
        "def two(answer, gold): return 2\n"
        "def broken(answer, gold): raise KeyError(answer)\n"
        "CONSTANT = 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "sp3f_test_checks"
    sys.modules.pop("sp3f_test_checks", None)


def test_a_run_registers_its_own(module):
    checkers = load_checkers({"half": f"{module}:half", "two": f"{module}:two", "broken": f"{module}:broken"})
    assert set(checkers) == {*BUILT_IN, "half", "two", "broken"}
    assert checker_of({"checker": "half"}, checkers) == "half"
    terms = rule_terms(r"\boxed{ab}", "ab", "en", checker="half", checkers=checkers)
    assert terms["accuracy"] == 0.5
    assert terms == asyncio.run(rule_terms_async(r"\boxed{ab}", "ab", "en", checker="half", checkers=checkers))
    for name in ("two", "broken"):
        with pytest.raises(CheckerFailed, match=f"the checker '{name}'"):
            rule_terms(r"\boxed{ab}", "ab", "en", checker=name, checkers=checkers)


@pytest.mark.parametrize(
    ("name", "path", "sentence"),
    [
        ("math", "sp3f_test_checks:half", "'math' is built in"),
        ("a:b", "sp3f_test_checks:half", "'a:b' is no name"),
        ("own", "sp3f_test_checks.half", "it has no colon"),
        ("own", "sp3f_test_checks:third", "AttributeError"),
        ("own", "no_such_module:half", "ModuleNotFoundError"),
        ("own", "sp3f_test_checks:CONSTANT", "is not a function"),
    ],
)
def test_a_registration_that_cannot_work_is_refused_at_start(module, name, path, sentence):
    with pytest.raises(BadInput, match=sentence):
        load_checkers({name: path})
