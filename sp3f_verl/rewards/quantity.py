"""The exact number an answer may be, by the conventions of its language, and the unit that stands beside it."""

import functools
import re
import unicodedata
from fractions import Fraction
from pathlib import Path

from sp3f_verl.rewards.normalise import TEXT_COMMANDS, unwrap

UNITS = Path(__file__).with_name("units.yaml")
MAX_DIGITS = 400  # of a number, and of the power of ten behind it
_TAIL = 60  # characters at the end of an answer in which its unit is looked for

_INTEGER_OR_POINT = re.compile(r"\d+(?:\.\d*)?|\.\d+")
_GROUPED_COMMA = re.compile(r"\d{1,3}(?:(?:,\d{2,3})*,\d{3})(?:\.\d+)?")  # 1,234.5 and the Indian 1,23,456
_GROUPED_POINT = re.compile(r"[1-9]\d{0,2}(?:\.\d{3})+(?:,\d+)?")
_GROUPED_SPACE = re.compile(r"\d{1,3}(?:[ ']\d{3})+(?:[.,]\d+)?")
_DECIMAL_COMMA = re.compile(r"\d+,\d+")
# Shapes that mean one number in any language: 1.234,5 and 1.234.567 on one side, 1,234.5 and 1,234,567 on the other.
_SURELY_COMMA = re.compile(r"[1-9]\d{0,2}(?:(?:\.\d{3})+,\d+|(?:\.\d{3}){2,})")
_SURELY_POINT = re.compile(r"\d{1,3}(?:(?:,\d{2,3})*,\d{3}\.\d+|(?:,\d{2,3})+,\d{3})")

_POWER_OF_TEN = re.compile(r"(?:(.+?)\s*(?:\\times|\\cdot|\*)\s*)?10\s*\^\s*(?:\{\s*([+-]?\d{1,4})\s*\}|(\d))")
_SCIENTIFIC = re.compile(r"(.+?)[eE]([+-]?\d{1,4})")
_FRAC = re.compile(r"(\d+ ?)?\\frac ?(?:\{([^{}]+)\} ?\{([^{}]+)\}|(\d) ?(\d))")
_MIXED = re.compile(r"(\d+) (\d+)/(\d+)")


def number(text: str, comma: bool | None = None) -> Fraction | None:
    """The exact value of a cleaned integer, decimal, fraction, mixed number, `a \\times 10^k` or 2e3; else None.

    `comma` is the convention: True where 1.234,5 is written (the comma is decimal, the point groups), False for
    1,234.5, None where the language is not known: then as False, and 3,5 is a decimal too. Never a guess: with True,
    1,234 is 1.234 and 1.234 is 1234.
    """
    text = text.strip()
    sign, text = ("-", text[1:].strip()) if text[:1] == "-" else ("", text.removeprefix("+").strip())
    value = _unsigned(text, comma) if len(text) <= MAX_DIGITS else None
    return -value if sign and value is not None else value


def _unsigned(text: str, comma: bool | None) -> Fraction | None:
    if (value := _plain(text, comma)) is not None:
        return value
    if match := _POWER_OF_TEN.fullmatch(text) or _SCIENTIFIC.fullmatch(text):
        factor = _plain(match[1], comma) if match[1] else Fraction(1)
        power = int(match[2] or match[3])
        return factor * Fraction(10) ** power if factor is not None and abs(power) <= MAX_DIGITS else None
    if match := _FRAC.fullmatch(text):
        return _sum(match[1], number(match[2] or match[4], comma), number(match[3] or match[5], comma))
    if match := _MIXED.fullmatch(text):
        return _sum(match[1], Fraction(int(match[2])), Fraction(int(match[3])))
    above, slash, below = text.partition("/")
    if slash and "/" not in below:
        return _sum(None, _plain(above.strip(), comma), _plain(below.strip().removeprefix("+"), comma))
    return None


def _sum(whole: str | None, above: Fraction | None, below: Fraction | None) -> Fraction | None:
    """whole + above / below; a mixed number such as 1 3/2 or 1 -1/2 is none."""
    if above is None or not below or (whole and not 0 <= above < below):
        return None
    return (int(whole) if whole else 0) + above / below


