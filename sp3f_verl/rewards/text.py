"""Linear-time views of a model's answer: without its thinking, and without its maths, code and links.

Everything here takes untrusted text, never raises on any string, and costs time linear in its length.
"""

import re
import unicodedata
from bisect import bisect_left

import regex

_COMMAND = re.compile(r"\\(?:[A-Za-z]+\*?|.)", re.DOTALL)
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
_URL = re.compile(r"(?:https?://|www\.)[!-~]+")
# The spans are bounded because an opener that is never closed would otherwise be searched to the end each time.
_MATHS = re.compile(
    r"\$\$.*?\$\$|\$[^$\n]*\$|\\\(.{0,2000}?\\\)|\\\[.{0,2000}?\\\]|\\begin\{(\w+\*?)\}.{0,2000}?\\end\{\1\}",
    re.DOTALL,
)
# Two plain words, or six letters running of a script that formulas do not use: somebody is talking. Without this,
# "costs $5 and sells for $9" loses its words, and text put between dollar signs hides from the language check.
_PHRASE = regex.compile(r"(?<![\\\p{L}])\p{L}{3,}[\s,]+\p{L}{3,}|[\p{L}--[\p{Latin}\p{Greek}]]{6}", regex.VERSION1)
# Variables and units that touch a number or an operator: x = 5, 3kg, 2y + 1.
_VARIABLE = re.compile(
    r"(?<=[\d=+*/^<>×÷−]) ?[A-Za-z]{1,2}(?![^\W\d_])|(?<![^\W\d_])(?<!\\)[A-Za-z]{1,2}(?= ?[\d=+*/^<>×÷−])"
)


def strip_think(text: str) -> str:
    """What the model says after its thinking: the part after the last `</think>`, up to a `<think>` left open."""
    return text.rpartition("</think>")[2].partition("<think>")[0]


def brace_pairs(text: str) -> dict[int, int]:
    """Position of each opening brace that is closed -> position of its closing brace; `\\{` and `\\}` do not count."""
    pairs, stack = {}, []
    for match in _BRACE.finditer(text):
        if match[0] == "{":
            stack.append(match.start())
        elif match[0] == "}" and stack:
            pairs[stack.pop()] = match.start()
    return pairs


def _drop_commands(text: str) -> str:
    """`text` without LaTeX commands and their `{...}` arguments; an argument that holds a phrase stays, as text."""
    if "\\" not in text:
        return text
    pairs = brace_pairs(text)
    phrases = [match.start() for match in _PHRASE.finditer(text)]
    kept, position = [], 0
    while match := _COMMAND.search(text, position):
        kept.append(text[position : match.start()])
        position = match.end()
        while (close := pairs.get(position)) is not None:
            first = bisect_left(phrases, position)
            if first < len(phrases) and phrases[first] < close:
                break
            position = close + 1
    return " ".join([*kept, text[position:]])


def prose(text: str) -> str:
    """The running text of an answer, NFC: no thinking, code, links, maths, LaTeX commands (`\\boxed{...}` too)."""
    text = unicodedata.normalize("NFC", strip_think(text))
    text = _URL.sub(" ", _CODE.sub(" ", text))
    text = _MATHS.sub(lambda match: match[0] if _PHRASE.search(match[0]) else " ", text)
    return _VARIABLE.sub(" ", _drop_commands(text))
