"""One written form for an answer: ASCII digits, plain LaTeX, no decoration; and the exact number it may be."""

import re
import unicodedata
from fractions import Fraction

_SYMBOLS = str.maketrans(
    {
        "−": "-",
        "–": "-",
        "×": r"\times ",
        "·": r"\cdot ",
        "÷": "/",
        "⁄": "/",
        "π": r"\pi ",
        "∞": r"\infty ",
        "≤": r"\le ",
        "≥": r"\ge ",
        "٫": ".",
        "٬": ",",
        "،": ",",
        "、": ",",
        "。": ".",
        "।": ".",
        "۔": ".",
    }
)
_SUPERSCRIPT = re.compile("[⁻⁰¹²³⁴-⁹]+")
_FRACTION_SIGN = re.compile("[¼-¾⅐-⅞]")
_TEXT = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox|boxed)\s*\{([^{}]*)\}")
_NO_SPACE = re.compile(r"\\!|\\(?:left|right)(?![A-Za-z])|\\displaystyle(?![A-Za-z])|\\?[$€£¥₹฿₩₽₦]")
_SPACE = re.compile(r"\\[,;: ]|~|\\q?quad(?![A-Za-z])|\s+")
_UNIT = re.compile(r"(?:\s|\\?%|\^\{?\\circ\}?|°|(?<!\.)\.)+$")
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:(?:,\d{2,3})*,\d{3}|(?: \d{3})+)(?:\.\d+)?")
_N = r"([+-]?(?:\d+(?:\.\d*)?|\.\d+))"
_NUMBER = re.compile(_N)
_QUOTIENT = re.compile(rf"{_N}/{_N}")
_FRAC = re.compile(rf"([+-]?)\\frac(?:\{{{_N}\}}\{{{_N}\}}|(\d)(\d))")


def clean(text: str) -> str:
    """`text` (short; the caller caps it) in one written form, single spaces kept.

    NFKC with superscripts as powers; digits of every script as ASCII; no dollar or currency signs, sizing, text
    commands, closing full stop, percent or degree sign; 1,000 and 1 000 and 1,00,000 (India) as a plain number.
    1.000 stays one: which languages mean a thousand by it is not known here.
    """
    # Before NFKC, which makes x² an x2 and 1½ an 11/2; the space keeps 1½ from being read as any one number.
    text = _SUPERSCRIPT.sub(lambda match: f"^{{{match[0]}}}", text)
    text = _FRACTION_SIGN.sub(r" \g<0>", text)
    text = unicodedata.normalize("NFKC", text).translate(_SYMBOLS)
    text = "".join(str(unicodedata.decimal(char, char)) for char in text)
    text = re.sub(r"\\[dtc]frac(?![A-Za-z])", r"\\frac", text.replace("{,}", ","))
    unwrapped = None
    while unwrapped != text:
        unwrapped, text = text, _TEXT.sub(r"\1", text)
    text = _SPACE.sub(" ", _NO_SPACE.sub("", text)).strip()
    text = _UNIT.sub("", text)
    while text[:1] == "{" and text[-1:] == "}" and not re.search(r"[{},]", text[1:-1]):
        text = text[1:-1].strip()
    return re.sub("[ ,]", "", text) if _GROUPED.fullmatch(text) else text


def number(text: str) -> Fraction | None:
    """The exact value of a cleaned integer, decimal, a/b or `\\frac{a}{b}`; None for anything else and for x/0."""
    text = text.replace(" ", "") if not re.search(r"\d \d", text) else text
    if _NUMBER.fullmatch(text):
        return _value("", text, "1")
    if match := _QUOTIENT.fullmatch(text):
        return _value("", match[1], match[2])
    if match := _FRAC.fullmatch(text):
        return _value(match[1], match[2] or match[4], match[3] or match[5])
    return None


def _value(sign: str, above: str, below: str) -> Fraction | None:
    try:
        value = Fraction(above) / Fraction(below)
    except (ValueError, ZeroDivisionError):  # ValueError: more digits than Python turns into an integer
        return None
    return -value if sign == "-" else value
