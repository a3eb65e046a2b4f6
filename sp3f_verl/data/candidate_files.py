"""Scored candidates from files, in passes: first their numbers as columns, then the texts of the chosen ones."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sp3f_verl.data.schemas import CANDIDATE, extended
from sp3f_verl.data.tables import open_file, scan
from sp3f_verl.data.tables.order import in_order
from sp3f_verl.selection.candidates import Candidates, text_key

DUPLICATE = "duplicate"  # the status of an answer that its prompt got before
TAKING_PART = ("ok", "truncated", "off_language", DUPLICATE)  # the rest has no text: error, refused
NOT_FINITE, TOO_LONG = "not_finite", "too_long"  # reward_status beside "ok"
SCORED = extended(CANDIDATE, reward_model=pa.string(), reward_tokens=pa.int64(), reward_status=pa.string())
NUMBERS = ("id", "cand_id", "lang_declared", "status", "lang_share", "text", "finish_reason")
NUMBERS += ("reward_raw", "reward_status")


class CandidateFiles:
    """Candidate files in the order of (id, cand_id), whatever theirs is. A row's number is its place in that order."""

    def __init__(self, paths: Sequence[Path]):
        """BadInput where a candidate stands there twice, or a file is none."""
        self.paths = list(paths)
        self._keys = scan(self.paths, pa.schema([SCORED.field(name) for name in NUMBERS], metadata=SCORED.metadata))

    def __len__(self) -> int:
        return self._keys.rows

    def batches(self, columns: Sequence[str], scratch: Path) -> Iterator[tuple[int, pa.RecordBatch]]:
        """(number of the first row, rows); parts of files that are out of order go to the folder `scratch`."""
        schema = pa.schema([SCORED.field(name) for name in columns], metadata=SCORED.metadata)
        batches = (batch for path in self.paths for batch in open_file(path).batches(schema))
        start = 0
        for batch in in_order(batches, schema, self._keys, scratch):
            yield start, batch
            start += batch.num_rows

    def candidates(self, scratch: Path) -> Candidates:
        """Their numbers are those of the rows. Lengths are characters."""
        ids, codes, n = [], [], len(self)
        scores, shares = np.full(n, np.nan), np.full(n, np.nan)
        lengths, texts, truncated = np.zeros(n, np.int64), np.zeros(n, np.uint64), np.zeros(n, bool)
        names: dict[str, str] = {}
        for start, batch in self.batches(NUMBERS, scratch):
            rows = slice(start, start + batch.num_rows)
            column = {name: batch.column(name) for name in NUMBERS}
            ids += _shared(column["id"], names)
            codes += _shared(column["lang_declared"], names)
            text = column["text"].fill_null("")
            texts[rows] = [text_key(value) for value in text.to_pylist()]
            lengths[rows] = pc.utf8_length(pc.utf8_trim_whitespace(text))
            status, share = column["status"], _numbers(column["lang_share"])
            is_off = np.isnan(share) & _is(status, "off_language")
            shares[rows] = np.where(is_off, 0.0, share)
            truncated[rows] = _is(status, "truncated") | _is(column["finish_reason"], "length")
            score = _numbers(column["reward_raw"])
            score[_is(column["reward_status"], NOT_FINITE)] = np.inf
            score[~pc.is_in(status, pa.array(TAKING_PART)).to_numpy(False)] = np.nan
            scores[rows] = score
        return Candidates.of(
            ids, codes, np.arange(n), scores, lengths=lengths, truncated=truncated, shares=shares, texts=texts
        )


def _shared(column: pa.Array, names: dict[str, str]) -> list[str]:
    """The texts, equal ones as one object."""
    encoded = column.dictionary_encode()
    known = [names.setdefault(value, value) for value in encoded.dictionary.to_pylist()]
    return [known[code] for code in encoded.indices.to_pylist()]


def _is(column: pa.Array, value: str) -> np.ndarray:
    return pc.fill_null(pc.equal(column, value), False).to_numpy(False)


def _numbers(column: pa.Array) -> np.ndarray:
    return column.cast(pa.float64()).fill_null(np.nan).to_numpy(False).copy()


class Text(NamedTuple):
    name: str  # cand_id
    text: str


class Texts:
    """The texts of some candidates, without those of the others."""

    def __init__(self, files: CandidateFiles, scratch: Path):
        self._files, self._scratch = files, scratch

    def of(self, numbers: np.ndarray) -> Iterator[tuple[int, tuple[Text, ...]]]:
        """(i, texts of the candidates numbers[i]) for (n, k) numbers of rows, in the order in which they are complete.

        No row may be wanted twice. One pass over the files; held are the texts whose companions are still to come.
        """
        wanted = np.zeros(len(self._files), bool)
        wanted[numbers.ravel()] = True
        last = numbers.max(axis=1, initial=0)
        order = np.argsort(last, kind="stable")
        waiting: dict[int, Text] = {}
        done = 0
        for start, batch in self._files.batches(("id", "cand_id", "text"), self._scratch):
            end = start + batch.num_rows
            rows = start + np.flatnonzero(wanted[start:end])
            some = batch.take(pa.array(rows - start))
            names, texts = (some.column(name).to_pylist() for name in ("cand_id", "text"))
            waiting |= {
                row: Text(*name_and_text) for row, *name_and_text in zip(rows.tolist(), names, texts, strict=True)
            }
            until = int(np.searchsorted(last[order], end))
            for at in order[done:until].tolist():
                yield at, tuple(waiting.pop(row) for row in numbers[at].tolist())
            done = until
