"""The numbers of a text, and what each may mean: by the conventions of its language, in parts, in English words."""

import functools
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction

import regex

from sp3f_verl.rewards.answers.conventions import alternation, conventions
from sp3f_verl.rewards.answers.quantity import MAX_DIGITS, number, value
from sp3f_verl.rewards.text import NUMBER_MARKS, ascii_digits

_SEPARATORS = str.maketrans(NUMBER_MARKS)
# Bounded: it is looked for from every digit on, and a translator that repeats itself writes 1,1,1,1 for pages.
_RUN = rf"\d{{1,{MAX_DIGITS}}}+"
TOKEN = re.compile(rf"{_RUN}(?:[.,']{_RUN}){{0,30}}+(?: \d{{3}}(?!\d)(?:,{_RUN})?){{0,30}}+|(?<![\w.])\.{_RUN}")
_DIGITS = re.compile(r"\d+")

# English words that a translation may write in digits, by their value: "per day" is 1日あたり, "twice" 2倍.
_WORDS = """
    a an per each every one once single first only | two twice double doubled half halves second both couple pair other
    another | three third thirds thrice triple tripled | four fourth fourths quarter quarters | five fifth fifths | six
    sixth | seven seventh | eight eighth | nine ninth | ten tenth | eleven | twelve dozen dozens noon | thirteen |
    fourteen | fifteen | sixteen | seventeen | eighteen | nineteen
"""
_VALUES = {word: value for value, words in enumerate(_WORDS.split("|"), 1) for word in words.split()}
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_VALUES |= {word: 10 * value for value, word in enumerate(_TENS.split(), 2)}
_VALUES |= {"zero": 0, "hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}
_WORD = re.compile(r"[a-z]+(?:-[a-z]+)?")
_MONTHS = "January February March April May June July August September October November December"
_MONTH_VALUES = {month: Fraction(number) for number, month in enumerate(_MONTHS.split(), 1)}
_MONTH_VALUES |= {month[:3]: number for month, number in _MONTH_VALUES.items()}
_PARTS = re.compile(r"\b(half|halves|thirds?|quarters?|fourths?|fifths?)\b")  # also written 1/2
_AND_A_HALF = re.compile(r"\b(\w+) and a half\b")
_AFTERNOON = re.compile(r"\b(\d{1,2})(?::\d\d)? ?[pP]\.?[mM]\b")
_FRACTION_SIGN = re.compile("(\\d?)([¼-¾⅐-⅞])")
_APART = regex.compile(r"[^\p{No}㎟-㎦㎨㎯]+")  # what NFKC would make numbers of: 10², ½, ㎡

Readings = list[list[Fraction]]  # of one token, the likeliest first


@dataclass(frozen=True)
class Token:
    """A number at text[start:end]."""

    start: int
    end: int
    readings: Readings

    @functools.cached_property
    def values(self) -> frozenset[Fraction]:
        """All that it, or a part of it, may mean."""
        return frozenset(value for reading in self.readings for value in reading)


def folded(text: str) -> str:
    """NFKC, as the words of a language are looked for; digits of every script and their separators in ASCII."""
    text = _FRACTION_SIGN.sub(_spelt_fraction, text.translate(_SEPARATORS))
    if not text.isascii():
        text = ascii_digits(_APART.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text))
    return text


def _spelt_fraction(match: re.Match) -> str:
    return f"{match[1]}{' ' * bool(match[1])}{unicodedata.normalize('NFKC', match[2]).replace('⁄', '/')}"


