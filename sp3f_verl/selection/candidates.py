"""The scored candidates of a data set as columns of numbers, in one order whatever the order of the file.

Texts stay on disk: 9 million candidates are some 400 MB here. A candidate is named by (prompt id, language, number);
`name(i)` gives that back, so that nothing is joined by position.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sp3f_verl.errors import BadInput

# Why a candidate takes no part, in the order in which they are looked for; code 0 is "takes part".
EXCLUSIONS = ("", "no_score", "score_not_finite", "empty", "truncated", "off_language", "duplicate")


@dataclass(frozen=True)
class Candidates:
    """(n,) arrays, sorted by prompt id, language and number."""

    ids: tuple[str, ...]  # of the prompts, sorted
    languages: tuple[str, ...]  # codes, sorted
    prompt: np.ndarray  # index into ids
    language: np.ndarray  # index into languages: the language that was asked for
    number: np.ndarray
    score: np.ndarray  # float64; NaN: none
    length: np.ndarray | None = None  # characters or tokens, one unit for all
    truncated: np.ndarray | None = None  # bool
    share: np.ndarray | None = None  # float: share of the text in its language; NaN: not known
    text: np.ndarray | None = None  # uint64, `text_key` of the text

    @classmethod
    def of(
        cls,
        ids: Sequence[str],
        languages: Sequence[str],
        numbers: Sequence[int],
        scores: Sequence[float | None],
        *,
        lengths: Sequence[int] | None = None,
        truncated: Sequence[bool] | None = None,
        shares: Sequence[float | None] | None = None,
        texts: Sequence[int] | None = None,
    ) -> "Candidates":
        """From columns of equal length, in any order; None in scores and shares becomes NaN.

        BadInput where a column is too short or long, or two candidates have the same id, language and number.
        """
        optional = {"length": (lengths, None), "truncated": (truncated, bool), "share": (shares, np.float64)}
        optional["text"] = (texts, np.uint64)
        for name, column in {"languages": languages, "numbers": numbers, "scores": scores}.items():
            _same_length(name, column, len(ids))
        columns = {"number": np.asarray(numbers, np.int64), "score": np.asarray(scores, np.float64)}
        for name, (column, kind) in optional.items():
            if column is not None:
                _same_length(name, column, len(ids))
                columns[name] = np.asarray(column, kind)
        known_ids, columns["prompt"] = _encode(ids)
        known_languages, columns["language"] = _encode(languages)
        key = columns["prompt"].astype(np.int64) * len(known_languages) + columns["language"]
        if not _ascending(key, columns["number"]):
            order = np.lexsort((columns["number"], key))
            key, columns = key[order], {name: column[order] for name, column in columns.items()}
        twice = np.flatnonzero((key[1:] == key[:-1]) & (columns["number"][1:] == columns["number"][:-1]))
        candidates = cls(known_ids, known_languages, **columns)
        if len(twice):
            raise BadInput(
                f"the candidate {candidates.name(twice[0])} stands there twice; number those of a prompt anew."
            )
        return candidates

    def __len__(self) -> int:
        return len(self.score)

    def name(self, i: int) -> tuple[str, str, int]:
        """(prompt id, language, number) of a candidate."""
        return self.ids[self.prompt[i]], self.languages[self.language[i]], int(self.number[i])

    @property
    def cell(self) -> np.ndarray:
        """(n,), ascending: which prompt in which language a candidate answers; prompt * languages + language."""
        return self.prompt.astype(np.int64) * len(self.languages) + self.language


def exclusions(
    candidates: Candidates,
    pool: np.ndarray,
    *,
    min_language_share: float | None,
    keep_truncated: bool,
    keep_duplicates: bool,
) -> np.ndarray:
    """(n,) codes into EXCLUSIONS. A duplicate has the text of an earlier candidate of its `pool` that takes part.

    A language share that is not known excludes nothing: a bare number is in no language.
    """
    why = np.zeros(len(candidates), np.uint8)

    def exclude(reason: str, mask: np.ndarray) -> None:
        why[(why == 0) & mask] = EXCLUSIONS.index(reason)

    exclude("no_score", np.isnan(candidates.score))
    exclude("score_not_finite", np.isinf(candidates.score))
    if candidates.length is not None:
        exclude("empty", candidates.length <= 0)
    if candidates.truncated is not None and not keep_truncated:
        exclude("truncated", candidates.truncated)
    if candidates.share is not None and min_language_share is not None:
        exclude("off_language", candidates.share < min_language_share)
    if candidates.text is not None and not keep_duplicates:
        left = np.flatnonzero(why == 0)
        # Stable: of one text, candidates stay in order, and so those of a pool stay together, the earlier one first.
        order = left[np.argsort(candidates.text[left], kind="stable")]
        text, where = candidates.text[order], pool[order]
        why[order[1:][(text[1:] == text[:-1]) & (where[1:] == where[:-1])]] = EXCLUSIONS.index("duplicate")
    return why


def text_key(text: str) -> int:
    """64 bits that are the same for texts which differ in white space only."""
    return _hash(" ".join(text.split()))


def seeded(seed: int, name: str) -> int:
    """64 bits that hang on the seed and a name alone, not on what was drawn before."""
    return _hash(f"{seed} {name}")


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest(), "big")


def _encode(values: Sequence) -> tuple[tuple, np.ndarray]:
    """(distinct values, sorted; index of each value)."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "iu":
        distinct, codes = np.unique(values, return_inverse=True)
        return tuple(distinct.tolist()), codes.astype(np.int32)
    seen: dict = {}
    codes = np.fromiter((seen.setdefault(value, len(seen)) for value in values), np.int32, len(values))
    distinct = sorted(seen)
    rank = np.empty(len(seen), np.int32)
    rank[[seen[value] for value in distinct]] = np.arange(len(seen))
    return tuple(distinct), rank[codes]


def _ascending(key: np.ndarray, number: np.ndarray) -> bool:
    later = key[1:] > key[:-1]
    return bool((later | ((key[1:] == key[:-1]) & (number[1:] >= number[:-1]))).all())


def _same_length(name: str, column: Sequence, n: int) -> None:
    if len(column) != n:
        raise BadInput(f"the column {name!r} has {len(column)} entries for {n} ids; give one a candidate.")
