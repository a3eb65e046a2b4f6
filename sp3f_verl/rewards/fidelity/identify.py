"""Who wins the letters of a text: candidate languages of one script, scored clause by clause by py3langid.

The cheapest labelling of the whole sequence of clauses wins, a change of language between neighbours costing
`SWITCH_COST`: single clauses are too short to tell Danish from Norwegian, whole answers are not, and an answer that
changes language half-way is still seen to.
"""

import functools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import regex

from sp3f_verl import languages
from sp3f_verl.rewards.fidelity.switching import Leaning, english_letters, has_markers

if TYPE_CHECKING:
    import numpy as np

    from sp3f_verl.rewards.fidelity.likelihood import Groups

SWITCH_COST = 20.0  # log-likelihood, in py3langid's own scale; 0 judges every clause alone
UNDECLARED_COST = 20.0  # in the same scale, once for each: what speaks against a language that the run does not name
MARKER_GAIN = 12.0  # in the same scale: what a word that only one of two confusable languages has says for it
ENGLISH = "en"
# The open set of Latin-script text: what a model drifts into, whether or not the run declares it.
COMMON_LATIN = ("en", "es", "fr", "de", "pt", "it", "nl", "id", "tr", "vi", "pl", "sw")
SENTENCE_CHARS, CLAUSE_CHARS = 12, 80  # a shorter sentence or clause is judged together with the next one

OUTSIDE = "?"  # in place of a code: a language outside the set that is far ahead of all in it
OUTSIDE_COST = 15.0  # in the same scale: what speaks against that. Own sentences stay below 6, others' are above 20
WINDOW = 250  # characters at either end of a text by which is decided whether to look for such a language at all
# Varieties whose texts are also the language's, and no language at all.
_VARIETIES = frozenset("zxx pcm ary arz wuu yue ext gcf gcr an".split())

# Tenths of a Latin letter that a letter of a script says: from MGSM's questions in eleven languages, Hangul and Arabic
# from the same news in others; vowel signs of Indic and Thai words are no letters. All others count as Latin.
_WEIGHTS = (
    (r"\p{Han}", 28),
    (r"\p{Hiragana}\p{Katakana}", 16),
    (r"\p{Hangul}", 23),
    (r"\p{Thai}\p{Lao}\p{Khmer}", 12),
    (r"\p{Devanagari}\p{Bengali}\p{Telugu}\p{Tamil}\p{Gujarati}\p{Gurmukhi}\p{Kannada}\p{Malayalam}\p{Sinhala}", 15),
    (r"\p{Arabic}\p{Hebrew}", 12),
)
_SCRIPTS, _CARRIED = zip(*_WEIGHTS, strict=True)
_DENSE = regex.compile("|".join(rf"([\p{{L}}&&[{scripts}]])" for scripts in _SCRIPTS), regex.VERSION1)

_CLAUSE = re.compile(r"[^.!?;:,\n…。！？；：，、।؟،؛۔]*(?:[.!?;:,\n…。！？；：，、।؟،؛۔]|\Z)")
_SENTENCE_END = frozenset(".!?\n…。！？।؟۔")
_WORD = re.compile(r"[^\W\d_]+")
_NO_LETTERS = bytes(code for code in range(128) if not chr(code).isalpha())


class UnsupportedLanguage(ValueError):
    """The language shares its script with others and py3langid has no model of it."""


@dataclass(frozen=True)
class Contest:
    """Who may claim the letters of a script, and what their likelihoods are."""

    codes: tuple[str, ...]
    own: regex.Pattern  # letters that can be won
    costs: tuple[float, ...] = ()  # of each code, to start with
    likelihood: "Groups | None" = None  # of each code; None where there is one
    outside: "Groups | None" = None  # of all languages that are none of the codes, and of the codes
    leaning: Leaning | None = None  # what tells a word of English from one of the first code
    markers: tuple[frozenset[str], ...] = ()  # for each code, where two or more of them have any


@functools.cache
def _own_letters(scripts: tuple[str, ...]) -> regex.Pattern:
    union = "".join(rf"\p{{Script={script}}}" for script in scripts)
    return regex.compile(rf"[\p{{L}}&&[{union}]]+", regex.VERSION1)


@functools.cache
def _others_letters(own: regex.Pattern) -> regex.Pattern:
    return regex.compile(rf"[\p{{L}}--{own.pattern.removesuffix('+')}]+", regex.VERSION1)


def count(letters: regex.Pattern, text: str) -> float:
    """What the letters of `text` in the runs `letters` carry, in Latin letters: a Han character says as much as 2.8."""
    tenths = _tenths(letters)
    if text.isascii():
        return float(len(text.encode().translate(None, _NO_LETTERS))) if tenths["a"] else 0.0
    return sum(map(tenths.__getitem__, text)) / 10


class _Tenths(dict):
    """Character -> tenths of a Latin letter that it carries, 0 where `letters` has it not; filled as they are met."""

    def __init__(self, letters: regex.Pattern):
        self._letters = letters

    def __missing__(self, char: str) -> int:
        dense = _DENSE.match(char)
        weight = _CARRIED[dense.lastindex - 1] if dense else 10
        self[char] = weight = weight if self._letters.match(char) else 0
        return weight


_tenths = functools.cache(_Tenths)


def _labels_of(code: str) -> tuple[str, ...]:
    try:
        return languages.get(code).labels or (code,)
    except languages.UnknownLanguage:  # a confusable needs no entry
        return (code,)