def _plain(text: str, comma: bool | None) -> Fraction | None:
    """The value of digits with separators, without a sign."""
    if _GROUPED_SPACE.fullmatch(text):
        return Fraction(re.sub("[ ']", "", text).replace(",", "."))
    pointed = comma is not True
    if _SURELY_COMMA.fullmatch(text) or (not pointed and _GROUPED_POINT.fullmatch(text)):
        return Fraction(text.replace(".", "").replace(",", "."))
    if _SURELY_POINT.fullmatch(text) or (pointed and _GROUPED_COMMA.fullmatch(text)):
        return Fraction(text.replace(",", ""))
    if comma is not False and _DECIMAL_COMMA.fullmatch(text):
        return Fraction(text.replace(",", "."))
    return Fraction(text) if _INTEGER_OR_POINT.fullmatch(text) else None


@functools.cache
def _units() -> dict[str, str]:
    """Every spelling of `units.yaml`, folded -> the unit it is a spelling of."""
    import yaml

    table = yaml.safe_load(UNITS.read_text(encoding="utf-8"))
    return {_fold(spelling): unit for unit, spellings in table.items() for spelling in [unit, *spellings]}


def _fold(spelling: str) -> str:
    """Case counts in a symbol (m, M) and not in a word."""
    spelling = unicodedata.normalize("NFKC", spelling)
    return spelling if len(spelling) <= 2 else spelling.casefold()


_WORD = r"[^\s\d\\{}()\[\],;=<>+*^_|&.]"
_SPELLING = rf"{_WORD}+\.?(?: {_WORD}+){{0,2}}"
_SUFFIX = re.compile(
    rf" ?(?:\\(?:{TEXT_COMMANDS}|operatorname) ?\{{ ?(?P<wrapped>{_SPELLING}) ?\}}|(?P<bare>\\?[%$]|{_SPELLING}))"
    r"(?: ?\^ ?\{? ?(?P<power>[23]) ?\}?)?$"
)
_DEGREE = re.compile(
    r" ?\^ ?(?:\\circ|\{ ?\\circ ?\}) ?(?:(?P<bare>[CF]?)|\\(?:text|mathrm) ?\{ ?(?P<wrapped>[CF]) ?\})$"
)
_PREFIX = re.compile(
    r"(?P<sign>[+-]?) ?(?P<unit>\\?[$%]|[€£¥₹฿₩₽₦₫₺₪]|US\\?\$|R\\?\$|R[ps]\.?|USD|EUR|GBP|INR) ?(?P<rest>[\d.].*)",
    re.DOTALL,
)
_METRIC = {"cm", "mm", "km", "kg", "mg", "ml"}  # nobody multiplies these letters
_POWERS = {"2": "square", "3": "cubic"}


def split_unit(text: str) -> tuple[str, str]:
    """(expression, unit) of a cleaned answer; the unit is "" where there is none that `units.yaml` knows.

    A unit of one letter counts only inside a text command, and one of two letters there or after a number and a space,
    or, where it is metric, right after a number: 5m is five times m, and 3ft may be three times f times t.
    """
    if (match := _PREFIX.fullmatch(text)) and (unit := _unit(match["unit"])):
        return match["sign"] + match["rest"], unit
    start = max(0, len(text) - _TAIL)
    tail = text[start:]
    if (match := _DEGREE.search(tail)) and not text[: start + match.start()][-1:].isalpha():
        return text[: start + match.start()].strip(), "degree" + (match["bare"] or match["wrapped"] or "")
    for cut in range(1 if start == 0 else 0, len(tail)):
        match = _SUFFIX.match(tail, cut)
        if match is None or not (unit := _unit(match["wrapped"] or match["bare"])):
            continue
        before = tail[cut - 1] if cut else ""
        bare, apart = match["bare"] or "", tail[cut] == " "
        if re.fullmatch("[A-Za-z]", bare) or (bare and before.isalpha() and not apart):
            continue
        written_together = bare in _METRIC and before.isdigit()
        if re.fullmatch("[A-Za-z]{2}", bare) and not (apart and re.match(r"[\d.})]", before)) and not written_together:
            continue
        power = match["power"]
        raised = f"{unit}^{power}" if power and "/" in unit else f"{_POWERS[power]} {unit}" if power else unit
        return text[: start + cut].strip(), raised
    return text, ""


def _unit(spelling: str) -> str | None:
    return _units().get(_fold(unwrap(spelling).replace("\\", "").strip().rstrip(".")))
