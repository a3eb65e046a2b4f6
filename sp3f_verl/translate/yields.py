"""What became of a set in each language: rows kept and left out, shares, words left in English, rows to look at.

tally = Yields(rows=len(source))
tally.drop("es", "question: numbers")
tally.keep("es", [(text, candidate), ...])
out.note(YIELD, tally.result())     # of the manifest (data.notes)
"""

import heapq
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from sp3f_verl.data.notes import SHARES, LanguageYield, LeftInEnglish
from sp3f_verl.rewards.fidelity.identify import english_leaning
from sp3f_verl.translate.ask import Text
from sp3f_verl.translate.choose import Candidate
from sp3f_verl.translate.protect import without_placeholders

SHOWN, LONGEST, NAMED = 3, 240, 10  # rows of a language, characters of a text, words
SHORTEST, LEANS = 4, 3.0  # letters of a word; log-likelihood in py3langid's own scale, see `left_in_english`
_WORD = re.compile(r"[^\W\d_]+")
Pair = tuple[Text, Candidate]


def left_in_english(source: str, translation: str, language: str) -> list[str]:
    """The words of the source that stand in the translation as they are: with small letters, so that no name is one,
    and spelt like English. In MGSM's questions, by human translators, none (bn, ja, te, zh) to 10 % (de) of the rows
    have any, nearly all loanwords (download, cheesecakes); `total` and `animal` of Spanish do not count.
    """
    words = _small(source) & {*_WORD.findall(translation.lower())}
    leaning = english_leaning(language)
    lean = leaning.of(words) if leaning else {}
    return sorted(word for word in words if lean.get(word, LEANS + 1) > LEANS)


def _small(text: str) -> set[str]:
    return {word for word in _WORD.findall(text) if len(word) >= SHORTEST and word.islower()}


@dataclass
class _Language:
    kept: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    shares: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    rows_left: int = 0
    words: Counter[str] = field(default_factory=Counter)
    beside: list[tuple[int, str, str, str]] = field(
        default_factory=list
    )  # fewest words left last, name, source, translation


class Yields:
    """rows: of the source, each of which is wanted in every language."""

    def __init__(self, rows: int):
        self._rows, self._languages = rows, defaultdict(_Language)

    def drop(self, language: str, reason: str) -> None:
        self._languages[language].reasons[reason] += 1

    def keep(self, language: str, pairs: Sequence[Pair]) -> None:
        """A row of the output: its texts with the candidates that were chosen; none where it was copied."""
        own, left = self._languages[language], set()
        own.kept += 1
        for text, candidate in pairs:
            left.update(left_in_english(text.words, without_placeholders(candidate.masked), language))
            for name in SHARES:
                if (share := getattr(candidate.features, name)) is not None:
                    own.shares[name].append(share)
        own.rows_left += bool(left)
        own.words.update(left)
        if pairs:
            text, candidate = pairs[0]
            own.beside.append((-len(left), text.name, text.source[:LONGEST], candidate.text[:LONGEST]))
            own.beside = heapq.nsmallest(SHOWN, own.beside)

    def result(self) -> dict[str, dict[str, Any]]:
        return {language: self._of(own) for language, own in sorted(self._languages.items())}

    def _of(self, own: _Language) -> dict[str, Any]:
        part = LanguageYield(
            rows=own.kept,
            of=self._rows,
            left_out=dict(own.reasons.most_common()),
            **{name: fmean(own.shares[name]) for name in SHARES if own.shares[name]},
            left_in_english=LeftInEnglish(rows=own.rows_left, words=dict(_most(own.words))),
            side_by_side=[(source, translation) for _, _, source, translation in own.beside],
        )
        return part.model_dump(exclude_none=True)

    def sentences(self) -> list[str]:
        """A line a language in which words are left: how many rows, and some of the words."""
        return [
            f"{language}: in {own.rows_left} of {own.kept} rows words stand as in the English source: "
            + ", ".join(f"{word} {count}" for word, count in _most(own.words))
            for language, own in sorted(self._languages.items())
            if own.rows_left
        ]


def _most(words: Counter[str]) -> list[tuple[str, int]]:
    """The most frequent, of equals by name."""
    return sorted(words.items(), key=lambda entry: (-entry[1], entry[0]))[:NAMED]
