"""English words inside a clause that another language in Latin script has won: code-switching, word by word.

A clause in which every third word is English still goes to the language asked for. Where a text holds several different
words of a list of English ones, each clause with such a word is labelled again, word by word.
"""

import functools
import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

import regex

MIN_MARKERS = 4  # different ones in a text, before any of it is looked at again: "The New York Times" is a name
SWITCH_COST = 1.0  # log-likelihood, in py3langid's own scale, to change language between two words
MARKER_GAIN = 4.0  # in the same scale: what one of `MARKERS` says for English
MAX_LEAN = 15.0  # in the same scale: the most that the spelling of one word says
MAX_WORDS = 50_000  # that are remembered

# Of Latin letters alone: Han, Kana, Hangul and Thai touch the English words that stand between them.
_WORD = regex.compile(r"\p{Latin}+")
# Frequent words, and words of sums, that other languages hardly write: not "so", "was" (German), "costs" (Catalan).
# A few are words elsewhere ("are" in Romanian, "have" in Danish): hence so many different ones.
MARKERS = frozenset(
    """about add after again against already altogether among amount and another answer are around back because
    been before being between bought buy calculate could day days did divided does down during each eight equals
    every few finally five four from gets given going good got has have hence him himself his hour hours house
    how however hundred if into it its know later left less like made make makes many means money more much
    multiplied multiply need needs new next nine now number only other our out own paid pay people price
    remaining right said same sells seven she should since sold solve some step steps still subtract such takes
    than that the their them themselves then there therefore they think thirty this those though three through
    times together took twelve twenty twice two until up using very way we week well were what when where
    whether which while who whose why with work world would year years you your
    """.split()
)


@functools.lru_cache(2)  # a text is asked twice
def _markers(text: str) -> frozenset[str]:
    return MARKERS.intersection(_WORD.findall(text.lower()))


def has_markers(text: str) -> bool:
    """Whether `text` has at least `MIN_MARKERS` different words of `MARKERS`."""
    return len(_markers(text)) >= MIN_MARKERS


# Letters that no composition takes apart, as what they look like.
_LOOKS = str.maketrans("łŁøØđĐðÐıİħĦŧŦæÆœŒßŋŊƙƊɗɓƁəƏɛɔ", "lLoOdDdDiIhHtTaAoOsnNkDdbBeEeo")
_DRESSED = re.compile("[\u00c0-\u02af\u0300-\u036f\u1e00-\u1eff]")
_COMBINING = re.compile("[\u0300-\u036f]")


def undressed(text: str) -> str | None:
    """`text` without marks on its letters, where that makes English words of words that are none; else None.

    English dressed in the marks of another language: `Shẹ́ ṣẹ́llṣ ẹ́vẹ́ry ẹ́gg`. A text with as few as `MIN_MARKERS` such
    words may be Vietnamese all the same; whoever asks has the bare text judged as a whole.
    """
    if not _DRESSED.search(text):
        return None
    marked = " ".join(word for word in set(text.split()) if not word.isascii())
    words = MARKERS.intersection(_WORD.findall(_bare(marked).lower())) - _markers(text)
    return _bare(text) if len(words) >= MIN_MARKERS else None


def _bare(text: str) -> str:
    return _COMBINING.sub("", unicodedata.normalize("NFD", text)).translate(_LOOKS)


class Leaning:
    """How much the spelling of a lower-case word speaks for English: of words that were met before, from memory."""

    def __init__(self, likelihood: Callable[[list[str]], Any]):
        """likelihood: of texts, an array of a row a text: under English and under the language asked for."""
        self._likelihood, self._known = likelihood, {}

    def of(self, words: set[str]) -> Mapping[str, float]:
        """Of each of `words`, and maybe of others."""
        if len(self._known) > MAX_WORDS:
            self._known = {}
        if new := [word for word in words if word not in self._known]:
            english, own = self._likelihood([f"{word} " for word in new]).T
            self._known.update(zip(new, (english - own).clip(-MAX_LEAN, MAX_LEAN).tolist(), strict=True))
        return self._known


def english_letters(clauses: list[str], leaning: Leaning) -> list[int]:
    """Letters of the English words of each clause; 0 of one that holds none of `MARKERS`."""
    worded = [words if MARKERS.intersection(map(str.lower, words)) else [] for words in map(_WORD.findall, clauses)]
    lean = leaning.of({word.lower() for words in worded for word in words if len(word) > 1})
    return [_english_letters(words, lean) for words in worded]


def _english_letters(words: list[str], lean: Mapping[str, float]) -> int:
    """Labels: the best sequence under `SWITCH_COST`, starting outside."""
    own, english, stays = 0.0, -SWITCH_COST, []
    for word in words:
        lower = word.lower()
        stays.append((own >= english - SWITCH_COST, english >= own - SWITCH_COST))
        gain = lean.get(lower, 0.0) + MARKER_GAIN * (lower in MARKERS)
        own, english = max(own, english - SWITCH_COST), max(english, own - SWITCH_COST) + gain
    is_english, letters = english > own, 0
    for word, (own_stays, english_stays) in zip(reversed(words), reversed(stays), strict=True):
        letters += len(word) * is_english
        is_english = english_stays if is_english else not own_stays
    return letters
