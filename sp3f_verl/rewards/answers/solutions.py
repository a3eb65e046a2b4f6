"""Solutions said in inequalities, in the notation of intervals: x<1 or x>2 is (-\\infty,1)\\cup(2,\\infty).

Only what is solved counts, one bare variable against constants (`readable.solved`): the problem given back is none.
"""

import functools
import itertools
import re
from fractions import Fraction

from sp3f_verl.rewards.answers.beside import between
from sp3f_verl.rewards.answers.conventions import Conventions
from sp3f_verl.rewards.answers.quantity import value
from sp3f_verl.rewards.answers.readable import solved
from sp3f_verl.rewards.answers.structure import split

MAX_PARTS = 8
_INFINITY = (r"-\infty", r"\infty")

_SIGN = re.compile(r"(?P<less><|\\le(?![A-Za-z]))|(?P<more>>|\\ge(?![A-Za-z]))|(?P<not>\\ne(?![A-Za-z]))")
_BUILDER = re.compile(
    r"(?:\\\{|\{)? ?(?P<letter>[A-Za-z]) ?(?:\\in ?\\mathbb ?\{R\} ?)?(?:\||\\mid(?![A-Za-z])|:)"
    r" ?(?P<said>[^{}|:]*?) ?(?:\\?\})?"
)
_REALS = re.compile(r"\\mathbb ?\{R\}(?: ?(?:\\setminus|\\backslash|-|\\)(?![A-Za-z]) ?\\\{(?P<but>[^{}]*)\\\})?")


def condition(text: str) -> str:
    """What `\\{x \\mid x>5\\}` says of its letter, where that is an inequality; else the text itself."""
    match = _BUILDER.fullmatch(text.strip())
    return match["said"] if match and _SIGN.search(match["said"]) and match["letter"] in match["said"] else text


def in_intervals(answer: str, gold: str, own: Conventions, gold_own: Conventions) -> tuple[str, str]:
    """Both sides as intervals, where they can be; not where they speak of different letters."""
    letters = [frozenset(re.findall("[A-Za-z]", re.sub(r"\\[A-Za-z]+", "", side))) for side in (answer, gold)]
    texts = as_intervals(answer, own), as_intervals(gold, gold_own)
    if all(map(_SIGN.search, (answer, gold))) and letters[0] != letters[1]:
        return answer, gold
    return texts


def as_intervals(text: str, conventions: Conventions) -> str:
    """Solved inequalities of one letter, or all numbers but some, as intervals; else the text itself."""
    if match := _REALS.fullmatch(text.strip()):
        return _without(split(match["but"], {",", ";"}) if match["but"] is not None else [], conventions) or text
    said = condition(text)
    if not _SIGN.search(said):
        return text
    parts, joined = _parts(said, conventions)
    letters = {solved(part) for part in parts}
    if len(parts) > MAX_PARTS or len(letters) != 1 or "" in letters:
        return text
    bounds = [_bounds(part, letters.copy().pop()) for part in parts]
    if None in bounds:
        return text
    if {bound[0] for bound in bounds} == {"\\ne"} and joined != "or":
        return _without([bound[1] for bound in bounds], conventions) or text
    if any(bound[0] == "\\ne" for bound in bounds):
        return text
    apart = len(bounds) == 2 and _apart(*bounds, conventions)
    if joined == "or" or len(bounds) == 1 or (joined == "," and apart):
        return r" \cup ".join(_interval(*bound) for bound in bounds)
    if len(bounds) == 2 and not apart and {bounds[0][1], bounds[1][1]} >= {""} and {bounds[0][2], bounds[1][2]} >= {""}:
        first, last = bounds if bounds[0][1] else bounds[::-1]
        return _interval(first[0][0] + last[0][-1], first[1], last[2])
    return text


def _parts(text: str, conventions: Conventions) -> tuple[list[str], str]:
    """The parts of a statement and what joins them: "or", "and", or a comma."""
    for joined, words in (("or", conventions.disjunctions), ("and", conventions.conjunctions)):
        parts = re.split(_joint(words, joined), text)
        if len(parts) > 1:
            return [part.strip(" ,") for part in parts], joined
    if len(parts := split(text, {r"\cup"})) > 1:
        return [part.strip() for part in parts], "or"
    return [part.strip() for part in split(text, {";"} if ";" in text else {","})], ","


@functools.cache
def _joint(words: tuple[str, ...], joined: str) -> str:
    sign = "lor|vee" if joined == "or" else "land|wedge"
    return rf" ?\\(?:{sign})(?![A-Za-z]) ?" + (rf"|{between(words).pattern}" if words else "")


def _bounds(part: str, letter: str) -> tuple[str, str, str] | None:
    """(brackets, lower bound, upper one), an empty one where there is none; (`\\ne`, value, value); None for others."""
    signs = [match for match in _SIGN.finditer(part)]
    sides = [side.strip() for side in _SIGN.sub("\ue003", part).split("\ue003")]
    if len(signs) != len(sides) - 1 or "=" in part:
        return None
    if len(sides) == 2 and signs[0]["not"]:
        other = sides[1 - sides.index(letter)]
        return r"\ne", other, other
    closed = ["e" in sign[0] for sign in signs]
    if len(sides) == 3 and all(sign["less"] for sign in signs):
        return "(["[closed[0]] + ")]"[closed[1]], sides[0], sides[2]
    if len(sides) == 3 and all(sign["more"] for sign in signs):
        return "(["[closed[1]] + ")]"[closed[0]], sides[2], sides[0]
    if len(sides) != 2:
        return None
    if (sides[0] == letter) == bool(signs[0]["more"]):
        return "(["[closed[0]] + ")", sides[1] if sides[0] == letter else sides[0], ""
    return "(" + ")]"[closed[0]], "", sides[1] if sides[0] == letter else sides[0]


def _interval(brackets: str, lower: str, upper: str) -> str:
    return rf"{brackets[0]}{lower or _INFINITY[0]};{upper or _INFINITY[1]}{brackets[1]}"


def _apart(one: tuple, other: tuple, conventions: Conventions) -> bool:
    """Do two half-lines have no number in common, so that a comma between them can only be an "or"?"""
    for below, above in ((one, other), (other, one)):
        if below[1] == "" and above[2] == "":
            end, start = value(below[2], conventions), value(above[1], conventions)
            return None not in (end, start) and (end < start or (end == start and below[0] + above[0] != "(][)"))
    return False


def _without(points: list[str], conventions: Conventions) -> str:
    """All numbers but the points; empty where a point is no plain number."""
    known: dict[Fraction, str] = {}
    for point in points:
        amount = value(point.strip(), conventions)
        if amount is None:
            return ""
        known[amount] = point.strip()
    ends = [_INFINITY[0], *(known[amount] for amount in sorted(known)), _INFINITY[1]]
    return r" \cup ".join(f"({start};{end})" for start, end in itertools.pairwise(ends))
