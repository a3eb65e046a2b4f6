"""Are the numbers of a text still there in its translation? As multisets of values, however they are written."""

import bisect
import functools
import itertools
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction

import regex

from sp3f_verl.rewards.answers.conventions import Conventions, alternation, conventions, unit_beside
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
# A minus in front of a number, and whether something stands before it that makes it one for sure: 5月-8月 is a range,
# 气温是-8度 is not.
_SIGN = regex.compile(r"(?P<sure>(?:^|[\s({\[=:,<>≤≥|]))?(?<!\d)(?P<sign>[-−–])(?:\p{Lu}{0,3}\p{Sc} ?)?$")
_SIGN_CHARS = 8  # in front of a number that are looked at
_GAP = 16  # characters on either side of a number that stands within the words for a minus
_PERCENT = "[%٪％]"
_PERCENT_AND_BLANK = re.compile(rf"{_PERCENT}\s+")
_JOINER = re.compile(r"[%$€£]?(?: ?percent| per cent)?\s*(?:[-–—~/,;]|,? ?\b(?:to|and|or)\b)\s*[$€£]?")
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
    text = text.translate(_SEPARATORS)
    if not text.isascii():
        text = ascii_digits(_APART.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text))
    return text


@functools.cache
def _compound(language: str) -> re.Pattern:
    """A number with a word of the language that multiplies it, or several of both: 3万5000, 12 लाख, 1.2 million."""
    words = alternation(conventions(language).numbers)
    word = rf"(?:{words})(?![A-Za-z])"
    group = r"\." if conventions(language).comma else ","
    tail = rf"(?:[1-9]\d{{0,2}}(?:{group}\d{{3}})+|\d{{1,8}})(?![\d%]|[.,]\d)"
    if conventions(language).noun_first:
        joined = alternation(conventions(language).conjunctions)
        before = rf"(?<![A-Za-z]){word} ?(?:{_TOKEN.pattern})(?: (?:{joined}) {tail})?"  # no asili-mia 40
        return re.compile(rf"{before}|(?:{_TOKEN.pattern}) ?{word}", re.IGNORECASE)
    part = rf"(?:{_TOKEN.pattern})(?: ?{word})+\.?"
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
    for match in _TOKEN.finditer(text[start:end]):
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
    return values


@functools.cache
def _minus_words(language: str) -> re.Pattern | None:
    """The words for a minus, any of several words also with a number between them: शून्य से 8 डिग्री नीचे."""
    gap = rf"(?: | ?[^\d.!?。।\n]{{0,{_GAP}}}(?:{_TOKEN.pattern})[^\d.!?。।\n]{{0,{_GAP}}})"
    spelt = [gap.join(map(re.escape, word.split())) for word in conventions(language).minus]
    whole = [word + r"(?!\w)" * (len(word) <= 3 and word[0] < "\u0370") for word in sorted(spelt, key=len)[::-1]]
    # No left edge where words touch each other.
    return re.compile(rf"(?<![A-Za-zÀ-ӿ])(?:{'|'.join(whole)})", re.IGNORECASE) if whole else None


def _negatives(text: str, tokens: list[Token], language: str) -> tuple[list, list, list]:
    """Values surely written with a minus, values maybe written so, and for each word for a minus whose it may be."""
    sure, maybe, minus_words = [], [], []
    for token in tokens:
        if sign := _SIGN.search(text[max(0, token.start - _SIGN_CHARS) : token.start]):
            certain = sign["sure"] is not None and sign["sign"] != "–"
            (sure if certain else maybe).append(token.values)
    pattern = _minus_words(language)
    for match in pattern.finditer(text) if pattern and tokens else ():
        first, behind = (bisect.bisect_left(tokens, at, key=lambda token: token.start) for at in match.span())
        whose = tokens[first:behind] or tokens[max(0, first - 1) : behind + 1]
        if first == behind < len(tokens) and not text[match.end() : tokens[behind].start].strip():  # minus 8
            whose = [tokens[behind]]
        minus_words.append(frozenset().union(*(token.values for token in whose)))
    return sure, maybe, minus_words


def _unmatched(wanted: list[frozenset], offered: list[frozenset]) -> list[frozenset]:
    """What of `wanted` finds no partner in `offered` that shares a value with it."""
    offered, rest = list(offered), []
    for values in wanted:
        partner = next((at for at, other in enumerate(offered) if values & other), None)
        if partner is None:
            rest.append(values)
        else:
            del offered[partner]
    return rest


@functools.cache
def _percent_words(language: str) -> re.Pattern:
    words = [word for word, units in conventions(language).units.items() if units == {"%"} and len(word) > 2]
    return re.compile(f"{_PERCENT}|{alternation(words)}", re.IGNORECASE)


