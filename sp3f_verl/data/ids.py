"""Ids that stay with a row from its source to the last parquet; nothing is joined by position or by text."""

import hashlib
import json


def row_id(source: str, key: object) -> str:
    """16 hex digits of the SHA-256 of the source's name and of what identifies the row in it.

    `key` is any JSON value: the source's own id where it has one; else the text of the row; its position only in a file
    that is never edited.
    """
    text = json.dumps([source, key], ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def draw_rank(seed: int, key: str) -> str:
    """What to sort by for a seeded shuffle that is the same in whatever order the keys come."""
    return hashlib.sha256(json.dumps([seed, key]).encode()).hexdigest()
