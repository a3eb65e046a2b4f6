"""The exact number an answer may be, by the conventions of its language, and the unit that stands beside it."""

import functools
import re
from fractions import Fraction

from sp3f_verl.rewards.answers.conventions import Conventions, all_words, alternation, fold, unmarked
from sp3f_verl.rewards.answers.normalise import DEGREE_SIGN, TEXT_COMMANDS, unwrap

CURRENCIES = frozenset(
    """dollar cent euro pound yen yuan rupee taka baht won rouble naira dong lira shekel rupiah real shilling peso rial
    toman dirham dinar franc krona zloty forint hryvnia HKD kopeck paisa jiao satang piastre""".split()
)
MAX_DIGITS = 400  # of a number, and of the power of ten behind it
_TAIL = 60  # characters at the end of an answer in which its unit is looked for

_INTEGER_OR_POINT = re.compile(r"\d+(?:\.\d*)?|\.\d+")
_GROUPED_COMMA = re.compile(r"[1-9]\d{0,2}(?:(?:,\d{2,3})*,\d{3})(?:\.\d+)?")  # 1,234.5 and the Indian 1,23,456
_GROUPED_POINT = re.compile(r"[1-9]\d{0,2}(?:\.\d{3})+(?:,\d+)?")
_GROUPED_SPACE = re.compile(r"[1-9]\d{0,2}(?:[ ']\d{3})+(?:[.,]\d+)?")
_DECIMAL_COMMA = re.compile(r"\d+,\d+")
# Shapes that mean one number in any language: 1.234,5 and 1.234.567 on one side, 1,234.5 and 1,234,567 on the other.
_SURELY_COMMA = re.compile(r"[1-9]\d{0,2}(?:(?:\.\d{3})+,\d+|(?:\.\d{3}){2,})")
_SURELY_POINT = re.compile(r"[1-9]\d{0,2}(?:(?:,\d{2,3})*,\d{3}\.\d+|(?:,\d{2,3})+,\d{3})")

_POWER_OF_TEN = re.compile(r"(?:(.+?)\s*(?:\\times|\\cdot|\*)\s*)?10\s*\^\s*(?:\{\s*([+-]?\d{1,4})\s*\}|(\d))")
_SCIENTIFIC = re.compile(r"(.+?)[eE]([+-]?\d{1,4})")
_FRAC = re.compile(r"(\d+ ?)?\\frac ?(?:\{([^{}]+)\} ?\{([^{}]+)\}|(\d) ?(\d))")
_ZERO_GROUPS = re.compile(r"[1-9]\d{0,2}(?:,000)+")
_NO_GROUP = re.compile(r"0,\d+|\d+,(?:\d{1,2}|\d{4,})")  # a comma that can only be decimal
_PERIOD = re.compile(
    r"(\d*)[.,](\d*)(?:\\(?:overline|bar|widehat) ?\{? ?(\d+) ?\}?|\((\d+)\)"
    r"|\\dot ?\{? ?(\d) ?\}?(?:(\d*) ?\\dot ?\{? ?(\d) ?\}?)?)"
)
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


def value(text: str, conventions: Conventions) -> Fraction | None:
    """`number` by a language's conventions, its words that multiply included: 3,5 Millionen, 1万2千, elfu 5, 70,000."""
    text = text.strip()
    if (plain := number(text, conventions.comma)) is not None and not (
        conventions.zero_groups and _ZERO_GROUPS.fullmatch(text)
    ):
        return plain
    if len(text) > MAX_DIGITS:
        return None
    sign, text = ("-", text[1:].strip()) if text[:1] == "-" else ("", text.removeprefix("+").strip())
    if conventions.zero_groups and _ZERO_GROUPS.fullmatch(text):
        amount = Fraction(text.replace(",", ""))
    elif conventions.comma_either and _NO_GROUP.fullmatch(text):
        amount = Fraction(text.replace(",", "."))
    else:
        amount = _with_words(text, conventions)
    return -amount if sign and amount is not None else amount


