"""The terms of one response that need only it and its row, and beside them measurements that are never rewarded.

`weights.TERMS` says what each term is. `judge`, `consistency` and `custom` are added by the caller.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sp3f_verl.rewards.answers.checkers import BUILT_IN, MATH, Checker, check, check_async
from sp3f_verl.rewards.boxed import extract_boxed
from sp3f_verl.rewards.fidelity.language import UnsupportedLanguage, language_share, language_shares
from sp3f_verl.rewards.fidelity.thinking import thinks_in_language
from sp3f_verl.rewards.repetition import repetition
from sp3f_verl.rewards.weights import TERMS, check_weights, total

__all__ = ["TERMS", "THRESHOLD", "UNDEFINED", "check_weights", "rule_terms", "rule_terms_async", "total"]

THRESHOLD = 0.7  # share of letters in the language asked for, from which on a response counts as in the language
LENGTH_LIMITS = (4000, 8000)  # characters: where the length penalty begins, and where it is whole
UNDEFINED = -1.0  # logged share of a response too short to tell: keeps the key numeric and out of [0, 1]


@dataclass(frozen=True)
class Scored:
    """What a term may hang on."""

    response: str
    gold: str
    answer: str | None  # the content of the last box
    accuracy: float
    share: float | None  # of the language asked for; None: too short to tell
    english_share: float | None
    in_language: bool
    thinks_in_language: bool  # and answers
    foreign: bool  # another language than English is asked for
    length_limits: tuple[float, float]


#: Name -> function, a row a term, and below the terms what is only logged. What a term means stands in `weights.TERMS`.
FUNCTIONS: dict[str, Callable[[Scored], float]] = {
    "accuracy": lambda one: one.accuracy,
    "parseable": lambda one: float(one.answer is not None),
    "language": lambda one: float(one.in_language),
    "thinking_language": lambda one: float(one.thinks_in_language),
    "accuracy_in_language": lambda one: one.accuracy * one.thinks_in_language,
    "soft_language": lambda one: (one.share or 0.0) if one.foreign else 0.0,
    "english": lambda one: (one.english_share or 0.0) if one.foreign else 0.0,
    "length": lambda one: _ramp(len(one.response), *one.length_limits),
    "repetition": lambda one: repetition(one.response),
    "random": lambda one: float(
        hashlib.blake2b(f"{one.gold}\0{one.response}".encode(errors="replace")).digest()[0] & 1
    ),
    "language_share": lambda one: UNDEFINED if one.share is None else one.share,
    "english_share": lambda one: UNDEFINED if one.english_share is None else one.english_share,
    "correct_off_language": lambda one: float(one.accuracy > 0 and not one.in_language),
}


def _terms(
    answer: str | None,
    accuracy: float,
    response: str,
    gold: str,
    language: str,
    threshold: float,
    others: Sequence[str],
    length_limits: tuple[float, float],
) -> dict[str, float]:
    others = tuple(others)
    try:
        share, english = language_shares(response, language, others)
    except UnsupportedLanguage:  # the preflight lets such a language through only where no language term has a weight
        share, english = None, language_share(response, "en", others)
    in_language = share is not None and share >= threshold
    thinks = thinks_in_language(response, language, threshold, others)
    one = Scored(response, gold, answer, accuracy, share, english, in_language, thinks, language != "en", length_limits)
    return {name: function(one) for name, function in FUNCTIONS.items()}


def _ramp(value: float, start: float, end: float) -> float:
    return float(value >= end) if end <= start else min(1.0, max(0.0, (value - start) / (end - start)))


def rule_terms(
    response: str,
    gold: str,
    language: str,
    threshold: float = THRESHOLD,
    others: Sequence[str] = (),
    *,
    checker: str = MATH,
    checkers: Mapping[str, Checker] = BUILT_IN,
    length_limits: tuple[float, float] = LENGTH_LIMITS,
) -> dict[str, float]:
    """The rule terms of one response and what is logged with them; the same numeric keys for every response.

    `language` is the ISO 639-1 code asked for, `others` the run's other languages, `checker` a name in `checkers`
    (`checkers.checker_of` finds a row's). Raises `UnknownLanguage`, and `CheckerFailed` where a registered checker
    does; on no response text.
    """
    answer = extract_boxed(response)
    accuracy = check(answer, gold, checker, checkers, language)
    return _terms(answer, accuracy, response, gold, language, threshold, others, length_limits)


async def rule_terms_async(
    response: str,
    gold: str,
    language: str,
    threshold: float = THRESHOLD,
    others: Sequence[str] = (),
    *,
    checker: str = MATH,
    checkers: Mapping[str, Checker] = BUILT_IN,
    length_limits: tuple[float, float] = LENGTH_LIMITS,
) -> dict[str, float]:
    """`rule_terms` with the answer compared off the event loop."""
    answer = extract_boxed(response)
    accuracy = await check_async(answer, gold, checker, checkers, language)
    return _terms(answer, accuracy, response, gold, language, threshold, others, length_limits)
