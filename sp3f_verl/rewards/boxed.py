"""The final answer of a response: the content of its last complete `\\boxed{...}`."""

import re
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from sp3f_verl.rewards.answers.normalise import INVISIBLE, TEXT_COMMANDS
from sp3f_verl.rewards.text import brace_pairs, strip_think

_BOX = re.compile(r"\\boxed\s*(?=\{)")
# What a box may hold and still be empty: spacing commands, phantoms, dollar signs, braces, characters without ink,
# a text command around nothing.
_NOTHING = re.compile(
    r"\\[hv]space ?\*? ?\{[^{}]*\}|\\[hv]?phantom ?\{(?:[^{}]|\{[^{}]*\})*\}"
    rf"|\\(?:{TEXT_COMMANDS}|quad|qquad)(?![A-Za-z])|\\[,;:!>~\s]|[\s{{}}$~\u115f\u1160\u2800\u3164\uffa0{INVISIBLE}]"
)


class Box(NamedTuple):
    """Where a `\\boxed{...}` stands in a text: its backslash, its opening brace, and what follows its closing one."""

    start: int
    opening: int
    end: int


def complete_boxes(text: str) -> Iterator[Box]:
    """Every `\\boxed{...}` whose braces close, in the order in which they open; linear in the length of `text`."""
    closing = brace_pairs(text)
    for match in _BOX.finditer(text):
        if match.end() in closing:
            yield Box(match.start(), match.end(), closing[match.end()] + 1)


def last_box(text: str) -> Box | None:
    """The complete box that opens last; None where there is none."""
    return next(iter(deque(complete_boxes(text), maxlen=1)), None)


def extract_boxed(text: str) -> str | None:
    """Content of the last complete `\\boxed{...}` outside the thinking, stripped; None where there is none.

    An unclosed box is passed over. Where the last complete box is empty the answer is None, whatever came before:
    an empty box must earn nothing. Never raises; time is linear in the length of `text`.
    """
    text = strip_think(text)
    box = last_box(text)
    content = text[box.opening + 1 : box.end - 1] if box else ""
    if not _NOTHING.sub("", content):
        return None
    stripped = content.strip()
    # Of an escaped space at the end nothing but its backslash would be left.
    escaped = content[-1:].isspace() and stripped.endswith("\\") and not stripped.endswith(r"\\")
    return stripped[:-1].strip() if escaped else stripped