def _with_words(text: str, conventions: Conventions) -> Fraction | None:
    """A number and a word that multiplies it, or several: each part must be below what the word before it says."""
    if not conventions.numbers or not re.search(r"\d", text):
        return None
    pieces, start = [], 0
    digits = rf"(?:{alternation(conventions.nought) or '(?!)'})?(\d[\d.,]*(?: \d{{3}}(?!\d))*)"
    word = re.compile(rf"\s*(?:({alternation(conventions.numbers)})\.?(?![A-Za-zÀ-ž])|{digits})\s*", re.IGNORECASE)
    text = unwrap(text)
    for of in conventions.of:
        text = text.removesuffix(f" {of}")
    while start < len(text):
        match = word.match(text, start)
        if match is None or len(pieces) > 2 * len(conventions.numbers):
            return None
        if match[1]:
            pieces.append(conventions.numbers.get(fold(match[1])))
        elif (part := number(match[2], conventions.comma)) is not None:
            pieces.append(part)
        if not pieces or pieces[-1] is None:
            return None
        start = match.end()
    if conventions.noun_first and len(pieces) == 2 and isinstance(pieces[0], int):
        pieces.reverse()
    return _sum_of(pieces)


def _sum_of(pieces: list[int | Fraction]) -> Fraction | None:
    """The value of numbers (Fraction) and factors (int) in a row; None for what is no number of any language."""
    places = [at for at, piece in enumerate(pieces) if isinstance(piece, int)]
    if not places:
        return pieces[0] if len(pieces) == 1 else None
    at = max(places, key=lambda place: (pieces[place], place))
    times, rest = _sum_of(pieces[:at]), _sum_of(pieces[at + 1 :]) if pieces[at + 1 :] else Fraction(0)
    return times * pieces[at] + rest if times is not None and rest is not None and rest < pieces[at] else None


def _unsigned(text: str, comma: bool | None) -> Fraction | None:
    if (value := _plain(text, comma)) is not None:
        return value
    if match := _POWER_OF_TEN.fullmatch(text) or _SCIENTIFIC.fullmatch(text):
        period = _PERIOD.fullmatch(match[1]) if match[1] and not (comma is False and "," in match[1]) else None
        factor = _repeating(period) if period else _plain(match[1], comma) if match[1] else Fraction(1)
        power = int(match[2] or match[3])
        return factor * Fraction(10) ** power if factor is not None and abs(power) <= MAX_DIGITS else None
    if (match := _PERIOD.fullmatch(text)) and not (comma is False and "," in text):
        return _repeating(match)
    if match := _FRAC.fullmatch(text):
        return _sum(match[1], number(match[2] or match[4], comma), number(match[3] or match[5], comma))
    if match := _MIXED.fullmatch(text):
        return _sum(match[1], Fraction(int(match[2])), Fraction(int(match[3])))
    above, slash, below = text.partition("/")
    if slash and "/" not in below:
        return _sum(None, _plain(above.strip(), comma), _plain(below.strip().removeprefix("+"), comma))
    return None


def _repeating(match: re.Match) -> Fraction:
    """0.1(6), 0.1\\overline{6}, 0.1\\dot{6}, 0.\\dot{1}4285\\dot{7}."""
    whole, fixed = match[1] or "0", match[2]
    period = match[3] or match[4] or f"{match[5]}{match[6] or ''}{match[7] or ''}"
    decimals = Fraction(int(fixed + period) - int(fixed or 0), 10 ** len(fixed) * (10 ** len(period) - 1))
    return int(whole) + decimals


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


