"""The outline of an answer: tuples, intervals, sets, unions, matrices and bare lists, down to single expressions."""

import re
from dataclasses import dataclass

MAX_ITEMS = 64  # of one list; a longer one is compared as text only
MAX_DEPTH = 20  # of brackets in brackets

_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|.", re.DOTALL)
_OPENING = {"(": ")", "[": "]", "{": "}", r"\{": r"\}", r"\langle": r"\rangle", r"\lbrace": r"\rbrace"}
_CLOSING = {*_OPENING.values()}
_CUP = r"\cup"
_MATRIX = re.compile(
    r"\\begin ?\{(?P<kind>[pbBvV]?matrix|smallmatrix|array)\} ?(?:\{[lcr| ]*\})?(?P<body>.*)\\end ?\{(?P=kind)\}"
)
_WITHOUT_BRACKETS = ("array", "matrix", "smallmatrix")
_HALF_OPEN = re.compile(r"([\[\]])([^\[\](){}]*)([\[\]])")  # the French ]0,1[ and [0,1[


@dataclass(frozen=True)
class Outline:
    """`kind` names the brackets, such as "(]"; the order of the items counts except in sets and unions."""

    kind: str
    items: tuple["Outline | str", ...]

    @property
    def ordered(self) -> bool:
        return self.kind not in ("{}", "union")


def outline(text: str, comma: bool | None, bare: bool = True, depth: int = 0) -> Outline | str:
    """The outline of a cleaned answer, or the text itself where it is a single expression.

    `comma` as in `Conventions`: with True a comma between digits is decimal and does not separate, except in
    brackets that hold no other separator. `bare`: is a list without brackets looked for?
    """
    text = text.strip()
    if depth > MAX_DEPTH:
        return text
    if match := _MATRIX.fullmatch(text):
        return _matrix(match["kind"], match["body"])
    parts = split(text, {_CUP})
    if len(parts) > 1:
        return _outline("union", parts, comma, depth)
    french = _HALF_OPEN.fullmatch(text)
    if french and (french[1], french[3]) != ("[", "]") and len(items := _separated(french[2], comma, True)) == 2:
        return _outline(("(" if french[1] == "]" else "[") + (")" if french[3] == "[" else "]"), items, comma, depth)
    if (inner := _bracketed(text)) is not None:
        opening, body, closing = inner
        if opening in ("(", "[") and (match := _MATRIX.fullmatch(body.strip())) and match["kind"] in _WITHOUT_BRACKETS:
            return _matrix(match["kind"], match["body"])
        items = _separated(body, comma, True)
        if opening == "{" or (len(items) == 1 and (opening, closing) == ("(", ")")):
            return outline(body, comma, bare, depth + 1)  # (5) is 5, and bare braces cannot be seen
        if body.strip():
            return _outline((opening + closing).replace("\\", ""), items, comma, depth)
    if bare and len(items := _separated(text, comma, False)) > 1:
        return _outline("{}", items, comma, depth)  # 1, 2 without brackets is as good as {1, 2}
    return text


def _outline(kind: str, items: list[str], comma: bool | None, depth: int) -> Outline:
    return Outline(kind, tuple(outline(item, comma, False, depth + 1) for item in items))


def _matrix(kind: str, body: str) -> Outline:
    name = kind if kind in ("vmatrix", "Vmatrix") else "matrix"  # a determinant is no matrix
    rows = [row for row in re.split(r"\\\\", body) if row.strip()]
    return Outline(name, tuple(Outline("row", tuple(cell.strip() for cell in row.split("&"))) for row in rows))


def _bracketed(text: str) -> tuple[str, str, str] | None:
    """(opening, body, closing) where the bracket that opens `text` is closed by its last; their shapes may differ."""
    depth, opening = 0, ""
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token in _OPENING:
            depth += 1
            opening = opening or token
        elif token in _CLOSING:
            depth -= 1
            if depth == 0:
                whole = match.end() == len(text) and _fits(opening, token)
                return (opening, text[len(opening) : match.start()], token) if whole else None
        elif not opening:
            return None
    return None


def _fits(opening: str, closing: str) -> bool:
    return closing in ")]" if opening in ("(", "[") else _OPENING[opening] == closing


def split(text: str, separators: set[str]) -> list[str]:
    """`text` cut at the separators that stand outside all brackets; one part where there is none."""
    parts, start, depth = [], 0, 0
    for match in _TOKEN.finditer(text):
        token = match[0]
        depth += (token in _OPENING) - (token in _CLOSING)
        if token in separators and depth == 0:
            parts.append(text[start : match.start()])
            start = match.end()
    return [*parts, text[start:]]


def _separated(text: str, comma: bool | None, in_brackets: bool) -> list[str]:
    """The items of a list; [text] where it is none, has an empty item or too many."""
    parts = split(text, {";"})
    if len(parts) == 1:
        parts = split(text, {","})
        if comma and len(parts) > 1:
            joined = [parts[0]]
            for part in parts[1:]:
                decimal = joined[-1][-1:].isdigit() and part[:1].isdigit()
                joined[-1:] = [f"{joined[-1]},{part}"] if decimal else [joined[-1], part]
            parts = joined if len(joined) > 1 or not in_brackets else parts
    usable = 1 < len(parts) <= MAX_ITEMS and all(part.strip() for part in parts)
    return parts if usable else [text]
