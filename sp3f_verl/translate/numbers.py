"""Are the numbers of a text still there in its translation? As multisets of values, however they are written."""

import re
from collections import Counter
from fractions import Fraction

from sp3f_verl.rewards.quantity import MAX_DIGITS, number
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
_VALUES |= {"zero": 0, "hundred": 100, "thousand": 1000, "million": 10**6}
_WORD = re.compile(r"[a-z]+(?:-[a-z]+)?")
_MYRIADS = {"万": 10**4, "萬": 10**4, "만": 10**4, "億": 10**8, "亿": 10**8, "억": 10**8}  # 8万 is 80,000

Readings = list[list[Fraction]]  # of one token, the likeliest first


def folded(text: str) -> str:
    """Digits of every script, and the separators that go with them, in ASCII."""
    return ascii_digits(text.translate(_SEPARATORS))


def numbers(text: str, comma: bool) -> list[Readings]:
    """What each number in the text may mean: by the language's convention (`comma` is decimal), by the other, in parts.

    Signs do not count: 5-10 is a range.
    """
    tokens = []
    text = folded(text)
    for match in _TOKEN.finditer(text):
        token, readings = match[0], []
        times = _MYRIADS.get(text[match.end() : match.end() + 2].strip()[:1], 1)
        whole = [number(token, convention) for convention in (comma, not comma)] if len(token) <= MAX_DIGITS else []
        for value in whole:
            if value is not None and [value * times] not in readings:
                readings.append([value * times])
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
    return values


def numbers_kept(source: str, translation: str, comma: bool) -> float:
    """Share in [0, 1] of the numbers that both have, of the more that either has; 1 where neither has any.

    source: English, 1,234.5. comma: whether the translation's language writes 1.234,5. English number words may come
    back as digits, and need not.
    """
    wanted: Counter[Fraction] = Counter()
    for readings in numbers(source, comma=False):
        wanted.update(readings[0])
    total, left = sum(wanted.values()), wanted.copy()
    optional, extra = spoken(source), 0
    # First what the language's own convention says, so that a doubtful reading takes nothing from a sure one.
    unread = [readings for readings in numbers(translation, comma) if not _take(left, readings[0])]
    for readings in unread:
        fits = any(_take(left, reading) for reading in readings[1:])
        if not fits and not any(_take(optional, reading) for reading in readings):
            extra += len(readings[0])
    given = total - sum(left.values())
    most = max(total, given + extra)
    return given / most if most else 1.0


def _take(left: Counter[Fraction], reading: list[Fraction]) -> bool:
    need = Counter(reading)
    if any(left[value] < count for value, count in need.items()):
        return False
    left.subtract(need)
    return True