_WORD = r"[^\s\d\\{}()\[\],;=<>+*^_|&.]"
_SPELLING = rf"{_WORD}+\.?(?:(?: |(?<=\.)){_WORD}+){{0,2}}"
_SUFFIX = re.compile(
    rf" ?(?:\\(?:{TEXT_COMMANDS}|operatorname) ?"
    rf"\{{ ?(?P<wrapped>{_SPELLING})(?: ?\^ ?\{{? ?(?P<inner>[23]) ?\}}?)? ?\}}"
    rf"|(?P<bare>\\?[%$]|{_SPELLING}))(?:(?: ?\^ ?\{{? ?|(?<=[A-Za-zА-я}}]))(?P<power>[23]) ?\}}?)?$"
)
_DEGREE = re.compile(
    r" ?\^ ?(?:\\circ|\{ ?\\circ ?\}) ?(?:(?P<bare>[CF]?)|\\(?:text|mathrm) ?\{ ?(?P<wrapped>[CF]) ?\})$"
)
_FUNCTION = re.compile(r"\\(?:arc)?(?:sin|cos|tan|cot|sec|csc|log|ln|exp)h?(?![A-Za-z])")
_IN_WORDS = re.compile(
    rf"(?<=[\d}})]) ?(?:\\(?:{TEXT_COMMANDS}) ?\{{ ?(?P<wrapped>{_WORD}+\.?) ?\}}|(?P<bare>{_WORD}+\.?))"
)
# Angles added up, or one divided: the sign is of each number, and so of the whole.
_ANGLE = rf"\d+(?:[.,]\d+)?{DEGREE_SIGN}"
_ANGLES = re.compile(
    rf"-? ?(?:{_ANGLE}(?: ?[+-] ?{_ANGLE})+|\\frac ?\{{ ?{_ANGLE} ?\}} ?\{{ ?\d+ ?\}}|{_ANGLE} ?/ ?\d+)"
)
_BEFORE = rf"\\(?:{TEXT_COMMANDS}) ?\{{ ?{_SPELLING} ?\}}|\\?[$%]|[€£¥₹฿₩₽₦₫₺₪৳₴]|{_SPELLING}|[A-Z]{{1,3}}\\?\$"
_PREFIX = re.compile(rf"(?P<sign>[+-]?) ?(?P<unit>{_BEFORE}) ?(?P<rest>(?:\\frac|[\d.\-+]).*)", re.DOTALL)
_ARABIC_CASE = re.compile("(?<=[ء-ي]{3})ا(?= |$)")  # 18 مترا مربعا
_LENGTHS = {"mm", "cm", "dm", "m", "km", "foot", "inch", "yard", "mile"}
_METRIC = {"cm", "mm", "dm", "km", "kg", "mg", "ml"}  # nobody multiplies these letters
_PREFIX_OF_WORD = re.compile(rf"(?P<unit>{_WORD}+) (?P<rest>{_WORD}+ \d.*)", re.DOTALL)
_POWERS = {"2": "square", "3": "cubic"}
_NAMED_RATES = {"mile/h": "mph"}
# One unit in two text commands, and a power of minus one.
_SPLIT_RATE = re.compile(
    rf"\\(?:{TEXT_COMMANDS}) ?\{{ ?([^{{}}]+?) ?\}} ?/ ?\\(?:{TEXT_COMMANDS}) ?\{{ ?([^{{}}]+?) ?\}}"
)
_INVERSE = re.compile(r"(?<=[A-Za-z]) ([A-Za-z]{1,3}) ?(?:\^ ?\{ ?-(\d) ?\} ?\}|\} ?\^ ?\{ ?-(\d) ?\})")
_BEHIND = re.compile(r"(?P<rest>.*\d)(?P<per>[^\d{}\\]{2,30})", re.DOTALL)


def degrees_as_signs(text: str, conventions: Conventions) -> str:
    """Behind a function, `30 degrees` as `30^\\circ`: it is of the argument, and no unit of the whole."""
    if "\\" not in text or not _FUNCTION.search(text):
        return text
    return _IN_WORDS.sub(
        lambda match: r"^\circ " if _angle(_units(match["wrapped"] or match["bare"], conventions)) else match[0], text
    )


def _angle(units: frozenset[str]) -> bool:
    return any(unit.startswith("degree") for unit in units)


def split_unit(text: str, conventions: Conventions) -> tuple[str, frozenset[str]]:
    """(expression, units that its word may mean) of a cleaned answer; no unit where the language knows none there.

    A unit of one letter counts only inside a text command, and one of two letters there or after a number and a space,
    or, where it is metric, right after a number: 5m is five times m, and 3ft may be three times f times t. Before the
    number stand signs and names of currencies, and in noun-first languages any unit.
    """
    if "\\" in text:
        text = _INVERSE.sub(_as_slash, _SPLIT_RATE.sub(r"\\text{\1/\2}", text))
    match = _PREFIX.fullmatch(text)
    units = _units(match["unit"], conventions) if match else frozenset()
    if units and (conventions.noun_first or units & (CURRENCIES | {"%"})):
        rest, rate = _rest_of_rate(match, conventions)
        return match["sign"] + rest, rate or units
    if conventions.noun_first and (match := _PREFIX_OF_WORD.fullmatch(text)):  # dola elfu 5
        units = _units(match["unit"], conventions)
        if units and value(match["rest"], conventions) is not None:
            return match["rest"], units
    function = None
    if "\\" in text:
        if _ANGLES.fullmatch(text):
            return re.sub(DEGREE_SIGN, "", text), frozenset(["degree"])
        function = _FUNCTION.search(text)
    start = max(0, len(text) - _TAIL)
    tail = text[start:]
    if (match := _DEGREE.search(tail)) and not function and not text[: start + match.start()][-1:].isalpha():
        scale = match["bare"] or match["wrapped"] or ""
        return text[: start + match.start()].strip(), frozenset([f"degree{scale}"])
    for cut in range(1 if start == 0 else 0, len(tail)):
        match = _SUFFIX.match(tail, cut)
        if match is None or not (units := _units(match["wrapped"] or match["bare"], conventions)):
            continue
        if function and _angle(units):
            continue
        before = tail[cut - 1] if cut else ""
        bare, apart = match["bare"] or "", tail[cut] == " "
        power = match["power"] or match["inner"]
        square = bool(power) and "^" not in match[0]  # 18 m2, where the 2 can be nothing else
        if (re.fullmatch("[A-Za-z]", bare) and not (square and apart)) or (
            bare and before.isalpha() and not apart and value(text[: start + cut], conventions) is None
        ):
            continue
        if re.fullmatch("[A-Za-z] ?/ ?[A-Za-z]", bare) and bare not in conventions.units:  # 2l/g is a formula
            continue
        if square and not units & _LENGTHS:
            continue
        written_together = bare in _METRIC and before.isdigit()
        if re.fullmatch("[A-Za-z]{2}", bare) and not (apart and re.match(r"[\d.})]", before)) and not written_together:
            continue
        if power:
            units = frozenset(f"{unit}^{power}" if "/" in unit else f"{_POWERS[power]} {unit}" for unit in units)
        return text[: start + cut].strip(), units
    return text, frozenset()


