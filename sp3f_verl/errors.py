"""Bad input, told in one sentence, and what such a sentence may show of other texts."""

import difflib
import unicodedata
from collections.abc import Iterable

LONGEST = 300  # characters of a text of another hand
_BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # could turn the numbers beside them around


class BadInput(ValueError):
    """The user's input cannot be used. The message is one sentence: what, where, and the mend."""


def one_line(value: object, longest: int | None = LONGEST) -> str:
    """A text of another hand (a file, a server, a library) as it may be shown: without ends of lines, control
    characters and marks of direction, at most so many characters."""
    kept = "".join(
        " " if char.isspace() or (kind := unicodedata.category(char)) == "Cc" else "\ufffd" if kind == "Cs" else char
        for char in str(value)[: None if longest is None else 8 * longest]
        if char not in _BIDI
    )
    text = " ".join(kept.split())
    return text if longest is None or len(text) <= longest else text[: longest - 1] + "…"


def nearest(name: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)` for a misspelt name, else an empty string."""
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
