"""The key in what servers send back: taken out wherever their words are told or written."""

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from html.entities import html5
from string import punctuation as PUNCTUATION

HIDDEN = "***"
_NAMES = {
    char: [name[:-1] for name, other in html5.items() if other == char and name.endswith(";")] for char in PUNCTUATION
}
LEAST = 12  # characters of a key that is taken out of answers, too: "EMPTY" is no secret, and may be an answer
_UNSEEN = "[\u00ad\u034f\u061c\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]"
_ESCAPED_UNSEEN = r"\\{1,8}u(?i:00ad|034f|061c|180[b-e]|200[b-f]|202[a-e]|206[\da-f]|fe0[\da-f]|feff)"


class Secrets:
    """Finds the keys as they are, with characters between that nobody sees, as JSON, HTML or a URL may write them
    (`\\/`, `\\u0073`, `&#47;`, `%2F`), and in Base64 and hexadecimal digits, whatever stands beside them there."""

    def __init__(self, keys: Iterable[str]):
        keys = sorted({key for key in keys if key}, key=len, reverse=True)
        long = [key for key in keys if len(key) >= LEAST]
        encoded = [text for key in long for text in _encoded(key)]
        others = ["".join(char if char.isalnum() else _written(char) for char in text) for text in encoded]
        self._all, self._long = (_pattern([*map(_spread, some), *others]) for some in (keys, long))

    def without(self, text: str) -> str:
        """A failure's words without the keys."""
        return self._all.sub(HIDDEN, text) if self._all else text

    def out_of_answer(self, text: str) -> str:
        """An answer's body or text, without keys that no answer has by chance."""
        return self._long.sub(HIDDEN, text) if self._long else text


def _pattern(patterns: list[str]) -> re.Pattern | None:
    return re.compile("|".join(patterns)) if patterns else None


def _encoded(key: str) -> Iterator[str]:
    """The key in Base64 and in hexadecimal digits. What stands before it moves its bits and shares its first and last
    letter: each of the three places gives the letters that are its own."""
    data = key.encode()
    for before in range(3):
        letters = b64encode(bytes(before) + data).decode()[-(-8 * before // 6) : 8 * (before + len(data)) // 6]
        yield from {letters, letters.translate(str.maketrans("+/", "-_"))}
    yield from (data.hex(), data.hex().upper())


def _spread(key: str) -> str:
    return f"(?:{_UNSEEN}|{_ESCAPED_UNSEEN})*".join(map(_written, key))


def _written(char: str) -> str:
    # Each branch begins with a character of its own, so that the search goes on at once: 12 kB take 0.3 ms.
    code, escaped = ord(char), re.escape(char)
    in_json = rf"\\{{1,8}}(?:{escaped}|[uUx](?:0{{0,6}}(?i:{code:02x})|\{{0*(?i:{code:x})\}})|{code:03o})"
    names = "".join(f"|{name}" for name in _NAMES.get(char, ()))
    in_html = rf"&(?:amp;){{0,8}}(?:#(?:0*{code}|[xX]0*(?i:{code:x})){names});"
    return f"(?:{escaped}|{in_json}|%(?:25){{0,8}}(?i:{code:02x})|{in_html})"
