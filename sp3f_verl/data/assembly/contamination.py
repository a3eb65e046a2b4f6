"""Is a training question also an evaluation question? Normalised exact text, or n words (or characters) in a row.

Scripts that put no spaces between words are compared by characters. A match says that the texts share a passage, not
that the problems are the same: at eight words some stock phrases of school maths match, too.
"""

import itertools
import unicodedata
from collections.abc import Iterable, Iterator

import regex

WORDS, CHARACTERS = 8, 20
_WORD = regex.compile(r"\w+")  # of `regex`, whose \w has the vowel signs of Indic scripts and Thai
_UNSPACED = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}]")


def words(text: str) -> list[str]:
    """The words and numbers in one spelling: NFKC, without case, signs and white space."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


class Contamination:
    """Evaluation texts, set by set; `find(text)` names the set and the kind of match. A text is told for the first."""

    def __init__(self, length: int = WORDS, characters: int = CHARACTERS):
        self._length, self._characters = length, characters
        self._exact: dict[int, str] = {}
        self._grams: dict[int, str] = {}

    def add(self, name: str, texts: Iterable[str]) -> None:
        for text in texts:
            spelled = words(text)
            if spelled:
                self._exact.setdefault(hash("".join(spelled)), name)
            for gram in self._of(spelled):
                self._grams.setdefault(gram, name)

    def find(self, text: str) -> tuple[str, str] | None:
        """(set, "exact" or "n-gram"), or None."""
        spelled = words(text)
        name = self._exact.get(hash("".join(spelled)))
        if name is not None:
            return name, "exact"
        known = self._grams
        return next(((known[gram], "n-gram") for gram in self._of(spelled) if gram in known), None)

    def _of(self, spelled: list[str]) -> Iterator[int]:
        """Hashes of the word n-grams; of the character n-grams where the text has a script without spaces."""
        if _UNSPACED.search("".join(spelled)):
            text = "".join(spelled)
            yield from (hash(text[at : at + self._characters]) for at in range(len(text) - self._characters + 1))
        else:
            shifted = (itertools.islice(spelled, at, None) for at in range(self._length))
            yield from map(hash, zip(*shifted, strict=False))
