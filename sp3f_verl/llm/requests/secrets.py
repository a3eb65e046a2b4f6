"""The key in what servers send back: taken out wherever their words are told or written."""

import re
from collections.abc import Iterable
from html.entities import html5
from string import punctuation as PUNCTUATION

HIDDEN = "***"
_NAMES = {
    char: [name[:-1] for name, other in html5.items() if other == char and name.endswith(";")] for char in PUNCTUATION
}
LEAST = 12  # characters of a key that is taken out of answers, too: "EMPTY" is no secret, and may be an answer


class Secrets:
    """Finds the keys as they are and as JSON, HTML or a URL may write them: `\\/`, `\\u0073`, `&#47;`, `%2F`."""

    def __init__(self, keys: Iterable[str]):
        keys = sorted({key for key in keys if key}, key=len, reverse=True)
        long = [key for key in keys if len(key) >= LEAST]
        self._all, self._long = _pattern(keys), _pattern(long)
        self._parts = [max(re.findall("[A-Za-z0-9]+", key) or [key], key=len) for key in long]  # no escape hides these

    def without(self, text: str) -> str:
        """A failure's words without the keys."""
        return self._all.sub(HIDDEN, text) if self._all else text

    def out_of_answer(self, text: str) -> str:
        """An answer's body or text, without keys that no answer has by chance.

        Looked for only where a part of one stands as it is, since every answer is: letters that a body writes as
        escapes are there once it is decoded.
        """
        return self._long.sub(HIDDEN, text) if any(part in text for part in self._parts) else text


def _pattern(keys: list[str]) -> re.Pattern | None:
    return re.compile("|".join("".join(map(_written, key)) for key in keys)) if keys else None


def _written(char: str) -> str:
    # Each branch begins with a character of its own, so that the search skips ahead: a body is read in microseconds.
    code, escaped = ord(char), re.escape(char)
    in_json = rf"\\+(?:{escaped}|[uUx](?:0{{0,6}}(?i:{code:02x})|\{{0*(?i:{code:x})\}})|{code:03o})"
    names = "".join(f"|{name}" for name in _NAMES.get(char, ()))
    in_html = rf"&(?:amp;)*(?:#(?:0*{code}|[xX]0*(?i:{code:x})){names});"
    return f"(?:{escaped}|{in_json}|%(?:25)*(?i:{code:02x})|{in_html})"
