"""Bad input, told in one sentence."""

import difflib
from collections.abc import Iterable


class BadInput(ValueError):
    """The user's input cannot be used. The message is one sentence: what, where, and the mend."""


def nearest(name: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)` for a misspelt name, else an empty string."""
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
