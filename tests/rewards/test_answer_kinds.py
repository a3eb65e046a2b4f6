"""Kinds of answers that were judged wrongly in other people's hands: what must not be right, and what must.

The expected values follow from the mathematics or the language; none is taken from what the code says.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from helpers.shared import ROOT
from sp3f_verl import languages
from sp3f_verl.rewards import answers_match
from sp3f_verl.rewards.answers.checkers import BUILT_IN, check, multiple_choice, numeric
from sp3f_verl.rewards.answers.conventions import conventions

KINDS = yaml.safe_load(Path(__file__).with_name("answer_kinds.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", KINDS)
def test_answers_of_every_kind(kind):
    wrong = []
    for language, answer, gold, equal, *checker in KINDS[kind]:
        if check(answer, gold, *(checker or ["math"]), BUILT_IN, language) != equal:
            wrong.append((language, answer, gold, equal))
    assert not wrong


def verdicts(pairs, language="en"):
    return [(answer, gold) for answer, gold in pairs if answers_match(answer, gold, language=language)]


def test_the_problem_copied_back_is_no_answer():
    problems = [
        (r"x^2+x-6=0", "-3, 2"),
        (r"(x+3)(x-2)=0", r"\{-3,2\}"),
        (r"|x-3|<5", "(-2,8)"),
        (r"\frac{1}{x}<1", r"(-\infty,0)\cup(1,\infty)"),
        (r"2^x>8", r"(3,\infty)"),
        (r"3x+1>7", r"(2,\infty)"),
        (r"x^2=9", "-3,3"),
    ]
    assert verdicts(problems) == [] and verdicts([pair[::-1] for pair in problems]) == []
    solved = [("x>2", r"(2,\infty)"), (r"-3\le x<4", "[-3,4)"), (r"x\in[1,4]", "[1,4]"), ("x=2, x=-3", "-3, 2")]
    assert verdicts(solved) == solved


def test_small_exact_numbers_are_compared_in_their_own_size():
    different = [
        (r"\frac{1}{30!}", r"\frac{1}{31!}"),
        (r"e^{-80}", r"e^{-81}"),
        (r"\frac{5!}{60!}", r"\frac{6!}{60!}"),
        (r"\frac{x}{10^{30}}", r"\frac{2x}{10^{30}}"),
        (r"2^{-90}", r"3^{-90}"),
    ]
    same = [(r"\frac{1}{2^{90}}", r"2^{-90}"), (r"\frac{30}{30!}", r"\frac{1}{29!}"), (r"\frac{1}{e^{40}}", "e^{-40}")]
    assert verdicts(different) == [] and verdicts(same) == same


@pytest.mark.parametrize("language", ["en", "sw", "zh", "hi", "ar", "th"])
def test_a_group_of_thousands_does_not_begin_with_nought(language):
    wrong = [("0,250", "250"), ("0'750", "750"), ("00,100", "100"), ("٠٬٥٠٠", "500"), ("०,२५०", "250")]
    assert verdicts(wrong, language) == []
    assert not numeric("0,250", "250", language) and answers_match("2,500", "2500", language=language)


@pytest.mark.parametrize(
    "answer, gold",
    [
        ("B. 和C", "B"),
        ("B. или В", "B"),
        ("C. 또는 D", "C"),
        ("A. أو ج", "A"),
        ("A. หรือC", "A"),
        ("A. B", "A"),
        ("B, и Г", "B"),
    ],
)
def test_another_option_behind_the_right_letter_is_no_choice(answer, gold):
    assert not multiple_choice(answer, gold)


@pytest.mark.parametrize(
    "answer, gold",
    [
        ("ب", "ب"),
        ("(Б)", "Б"),
        ("나", "나"),
        ("3", "3"),
        ("Opción B", "B"),
        ("選択肢C", "C"),
        ("विकल्प B", "B"),
        ("ก", "ก"),
        ("B. 维生素B", "B"),
        ("D. Vitamin C", "D"),
    ],
)
def test_options_of_every_script(answer, gold):
    assert multiple_choice(answer, gold)
    assert not multiple_choice(answer, "E" if gold != "E" else "F")


def test_degrees_belong_to_the_argument():
    assert verdicts([(r"\cos(60)", r"\cos 60^\circ"), (r"3\sin 40^\circ", r"3\sin 40")]) == []
    right = [(r"\cos 60^\circ", r"\frac{1}{2}"), (r"\sin(45^\circ)", r"\frac{\sqrt2}{2}"), (r"45^\circ", "45")]
    assert verdicts(right) == right


def test_dates_and_codes_are_no_differences():
    assert (
        verdicts([("2023-05-01", "2017"), ("05/06/2020", "06/05/2020"), ("007-002", "5"), ("2020.01.02", "2019")]) == []
    )
    assert verdicts([("2023-05-01", "2023-05-01"), ("7/2", "3.5")]) == [("2023-05-01", "2023-05-01"), ("7/2", "3.5")]


def test_a_word_that_multiplies_is_no_unit_and_multiplies():
    for language, answer, value in [
        ("pt", "3 mi", 3_000_000),
        ("id", "4 ribu", 4000),
        ("hi", "5 लाख", 500_000),
        ("ja", "1万2千", 12_000),
        ("ko", "3만 5천", 35_000),
        ("zh", "12万", 120_000),
        ("de", "2,5 Millionen", 2_500_000),
        ("sw", "elfu 5", 5000),
        ("ru", "2 тыс.", 2000),
        ("th", "3 ล้าน", 3_000_000),
        ("bn", "৫ লক্ষ", 500_000),
        ("en", "1.2 million", 1_200_000),
    ]:
        bare = re.search(r"\d[\d.,]*", answer)[0].replace(",", ".")
        assert answers_match(answer, str(value), language=language), answer
        assert not answers_match(answer, bare, language=language), answer


def test_units_and_currencies_of_every_language():
    """CLDR's own word for five days, and for the money of the place, changes no number, in all languages of SP3F."""
    from babel.units import format_unit

    for code in "ar bn de en es fr hi id it ja ko pt ru sw te th zh vi tr pl".split():
        for unit in ("duration-day", "length-kilometer", "mass-kilogram", "area-square-meter"):
            text = format_unit(5, unit, locale=languages.get(code).locale, numbering_system="latn")
            if code != "sw" or unit != "area-square-meter":  # mita 5 za mraba stands around its number
                assert answers_match(text, "5", language=code), (code, text)
                assert not answers_match(text, "6", language=code), (code, text)
    for code, text in {"bn": "৫ টাকা", "sw": "shilingi 5", "yo": "náírà 5", "id": "Rp5", "es": "5 pesos"}.items():
        assert answers_match(text, "5", language=code), text
    assert not answers_match("5 metros cuadrados", r"5 \text{ cm}^2", language="es")
    assert answers_match("£7", "7 pounds", language="en") and not answers_match("£7", "7 euros", language="en")
    assert not answers_match("siku 3", r"3 \text{ hours}", language="sw")


