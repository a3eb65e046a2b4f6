"""Are the numbers of a text still there in its translation? As multisets of values, however they are written."""

import functools
import re
from collections import Counter
from fractions import Fraction

from sp3f_verl.rewards.answers.conventions import alternation, conventions, unit_beside
from sp3f_verl.rewards.answers.quantity import CURRENCIES, MAX_DIGITS, number, value
from sp3f_verl.rewards.text import NUMBER_MARKS, ascii_digits

_SEPARATORS = str.maketrans(NUMBER_MARKS)
_TOKEN = re.compile(r"\d+(?:[.,']\d+)*(?: \d{3}(?!\d)(?:,\d+)?)*|(?<![\w.])\.\d+")
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
_NEGATIVE = re.compile(r"(?:(?<=[\s(（])|^)[-−](?=[$€£]?\d)")
_PERCENT = re.compile("[%٪％]")

Readings = list[list[Fraction]]  # of one token, the likeliest first


def folded(text: str) -> str:
    """Digits of every script, and the separators that go with them, in ASCII."""
    return ascii_digits(text.translate(_SEPARATORS))


@functools.cache
def _compound(language: str) -> re.Pattern:
    """A number with a word of the language that multiplies it, or several of both: 3万5000, 12 लाख, 1.2 million."""
    words = alternation(conventions(language).numbers)
    word = rf"(?:{words})(?![A-Za-z])"
    if conventions(language).noun_first:
        return re.compile(rf"{word} ?{_TOKEN.pattern}|(?:{_TOKEN.pattern}) ?{word}", re.IGNORECASE)
    part = rf"(?:{_TOKEN.pattern})(?: ?{word})+\.?"
    return re.compile(rf"{part}(?: ?{part})*(?: ?\d{{1,8}}(?![\d.,%]))?", re.IGNORECASE)


def numbers(text: str, language: str) -> list[Readings]:
    """What each number in the text may mean: by the conventions of the language, by the other comma, in parts.

    Signs do not count: 5-10 is a range.
    """
    text, own = folded(text), conventions(language)
    tokens, start = [], 0
    for match in _compound(language).finditer(text):
        tokens += _plain_numbers(text[start : match.start()], own.comma)
        whole = value(match[0], own)
        parts = _plain_numbers(match[0], own.comma)
        # With words that multiply a compound may still be meant in parts: 5千 and 3 beside each other.
        split = [readings[0][0] for readings in parts if readings and len(readings[0]) == 1]
        tokens += [[[whole], split]] if whole is not None else parts
        start = match.end()
    return tokens + _plain_numbers(text[start:], own.comma)


def _plain_numbers(text: str, comma: bool) -> list[Readings]:
    tokens = []
    for match in _TOKEN.finditer(text):
        token, readings = match[0], []
        whole = [number(token, convention) for convention in (comma, not comma)] if len(token) <= MAX_DIGITS else []
        for amount in whole:
            if amount is not None and [amount] not in readings:
                readings.append([amount])
        parts = [Fraction(int(digits[:MAX_DIGITS])) for digits in _DIGITS.findall(token)]
        for split in ([number(part, comma) for part in token.split(" ")], parts):
            if None not in split and split not in readings:
                readings.append(split)
        tokens.append(readings)
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
    return values


def _marks_lost(source: str, translation: str, language: str) -> int:
    """How many numbers lost what stands beside them: a minus that is neither written nor said, a percent sign or word,
    or a currency that became another one."""
    own, english = conventions(language), conventions("en")
    lost = 0
    if own.minus:
        spoken_or_written = len(_NEGATIVE.findall(translation)) + sum(
            translation.lower().count(word.lower()) for word in own.minus
        )
        meant = len(_NEGATIVE.findall(source)) + sum(source.lower().count(word) for word in english.minus)
        lost += max(0, len(_NEGATIVE.findall(source)) - spoken_or_written)
        lost += max(0, len(_NEGATIVE.findall(translation)) - meant)
    beside = [
        [unit_beside(text, *match.span(), side) for match in _TOKEN.finditer(text)]
        for text, side in ((folded(source), english), (folded(translation), own))
    ]
    percents = [sum("%" in units for units in side) for side in beside]
    spelt = sum(translation.count(word) for word, units in own.units.items() if units == {"%"} and len(word) > 2)
    lost += max(0, percents[0] - max(percents[1], spelt + len(_PERCENT.findall(translation))))
    money = [frozenset().union(*(units for units in side if units and units <= CURRENCIES)) for side in beside]
    if all(money) and not money[0] & money[1]:
        lost += sum(units <= CURRENCIES for units in beside[1] if units)
    return lost


def numbers_kept(source: str, translation: str, language: str) -> float:
    """Share in [0, 1] of the numbers that both have, of the more that either has; 1 where neither has any.

    source: English, 1,234.5. language: of the translation, a code of the table. English number words and months may
    come back as digits, and need not. A number without its minus, percent or currency is not kept.
    """
    wanted: Counter[Fraction] = Counter()
    for readings in numbers(source, "en"):
        wanted.update(readings[0])
    total, left = sum(wanted.values()), wanted.copy()
    optional, extra = spoken(source), 0
    # First what can be read in one way only, then what the language's own convention says, so that a doubtful reading
    # takes nothing from a sure one: the 20 of $20,000 is not the one of 20 %.
    found = sorted(numbers(translation, language), key=lambda readings: len(readings) > 1)
    unread = [readings for readings in found if not _take(left, readings[0])]
    for readings in unread:
        fits = any(_take(left, reading) for reading in readings[1:])
        if not fits and not any(_take(optional, reading) for reading in readings):
            extra += len(readings[0])
    given = max(0, total - sum(left.values()) - _marks_lost(source, translation, language))
    most = max(total, given + extra)
    return given / most if most else 1.0


def _take(left: Counter[Fraction], reading: list[Fraction]) -> bool:
    need = Counter(reading)
    if any(left[value] < count for value, count in need.items()):
        return False
    left.subtract(need)
    return True
