"""The terms of one response that need only it and its row, and beside them measurements that are never rewarded.

`weights.TERMS` says what each term is. `judge` and `custom` are added by the caller.
"""

import hashlib
from collections.abc import Mapping, Sequence

from sp3f_verl.rewards.answers.checkers import BUILT_IN, MATH, Checker, check, check_async
from sp3f_verl.rewards.boxed import extract_boxed
from sp3f_verl.rewards.fidelity.language import UnsupportedLanguage, language_share, language_shares
from sp3f_verl.rewards.repetition import repetition
from sp3f_verl.rewards.weights import TERMS, check_weights, total

__all__ = ["TERMS", "THRESHOLD", "UNDEFINED", "check_weights", "rule_terms", "rule_terms_async", "total"]

THRESHOLD = 0.7  # share of letters in the language asked for, from which on a response counts as in the language
LENGTH_LIMITS = (4000, 8000)  # characters: where the length penalty begins, and where it is whole
UNDEFINED = -1.0  # logged share of a response too short to tell: keeps the key numeric and out of [0, 1]


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
    foreign = language != "en"
    return {
        "accuracy": accuracy,
        "parseable": float(answer is not None),
        "language": float(in_language),
        "soft_language": (share or 0.0) if foreign else 0.0,
        "english": (english or 0.0) if foreign else 0.0,
        "length": _ramp(len(response), *length_limits),
        "repetition": repetition(response),
        "random": float(hashlib.blake2b(f"{gold}\0{response}".encode(errors="replace")).digest()[0] & 1),
        "language_share": UNDEFINED if share is None else share,
        "english_share": UNDEFINED if english is None else english,
        "correct_off_language": float(accuracy > 0 and not in_language),
    }


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
