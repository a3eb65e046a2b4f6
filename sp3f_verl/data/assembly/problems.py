"""What must be known of a problem's rows in all languages together: which side they go to, and which are left out."""

import hashlib
import string
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pyarrow as pa

from sp3f_verl.data.assembly.contamination import Contamination
from sp3f_verl.errors import BadInput

_SIGNS = (string.punctuation + string.whitespace).encode()


class Problems:
    """Goes through all rows twice, by columns. What it answers is the same in whatever order they come.

    `batches(columns)` gives those columns of schemas.TRANSLATED, each time in the same order.
    A problem is contaminated where its English question or that of any language is: the others tell the same problem.
    Problems whose English questions are the same but for case and ASCII signs go to the same side.
    BadInput where rows of a problem have different English questions: it is then no problem's id.
    """

    def __init__(
        self, batches: Callable[[Sequence[str]], Iterable[pa.RecordBatch]], contamination: Contamination | None
    ):
        ids = pa.chunked_array([batch.column("problem") for batch in batches(["problem"])], pa.string())
        encoded = ids.combine_chunks().dictionary_encode()
        self._ids, problem = encoded.dictionary.to_pylist(), encoded.indices.to_numpy()
        self._texts = [""] * len(self._ids)  # one key for questions that are the same
        self.contaminated: dict[str, tuple[str, str]] = {}  # problem -> (evaluation set, kind of match)
        marks, start = np.full(len(self._ids), -1), 0
        for batch in batches(["query_en", *(["question"] if contamination else [])]):
            rows, places = batch.num_rows, problem[start : start + batch.num_rows]
            queries, query_marks = batch.column("query_en"), _marks(batch.column("query_en"))
            new = np.unique(places, return_index=True)[1]
            new = new[marks[places[new]] < 0]
            marks[places[new]] = query_marks[new]
            if (marks[places] != query_marks).any():
                bad = self._ids[places[np.flatnonzero(marks[places] != query_marks)[0]]]
                raise BadInput(f"problem {bad!r} has two English questions (query_en); give each its own problem.")
            for index, query in zip(places[new].tolist(), queries.take(pa.array(new)).to_pylist(), strict=True):
                text = query.casefold().encode().translate(None, _SIGNS)  # as bytes: twenty times as fast
                self._texts[index] = hashlib.sha256(text).hexdigest()[:16]
                self._look(contamination, index, query)
            if contamination is not None:
                for index, question in zip(places.tolist(), batch.column("question").to_pylist(), strict=True):
                    self._look(contamination, index, question)
            start += rows

    def _look(self, contamination: Contamination | None, index: int, text: str) -> None:
        match = contamination.find(text) if contamination is not None else None
        if match is not None:
            problem = self._ids[index]
            self.contaminated[problem] = min(match, self.contaminated.get(problem, match))

    def held_out(self, share: float, seed: int) -> set[str]:
        """The share of the clean problems that goes to validation. BadInput where a side would be empty."""
        pairs = zip(self._ids, self._texts, strict=True)
        clean = {problem: text for problem, text in pairs if problem not in self.contaminated}
        texts = sorted(set(clean.values()), key=lambda text: hashlib.sha256(f"{seed}:{text}".encode()).digest())
        out = set(texts[: max(1, round(len(texts) * share)) if share and len(texts) > 1 else 0])
        if not clean:
            raise BadInput(f"all {len(self._ids)} problems are in the evaluation files; give other questions.")
        if (share and not out) or len(out) == len(texts):
            raise BadInput(f"--validation {share} of {len(texts)} problems leaves a side empty; change the share.")
        return {problem for problem, text in clean.items() if text in out}


def _marks(texts: pa.StringArray) -> np.ndarray:
    """(rows,) of a number for the length and 7 bytes spread over each text: texts of one number pass for the same."""
    offsets = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
    data, start, length = np.frombuffer(texts.buffers()[2] or b"\0", np.uint8), offsets[:-1], np.diff(offsets)
    marks = length & 0x7F
    for part in range(7):
        marks = marks << 8 | data[np.minimum(start + length * part // 7, len(data) - 1)]
    return marks
