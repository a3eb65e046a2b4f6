"""English words inside a clause that another language in Latin script has won: code-switching, word by word.

A clause in which every third word is English still goes to the language asked for. Where a text holds several different
words of a list of English ones, each clause with such a word is labelled again, word by word.
"""

import functools
import re
import unicodedata
from collections.abc import Callable

MIN_MARKERS = 4  # different ones in a text, before any of it is looked at again: "The New York Times" is a name
SWITCH_COST = 1.0  # log-likelihood, in py3langid's own scale, to change language between two words
MARKER_GAIN = 4.0  # in the same scale: what one of `MARKERS` says for English
MAX_LEAN = 15.0  # in the same scale: the most that the spelling of one word says

_WORD = re.compile(r"[^\W\d_]+")
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


@functools.lru_cache(4)  # several questions are asked of one text
def _markers(text: str) -> frozenset[str]:
    return MARKERS.intersection(_WORD.findall(text.lower()))


def has_markers(text: str, least: int = MIN_MARKERS) -> bool:
    """Whether `text` has at least so many different words of `MARKERS`."""
    return len(_markers(text)) >= least


# Letters that no composition takes apart, as what they look like.
_LOOKS = str.maketrans("łŁøØđĐðÐıİħĦŧŦæÆœŒßŋŊƙƊɗɓƁəƏɛɔ", "lLoOdDdDiIhHtTaAoOsnNkDdbBeEeo")
_MARKED = re.compile(r"\S*[^\x00-\x7f]\S*")
_COMBINING = re.compile("[\u0300-\u036f]")


def undressed(text: str) -> str | None:
    """`text` without marks on its letters, where that makes English words of words that are none; else None.

    English dressed in the marks of another language: `Shẹ́ ṣẹ́llṣ ẹ́vẹ́ry ẹ́gg`. A text with as few as `MIN_MARKERS` such
    words may be Vietnamese all the same; whoever asks has the bare text judged as a whole.
    """
    if text.isascii():
        return None
    words = _markers(_bare(" ".join(_MARKED.findall(text)))) - _markers(text)
    return _bare(text) if len(words) >= MIN_MARKERS else None


def _bare(text: str) -> str:
    return _COMBINING.sub("", unicodedata.normalize("NFD", text)).translate(_LOOKS)


def leaning(identifier, english: str, own: tuple[str, ...]) -> Callable[[str], float]:
    """A cached function: how much the spelling of a lower-case word speaks for the label `english` against `own`."""

    @functools.lru_cache(50_000)
    def lean(word: str) -> float:
        if len(word) < 2:
            return 0.0
        ranked = dict(identifier.rank(word + " "))
        return max(-MAX_LEAN, min(MAX_LEAN, ranked[english] - max(map(ranked.get, own))))

    return lean


def english_letters(clause: str, lean: Callable[[str], float]) -> int:
    """Letters of the English words of `clause` (labels: the best sequence under `SWITCH_COST`, starting outside)."""
    words = _WORD.findall(clause)
    own, english, stays = 0.0, -SWITCH_COST, []
    for word in words:
        lower = word.lower()
        stays.append((own >= english - SWITCH_COST, english >= own - SWITCH_COST))
        gain = lean(lower) + MARKER_GAIN * (lower in MARKERS)
        own, english = max(own, english - SWITCH_COST), max(english, own - SWITCH_COST) + gain
    is_english, letters = english > own, 0
    for word, (own_stays, english_stays) in zip(reversed(words), reversed(stays), strict=True):
        letters += len(word) * is_english
        is_english = english_stays if is_english else not own_stays
    return letters