class _Side:
    """A text, its numbers, and what stands beside each."""

    def __init__(self, text: str, language: str):
        self.text, self.language, self.tokens = text, language, numbers(text, language)
        own: Conventions = conventions(language)
        self.units = [unit_beside(text, token.start, token.end, own) for token in self.tokens]
        for at, (before, token) in enumerate(itertools.pairwise(self.tokens), 1):
            of_the_other = _PERCENT_AND_BLANK.fullmatch(text, before.end, token.start)  # 70% 400
            if of_the_other and not re.match(_PERCENT, text[token.end : token.end + 1]):
                self.units[at] -= {"%"}

    def percents(self) -> list[frozenset[Fraction]]:
        return [token.values for token, units in zip(self.tokens, self.units, strict=True) if "%" in units]

    def money(self) -> list[tuple[frozenset[Fraction], frozenset[str]]]:
        pairs = zip(self.tokens, self.units, strict=True)
        return [(token.values, units) for token, units in pairs if units and units <= CURRENCIES]

    def loose_percents(self) -> int:
        """Signs and words that stand beside no number in digits."""
        return max(0, len(_percent_words(self.language).findall(self.text)) - len(self.percents()))

    def chains(self) -> list[list[int]]:
        """Numbers that may share what stands beside one of them: 30 to 40 %. Of an English text."""
        chains: list[list[int]] = []
        for at, token in enumerate(self.tokens):
            if chains and _JOINER.fullmatch(self.text, self.tokens[at - 1].end, token.start):
                chains[-1].append(at)
            else:
                chains.append([at])
        return chains


def _signs_lost(source: _Side, its: _Side) -> int:
    sure, maybe, minus_words = _negatives(source.text, source.tokens, "en")
    its_sure, its_maybe, its_in_words = _negatives(its.text, its.tokens, its.language)
    lost = _unmatched(_unmatched(sure, its_sure + its_maybe), its_in_words) if _minus_words(its.language) else []
    in_words = frozenset(spoken(source.text))  # minus eight
    added = _unmatched(_unmatched(its_sure, sure + maybe), [values | in_words for values in minus_words])
    return len(lost) + len(added)


def _percents_lost(source: _Side, its: _Side) -> int:
    must, may, plain = [], [], []
    for chain in source.chains():
        sure = [source.tokens[at].values for at in chain if "%" in source.units[at]]
        must += [frozenset().union(*sure)] if sure else []
        (may if sure else plain).extend(source.tokens[at].values for at in chain)
    lost = _unmatched(must, its.percents())
    new = _unmatched(its.percents(), may)
    added = len(new) - len(_unmatched(new, plain))
    return max(0, len(lost) - its.loose_percents()) + max(0, added - source.loose_percents())


def _currencies_changed(source: _Side, its: _Side) -> int:
    ours, theirs = source.money(), its.money()
    if not ours or not theirs:
        return 0
    kinds, its_kinds = (frozenset().union(*(units for _, units in money)) for money in (ours, theirs))
    if not kinds & its_kinds:
        return len(theirs)
    rest = []
    for values, units in theirs:
        partner = next((at for at, paid in enumerate(ours) if values & paid[0] and units & paid[1]), None)
        if partner is None:
            rest.append(values)
        else:
            del ours[partner]
    return len(rest) - len(_unmatched(rest, [values for values, _ in ours]))


def numbers_kept(source: str, translation: str, language: str) -> float:
    """Share in [0, 1] of the numbers that both have, of the more that either has; 1 where neither has any.

    source: English, 1,234.5. language: of the translation, a code of the table. English number words and months may
    come back as digits, and need not. A number without its minus, percent or currency, or with one that it had not, is
    not kept.
    """
    ours, theirs = _Side(folded(source), "en"), _Side(folded(translation), language)
    wanted: Counter[Fraction] = Counter()
    for token in ours.tokens:
        wanted.update(token.readings[0])
    total, left = sum(wanted.values()), wanted.copy()
    optional, extra = spoken(source), 0
    # First what can be read in one way only, then what the language's own convention says, so that a doubtful reading
    # takes nothing from a sure one: the 20 of $20,000 is not the one of 20 %.
    tokens = sorted((token.readings for token in theirs.tokens), key=lambda readings: len(readings) > 1)
    unread = [readings for readings in tokens if not _take(left, readings[0])]
    for readings in unread:
        fits = any(_take(left, reading) for reading in readings[1:])
        if not fits and not any(_take(optional, reading) for reading in readings):
            extra += len(readings[0])
    lost = _signs_lost(ours, theirs) + _percents_lost(ours, theirs) + _currencies_changed(ours, theirs)
    given = max(0, total - sum(left.values()) - lost)
    most = max(total, given + extra)
    return given / most if most else 1.0


def _take(left: Counter[Fraction], reading: list[Fraction]) -> bool:
    need = Counter(reading)
    if any(left[value] < count for value, count in need.items()):
        return False
    left.subtract(need)
    return True
