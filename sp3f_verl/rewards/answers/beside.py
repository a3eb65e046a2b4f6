"""What stands beside the value of an answer: a label before it, a membership, words between several values."""

import functools
import re

from sp3f_verl.rewards.answers.conventions import Conventions, alternation
from sp3f_verl.rewards.answers.normalise import squeeze
from sp3f_verl.rewards.answers.readable import relation, solved
from sp3f_verl.rewards.answers.structure import split

_INDEX = r"(?: ?_ ?(?:\w|\{ ?\w{1,8}(?: ?[+-] ?\d)? ?\}))?"
_GREEK = (
    r"\\(?:alpha|beta|gamma|delta|(?:var)?epsilon|zeta|eta|theta|lambda|mu|nu|rho|sigma|tau|(?:var)?phi|chi|psi|omega"
    r"|Delta|Theta|Phi|Omega)"
)
_ARGUMENT = r"\( ?[A-Za-z\d](?: ?(?:,|\||\\(?:mid|c[au]p)(?![a-z])) ?[A-Za-z\d]){0,3} ?\)"
# An event of a random variable: X = 3, or 1 < X < 3.
_RELATED = r"(?:[=<>]|\\(?:[lg]e|leq|geq|lt|gt)(?![a-z]))"
_EVENT = rf"\( ?(?:-?\d+ ?{_RELATED} ?)?[A-Za-z]{_INDEX} ?{_RELATED} ?-?\d+(?:\.\d+)? ?\)"
# Several letters at once, (x, y) = (1, 2).
_LETTERS = r"\( ?[A-Za-z](?: ?, ?[A-Za-z]){1,3} ?\)"
# A word, which is no product: with a capital, of another script (its vowel signs are no letters to `re`), or in a text
# command. A letter of a script that is written without capitals (س) is a variable.
_OTHER = "(?:[^\\W\\d_A-Za-zΑ-ω]|[\u0900-\u0dff\u0e30-\u0e4e])"
_NAME = (
    rf"(?:[A-Z][a-z]{{2,}}(?: [a-z]+)?|{_OTHER}{{2,20}}(?: {_OTHER}{{1,20}}){{0,3}}|[\u0620-\u064a甲乙丙丁]"
    r"|\\(?:text|mathrm) ?\{ ?[^\W\d_][^\\{}=<>\d]{2,40}\}(?: ?[A-Z]{2,4})?)"
)
# A function of an angle, which is no variable to be solved for and no 0 (sin 0 = 0 is an equation and its solution).
_OF_ANGLE = (
    rf"\\(?:sin|cos|tan|cot|sec|csc) ?(?:\\angle ?[A-Z]{{1,3}}|[A-Z](?![A-Za-z])|{_GREEK}(?![A-Za-z]))"
    r"(?! ?= ?0(?![.,\d]))"
)
_OF_NUMBERS = r"\\(?:gcd|lcm) ?\( ?\d+(?: ?, ?\d+)+ ?\)"
_VECTOR = r"\\(?:vec|overrightarrow|mathbf|boldsymbol|bm) ?\{ ?[A-Za-z]{1,2} ?\}"
_OF_VECTORS = rf"\\det ?(?:\( ?[A-Z] ?\)|[A-Z])|{_VECTOR}|[A-Z] ?\^ ?\{{? ?-1 ?\}}?"
_DERIVATIVE = r"y'{1,2}|\\frac ?\{ ?d ?[a-z] ?\} ?\{ ?d ?[a-z] ?\}"
_LENGTH = rf"(?:[A-Z]{{2}}{_INDEX}|[A-Za-wz]|{_VECTOR}(?: ?[+-] ?{_VECTOR})?)"
# A letter, a Greek one, a segment or angle, a modulus of one of these, a function or event with plain arguments.
_LABEL = (
    rf"(?:[A-Za-z]{_INDEX}|{_DERIVATIVE}|\\mathbb ?\{{ ?L ?\}}|S ?_ ?\{{ ?\\triangle ?[A-Z]{{3}} ?\}}"
    rf"|{_NAME}|{_LETTERS}"
    rf"|{_OF_ANGLE}|{_OF_NUMBERS}|{_OF_VECTORS}|[fgh] ?\^ ?\{{? ?-1 ?\}}? ?{_ARGUMENT}"
    rf"|(?:P|\\Pr|\\mathbb ?\{{? ?P ?\}}?) ?(?:{_EVENT}|{_ARGUMENT})"
    rf"|(?:\\(?:mathrm|operatorname|text) ?\{{ ?)?(?:Var|Cov|Area) ?(?:\}} ?)?{_ARGUMENT}|\[ ?[A-Z]{{3,4}} ?\]"
    rf"|(?:E|\\mathbb ?\{{? ?E ?\}}?) ?(?:\[ ?[A-Z] ?\]|\( ?[A-Z] ?\))|{_GREEK}(?![A-Za-z]){_INDEX}|[A-Z]{{2,4}}"
    r"|m? ?\\(?:angle|measuredangle|triangle) ?[A-Z]{1,3}|\\overline ?\{ ?[A-Z]{2} ?\}"
    rf"|\| ?{_LENGTH} ?\||\\\| ?(?:[a-z]|{_VECTOR}) ?\\\||[fghFGHPpEVSNTnuvqQr]'{{0,2}}{_INDEX} ?{_ARGUMENT})"
)
_ASSIGNED = re.compile(rf"({_LABEL}) ?= ?(?!=)(.*)", re.DOTALL)
_REVERSED = re.compile(r"([^=<>A-Za-z]+?) ?= ?([A-Za-z])")
_MEMBER = re.compile(r"([A-Za-z]) ?\\in ?(?![A-Za-z])(.*)", re.DOTALL)
_PLUS_MINUS = re.compile(r"\\pm ?")