def test_a_new_language_brings_its_units_from_cldr(tmp_path, monkeypatch):
    entry = yaml.safe_load(languages.TABLE.read_text(encoding="utf-8"))["en"] | {
        "locale": "et_EE",
        "decimal_comma": True,
    }
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"et": entry}, allow_unicode=True), encoding="utf-8")
    monkeypatch.setenv("SP3F_LANGUAGES", str(file))
    assert answers_match("5 päeva", "5", language="et") and not answers_match("5 päeva", "6", language="et")
    assert conventions("et").numbers["miljonit"] == 10**6


@pytest.mark.parametrize(
    "language, answer, gold",
    [
        ("en", r"3\times4", "12"),
        ("en", r"2^3\cdot5", "40"),
        ("en", r"5\sqrt3", r"\sqrt{75}"),
        ("zh", r"x \leqslant 2", r"x \le 2"),
        ("ru", r"\operatorname{tg} x", r"\tan x"),
        ("fr", r"x\in[0;3]", "[0,3]"),
        ("en", "__12__", "12"),
        ("en", r"\boldsymbol{7}", "7"),
        ("en", r"3 \over 4", r"\frac34"),
        ("en", "ℤ", r"\mathbb{Z}"),
        ("es", "4 y 9", "4, 9"),
        ("fr", r"2 \text{ et } 3", "2, 3"),
        ("ja", "4と9", "4, 9"),
        ("ru", "4 и 9", "9, 4"),
        ("de", r"x=1 \text{ oder } x=4", "1, 4"),
        ("en", r"\pm 3", "3, -3"),
        ("en", r"1\pm\sqrt2", r"1-\sqrt2, 1+\sqrt2"),
        ("en", r"g(x)=x+1", "x+1"),
        ("en", "CD=12", "12"),
        ("en", r"P(A|B)=\frac13", r"\frac13"),
        ("en", r"\theta=60^\circ", "60"),
        ("es", "Respuesta: 9", "9"),
        ("ja", "答え：9", "9"),
        ("ar", "الجواب: 9", "9"),
        ("ar", "٢،٥٠٠", "2500"),
        ("fa", "۰,۲۵", "0.25"),
        ("en", r"0.1\overline{6}", r"\frac16"),
        ("de", "0,(6)", r"\frac23"),
        ("en", r"0.\dot{1}\dot{8}", r"\frac{2}{11}"),
        ("es", "70,000", "70000"),
    ],
)
def test_forms_of_one_value(language, answer, gold):
    assert answers_match(answer, gold, language=language)


@pytest.mark.parametrize(
    "language, answer, gold",
    [
        ("en", "3 4", "12"),
        ("en", r"2\sqrt5", r"\sqrt{25}"),
        ("en", r"x \ge 2", "x>2"),
        ("en", "4 or 9", "4"),
        ("en", r"\pm 3", "3"),
        ("en", "g(x)=x+1", "f(x)=x+1"),
        ("en", "x+2=7", "7"),
        ("en", "x(x-1)=0", "0"),
        ("en", r"0.\overline{6}", "0.6"),
        ("en", r"0.\overline{6}", "0.666"),
        ("ar", "٢،٥٠٠", "2"),
        ("zh", "1∶3", "3:1"),
        ("en", "4 and 9", "4"),
    ],
)
def test_forms_of_different_values(language, answer, gold):
    assert not answers_match(answer, gold, language=language)


def test_a_number_that_is_not_worked_out_counts_unless_it_must_be():
    for answer in ("16-3-4", r"3\times3", r"\sqrt{81}", "3^2"):
        assert answers_match(answer, "9") and not answers_match(answer, "9", reduced=True)
    for answer, gold in (("9", "9"), (r"\frac{18}{2}", "9"), ("9.0", "9"), ("x+1", "1+x")):
        assert answers_match(answer, gold, reduced=True)


SCRIPT = """from sp3f_verl.rewards import answers_match, answers_match_async
import asyncio
print(answers_match("2+y", "y+2"), asyncio.run(answers_match_async("2y", "y+2")))
"""


@pytest.mark.parametrize("way", ["file", "pipe", "-c"])
def test_a_script_needs_no_guard(tmp_path, way):
    file = tmp_path / "five lines.py"
    file.write_text(SCRIPT, encoding="utf-8")
    command = {"file": [str(file)], "pipe": ["-"], "-c": ["-c", SCRIPT]}[way]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *command],
        input=SCRIPT if way == "pipe" else "",
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )
    assert (done.stdout, done.returncode) == ("True False\n", 0), done.stderr
