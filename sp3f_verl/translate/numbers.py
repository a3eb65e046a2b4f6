"""Are the numbers of a text still there in its translation? As multisets of values, however they are written."""

import bisect
import functools
import itertools
import re
from collections import Counter
from fractions import Fraction

import regex

from sp3f_verl.rewards.answers.conventions import Conventions, alternation, conventions, unit_beside
from sp3f_verl.rewards.answers.quantity import CURRENCIES
from sp3f_verl.translate.readings import TOKEN, Token, folded, numbers, shifts, spoken

# A minus in front of a number, and whether what stands before it makes it one for sure: 5月-8月 is a range. Sure is it
# also behind a letter of a script without spaces where no number is near (利润是-50), and behind a variable (2x - 5).
_SIGN = regex.compile(
    r"(?P<sure>^|[\s({\[=:,<>≤≥|]|(?<![\p{Nd}\p{No}].{0,5})[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}])?(?<!\d)"
    r"(?P<sign>[-−–])(?:\p{Lu}{0,3}\p{Sc} ?)?$|(?<!\p{L})(?P<sure>[b-z]) ?(?P<sign>[-−]) ?$",
    regex.V1,
)
_SIGN_CHARS = 8  # in front of a number that are looked at
_GAP = 16  # characters on either side of a number that stands within the words for a minus
_MONEY_GAP = 16  # characters between the dollars and the cents of one amount
_PERCENT = "[%٪％]"
_PERCENT_AND_BLANK = re.compile(rf"{_PERCENT}\s+")
_JOINER = re.compile(r"[%$€£]?(?: ?percent| per cent)?\s*(?:[-–—~/,;]|,? ?\b(?:to|and|or)\b)\s*[$€£]?")


@functools.cache
def _minus_words(language: str, sure: bool = False) -> re.Pattern | None:
    """The words for a minus, any of several words also with a number between them: शून्य से 8 डिग्री नीचे.

    sure: those that say nothing else.
    """
    gap = rf"(?: | ?[^\d.!?。।\n]{{0,{_GAP}}}(?:{TOKEN.pattern})[^\d.!?。।\n]{{0,{_GAP}}})"
    words = conventions(language).below_zero if sure else conventions(language).minus
    spelt = [gap.join(map(re.escape, word.split())) for word in words]
    whole = [word + r"(?!\w)" * (len(word) <= 3 and word[0] < "\u0370") for word in sorted(spelt, key=len)[::-1]]
    # No left edge where words touch each other.
    return re.compile(rf"(?<![A-Za-zÀ-ӿ])(?:{'|'.join(whole)})", re.IGNORECASE) if whole else None


def _negatives(text: str, tokens: list[Token], language: str) -> tuple[list, list, list]:
    """Values surely written with a minus, values maybe written so, and for each word for a minus whose it may be."""
    sure, maybe = [], []
    for token in tokens:
        if sign := _SIGN.search(text[max(0, token.start - _SIGN_CHARS) : token.start]):
            certain = sign["sure"] is not None and sign["sign"] != "–"
            (sure if certain else maybe).append(token.values)
    return sure, maybe, _in_words(text, tokens, _minus_words(language))


def _in_words(text: str, tokens: list[Token], pattern: re.Pattern | None) -> list[frozenset[Fraction]]:
    """For each word for a minus the values whose it may be."""
    minus_words = []
    for match in pattern.finditer(text) if pattern and tokens else ():
        first, behind = (bisect.bisect_left(tokens, at, key=lambda token: token.start) for at in match.span())
        whose = tokens[first:behind] or tokens[max(0, first - 1) : behind + 1]
        if first == behind < len(tokens) and not text[match.end() : tokens[behind].start].strip():  # minus 8
            whose = [tokens[behind]]
        minus_words.append(frozenset().union(*(token.values for token in whose)))
    return minus_words


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
        self._join_cents()
        for at, (before, token) in enumerate(itertools.pairwise(self.tokens), 1):
            of_the_other = _PERCENT_AND_BLANK.fullmatch(text, before.end, token.start)  # 70% 400
            if of_the_other and not re.match(_PERCENT, text[token.end : token.end + 1]):
                self.units[at] -= {"%"}

    def _join_cents(self) -> None:
        """1ドル25セント as one number, which may be 1.25 or two."""
        for at in range(len(self.tokens) - 1, 0, -1):
            whole, cents = self.tokens[at - 1 : at + 1]
            money = self.units[at - 1] & CURRENCIES - {"cent"} and self.units[at] == {"cent"}
            if money and cents.start - whole.end < _MONEY_GAP and len(whole.readings[0]) == len(cents.readings[0]) == 1:
                parts = [whole.readings[0][0], cents.readings[0][0]]
                both = Token(whole.start, cents.end, [[parts[0] + parts[1] / 100], parts])
                self.tokens[at - 1 : at + 1], self.units[at - 1 : at + 1] = [both], [self.units[at - 1]]

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
    below = _in_words(its.text, its.tokens, _minus_words(its.language, sure=True))
    said = not minus_words and not re.search("zero|freez|frost|cold", source.text.lower())
    return len(lost) + len(added) + (len(_unmatched(below, sure + maybe)) if said else 0)


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
    rest, paid = [], [values for values, _ in ours]
    for values, units in theirs:
        partner = next((at for at, each in enumerate(ours) if values & each[0] and units & each[1]), None)
        if partner is None:
            rest.append(values)
        else:
            del ours[partner]
    changed = len(rest) - len(_unmatched(rest, [values for values, _ in ours]))
    # $10 and 5 apples: 5 dollars and 10 apples. What another number has been paid with is only said twice.
    given = [values for values, _ in theirs]
    exchanged = min(len(_unmatched(paid, given)), len(_unmatched(given, paid)))
    return max(changed, exchanged)


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
    forms = shifts(source)
    # First what can be read in one way only, then what the language's own convention says, so that a doubtful reading
    # takes nothing from a sure one: the 20 of $20,000 is not the one of 20 %.
    tokens = sorted((token.readings for token in theirs.tokens), key=lambda readings: len(readings) > 1)
    unread = [readings for readings in tokens if not _take(left, readings[0])]
    for readings in unread:
        fits = any(_take(left, reading) for reading in readings[1:]) or _shifted(left, readings[0], forms)
        if not fits and not any(_take(optional, reading) for reading in readings):
            extra += len(readings[0])
    lost = _signs_lost(ours, theirs) + _percents_lost(ours, theirs) + _currencies_changed(ours, theirs)
    given = max(0, total - sum(left.values()) - lost)
    most = max(total, given + extra)
    return given / most if most else 1.0


def _shifted(left: Counter[Fraction], reading: list[Fraction], forms: list[tuple[Fraction, Fraction]]) -> bool:
    """Takes the number that one of `reading` stands for in another form, and the rest as it is."""
    for at, pair in enumerate(forms):
        if pair[1] in reading:
            rest = list(reading)
            rest[rest.index(pair[1])] = pair[0]
            if _take(left, rest if pair[0] else [value for value in rest if value]):
                del forms[at]
                return True
    return False


def _take(left: Counter[Fraction], reading: list[Fraction]) -> bool:
    need = Counter(reading)
    if any(left[value] < count for value, count in need.items()):
        return False
    left.subtract(need)
    return True
