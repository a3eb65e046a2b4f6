"""What servers said about failures, and how often: the commonest sentence stands beside every count."""

import re
from collections import Counter
from collections.abc import Iterable

MOST = 200  # different sentences that are counted; a server that never repeats itself fills no memory


class Reasons:
    """Sentences by kind of failure. Those that differ in their numbers alone (tokens, ids) count as one."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._sentences: dict[tuple[str, str], str] = {}  # the first of those that count as one

    def add(self, kind: str, sentence: str) -> None:
        """Counts one failure."""
        key = str(kind), re.sub(r"\w*\d\w*", "#", sentence)
        if key in self._counts or len(self._counts) < MOST:
            self._counts[key] += 1
            self._sentences.setdefault(key, sentence)

    def commonest(self, kinds: Iterable[str] | None = None) -> str:
        """The sentence that came most often, of these kinds or of all; "" where there is none."""
        wanted = None if kinds is None else {str(kind) for kind in kinds}
        counts = [(count, key) for key, count in self._counts.items() if wanted is None or key[0] in wanted]
        return self._sentences[max(counts, key=lambda pair: (pair[0], pair[1][1]))[1]] if counts else ""
