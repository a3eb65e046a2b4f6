"""Who wins the letters of a text: candidate languages of one script, scored clause by clause by py3langid.

The cheapest labelling of the whole sequence of clauses wins, a change of language between neighbours costing
`SWITCH_COST`: single clauses are too short to tell Danish from Norwegian, whole answers are not, and an answer that
changes language half-way is still seen to.
"""

import copy
import functools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import regex

from sp3f_verl import languages
from sp3f_verl.rewards.fidelity.switching import MAX_LEAN, english_letters, has_markers, leaning

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

# Letters of a script that say as much as w Latin ones: from MGSM's questions in eleven languages, Hangul and Arabic
# from the same news in others; vowel signs of Indic and Thai words are no letters. All others count as Latin.
_WEIGHTS = (
    (r"\p{Han}", 2.8),
    (r"\p{Hiragana}\p{Katakana}", 1.6),
    (r"\p{Hangul}", 2.3),
    (r"\p{Thai}\p{Lao}\p{Khmer}", 1.2),
    (r"\p{Devanagari}\p{Bengali}\p{Telugu}\p{Tamil}\p{Gujarati}\p{Gurmukhi}\p{Kannada}\p{Malayalam}\p{Sinhala}", 1.5),
    (r"\p{Arabic}\p{Hebrew}", 1.2),
)
_DENSE = tuple((regex.compile(rf"[\p{{L}}&&[{scripts}]]", regex.VERSION1), weight) for scripts, weight in _WEIGHTS)

_CLAUSE = re.compile(r"[^.!?;:,\n…。！？；：，、।؟،؛۔]*(?:[.!?;:,\n…。！？；：，、।؟،؛۔]|\Z)")
_SENTENCE_END = frozenset(".!?\n…。！？।؟۔")
_WORD, _ASCII, _ASCII_LETTERS = re.compile(r"[^\W\d_]+"), re.compile(r"[\x00-\x7f]+"), re.compile("[A-Za-z]+")


class UnsupportedLanguage(ValueError):
    """The language shares its script with others and py3langid has no model of it."""


@dataclass(frozen=True)
class Contest:
    """Who may claim the letters of a script: `codes` and, for each, the labels of py3langid that mean it."""

    codes: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    own: regex.Pattern  # letters that can be won
    costs: tuple[float, ...] = ()  # of each code, to start with
    identifier: Any = None
    markers: tuple[frozenset[str], ...] = ()  # for each code, where two or more of them have any


