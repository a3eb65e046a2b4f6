"""One written form for an answer: ASCII digits, plain LaTeX, no decoration. Numbers and units: see `quantity`."""

import itertools
import re
import unicodedata

from sp3f_verl.rewards.text import ascii_digits

_SYMBOLS = str.maketrans(
    {
        "−": "-",
        "∶": ":",
        "∅": r"\emptyset ",
        "⩽": r"\le ",
        "≦": r"\le ",
        "⩾": r"\ge ",
        "≧": r"\ge ",
        "ℝ": r"\mathbb{R}",
        "ℕ": r"\mathbb{N}",
        "ℤ": r"\mathbb{Z}",
        "ℚ": r"\mathbb{Q}",
        "ℂ": r"\mathbb{C}",
        "º": r"^\circ ",
        "–": "-",
        "—": "-",
        "\u2010": "-",
        "\u2011": "-",
        "\u2012": "-",
        "≈": r"\approx ",
        "×": r"\times ",
        "·": r"\cdot ",
        "⋅": r"\cdot ",
        "÷": "/",
        "⁄": "/",
        "∕": "/",
        "∞": r"\infty ",
        "≤": r"\le ",
        "≥": r"\ge ",
        "≠": r"\ne ",
        "∈": r"\in ",
        "∪": r"\cup ",
        "∩": r"\cap ",
        "∨": r"\lor ",
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
# Soft hyphen, zero-width characters, marks and isolates of direction; not the override that turns 12 into 21.
INVISIBLE = "\\u00ad\\u061c\\u200b-\\u200f\\u202a-\\u202d\\u2060\\u2066-\\u2069\\ufeff"
_INVISIBLE = re.compile(f"[{INVISIBLE}]")
_GREEK = re.compile(r"(?<![^\W\d_])[α-πρσ-ψω](?![^\W\d_])")
_PI = re.compile("(?<![Ͱ-Ͽἀ-῿])π(?![Ͱ-Ͽἀ-῿])")  # the number, and no letter of a Greek word
_ENCLOSED = re.compile("(?<=[①-⓿❶-➓])(?=[①-⓿❶-➓])")  # ①② names two things and is no 12
_RAISED = {"<super>": "^", "<sub>": "_"}
_FRACTION_SIGN = re.compile("[¼-¾⅐-⅞]")
TEXT_COMMANDS = (
    "text|textbf|textit|textrm|textsf|texttt|textup|textnormal|mathrm|mathbf|mathit|mathsf|mathtt|mbox|hbox|fbox|boxed|"
    "boldsymbol|bm|pmb|emph|underline"
)
_TEXT = re.compile(rf"\\(?:{TEXT_COMMANDS})\s*\{{([^{{}}]*)\}}")
_TEXT_SIGN = re.compile(
    rf"\\(?:{TEXT_COMMANDS}) ?\{{ ?(\^ ?\\circ)? ?\}}"
)  # a degree sign or nothing in a text command
_WRAPPED = re.compile(rf"\\(?:{TEXT_COMMANDS})\s*\{{(.*)\}}", re.DOTALL)
_NO_SPACE = re.compile(
    r"\\!|\\(?:left|right|middle|(?:big|Big|bigg|Bigg)[lrm]?)(?![A-Za-z])|\\(?:display|text|script)style(?![A-Za-z])"
    r"|\\limits(?![A-Za-z])|\\(?:text)?color ?\{\w{1,20}\}|\\(?:bf|rm|it|bfseries)(?![A-Za-z])"
)
_SPACE = re.compile(r"\\[,;:> ]|~|\\q?quad(?![A-Za-z])|\s+")
_NEW_ROW, _ROW_MARK = (
    re.compile(r"\\\\(?: ?\[\d+(?:\.\d+)? ?(?:pt|em|ex|mm)\])?|\\cr(?![A-Za-z])"),
    "\ue000",
)  # kept from being read as an escaped space
_RADICAL = re.compile(r"√ ?([^\W_]+(?:_(?:\w|\{\w+\}))?)")
_FUNCTION = re.compile(r"(?<![\\A-Za-z])(?:log|ln|sin|cos|tan)(?= ?[\d_^(\\])")
_SIGN = dict.fromkeys(("leq", "leqslant", "leqq"), r"\le") | dict.fromkeys(("geq", "geqslant", "geqq"), r"\ge")
_SIGN |= {"neq": r"\ne", "lt": "<", "gt": ">", "degree": r"^\circ", "varnothing": r"\emptyset", "colon": ":"}
# Names of functions elsewhere: Spanish and Portuguese, French, Russian.
_SIGN |= {"sen": r"\sin", "arcsen": r"\arcsin", "tg": r"\tan", "arctg": r"\arctan", "ctg": r"\cot", "cotg": r"\cot"}
_SIGN |= {"cosec": r"\csc", "sh": r"\sinh", "ch": r"\cosh", "th": r"\tanh", "lg": r"\log_{10}"}
_SIGN |= dict.fromkeys(("mcd", "mdc", "pgcd", "ggT", "НОД"), r"\gcd") | dict.fromkeys(("mcm", "mmc", "ppcm"), r"\lcm")
_WORDS_FOR_SIGNS = re.compile(rf"\\(?:{'|'.join(sorted(_SIGN, key=len, reverse=True))})(?![A-Za-z])")
_NAMED_FUNCTION = re.compile(
    r"\\operatorname ?\*? ?\{ ?([A-Za-z]+) ?\}|\\(?:text|mathrm) ?\{ ?(sin|cos|tan|log|ln|sen|tg|ctg|cotg|arctg) ?\} ?"
)
_OVER = re.compile(r"\{([^{}]*)\\(over|choose)(?![A-Za-z])([^{}]*)\}|([^{}]*)\\(over|choose)(?![A-Za-z])([^{}]*)")
_BRACED_MARK = re.compile(r"\{([,.:;])\}")
# 2:30 p.m. and 2:30 pm; A.M. without a time beside it only where its dots say what it is.
_HALF_OF_DAY = re.compile(
    r"(?<![^\W_])([AaPp])\. ?[Mm]\.?(?![^\W_])|(?<=:\d\d)(\W{0,2}|\W{0,2}\\text ?\{ ?)([AaPp])[Mm](?![^\W_])"
)
_NUMBER_SET = re.compile(r"\\(?:mathbb ?(?=[A-Z](?![A-Za-z])))?([RNZQC])(?![A-Za-z])")
_BRACED_SIGN = re.compile(r"(?<=[\d)}]) ?\{ ?(\\(?:times|cdot|div)) ?\} ?(?=[\d(\\])")
_NOT_EQUAL = re.compile(r"\\not ?=")
_TYPED_SIGN = {">=": r"\ge ", "<=": r"\le ", "!=": r"\ne "}
_TYPED = re.compile(r"(?<![<>=!])(?:[<>]=|(?<= )!=)(?!=)")
_PLUS_INFINITY = re.compile(r"(?:^|(?<=[,;(\[])) ?\+ ?(?=\\infty)")
# Without a blank behind it: before three digits it groups, after a single 0 it is decimal.
_ARABIC_GROUP = re.compile(r"(?<=\d)،(?=\d{3}(?!\d))|(?<=(?<!\d)[0٠۰])،(?=\d)")
_BOLD = re.compile(r"\s*(\*\*|__|[*_`](?=[^*_`]+[*_`]\s*\Z))(?!\s)(.+?)(?<!\s)\1\s*", re.DOTALL)
_ONE_RAISED = re.compile(r"(?<=[_^])\{(\w)\}")
_AFTER_FACTORIAL = re.compile(r"(?<=[\d)])! ?(?=\d)")
_ROOT_ARGUMENT = re.compile(r"\\sqrt ?(\[ ?\d+ ?\])? ?(\d)")
_FRAC_ARGUMENTS = re.compile(
    r"\\(frac|binom) ?(?:(\d|\\pi(?![A-Za-z]))|\{([^{}]*)\}) ?(?:(\d|\\pi(?![A-Za-z]))|\{([^{}]*)\})"
)
_SYSTEM = re.compile(
    r"\\begin ?\{cases\}(?P<rows>.*)\\end ?\{cases\}"
    r"|\\\{ ?\\begin ?\{(?P<kind>array|aligned|matrix)\} ?(?:\{[lcr ]*\})?(?P<more>.*)\\end ?\{(?P=kind)\} ?\.?",
    re.DOTALL,
)
_STATED = re.compile(r"[=<>]|\\(?:[lg]e|ne|in)(?![A-Za-z])")
_AT_SIGN = re.compile(rf"& ?(?={_STATED.pattern})")
_SIGN_BEFORE = re.compile(r"(?:=|\\approx(?![A-Za-z])) ?(?=[^ =<>])")
# 18 m² as people type it, where m^2 in a formula may be a variable's; and signs such as ㎡ apart from their number.
_TYPED_METRES, _CUBES = re.compile(r"(?<=\d) m([²³])(?![\w²³])"), {"²": "2", "³": "3"}
_SQUARED_SIGN = re.compile(r"(?<=\d)(?=[\u3371-\u33df])")
_DELIMITERS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"))


def clean(text: str) -> str:
    """`text` (short; the caller caps it) in one written form with single spaces; text commands stay (`unwrap`).

    NFKC with superscripts as powers and subscripts as indices; digits of every script as ASCII; no delimiters of maths,
    sizing commands or closing full stop; the punctuation of Arabic, Indic and East Asian scripts as ASCII.
    """
    # Before NFKC, which makes x² an x2, 12₅ a 125 and 1½ an 11/2.
    text = _INVISIBLE.sub("", text)
    if bold := _BOLD.fullmatch(text):
        text = bold[2]
    text = _TYPED_METRES.sub(lambda match: f" m{_CUBES[match[1]]}", _SQUARED_SIGN.sub(" ", text))
    text = _raised(_ENCLOSED.sub(",", _ARABIC_GROUP.sub(",", text.replace("º", r"^\circ ").replace("˚", r"^\circ "))))
    text = _RADICAL.sub(r"\\sqrt{\1}", _FRACTION_SIGN.sub(_fraction, _NEW_ROW.sub(_ROW_MARK, text)))
    text = text.translate(_SYMBOLS)
    text = unicodedata.normalize("NFKC", text).translate(_SYMBOLS)  # once more: NFKC makes them of their wide forms
    text = ascii_digits(text)
    if not text.isascii():
        text = _GREEK.sub(_letter, _PI.sub(r"\\pi ", _marked(text)))
    text = _HALF_OF_DAY.sub(lambda match: f"{match[2] or ''}{(match[1] or match[3]).upper()}M", text)
    text = _BRACED_MARK.sub(r"\1", text.replace(r"\&", "&"))
    if "\\" in text:
        text = re.sub(r"\\(?:[dtc]|nice|s)frac(?![A-Za-z])", r"\\frac", text)
        text = re.sub(r"\\([lr])brace(?![A-Za-z])", lambda match: r"\{" if match[1] == "l" else r"\}", text)
        text = _NUMBER_SET.sub(r"\\mathbb{\1}", _NAMED_FUNCTION.sub(r"\\\1\2 ", text))
    text = _FUNCTION.sub(r"\\\g<0>", text)
    if "\\" in text:
        text = _WORDS_FOR_SIGNS.sub(lambda match: _SIGN[match[0][1:]], _NOT_EQUAL.sub(r"\\ne ", text))
    text = _PLUS_INFINITY.sub("", _TYPED.sub(lambda match: _TYPED_SIGN[match[0]], text))
    text = _SPACE.sub(" ", _NO_SPACE.sub("", text)).replace(_ROW_MARK, r"\\").strip()
    if "\\" in text:
        text = _BRACED_SIGN.sub(r"\1 ", _TEXT_SIGN.sub(r"\1", text)).strip()
    if (r"\over" in text and r"\overline" not in text) or r"\choose" in text:
        text = _OVER.sub(_as_frac, text)
    text = _as_list(text) if r"\begin" in text else text
    peeled = None
    while peeled != text:
        peeled, text = text, _peel(text)
    return text


def _raised(text: str) -> str:
    """Every run of superscripts, of whatever letters or digits, as `^{...}`, and of subscripts as `_{...}`."""
    if text.isascii():
        return text
    runs = itertools.groupby(text, lambda char: _RAISED.get(unicodedata.decomposition(char).partition(" ")[0], ""))
    return "".join(f"{sign}{{{''.join(run)}}}" if sign else "".join(run) for sign, run in runs)


def _marked(text: str) -> str:
    """Digits with a line or a dot above them, as people type a period, as the commands for these."""
    text = re.sub("(?:\\d[\u0304\u0305])+", lambda match: rf"\overline{{{re.sub(r'[^0-9]', '', match[0])}}}", text)
    return re.sub("(\\d)\u0307", r"\\dot{\1}", text)


def _letter(match: re.Match) -> str:
    """A Greek letter that is no part of a word, as its command."""
    name = unicodedata.name(match[0]).rpartition(" ")[2].lower()
    return rf"\{name.replace('lamda', 'lambda')} "


def _fraction(match: re.Match) -> str:
    """½ as `\\frac{1}{2}`, so that 1½ is a mixed number."""
    above, _, below = unicodedata.normalize("NFKC", match[0]).partition("⁄")
    return rf"\frac{{{above}}}{{{below}}}"


def _as_frac(match: re.Match) -> str:
    above, over, below = match.groups()[:3] if match[2] else match.groups()[3:]
    return rf"\{'frac' if over == 'over' else 'binom'}{{{above.strip()}}}{{{below.strip()}}}"


def _as_list(text: str) -> str:
    """A system of equations, one a row behind a brace, as a list of them."""
    match = _SYSTEM.fullmatch(text)
    rows = ((match["rows"] or match["more"]).split(r"\\")) if match else []
    rows = [row for row in (_AT_SIGN.sub("", row).strip(" ,;") for row in rows) if row]
    alone = all(_STATED.search(row) and "&" not in row and r"\text" not in row for row in rows)
    return ("; " if any("," in row for row in rows) else ", ").join(rows) if rows and alone else text


def _peel(text: str) -> str:
    """`text` without one layer around the whole of it: delimiters, braces, a text command, a stop behind, = before."""
    if text[-1:] in {".", ",", ";"} and text[-2:] != "..":
        return text[:-1].strip()
    if match := _SIGN_BEFORE.match(text):
        return text[match.end() :]
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
    """`text` for comparing by eye: without the spaces that do not keep two numbers or two words apart, and with braces
    around the arguments of commands but not around an exponent or an index of one character."""
    text = re.sub(r"(?<![^\W_]) | (?![^\W_])|(?<=\d) (?=[^\W\d_])", "", text.strip())
    return spelt_out(_ONE_RAISED.sub(r"\1", text))


_TRIGONOMETRIC = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![A-Za-z])")
_DECIMAL = r"\d+(?:\.\d+)?"
DEGREE_SIGN = r" ?\^ ?(?:\\circ|\{ ?\\circ ?\})(?![A-Za-z])"
_DEGREES = re.compile(rf"({_DECIMAL}|\{{ ?{_DECIMAL} ?\}}|\\frac ?\{{[^{{}}]*\}} ?\{{[^{{}}]*\}}){DEGREE_SIGN}")


def degrees_in_arguments(text: str) -> str:
    """Degrees in the argument of a function as radians: the sign belongs to the argument, not to the whole."""
    if not _TRIGONOMETRIC.search(text):
        return text
    return _DEGREES.sub(lambda match: rf"{{(\frac{{{match[1]}\pi}}{{180}})}}", text)


def spelt_out(text: str) -> str:
    """`text` with braces around the arguments of `\\sqrt2` and `\\frac12`, and a sign between `3!3!`, as math-verify
    needs them."""
    text = _AFTER_FACTORIAL.sub(r"!\\cdot ", text)
    return _FRAC_ARGUMENTS.sub(r"\\\1{\2\3}{\4\5}", _ROOT_ARGUMENT.sub(r"\\sqrt\1{\2}", text))