@functools.cache
def _compound(language: str) -> re.Pattern:
    """A number with a word of the language that multiplies it, or several of both: 3万5000, 12 लाख, 1.2 million."""
    words = alternation(conventions(language).numbers)
    word = rf"(?:{words})(?![A-Za-z])"
    group = r"\." if conventions(language).comma else ","
    tail = rf"(?:[1-9]\d{{0,2}}(?:{group}\d{{3}})+|\d{{1,8}})(?![\d%]|[.,]\d)"
    if conventions(language).noun_first:
        joined = alternation(conventions(language).conjunctions)
        before = rf"(?<![A-Za-z]){word} ?(?:{TOKEN.pattern})(?: (?:{joined}) {tail})?"  # no asili-mia 40
        return re.compile(rf"{before}|(?:{TOKEN.pattern}) ?{word}", re.IGNORECASE)
    nought = alternation(conventions(language).nought)
    tail = rf"(?:{nought})?{tail}" if nought else tail
    part = rf"{f'(?:{nought})?' if nought else ''}(?:{TOKEN.pattern})(?: ?{word})+\.?"
    return re.compile(rf"{part}(?: ?{part})*(?: ?{tail})?", re.IGNORECASE)


def numbers(text: str, language: str) -> list[Token]:
    """What each number in a folded text may mean: by the conventions of the language, by the other comma, in parts.

    Signs do not count: 5-10 is a range.
    """
    own, tokens, start = conventions(language), [], 0
    for match in _compound(language).finditer(text):
        tokens += _plain_numbers(text, start, match.start(), own.comma)
        parts = _plain_numbers(text, *match.span(), own.comma)
        # With words that multiply a compound may still be meant in parts: 5千 and 3 beside each other.
        split = [token.readings[0][0] for token in parts if token.readings and len(token.readings[0]) == 1]
        readings = [[whole] for whole in [value(match[0], own)] if whole is not None]
        if own.noun_first and len(parts) == 2:  # elfu 48 na 500, which may be two numbers, or one
            first = value(text[match.start() : parts[0].end], own)
            if first is not None and len(split) == 2:
                readings += [[first + split[1]]] * (split[1] < first / max(split[0], 1)) + [[first, split[1]]]
        tokens += [Token(*match.span(), [*readings, split])] if readings else parts
        start = match.end()
    return tokens + _plain_numbers(text, start, len(text), own.comma)


def _plain_numbers(text: str, start: int, end: int, comma: bool) -> list[Token]:
    """Of text[start:end]."""
    tokens = []
    for match in TOKEN.finditer(text[start:end]):
        written, readings = match[0], []
        whole = [number(written, convention) for convention in (comma, not comma)] if len(written) <= MAX_DIGITS else []
        for amount in whole:
            if amount is not None and [amount] not in readings:
                readings.append([amount])
        parts = [Fraction(int(digits[:MAX_DIGITS])) for digits in _DIGITS.findall(written)]
        for split in ([number(part, comma) for part in written.split(" ")], parts):
            if None not in split and split not in readings:
                readings.append(split)
        tokens.append(Token(start + match.start(), start + match.end(), readings))
    return tokens


def spoken(text: str) -> Counter[Fraction]:
    """The values of English number words."""
    values: Counter[Fraction] = Counter()
    for word in _WORD.findall(text.lower()):
        parts = [_VALUES.get(part) for part in word.split("-")]
        if None not in parts:
            values[Fraction(sum(parts))] += 1
        else:
            values.update(Fraction(value) for value in parts if value is not None)
    values.update(_MONTH_VALUES[word] for word in re.findall(r"[A-Z][a-z]+", text) if word in _MONTH_VALUES)
    values[Fraction(1)] += len(_PARTS.findall(text.lower()))
    return values


def shifts(text: str) -> list[tuple[Fraction, Fraction]]:
    """(a number of an English text or 0, what a translation may write for it): 3 pm is 15時, 2 and a half 2.5."""
    pairs = [(Fraction(hour), Fraction(hour) + 12) for hour in map(int, _AFTERNOON.findall(text)) if hour < 12]
    for word in _AND_A_HALF.findall(text.lower()):
        whole = Fraction(word) if word.isdecimal() else Fraction(0)
        pairs.append((whole, whole + Fraction(1, 2) if whole else _VALUES.get(word, 0) + Fraction(1, 2)))
    return pairs
