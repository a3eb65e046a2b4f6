"""The named terms of a reward, a row a term; and of one response those that need only it and its row."""

import difflib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sp3f_verl.rewards.answers.checkers import BUILT_IN, MATH, Checker, check, check_async
from sp3f_verl.rewards.boxed import extract_boxed
from sp3f_verl.rewards.fidelity.language import UnsupportedLanguage, language_share, language_shares
from sp3f_verl.rewards.fidelity.thinking import thinks_in_language
from sp3f_verl.rewards.repetition import repetition
from sp3f_verl.rewards.weights import Weight, points

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


@dataclass(frozen=True)
class Term:
    """A number in [0, 1]; a penalty is a term with a negative weight.

    function: None where the caller adds the term. of_language: it needs a language that can be told from others.
    """

    meaning: str
    function: Callable[[Scored], float] | None = None
    of_language: bool = False


TERMS: dict[str, Term] = {
    "accuracy": Term("1 where the last box equals the gold answer", lambda one: one.accuracy),
    "parseable": Term("1 where there is a last box and it is not empty", lambda one: float(one.answer is not None)),
    "language": Term(
        "1 where at least the threshold share of the letters is in the language asked for",
        lambda one: float(one.in_language),
        of_language=True,
    ),
    "judge": Term("share of comparisons within its group that the response wins"),
    "thinking_language": Term(
        "1 where the thoughts, up to one </think>, and the answer are each in the language asked for",
        lambda one: float(one.thinks_in_language),
        of_language=True,
    ),
    "accuracy_in_language": Term(
        "accuracy where thinking_language is 1, else 0",
        lambda one: one.accuracy * one.thinks_in_language,
        of_language=True,
    ),
    "consistency": Term(
        "a judge's score: do the thoughts agree with the English ones? 0 where accuracy_in_language is 0",
        of_language=True,
    ),
    "soft_language": Term(
        "share of the letters in the language asked for; 0 where that is English, or the share undefined",
        lambda one: (one.share or 0.0) if one.foreign else 0.0,
        of_language=True,
    ),
    "english": Term(
        "share of the letters in English; 0 where English is asked for (a penalty)",
        lambda one: (one.english_share or 0.0) if one.foreign else 0.0,
    ),
    "length": Term(
        "0 up to the first of the length limits, 1 from the second on (a penalty)",
        lambda one: _ramp(len(one.response), *one.length_limits),
    ),
    "repetition": Term(
        "share of the text that repeats what stood before (a penalty)", lambda one: repetition(one.response)
    ),
    "random": Term(
        "0 or 1 by a coin that hangs on response and gold answer alone (a control)",
        lambda one: float(hashlib.blake2b(f"{one.gold}\0{one.response}".encode(errors="replace")).digest()[0] & 1),
    ),
    "custom": Term("what verl's reward.custom_reward_function answers, any number"),
}
#: Only logged.
MEASURES: dict[str, Callable[[Scored], float]] = {
    "language_share": lambda one: UNDEFINED if one.share is None else one.share,
    "english_share": lambda one: UNDEFINED if one.english_share is None else one.english_share,
    "correct_off_language": lambda one: float(one.accuracy > 0 and not one.in_language),
}
_COMPUTED = {name: term.function for name, term in TERMS.items() if term.function} | MEASURES


def check_weights(weights: Mapping[str, Weight]) -> None:
    """Raises `ValueError` for a weight of an unknown term, or one that is neither a finite number nor a schedule."""
    for name, weight in weights.items():
        if name not in TERMS:
            nearest = difflib.get_close_matches(name, TERMS, n=1, cutoff=0.0)[0]
            raise ValueError(
                f"unknown reward term {name!r} (the nearest is {nearest!r}); rename it or remove it, "
                f"the terms are {', '.join(TERMS)}."
            )
        try:
            points(weight)
        except ValueError as error:
            raise ValueError(f"the weight of reward term {name!r} is {weight!r}: {error}") from None


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
    return {name: function(one) for name, function in _COMPUTED.items()}


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
