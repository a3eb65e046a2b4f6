r"""Two measures of how far a response agrees with a reference solution: by its arithmetic, and by its letters.

`step_f1` compares numbers and operations only, so it holds across languages and scripts. `wording` compares characters,
so it is meaningful only within one language. Both leave the final answer aside (it is judged on its own), and equal
agreement is equal in them, not a matter of rounding.
"""

import re
from collections import Counter
from fractions import Fraction

from sp3f_verl.rewards.boxed import complete_boxes
from sp3f_verl.rewards.text import NUMBER_MARKS, ascii_digits
from sp3f_verl.stats.chrf import chrf

_SYMBOLS = str.maketrans(
    {
        "×": "*", "·": "*", "⋅": "*", "∙": "*", "∗": "*", "✕": "*", "＊": "*",
        "÷": "/", "∕": "/", "⁄": "/", "／": "/",
        "−": "-", "–": "-", "－": "-", "＋": "+", "＝": "=",
    }
    | NUMBER_MARKS
)  # fmt: skip

_REWRITES = [
    (re.compile(r"\*{2,}"), ""),  # Markdown bold
    (re.compile(r"(?m)^[ \t]{0,16}(?:[-+*•]|\d{1,2}[.)])[ \t]"), ""),  # a list's bullet or number is no arithmetic
    (re.compile(r"\\[,!;]"), ""),  # LaTeX thin spaces: 1\,000
    (re.compile(r"\{,\}"), ","),  # LaTeX thousands: 1{,}000
    (re.compile(r"\\(?:times|cdot|ast)"), " * "),
    (re.compile(r"\\(?:div|[dt]?frac)"), " / "),
    (re.compile(r"(?<=\d)[ ]?[xX][ ]?(?=\d)"), "*"),
    (re.compile(r"(?<![\d.,])(\d{1,3}(?:[ ']\d{3})+)(?!\d)"), lambda match: re.sub("[ ']", "", match[1])),
]
# An operator counts where a number follows it, through signs, brackets and currency: a word's hyphen or slash does not.
_ITEM = re.compile(r"\d+(?:[.,]\d+)*|[-+*/=](?=[-+/({\[\s\\$€£¥₹]{0,6}\d)")
_CALCULATOR_MARK = re.compile(r"<<[^<>]*>>")


def step_items(text: str) -> Counter[str]:
    """Multiset of the numbers (ASCII, canonical) and operators + - * / = in the steps of a solution."""
    text = ascii_digits(_without_answer(text).translate(_SYMBOLS))
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    items: Counter[str] = Counter()
    for match in _ITEM.finditer(text):
        items.update(_numbers(match[0]) if match[0][0].isdigit() else match[0])
    return items


def step_f1(response: str, solution: str) -> Fraction:
    """F1 of the two multisets of step items: 2 |common| / (|response| + |solution|), 0 where neither has any."""
    mine, theirs = step_items(response), step_items(solution)
    total = mine.total() + theirs.total()
    return Fraction(2 * (mine & theirs).total(), total) if total else Fraction(0)


def wording(response: str, solution: str) -> float:
    """chrF of the response against the solution, in [0, 1]."""
    return chrf(_without_answer(response), _without_answer(solution))


def _without_answer(text: str) -> str:
    r"""Text without GSM8K's calculator marks `<<48/2=24>>`, its last line `#### 24`, and the content of every box."""
    head, mark, answer = text.rpartition("####")
    if mark and "\n" not in answer.strip():
        text = head
    kept, position = [], 0
    for box in complete_boxes(text):
        if box.start >= position:  # else it lies inside the box before it
            kept.append(text[position : box.start])
            position = box.end
    return _CALCULATOR_MARK.sub("", " ".join([*kept, text[position:]]))


def _numbers(token: str) -> list[str]:
    """Canonical numbers in a run of digits, commas and points: thousands joined, decimals after a point.

    A last group of three digits is thousands whichever mark stands before it: 1,000 and 1.000 are then the same number
    in every locale, and 3.125 = 3,125 = 3125 does no harm to a comparison. Marks that fit neither reading (1,2,3)
    separate numbers.
    """
    groups = re.split("[.,]", token)
    marks = [char for char in token if char in ".,"]
    thousands = 0 < len(groups[0]) <= 3 and groups[0][0] != "0"
    if len(set(marks)) <= 1 and thousands and _are_thousands(groups[1:]):
        return [_canonical("".join(groups), "")]
    if len(marks) == 1 or (thousands and marks[-1] not in marks[:-1] and _are_thousands(groups[1:-1])):
        return [_canonical("".join(groups[:-1]), groups[-1])]
    return [_canonical(group, "") for group in groups]


def _are_thousands(groups: list[str]) -> bool:
    """Whether the groups after the first are 1,000,000 or, as in India, 10,00,000."""
    return all(len(group) in (2, 3) for group in groups[:-1]) and all(len(group) == 3 for group in groups[-1:])


def _canonical(whole: str, decimals: str) -> str:
    whole, decimals = whole.lstrip("0") or "0", decimals.rstrip("0")
    return f"{whole}.{decimals}" if decimals else whole