@functools.cache
def contest_of(language: str, others: tuple[str, ...]) -> Contest:
    """The languages that compete for the letters of `language`, itself first; it alone where its script settles it."""
    from sp3f_verl.rewards.fidelity.likelihood import Groups, model  # numpy: with the first text, not with the package

    facts = languages.get(language)
    rivals = set(facts.confusables)
    rivals.update(code for code in others if set(languages.get(code).scripts) & set(facts.scripts))
    if "Latin" in facts.scripts:
        rivals.update(COMMON_LATIN)
    own_letters = _own_letters(facts.scripts)
    own, known = _labels_of(language), set(model().labels) if rivals else set()
    if not rivals - {language}:
        return Contest((language,), own_letters)
    labels = {code: tuple(label for label in _labels_of(code) if label in known - set(own)) for code in sorted(rivals)}
    labels = {language: own} | {code: names for code, names in labels.items() if names and code != language}
    if not known & set(own):
        raise UnsupportedLanguage(
            f"language {language!r} cannot be recognised: py3langid has no model of it and it shares its script with "
            f"{', '.join(sorted(rivals)[:3])}; give the language term of this run the weight 0 or leave it out"
        )
    labels[language] = own = tuple(label for label in own if label in known)
    codes = tuple(labels)
    markers = tuple(frozenset(languages.get(code).markers if code in languages.codes() else ()) for code in codes)
    rivalry = sum(map(bool, markers)) > 1
    inside = {label for names in labels.values() for label in names}
    outside = Groups([known - inside - _VARIETIES, inside - _VARIETIES])
    rival = language != ENGLISH and ENGLISH in labels
    leaning = english_leaning(language) if rival else None
    named = {language, ENGLISH, *others}
    costs = tuple(0.0 if code in named else UNDECLARED_COST for code in codes)
    likelihood = Groups(labels.values())
    return Contest(codes, own_letters, costs, likelihood, outside, leaning, markers if rivalry else ())


@functools.cache
def english_leaning(language: str) -> Leaning | None:
    """What tells a word of English from one of the language; None where py3langid has no model of it."""
    from sp3f_verl.rewards.fidelity.likelihood import Groups, model

    own = set(_labels_of(language)) & set(model().labels)
    return Leaning(Groups([[ENGLISH], own])) if own else None


def _scores(segments: list[str], contest: Contest) -> "np.ndarray":
    """For each segment and code how much it falls behind the best code there: log-likelihoods, 0 and below."""
    scores = contest.likelihood(segments)
    for row, segment in zip(scores, segments, strict=True) if contest.markers else ():
        words = _WORD.findall(segment.lower())
        row += [MARKER_GAIN * sum(map(own.__contains__, words)) if own else 0.0 for own in contest.markers]
    return scores - scores.max(axis=1, keepdims=True)


def _outside(segments: list[str], contest: Contest) -> "np.ndarray":
    """How far the best language outside the set is ahead of the best one in it, by letters of the set's scripts."""
    others = _others_letters(contest.own)
    ahead, behind = contest.outside([others.sub(" ", segment) for segment in segments]).T
    return ahead - behind


def _winners(segments: list[str], contest: Contest, text: str) -> list[str]:
    """The code that wins each segment, or `OUTSIDE`: the best-scoring sequence under `SWITCH_COST` (Viterbi)."""
    scores = _scores(segments, contest)
    codes, costs = contest.codes, contest.costs
    rows = scores.tolist()
    if _outside([text[:WINDOW], text[-WINDOW:]], contest).max() > OUTSIDE_COST:
        rows = [[*row, ahead] for row, ahead in zip(rows, _outside(segments, contest).tolist(), strict=True)]
        codes, costs = (*codes, OUTSIDE), (*costs, OUTSIDE_COST)
    else:
        alone = scores.sum(axis=0) - costs  # of the sequences without a change
        if alone[0] == alone.max() > -SWITCH_COST:
            return [codes[0]] * len(segments)
    best, back = [-cost for cost in costs], []
    entry = [SWITCH_COST + cost for cost in costs]
    for row in rows:
        top = max(best)
        leader = best.index(top)
        came_from, following = [], []
        for k, (stay, cost, score) in enumerate(zip(best, entry, row, strict=True)):
            came_from.append(k if stay >= top - cost else leader)
            following.append((stay if stay >= top - cost else top - cost) + score)
        back.append(came_from)
        best = following
    winner, winners = best.index(max(best)), []
    for came_from in reversed(back):
        winners.append(codes[winner])
        winner = came_from[winner]
    return winners[::-1]


def segments(text: str) -> Iterator[str]:
    """Clauses of `text`, short ones joined with the next of their sentence: two words say nothing to py3langid."""
    waiting = ""
    for clause in _CLAUSE.findall(text):
        waiting += clause
        if len(waiting) >= (SENTENCE_CHARS if clause[-1:] in _SENTENCE_END else CLAUSE_CHARS):
            yield waiting
            waiting = ""
    if waiting:
        yield waiting


def letters_won(text: str, contest: Contest) -> dict[str, float]:
    """Code, or `OUTSIDE` -> letters of `text` that it wins, in Latin letters (see `count`)."""
    if len(contest.codes) == 1:
        return {contest.codes[0]: count(contest.own, text)}
    # Letters of other scripts stay in the segment: kana are what tells Japanese from Chinese. Only its own are counted.
    parts = [(part, letters) for part in segments(text) if (letters := count(contest.own, part))]
    if not parts:
        return {}
    winners = _winners([part for part, _ in parts], contest, text)
    won: Counter[str] = Counter()
    for code, (_, letters) in zip(winners, parts, strict=True):
        won[code] += letters
    if contest.leaning and has_markers(text):
        own = [part for code, part in zip(winners, parts, strict=True) if code == contest.codes[0]]
        said = english_letters([part for part, _ in own], contest.leaning)
        english = sum(min(letters, said) for (_, letters), said in zip(own, said, strict=True))
        won.update({ENGLISH: english, contest.codes[0]: -english})
    return won
