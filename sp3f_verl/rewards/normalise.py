"""One written form for an answer: ASCII digits, plain LaTeX, no decoration. Numbers and units: see `quantity`."""

import re
import unicodedata

_SYMBOLS = str.maketrans(
    {
        "−": "-",
        "–": "-",
        "×": r"\times ",
        "·": r"\cdot ",
        "⋅": r"\cdot ",
        "÷": "/",
        "⁄": "/",
        "∕": "/",
        "π": r"\pi ",
        "∞": r"\infty ",
        "≤": r"\le ",
        "≥": r"\ge ",
        "≠": r"\ne ",
        "∈": r"\in ",
        "∪": r"\cup ",
        "±": r"\pm ",
        "√": r"\sqrt ",
        "°": r"^\circ ",
        "٫": ".",
        "٬": ",",
        "،": ", ",
        "、": ", ",
        "؛": ";",
        "。": ".",
        "।": ".",
        "۔": ".",
        "٪": "%",
        "’": "'",
        "‘": "'",
    }
)
_SUPERSCRIPT = re.compile("[⁻⁰¹²³⁴-⁹]+")
_FRACTION_SIGN = re.compile("[¼-¾⅐-⅞]")
TEXT_COMMANDS = "text|textbf|textit|textrm|textsf|mathrm|mathbf|mathit|mathsf|mbox|boxed"
_TEXT = re.compile(rf"\\(?:{TEXT_COMMANDS})\s*\{{([^{{}}]*)\}}")
_WRAPPED = re.compile(rf"\\(?:{TEXT_COMMANDS})\s*\{{(.*)\}}", re.DOTALL)
_NO_SPACE = re.compile(
    r"\\!|\\(?:left|right|big|Big|bigg|Bigg)(?![A-Za-z])|\\(?:display|text)style(?![A-Za-z])|\\limits(?![A-Za-z])"
)
_SPACE = re.compile(r"\\[,;:> ]|~|\\q?quad(?![A-Za-z])|\s+")
_NEW_ROW, _ROW_MARK = re.compile(r"\\\\|\\cr(?![A-Za-z])"), "\ue000"  # kept from being read as an escaped space
_RADICAL = re.compile(r"√ ?(\w+)")
_WORDS_FOR_SIGNS = re.compile(r"\\(?:leq|geq|neq|lt|gt|degree)(?![A-Za-z])")
_SIGN = {"leq": r"\le", "geq": r"\ge", "neq": r"\ne", "lt": "<", "gt": ">", "degree": r"^\circ"}
_DELIMITERS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"))


def clean(text: str) -> str:
    """`text` (short; the caller caps it) in one written form with single spaces; text commands stay (`unwrap`).

    NFKC with superscripts as powers; digits of every script as ASCII; no delimiters of maths, sizing commands or
    closing full stop; the punctuation of Arabic, Indic and East Asian scripts as ASCII.
    """
    # Before NFKC, which makes x² an x2 and 1½ an 11/2.
    text = _SUPERSCRIPT.sub(lambda match: f"^{{{unicodedata.normalize('NFKC', match[0])}}}", text)
    text = _RADICAL.sub(r"\\sqrt{\1}", _FRACTION_SIGN.sub(_fraction, _NEW_ROW.sub(_ROW_MARK, text)))
    text = text.translate(_SYMBOLS)
    text = unicodedata.normalize("NFKC", text).translate(_SYMBOLS)  # once more: NFKC makes them of their wide forms
    text = "".join(str(unicodedata.decimal(char, char)) for char in text)
    text = re.sub(r"\\[dtc]frac(?![A-Za-z])", r"\\frac", text.replace("{,}", ","))
    text = re.sub(r"\\([lr])brace(?![A-Za-z])", lambda match: r"\{" if match[1] == "l" else r"\}", text)
    text = _WORDS_FOR_SIGNS.sub(lambda match: _SIGN[match[0][1:]], text)
    text = _SPACE.sub(" ", _NO_SPACE.sub("", text)).replace(_ROW_MARK, r"\\").strip()
    peeled = None
    while peeled != text:
        peeled, text = text, _peel(text)
    return text


def _fraction(match: re.Match) -> str:
    """½ as `\\frac{1}{2}`, so that 1½ is a mixed number."""
    above, _, below = unicodedata.normalize("NFKC", match[0]).partition("⁄")
    return rf"\frac{{{above}}}{{{below}}}"


def _peel(text: str) -> str:
    """`text` without one layer around the whole of it: delimiters, braces, a text command, a full stop."""
    if text[-1:] == "." and text[-2:] != "..":
        return text[:-1].strip()
    for opening, closing in _DELIMITERS:
        inner = text[len(opening) : -len(closing)]
        whole = text.startswith(opening) and text.endswith(closing) and len(text) >= len(opening) + len(closing)
        if whole and not (opening in inner or closing in inner):
            return inner.strip()
    if text[:1] == "{" and text[-1:] == "}" and not re.search(r"[{},;]", text[1:-1]):
        return text[1:-1].strip()
    if (match := _WRAPPED.fullmatch(text)) and not re.search(r"[{}]", re.sub(r"\\[{}]|\{[^{}]*\}", "", match[1])):
        return match[1].strip()
    return text


def unwrap(text: str) -> str:
    """`text` with the content of text commands in place of the commands."""
    unwrapped = None
    while unwrapped != text:
        unwrapped, text = text, _TEXT.sub(r"\1", text)
    return text.strip()


def squeeze(text: str) -> str:
    """`text` without the spaces that do not keep two numbers or two words apart, for comparing by eye."""
    return re.sub(r"(?<![^\W_]) | (?![^\W_])", "", text.strip())
