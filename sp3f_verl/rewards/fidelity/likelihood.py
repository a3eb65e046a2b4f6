"""Log-likelihoods of texts under py3langid's model, of many texts in one go.

py3langid scores one text a call, and a response has some thirty clauses. The walk through its automaton, the damping of
counts and the tables are its own (`LanguageIdentifier.rank`; tests hold the two together), the sums are over all texts.
"""

import functools
import unicodedata
from array import array
from collections.abc import Iterable, Sequence

import numpy as np

_TOGETHER = 64  # texts scored in one go: what is looked up for them fits the processor's cache


@functools.cache
def model():
    """py3langid's model, loaded on first use (1 s, 120 MB)."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE)


@functools.cache
def _automaton() -> tuple[array, array, np.ndarray]:
    """(256 next states for each row, where the row of each state begins, the feature of each state or -1)

    Arrays and no lists: what a walk takes is the memory that it touches.
    """
    rows, output = (row << 8 for row in model().tk_row), np.asarray(model().tk_output, dtype=np.int32)
    return model().tk_nextmove, array("I", rows), output


def _counts(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(the features that the texts have between them, how often each text has each: a row a text)"""
    following, rows, feature = _automaton()
    states, lengths = [], []
    for text in texts:
        state = 0
        data = unicodedata.normalize("NFC", text.lower() if text.isupper() else text).encode(errors="surrogatepass")
        states += [state := following[rows[state] + byte] for byte in data]
        lengths.append(len(data))
    found = feature[np.array(states, dtype=np.intp)]
    seen = np.zeros(len(feature) + 1, dtype=bool)  # one more, which is that of no feature, -1
    seen[found] = True
    features = np.flatnonzero(seen[:-1])
    place, width = np.empty(len(seen), dtype=np.intp), len(features) + 1
    place[features], place[-1] = np.arange(len(features)), len(features)
    keys = place[found] + np.repeat(np.arange(0, len(texts) * width, width), lengths)
    return features, np.bincount(keys, minlength=len(texts) * width).reshape(-1, width)[:, :-1]


class Groups:
    """Groups of py3langid's labels: a text's log-likelihood under a group is that under the group's best label."""

    def __init__(self, groups: Iterable[Iterable[str]]):
        columns = [[at for at, label in enumerate(model().nb_classes) if label in group] for group in map(set, groups)]
        chosen = [at for group in columns for at in group]
        self._first = np.cumsum([0, *map(len, columns[:-1])])
        self._features, self._prior, self._order = model().nb_ptc, model().nb_pc, chosen
        if 2 * len(chosen) < self._prior.size:  # a copy of the rest would be larger than what it saves
            self._features, self._prior, self._order = self._features[:, chosen], self._prior[chosen], slice(None)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """One row a text, one column a group; all 0 for a text without a feature."""
        if len(texts) > _TOGETHER:
            parts = [self(texts[start : start + _TOGETHER]) for start in range(0, len(texts), _TOGETHER)]
            return np.concatenate(parts)
        features, counts = _counts(texts)
        labels = np.log1p(counts, dtype=np.float32) @ self._features[features].astype(np.float32) + self._prior
        labels[~counts.any(axis=1)] = 0.0
        return np.maximum.reduceat(labels[:, self._order], self._first, axis=1)
