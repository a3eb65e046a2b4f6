"""Does a boxed answer equal the gold answer? Text first, then exact numbers, then math-verify in a killable worker."""

import re
from fractions import Fraction

from sp3f_verl.rewards import symbolic
from sp3f_verl.rewards.normalise import clean, number

MAX_ANSWER_CHARS = 2000  # a longer answer is no answer: it is unequal without being looked at
MAX_SYMBOLIC_CHARS = 300  # a longer one is compared as text and number only

_RELATION = re.compile(r"[=<>]|\\(?:le|ge|leq|geq|ne|neq|lt|gt|in)(?![A-Za-z])")
_ASSIGNMENT = re.compile(r"[A-Za-z](?:_\{?\w\}?)?=(?!=)")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
# What math-verify reads as something else or skips: prose ("five" is e*f*i*v), other scripts, digits side by side
# (a product), clock times and ratios (a quotient), primes and dots (dropped).
_UNREADABLE = re.compile(r"[^\W\d_]{3}|[^\x00-\x7f]|\d \d|[:;'\"]|\.\.")
_DROPPED = re.compile(r"\\(?:ldots|dots|cdots|prime)(?![A-Za-z])")


def _outline(side: str) -> tuple[str, str] | None:
    """First and last character of a bracketed list; math-verify takes the interval (1,2) for the set {1,2}."""
    side = side.replace("\\", "")
    return (side[0], side[-1]) if "," in side and side[0] in "([{" else None


def _readable(side: str) -> bool:
    plain = re.sub(r"\\[A-Za-z]+", " ", side)
    return (
        len(side) <= MAX_SYMBOLIC_CHARS
        and not _UNREADABLE.search(plain)
        and not _DROPPED.search(side)
        and side.count("=") <= 1
    )


def _comparable(answer: str, gold: str) -> bool:
    """May the two be left to math-verify, that is: does a True of it mean equal?"""
    if not (_readable(answer) and _readable(gold)):
        return False
    if _RELATION.search(gold):
        return True
    # It would take x+1=5 for 5, and (1,2) for {1,2}.
    return not _RELATION.search(answer) and _outline(answer) == _outline(gold)


def _decide(answer: str | None, gold: str) -> bool | tuple[str, str]:
    """The verdict where text or numbers settle it, else the (gold, answer) expressions to compare symbolically."""
    if answer is None or max(len(answer), len(gold)) > MAX_ANSWER_CHARS:
        return False
    answer, gold = clean(answer), clean(gold)
    if not answer or not gold:
        return False
    if not _RELATION.search(gold):
        answer = _ASSIGNMENT.sub("", answer.replace(" =", "="), count=1).strip() or answer
    # A space matters to the parser (`\pi r`) but not to the eye, unless it keeps two numbers apart.
    if re.sub(r"(?<!\d) | (?!\d)", "", answer) == re.sub(r"(?<!\d) | (?!\d)", "", gold):
        return True
    value = number(gold)
    if value is not None:
        given = _given(answer)
        if given is not None:
            return given == value
    return (gold, answer) if _comparable(answer, gold) else False


def _given(answer: str) -> Fraction | None:
    """The number the answer is, where 3,5 may mean 3.5 (the caller knows that the gold answer is one number)."""
    return number(answer.replace(",", ".") if _DECIMAL_COMMA.fullmatch(answer) else answer)


def answers_match(answer: str | None, gold: str) -> bool:
    """True where `answer` (the content of a box, or None) equals `gold`; never True on a partial parse.

    Blocks for at most `symbolic.DEADLINE_SECONDS` once the worker is up, plus the answers queued before this one.
    """
    verdict = _decide(answer, gold)
    return verdict if isinstance(verdict, bool) else symbolic.equal(*verdict)


async def answers_match_async(answer: str | None, gold: str) -> bool:
    """`answers_match` without blocking the event loop."""
    verdict = _decide(answer, gold)
    return verdict if isinstance(verdict, bool) else await symbolic.equal_async(*verdict)
