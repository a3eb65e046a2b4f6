"""The named terms of a response's reward, and their weighted sum.

A term is a number in [0, 1]. `rule_terms` computes those that need only the response and its row, and beside them a
few measurements that are logged and never rewarded; `judge` is a win rate that the caller adds.
"""

import difflib
import math
from collections.abc import Mapping, Sequence

from sp3f_verl.rewards.accuracy import answers_match, answers_match_async
from sp3f_verl.rewards.boxed import extract_boxed
from sp3f_verl.rewards.language import UnsupportedLanguage, language_share

THRESHOLD = 0.7  # share of letters in the language asked for, from which on a response counts as in the language
UNDEFINED = -1.0  # logged share of a response too short to tell: keeps the key numeric and out of [0, 1]

TERMS: dict[str, str] = {
    "accuracy": "1 where the last box equals the gold answer",
    "parseable": "1 where there is a last box and it is not empty",
    "language": "1 where at least the threshold share of the letters is in the language asked for",
    "judge": "share of comparisons within its group that the response wins",
}


def _terms(correct: bool, response: str, language: str, threshold: float, others: Sequence[str]) -> dict[str, float]:
    others = tuple(others)
    try:
        share = language_share(response, language, others)
    except UnsupportedLanguage:  # the preflight lets such a language through only where this term has no weight
        share = None
    english = share if language == "en" else language_share(response, "en", (language, *others))
    in_language = share is not None and share >= threshold
    return {
        "accuracy": float(correct),
        "parseable": float(extract_boxed(response) is not None),
        "language": float(in_language),
        "language_share": UNDEFINED if share is None else share,
        "english_share": UNDEFINED if english is None else english,
        "correct_off_language": float(correct and not in_language),
    }


def rule_terms(
    response: str, gold: str, language: str, threshold: float = THRESHOLD, others: Sequence[str] = ()
) -> dict[str, float]:
    """The rule terms of one response and what is logged with them; the same numeric keys for every response.

    `language` is the ISO 639-1 code asked for, `others` the run's other languages. Raises `UnsupportedLanguage`
    (see `language_share`); on no response text.
    """
    return _terms(answers_match(extract_boxed(response), gold), response, language, threshold, others)


async def rule_terms_async(
    response: str, gold: str, language: str, threshold: float = THRESHOLD, others: Sequence[str] = ()
) -> dict[str, float]:
    """`rule_terms` with the answer compared off the event loop."""
    correct = await answers_match_async(extract_boxed(response), gold)
    return _terms(correct, response, language, threshold, others)


def check_weights(weights: Mapping[str, float]) -> None:
    """Raises `ValueError` for a weight of an unknown term, or one that is not a finite number."""
    for name, weight in weights.items():
        if name not in TERMS:
            nearest = difflib.get_close_matches(name, TERMS, n=1, cutoff=0.0)[0]
            raise ValueError(
                f"unknown reward term {name!r} (the nearest is {nearest!r}); rename it or remove it, "
                f"the terms are {', '.join(TERMS)}."
            )
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not math.isfinite(weight):
            raise ValueError(f"the weight of reward term {name!r} is {weight!r}: give a finite number (0: off)")


def total(terms: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """Sum of weight times term; a term of weight 0 need not be there, any other missing one is a KeyError."""
    return sum((weight * terms[name] for name, weight in weights.items() if weight), 0.0)
