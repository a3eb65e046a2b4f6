"""What may be left to math-verify: expressions of which it is known to read every character.

It drops what it does not know and goes on with the rest (12_5 is read as 12, 5\\equiv 2 as 2, A^T as a), so anything
outside these lists is compared by eye and as numbers only.
"""

import re

MAX_SYMBOLIC_CHARS = 300

_COMMANDS = frozenset(
    "frac sqrt pi infty cdot times div le ge ne in cup cap emptyset varnothing sin cos tan cot sec csc arcsin arccos "
    "arctan sinh cosh tanh log ln exp binom sum prod int lim min max gcd lcm lfloor rfloor lceil rceil mathbb alpha "
    "beta gamma delta epsilon varepsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau phi varphi chi psi "
    "omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega infinity to".split()
)
_COMMAND = re.compile(r"\\([A-Za-z]+|.)", re.DOTALL)
_RELATION = re.compile(r"[=<>]|\\(?:le|ge|ne|in)(?![A-Za-z])")
_FOREIGN = re.compile(r"[^A-Za-z0-9+\-*/^_(){}\[\]|,.=<>! \ue001]")
# Prose ("five" is f*i*v*e), digits side by side (a product), an index on what is no letter, a transpose, a repeated
# sign, names such as A1, 2B and 0A (products too), a power of ten.
_MISREAD = re.compile(
    r"[A-Za-z]{3}|\d \d|[\d|)\]}!(,.] ?_|\^ ?\{? ?[A-Z*+]|\.\.|\d\.\d*\.|[-+*/^_] ?[*/^_]|! ?[!0-9]"
    r"|[A-Za-z] ?\d|\d ?[A-Z]|(?<![\d.])0 ?[A-Za-z]|\d[eE][+-]?\d"
)
# 3/2\\sqrt2 and 1/2x: nobody can tell what is below the slash.
_BELOW = re.compile(
    r"/ ?(?:\d+(?:\.\d+)?|[A-Za-z]) ?(?:[A-Za-z(]|\\(?!(?:cdot|times|div|le|ge|ne|in|cup|cap|to)(?![A-Za-z]))[A-Za-z])"
)
_GAP = "\ue001"  # in the place of a command: it keeps two numbers apart as a blank would not
_DATE = re.compile(r"\d{4}([-/.])\d{1,2}\1\d{1,2}|\d{1,2}([-/.])\d{1,2}\2(?:\d{4}|\d{2})")
_CONSTANT = re.compile(r"\\[A-Za-z]+|(?<![A-Za-z])e(?![A-Za-z])")
_MATHS = re.compile(r"[\\\d+\-*/^_=<>|!]")
_WORD = re.compile(r"[A-Za-z][^A-Za-z]*[A-Za-z]")


def relation(text: str) -> bool:
    """Does `text` state an equation, an inequality or a membership?"""
    return bool(_RELATION.search(text))


def solved(text: str) -> str:
    """The variable of a relation that says what it is, one bare letter against constants: x>5, 2<x\\le 3. Or none."""
    sides = [side.strip() for side in _RELATION.split(text)]
    bare = [side for side in sides if re.fullmatch("[A-Za-z]", side)]
    rest = [side for side in sides if not re.fullmatch("[A-Za-z]", side)]
    constants = all(not re.search("[A-Za-z]", _CONSTANT.sub(" ", side)) for side in rest)
    said = len(bare) == 1 and 2 <= len(sides) <= 3 and constants and (len(sides) == 2 or sides[1] == bare[0])
    return bare[0] if said else ""


def readable(answer: str, gold: str) -> bool:
    """May the two be left to math-verify, that is: does a True of it mean equal?"""
    if not (_readable(answer) and _readable(gold)):
        return False
    letters = set(re.findall("[A-Za-z]", _COMMAND.sub(" ", answer + " " + gold)))
    if any(letter.swapcase() in letters for letter in letters):  # it folds case, but R is not r
        return False
    # It would take (1,2) for {1,2}, and x+1=5 for 5. An interval may be written as an inequality, though.
    if relation(answer) == relation(gold):
        return not ("," in answer or "," in gold)
    return ("," in answer or "," in gold) and bool(solved(answer if relation(answer) else gold))


def _readable(side: str) -> bool:
    if len(side) > MAX_SYMBOLIC_CHARS or not side.strip() or side.count("=") > 1 or side.count("|") % 2:
        return False
    if _WORD.search(side) and not _MATHS.search(side):  # IV is not VI, although i*v is v*i
        return False
    if any(name not in _COMMANDS and name not in "{}" for name in _COMMAND.findall(side)):
        return False
    plain = _COMMAND.sub(_GAP, re.sub(r"\\mathbb ?\{[RQZNC]\}", " ", side))
    plain = re.sub(r"_ ?\d", "_", plain)
    if re.search(r"\\to(?![A-Za-z])", side) and r"\lim" not in side:
        return False
    if _DATE.fullmatch(side.strip()) or re.search(r"(?<![\d.])0\d", side):  # a date or code is no difference
        return False
    return not (_FOREIGN.search(plain) or _MISREAD.search(plain) or _BELOW.search(side))
