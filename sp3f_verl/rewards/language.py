"""Which share of an answer is written in the language asked for, judged against a declared set of languages.

Script decides first: a letter outside the language's scripts is not in it. Where other candidates share the script,
py3langid scores each clause and the cheapest labelling of the whole sequence wins, a change of language between
neighbouring clauses costing `SWITCH_COST`: single clauses are too short to tell Indonesian from Malay, whole answers
are not, and an answer that changes language half-way is still seen to.
"""

import functools

import regex

from sp3f_verl import languages
from sp3f_verl.rewards.text import prose

MIN_LETTERS = 8  # fewer say nothing about a language
MAX_CHARS = 100_000  # of a response that are looked at
SWITCH_COST = 20.0  # log-likelihood, in py3langid's own scale; 0 judges every clause alone
# The open set of Latin-script text: what a model drifts into, whether or not the run declares it.
COMMON_LATIN = ("en", "es", "fr", "de", "pt", "it", "nl", "id", "tr", "vi", "pl", "sw")

_LETTER = regex.compile(r"[\p{L}--[\p{Script=Common}\p{Script=Inherited}]]", regex.VERSION1)
_CLAUSE = regex.compile(r"(?<=[.!?;:,\n…。！？；：，、।؟،؛۔])")


class UnsupportedLanguage(ValueError):
    """The language shares its script with others and py3langid has no model of it."""


@functools.cache
def _identifier():
    """py3langid's model, loaded on first use (0.6 s, 130 MB). Never restricted: `rank` alone is safe across threads."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE)


@functools.cache
def _own_letter(scripts: tuple[str, ...]) -> regex.Pattern:
    union = "".join(rf"\p{{Script={script}}}" for script in scripts)
    return regex.compile(rf"[\p{{L}}&&[{union}]]", regex.VERSION1)


@functools.cache
def _candidates(language: str, others: tuple[str, ...]) -> tuple[str, ...]:
    """The codes that compete for the language's letters, itself first; it alone where the script settles it."""
    facts = languages.get(language)
    rivals = set(facts.confusables)
    rivals.update(code for code in others if set(languages.get(code).scripts) & set(facts.scripts))
    if "Latin" in facts.scripts:
        rivals.update(COMMON_LATIN)
    rivals.discard(language)
    if not rivals:
        return (language,)
    known = set(_identifier().labels)
    if language not in known:
        raise UnsupportedLanguage(
            f"language {language!r} cannot be recognised: py3langid has no model of it and it shares its script with "
            f"{', '.join(sorted(rivals)[:3])}; give the language term of this run the weight 0 or leave it out"
        )
    return (language, *sorted(rivals & known))


def _labels(segments: list[str], candidates: tuple[str, ...]) -> list[int]:
    """Index of the candidate of each segment: the best-scoring sequence under `SWITCH_COST` (Viterbi)."""
    best, back = [0.0] * len(candidates), []
    for segment in segments:
        ranked = dict(_identifier().rank(segment))
        scores = [ranked[code] for code in candidates]
        top = max(scores)
        leader = max(range(len(best)), key=best.__getitem__)
        moved = best[leader] - SWITCH_COST
        back.append([k if best[k] >= moved else leader for k in range(len(best))])
        # Relative to the segment's best: a segment without features scores -3e38 everywhere and must weigh nothing.
        best = [max(best[k], moved) + scores[k] - top for k in range(len(best))]
    label, labels = max(range(len(best)), key=best.__getitem__), []
    for came_from in reversed(back):
        labels.append(label)
        label = came_from[label]
    return labels[::-1]


def language_share(text: str, language: str, others: tuple[str, ...] = ()) -> float | None:
    """Share in [0, 1] of the letters of `text` that are in `language` (ISO 639-1; `others`: the run's languages).

    Thinking, maths, code, links and boxes are left out. None where fewer than `MIN_LETTERS` letters remain: that is
    not known, not zero. Raises `UnsupportedLanguage` for a language that nothing here can recognise.
    """
    candidates = _candidates(language, tuple(sorted(set(others))))
    text = prose(text[-MAX_CHARS:])
    letters = len(_LETTER.findall(text))
    if letters < MIN_LETTERS:
        return None
    own = _own_letter(languages.get(language).scripts)
    if len(candidates) == 1:
        return len(own.findall(text)) / letters
    # Letters of other scripts stay in the segment: kana are what tells Japanese from Chinese. Only its own are counted.
    segments = [part for part in _CLAUSE.split(text) if own.search(part)]
    labels = _labels(segments, candidates)
    return sum(len(own.findall(part)) for part, label in zip(segments, labels, strict=True) if label == 0) / letters
