r"""What a judge decided, read from what it wrote.

Two written forms count, and the last complete one in the text wins, whichever form it has (a judge argues first and
decides last):

- boxed, the SP3F prompts: `\boxed{A}`, `\boxed{B}`, `\boxed{tie}`, also as judges really write them:
  `\boxed{{A}}`, `\boxed{\text{A}}`, `**\boxed{Response A}**`;
- bracket, the arena prompts: `[[1]]`, `[[2]]`, `[[T]]` or `[[M]]`, also escaped as `\[\[1\]\]`.

Anything else is `Verdict.FAILED`, never a loss: a box that says something off the menu (`\boxed{24}`) is no verdict,
and none is searched before it: what stands there may be a response's box that the judge quotes.
"""

import enum
import re
from collections import deque
from collections.abc import Iterator
from typing import TypeVar

from sp3f_verl.rewards.text import brace_pairs

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

# Every repetition that could be retried at each position is bounded: this text comes from a model, and an unbounded
# one makes the search quadratic on junk.
_BOX = re.compile(r"\\boxed\s{0,8}(?=\{)")
_BRACKETS = re.compile(r"\\?\[\\?\[\s{0,8}(\w{0,16})\s{0,8}\\?\]\\?\]")
_DECORATION = re.compile(r"\\(?:boxed|text[a-z]*|math[a-z]*)|[\s{}*$.:\"'`()]+")


def parse_verdict(text: str) -> Verdict:
    """Verdict that a judge's text ends in; FAILED where there is none. Linear in the length, raises on no string."""
    box_start, box_end = _last(complete_boxes(text)) or (0, 0)
    bracket = _last(_BRACKETS.finditer(text))
    if bracket is not None and bracket.end() > box_end:
        return _BRACKET.get(bracket[1].lower(), Verdict.FAILED)
    return _boxed_label(text[box_start:box_end])


def complete_boxes(text: str) -> Iterator[tuple[int, int]]:
    r"""Spans (start, end) in characters of every `\boxed{...}` whose braces close, in the order in which they open."""
    closing = brace_pairs(text)
    for match in _BOX.finditer(text):
        if match.end() in closing:
            yield match.start(), closing[match.end()] + 1


def _last(items: Iterator[T]) -> T | None:
    return next(iter(deque(items, maxlen=1)), None)


def _boxed_label(box: str) -> Verdict:
    if len(box) > _LONGEST_LABEL:
        return Verdict.FAILED
    words = _DECORATION.sub(" ", box).lower().split()
    if len(words) == 2 and words[0] in _NOUNS:
        del words[0]
    return _BOXED.get(words[0], Verdict.FAILED) if len(words) == 1 else Verdict.FAILED