@functools.cache
def _model():
    """py3langid's model, loaded on first use (1 s, 120 MB)."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE)


@functools.cache
def _identifier(labels: frozenset[str]):
    """The model restricted for good, so that threads with different sets cannot disturb each other."""
    restricted = copy.copy(_model())
    restricted.set_languages(labels)
    return restricted


@functools.cache
def _own_letters(scripts: tuple[str, ...]) -> regex.Pattern:
    union = "".join(rf"\p{{Script={script}}}" for script in scripts)
    return regex.compile(rf"[\p{{L}}&&[{union}]]+", regex.VERSION1)


@functools.cache
def _others_letters(own: regex.Pattern) -> regex.Pattern:
    return regex.compile(rf"[\p{{L}}--{own.pattern.removesuffix('+')}]+", regex.VERSION1)


def count(letters: regex.Pattern, text: str) -> float:
    """What the letters of `text` in the runs `letters` carry, in Latin letters: a Han character says as much as 2.8."""
    weights = _weights(letters)
    total = sum(map(len, _ASCII_LETTERS.findall(text))) if weights["a"] else 0
    if not text.isascii():
        total += sum(weights[char] * times for char, times in Counter(_ASCII.sub("", text)).items())
    return float(total)


class _Weights(dict):
    """Character -> what it carries, 0 for one that `letters` does not match; filled as characters are met."""

    def __init__(self, letters: regex.Pattern):
        self._letters = letters

    def __missing__(self, char: str) -> float:
        self[char] = weight = (
            next((w for script, w in _DENSE if script.match(char)), 1) if self._letters.match(char) else 0
        )
        return weight


_weights = functools.cache(_Weights)


def _labels_of(code: str) -> tuple[str, ...]:
    try:
        return languages.get(code).labels or (code,)
    except languages.UnknownLanguage:  # a confusable needs no entry
        return (code,)


@functools.cache
def contest_of(language: str, others: tuple[str, ...]) -> Contest:
    """The languages that compete for the letters of `language`, itself first; it alone where its script settles it."""
    facts = languages.get(language)
    rivals = set(facts.confusables)
    rivals.update(code for code in others if set(languages.get(code).scripts) & set(facts.scripts))
    if "Latin" in facts.scripts:
        rivals.update(COMMON_LATIN)
    own_letters = _own_letters(facts.scripts)
    own, known = _labels_of(language), set(_model().labels) if rivals else set()
    if not rivals - {language}:
        return Contest((language,), ((),), own_letters)
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
    identifier = _identifier(frozenset(label for names in labels.values() for label in names))
    named = {language, ENGLISH, *others}
    costs = tuple(0.0 if code in named else UNDECLARED_COST for code in codes)
    return Contest(codes, tuple(labels.values()), own_letters, costs, identifier, markers if rivalry else ())


@functools.cache
def _lean(contest: Contest):
    """What tells a word of English from one of the language asked for."""
    return leaning(contest.identifier, contest.labels[contest.codes.index(ENGLISH)][0], contest.labels[0])


def leans_to_english(language: str, word: str) -> float:
    """How much a word's spelling speaks for English against the language, as log-likelihood in py3langid's own scale;
    all it can where that does not know the language."""
    own = tuple(label for label in _labels_of(language) if label in _model().labels)
    return _leaning_of(own)(word.lower()) if own else MAX_LEAN


@functools.cache
def _leaning_of(own: tuple[str, ...]):
    return leaning(_identifier(frozenset({ENGLISH, *own})), ENGLISH, own)


def _scores(segment: str, contest: Contest) -> list[float]:
    """For each code how much it falls behind the best one on the segment: log-likelihoods, 0 and below."""
    ranked = dict(contest.identifier.rank(segment))
    scores = [ranked[labels[0]] if len(labels) == 1 else max(map(ranked.get, labels)) for labels in contest.labels]
    if contest.markers:
        words = _WORD.findall(segment.lower())
        for k, markers in enumerate(contest.markers):
            if markers:
                scores[k] += MARKER_GAIN * len([word for word in words if word in markers])
    # Relative to the best: a segment without features scores -3e38 everywhere and must weigh nothing.
    top = max(scores)
    return [score - top for score in scores]


@functools.lru_cache(512)  # a response is asked about for its own language and for English
def _ranked(segment: str) -> list[tuple[str, float]]:
    """All of py3langid's labels for a segment with their log-likelihoods, the best first."""
    return _model().rank(segment)


def _outside(segment: str, contest: Contest) -> float:
    """How far the best language outside the set is ahead of the best one in it, by letters of the set's scripts."""
    segment = _others_letters(contest.own).sub(" ", segment)
    inside = {label for labels in contest.labels for label in labels} | _VARIETIES
    ranked = _ranked(segment)
    ahead = next((score for label, score in ranked if label not in inside), ranked[-1][1])
    return ahead - next((score for label, score in ranked if label in inside - _VARIETIES), ahead)


def _winners(segments: list[str], contest: Contest, text: str) -> list[str]:
    """The code that wins each segment, or `OUTSIDE`: the best-scoring sequence under `SWITCH_COST` (Viterbi)."""
    rows = [_scores(segment, contest) for segment in segments]
    codes, costs = contest.codes, contest.costs
    if any(_outside(end, contest) > OUTSIDE_COST for end in {text[:WINDOW], text[-WINDOW:]}):
        rows = [[*row, _outside(segment, contest)] for row, segment in zip(rows, segments, strict=True)]
        codes, costs = (*codes, OUTSIDE), (*costs, OUTSIDE_COST)
    elif all(row[0] == 0 for row in rows):  # nothing beats the language asked for anywhere
        return [contest.codes[0]] * len(rows)
    best, back = [-cost for cost in costs], []
    entry = [SWITCH_COST + cost for cost in costs]
    for scores in rows:
        top = max(best)
        leader = best.index(top)
        came_from, following = [], []
        for k, (stay, cost, score) in enumerate(zip(best, entry, scores, strict=True)):
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
    if not contest.own.search(text):
        return {}
    # Letters of other scripts stay in the segment: kana are what tells Japanese from Chinese. Only its own are counted.
    parts = [(part, letters) for part in segments(text) if (letters := count(contest.own, part))]
    won: dict[str, float] = {}
    switching = ENGLISH in contest.codes[1:] and has_markers(text)
    for code, (part, letters) in zip(_winners([part for part, _ in parts], contest, text), parts, strict=True):
        if switching and code == contest.codes[0] and has_markers(part, 1):
            english = min(letters, english_letters(part, _lean(contest)))
            won[ENGLISH] = won.get(ENGLISH, 0) + english
            letters -= english
        won[code] = won.get(code, 0) + letters
    return won