def label_of(text: str) -> str:
    """The label of `x = 5`, `f(x) = 2x` or `AB = 4`; empty where there is none."""
    match = _ASSIGNED.fullmatch(text.strip())
    return squeeze(match[1]) if match else ""


def unassigned(answer: str, gold: str) -> tuple[str, str]:
    """Without a leading `x =` on the one side that has it, or on both where they name the same."""
    answer, gold = (_REVERSED.sub(r"\2 = \1", side) if _REVERSED.fullmatch(side) else side for side in (answer, gold))
    one, other = _ASSIGNED.fullmatch(answer.strip()), _ASSIGNED.fullmatch(gold.strip())
    if one and other:
        # Of x=1, y=2 the x belongs to the 1 only.
        several = any(relation(part) for side in (one, other) for part in split(side[2], {",", ";"})[1:])
        return (answer, gold) if several or squeeze(one[1]) != squeeze(other[1]) else (one[2], other[2])
    if one and not relation(one[2]) and not relation(gold):
        return one[2], gold
    if other and not relation(other[2]) and not relation(answer):
        return answer, other[2]
    return answer, gold


def member_of(answer: str, gold: str) -> tuple[str, str]:
    """The set of `x \\in [1; 2]` on a side where the other is no relation, or says of the same letter what it is."""
    one, other = _MEMBER.fullmatch(answer.strip()), _MEMBER.fullmatch(gold.strip())
    if one and other:
        return one[2], other[2]
    if one and (not relation(gold) or solved(gold) == one[1]):
        return one[2], gold
    if other and (not relation(answer) or solved(answer) == other[1]):
        return answer, other[2]
    return answer, gold


_POINT = re.compile(r"[A-Z]? ?\( ?(-?\d[\d.,/]*) ?(?:\||\\mid(?![A-Za-z])) ?(-?\d[\d.,/]*) ?\)")


def as_point(text: str, other: str) -> str:
    """`(1|2)`, as points are written in German, as (1; 2); and x = 1, y = 2 so where the other side is a point."""
    if match := _POINT.fullmatch(text.strip()):
        return f"({match[1]}; {match[2]})"
    if not re.fullmatch(r"\(.*\)", other.strip(), re.DOTALL) or "=" not in text:
        return text
    parts = split(text, {";"} if ";" in text else {","})
    named = "".join(map(label_of, parts))
    count = len(split(other.strip()[1:-1], {";"} if ";" in other else {","}))
    if len(parts) == count and named in ("xy", "xyz", "ab", "abc", "mn", "pq"):
        return f"({'; '.join(part.partition('=')[2].strip() for part in parts)})"
    return text