def _as_slash(match: re.Match) -> str:
    power = match[2] or match[3]
    return f"/{match[1]}{f'^{power}' * (power != '1')}}}"


def _rest_of_rate(match: re.Match, conventions: Conventions) -> tuple[str, frozenset[str]]:
    """(the number, the units) where a unit stands before a number and what it is counted by behind: $18 per hour."""
    behind = _BEHIND.fullmatch(match["rest"])
    first = unwrap(match["unit"]).replace("\\", "").strip()
    units = _rate(f"{fold(first)}{behind['per']}", conventions) if behind else frozenset()
    return (behind["rest"], units) if units else (match["rest"], frozenset())


def _units(spelling: str, conventions: Conventions) -> frozenset[str]:
    spelling = fold(unwrap(spelling).replace("\\", "").strip())
    forms = (spelling, spelling.rstrip("."), unmarked(spelling), _ARABIC_CASE.sub("", spelling))
    known = next(filter(None, map(conventions.units.get, forms)), None) or _raised(forms[-1], conventions)
    return known or _rate(forms[-1], conventions)


@functools.cache
def _per(words: tuple[str, ...]) -> re.Pattern:
    """A slash, or a word with blanks around it in scripts that have them."""
    spaced = [word for word in words if re.match("[A-Za-zÀ-žА-яء-ي]", word)]
    free = [word for word in words if word not in spaced]
    return re.compile(
        rf" ?/ ?| (?:{alternation(spaced)}) ?(?<= |')" + (rf"| ?(?:{alternation(free)}) ?" if free else "")
    )


def _rate(spelling: str, conventions: Conventions) -> frozenset[str]:
    """The units of one thing for another, both known: dollars per hour, 元/小时, g/mol."""
    parts = _per(conventions.per).split(spelling.strip())
    if len(parts) != 2 or not all(parts):
        return frozenset()
    above, below = (conventions.units.get(part.strip().rstrip("."), frozenset()) for part in parts)
    names = {f"{one}/{other}" for one in above for other in below}
    return frozenset(_NAMED_RATES.get(name, name) for name in names)


@functools.cache
def _raising() -> re.Pattern:
    words = alternation(fold(word) for kind in _POWERS.values() for word in all_words(kind))
    return re.compile(rf"(?P<before>{words})[ .]*(?P<behind>.+)|(?P<length>.+?)[ .]*(?P<after>{words})")


def _raised(spelling: str, conventions: Conventions) -> frozenset[str]:
    """The areas or volumes of a length with a word for "square" or "cubic" beside it: cm cuadrados, 平方cm."""
    if (match := _raising().fullmatch(spelling.rstrip("."))) is None:
        return frozenset()
    word = match["before"] or match["after"]
    kind = next(kind for kind in _POWERS.values() if word in map(fold, all_words(kind)))
    lengths = conventions.units.get((match["behind"] or match["length"]).strip(), frozenset()) & {*_LENGTHS, "unit"}
    return frozenset(f"{kind} {length}" for length in lengths)
