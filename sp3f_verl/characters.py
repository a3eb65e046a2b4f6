"""Texts that every layer takes: UTF-8 has no half of a surrogate pair, JSON's `\\ud83d` and file names do."""

import re
from typing import Any

_HALF = re.compile("[\ud800-\udfff]")


def whole(value: Any) -> Any:
    """The text with U+FFFD for each half of a surrogate pair; of lists and dicts each text in them. Else the value."""
    if isinstance(value, str):
        if value.isascii() or not _HALF.search(value):
            return value
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # halves that meet are a whole
    if isinstance(value, list):
        return [whole(part) for part in value]
    if isinstance(value, dict):
        return {whole(name): whole(part) for name, part in value.items()}
    return value