@functools.cache
def _opening(words: tuple[str, ...], sentences: tuple[str, ...]) -> re.Pattern:
    said = rf"|(?:{alternation(sentences)}) ?[:、，]? ?(?=[^\w]|[\d\\])" if sentences else ""
    return re.compile(
        rf"(?:\*\* ?)?(?:\\text ?\{{ ?)?(?:(?:{alternation(words)}) ?(?:\}} ?)?[:=ঃ] ?{said})(?:\}} ?)?(?:\*\* ?)?"
        r"(?=.)",
        re.IGNORECASE,
    )


def without_label(text: str, conventions: Conventions) -> str:
    """Without the language's word for "answer" and its colon."""
    match = _opening(conventions.answer, conventions.sentences).match(text) if conventions.answer else None
    return text[match.end() :] if match else text


@functools.cache
def between(words: tuple[str, ...]) -> re.Pattern:
    """A word between two values: in a text command; by itself with blanks where it is of letters that formulas use,
    and then, where it is one such letter, before a digit, or between a value's end and what opens one; without blanks
    in scripts that have none."""
    free = [word for word in words if not re.match(r"[A-Za-zÀ-žΑ-ωА-я&]", word)]
    long = [word for word in words if word not in free and len(word) > 1]
    short = [word for word in words if word not in free and len(word) == 1]
    patterns = [rf",? ?\\text ?\{{ ?,? ?(?:{alternation(words)}) ?\}} ?"]
    patterns += [rf",? (?:{alternation(long)}) "] if long else []
    patterns += [
        rf"(?<=[\w)}}\]]),? (?:{alternation(short)}) (?=-?\d)",
        rf"(?<=[\d)}}\]]),? (?:{alternation(short)}) (?=-|-?(?:[(\[]|\\frac|\\sqrt)|[A-Za-z]{_INDEX} ?=)",
    ] * bool(short)
    patterns += [rf"(?<=[\w)}}\]\u0900-\u0dff])(?<![ء-ي]),? ?(?:{alternation(free)}) ?(?=[-\\\w(\[])"] if free else []
    return re.compile("|".join(patterns))


@functools.cache
def _within_text(words: tuple[str, ...]) -> re.Pattern:
    """The word and a unit in one text command, `6 \\text{ cm and } 8`."""
    return re.compile(rf"(?<=\d)( ?\\text ?\{{[^{{}}]*\w) (?:{alternation(words)}) ?\}} ?")


def as_list(text: str, conventions: Conventions, other: str) -> str:
    """`text` with commas where words join its values: "and" between any, "or" between solutions of one variable;
    and one `\\pm` as two values, where the `other` side has none."""
    if conventions.conjunctions:
        text = _within_text(conventions.conjunctions).sub(r"\1}, ", text)
        text = between(conventions.conjunctions).sub("; " if len(split(text, {";"})) > 1 else ", ", text)
    if conventions.disjunctions:
        parts = re.split(rf" ?\\(?:lor|vee)(?![A-Za-z]) ?|{between(conventions.disjunctions).pattern}", text)
        first, *others = map(label_of, parts)
        if others and first and {label.partition("_")[0] for label in others} <= {first.partition("_")[0], ""}:
            text = ", ".join(parts)
    if r"\pm" in text and r"\pm" not in other:
        text = _signs_apart(text, conventions)
    return text


def _signs_apart(text: str, conventions: Conventions) -> str:
    """`0, \\pm 2` as 0, 2, -2, in braces too; `\\pm 1 \\pm 2` says not which go together, and stays."""
    braced = re.fullmatch(r"\\\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\\\}", text.strip())
    body = braced[1] if braced else text
    sign = ";" if conventions.comma or ";" in body else ","
    parts = split(body, {sign})
    if any(len(_PLUS_MINUS.findall(part)) > 1 for part in parts):
        return text
    joined = f"{sign} ".join(_both_signs(part, sign) if r"\pm" in part else part.strip() for part in parts)
    return rf"\{{{joined}\}}" if braced else joined


def _both_signs(text: str, sign: str) -> str:
    label = label_of(text)
    value = text.partition("=")[2] if label else text
    head, _, tail = _PLUS_MINUS.sub("\ue002", value).strip().partition("\ue002")
    return f"{head.strip()}{'+' if head.strip() else ''}{tail}{sign} {head.strip()}-{tail}"
