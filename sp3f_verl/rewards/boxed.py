"""The final answer of a response: the content of its last complete `\\boxed{...}`."""

import re

from sp3f_verl.rewards.normalise import INVISIBLE, TEXT_COMMANDS
from sp3f_verl.rewards.text import brace_pairs, strip_think

_BOX = re.compile(r"\\boxed\s*(?=\{)")
# What a box may hold and still be empty: spacing commands, phantoms, dollar signs, braces, characters without ink,
# a text command around nothing.
_NOTHING = re.compile(
    r"\\[hv]space ?\*? ?\{[^{}]*\}|\\[hv]?phantom ?\{(?:[^{}]|\{[^{}]*\})*\}"
    rf"|\\(?:{TEXT_COMMANDS}|quad|qquad)(?![A-Za-z])|\\[,;:!> ]|[\s{{}}$~\u115f\u1160\u2800\u3164\uffa0{INVISIBLE}]"
)


def extract_boxed(text: str) -> str | None:
    """Content of the last complete `\\boxed{...}` outside the thinking, stripped; None where there is none.

    An unclosed box is passed over. Where the last complete box is empty the answer is None, whatever came before:
    an empty box must earn nothing. Never raises; time is linear in the length of `text`.
    """
    text = strip_think(text)
    pairs = brace_pairs(text)
    for match in reversed(list(_BOX.finditer(text))):
        opening = match.end()
        if opening in pairs:
            content = text[opening + 1 : pairs[opening]].strip()
            return content if _NOTHING.sub("", content) else None
    return None
