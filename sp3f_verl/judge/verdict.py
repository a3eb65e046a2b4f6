r"""What a judge decided, read from what it wrote.

Two written forms count, and the last complete one in the text wins, whichever form it has (a judge argues first and
decides last):

- boxed, the SP3F prompts: `\boxed{A}`, `\boxed{B}`, `\boxed{tie}`, also as judges really write them:
  `\boxed{{A}}`, `\boxed{\text{A}}`, `**\boxed{Response A}**`;
- bracket, the arena prompts: `[[1]]`, `[[2]]`, `[[T]]` or `[[M]]`, also escaped as `\[\[1\]\]`.

Anything else is `Verdict.FAILED`, never a loss: a box that says something off the menu (`\boxed{24}`) is no verdict,
and none is searched before it: what stands there may be a response's box that the judge quotes.

Judges that are asked otherwise have readers of their own: `parse_ranking` (listwise), `parse_language` (pointwise, the
language ablation) and `preference_for_a` (one token, by its log-probabilities).
"""

import enum
import math
import re
from collections import deque
from collections.abc import Iterator, Mapping
from typing import TypeVar

from sp3f_verl.rewards.boxed import Box, last_box

T = TypeVar("T")


class Verdict(enum.Enum):
    """Outcome of one comparison: the response shown first wins (A), the second wins (B), neither, or no verdict."""

    A = "A"
    B = "B"
    TIE = "tie"
    FAILED = "failed"


_BOXED = {"a": Verdict.A, "b": Verdict.B, "tie": Verdict.TIE}
_BRACKET = {"1": Verdict.A, "2": Verdict.B, "t": Verdict.TIE, "m": Verdict.TIE}
_NOUNS = {"response", "answer", "assistant", "option"}
_LONGEST_LABEL = 80  # characters inside a box; more is prose, not a verdict
MINIMUM_MASS = 0.01  # of probability on A and B together; below it, the model was about to say something else

# Every repetition that could be retried at each position is bounded: this text comes from a model, and an unbounded
# one makes the search quadratic on junk.
BRACKETS = re.compile(r"\\?\[\\?\[\s{0,8}(\w{0,16})\s{0,8}\\?\]\\?\]")
_DECORATION = re.compile(r"\\(?:boxed|text[a-z]*|math[a-z]*)|[\s{}*$.:\"'`()]+")
_RANKING_MARK = re.compile(r"\\(?:succ|gt)(?![A-Za-z])|\\[,;: ]|[>≻,;\[\]]")
_LANGUAGE = re.compile(r"([a-z]{2,3})(?:[-_][a-z0-9]{2,8}){0,3}")
_LETTER_TOKEN = re.compile(r"[\s▁ĠĊ*(\[{\"'`]*([AB])[\s.,:;*)\]}\"'`]*")


def parse_verdict(text: str) -> Verdict:
    """Verdict that a judge's text ends in; FAILED where there is none. Linear in the length, raises on no string."""
    box = last_box(text) or Box(0, 0, 0)
    bracket = _last(BRACKETS.finditer(text))
    if bracket is not None and bracket.end() > box.end:
        return _BRACKET.get(bracket[1].lower(), Verdict.FAILED)
    return _boxed_label(text[box.start : box.end])


def parse_ranking(text: str, n: int) -> list[int] | None:
    r"""Indices 0..n-1 of n responses, best first, that a judge's text ends in; None where it is no full permutation.

    The last complete box decides. It names each of 1..n once: `\boxed{3 > 1 > 2}`, also with `≻`, `\succ`, commas or
    spaces between them, as a list `[3, 1, 2]`, and with "Response" before a number. Raises on no string.
    """
    words = _RANKING_MARK.sub(" ", _last_box(text, _LONGEST_LABEL + 32 * n))
    words = [word for word in _DECORATION.sub(" ", words).lower().split() if word not in _NOUNS]
    ranking = [int(word) - 1 for word in words if word.isascii() and word.isdigit() and len(word) <= 9]
    return ranking if len(ranking) == len(words) and sorted(ranking) == list(range(n)) else None


def parse_language(text: str) -> str | None:
    r"""Language code of two or three letters, in lower case, that a judge's text ends in, or None.

    The last complete box decides: `\boxed{th}`, also `\boxed{\text{TH}}` and, without its region, `\boxed{th-TH}`.
    """
    code = _LANGUAGE.fullmatch(_DECORATION.sub(" ", _last_box(text)).strip().lower())
    return code[1] if code else None


def preference_for_a(top_logprobs: Mapping[str, float] | None) -> float | None:
    """P(A) / (P(A) + P(B)) in [0, 1] from the natural log-probabilities of an answer's first token.

    Tokens of one letter count together: a capital A or B with nothing but blanks (also the tokenizers' ▁ Ġ Ċ), Markdown
    asterisks, quotes and opening brackets before it, and these, closing brackets and . , : ; after it. Lower case does
    not count: "a" is a word. A letter that is not listed has no mass; NaN and infinite values count as none.
    None where A and B together have less than MINIMUM_MASS.
    """
    mass = {"A": 0.0, "B": 0.0}
    for token, logprob in (top_logprobs or {}).items():
        letter = _LETTER_TOKEN.fullmatch(token)
        if letter and math.isfinite(logprob):
            mass[letter[1]] += math.exp(min(logprob, 0.0))
    total = mass["A"] + mass["B"]
    return mass["A"] / total if total >= MINIMUM_MASS else None


def _last(items: Iterator[T]) -> T | None:
    return next(iter(deque(items, maxlen=1)), None)


def _last_box(text: str, longest: int = _LONGEST_LABEL) -> str:
    """The last complete box; empty where there is none, or where it is longer than `longest` characters."""
    box = last_box(text) or Box(0, 0, 0)
    return text[box.start : box.end] if box.end - box.start <= longest else ""


def _boxed_label(box: str) -> Verdict:
    if len(box) > _LONGEST_LABEL:
        return Verdict.FAILED
    words = _DECORATION.sub(" ", box).lower().split()
    if len(words) == 2 and words[0] in _NOUNS:
        del words[0]
    return _BOXED.get(words[0], Verdict.FAILED) if len(words) == 1 else Verdict.FAILED
