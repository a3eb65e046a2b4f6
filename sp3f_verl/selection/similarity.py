"""How alike two texts are, in one number and some 0.1 ms for 2,000 characters."""

import numpy as np

GRAM = 5  # characters
MAX_CHARS = 20_000  # of a text that are looked at
_FACTORS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93], np.uint64)


def similarity(one: str, other: str) -> float:
    """Jaccard similarity in [0, 1] of the sets of character 5-grams; runs of white space count as one space.

    1 for equal texts, also where both are shorter than a 5-gram.
    """
    one, other = " ".join(one.split())[:MAX_CHARS], " ".join(other.split())[:MAX_CHARS]
    if one == other:
        return 1.0
    a, b = _grams(one), _grams(other)
    both = len(a) + len(b)
    common = both - len(np.union1d(a, b))
    return common / (both - common) if both > common else 0.0


def _grams(text: str) -> np.ndarray:
    """Distinct 64-bit hashes of the 5-grams of a text."""
    points = np.frombuffer(text.encode("utf-32-le", errors="surrogatepass"), np.uint32).astype(np.uint64)
    count = len(points) - GRAM + 1
    if count < 1:
        return np.zeros(0, np.uint64)
    hashes = points[:count].copy()
    for shift, factor in enumerate(_FACTORS, 1):
        hashes = hashes * factor + points[shift : shift + count]
    return np.unique(hashes)
