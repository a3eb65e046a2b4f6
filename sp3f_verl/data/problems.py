"""What must be known of a problem's rows in all languages together: which sides they go to, and which are left out."""

import hashlib
import string
from collections.abc import Iterable

import pyarrow as pa

from sp3f_verl.data.contamination import Contamination
from sp3f_verl.errors import BadInput

COLUMNS = ("problem", "query_en", "question")  # of schemas.TRANSLATED, that `Problems` reads; the last with benchmarks
_SIGNS = dict.fromkeys(map(ord, string.punctuation + string.whitespace))


class Problems:
    """Goes through all rows once. Everything it answers is the same in whatever order they come.

    A problem is contaminated where its English question or that of any language is: the others tell the same problem.
    Problems whose English questions are the same but for case and signs go to the same side.
    """

    def __init__(self, batches: Iterable[pa.RecordBatch], contamination: Contamination | None):
        self._english: dict[str, tuple[int, str]] = {}  # problem -> (hash of its English question, rank text)
        self.contaminated: dict[str, tuple[str, str]] = {}  # problem -> (evaluation set, kind of match)
        for batch in batches:
            problems = batch.column("problem").to_pylist()
            for problem, query in zip(problems, batch.column("query_en").to_pylist(), strict=True):
                known = self._english.get(problem)
                if known is None:
                    text = hashlib.sha256(query.casefold().translate(_SIGNS).encode()).hexdigest()[:16]
                    self._english[problem] = (hash(query), text)
                    self._look(contamination, problem, query)
                elif known[0] != hash(query):
                    raise BadInput(
                        f"problem {problem!r} has two English questions (query_en); give each its own problem."
                    )
            if contamination is not None:
                for problem, question in zip(problems, batch.column("question").to_pylist(), strict=True):
                    self._look(contamination, problem, question)

    def _look(self, contamination: Contamination | None, problem: str, text: str) -> None:
        found = contamination.find(text) if contamination is not None else None
        if found is not None:
            self.contaminated[problem] = min(found, self.contaminated.get(problem, found))

    def held_out(self, share: float, seed: int) -> set[str]:
        """The share of the clean problems that goes to validation. BadInput where a side would be empty."""
        clean = {problem: text for problem, (_, text) in self._english.items() if problem not in self.contaminated}
        texts = sorted(set(clean.values()), key=lambda text: hashlib.sha256(f"{seed}:{text}".encode()).digest())
        out = set(texts[: round(len(texts) * share)])
        if not clean:
            raise BadInput(f"all {len(self.contaminated)} problems are in the evaluation files; give other questions.")
        if (share and not out) or len(out) == len(texts):
            raise BadInput(f"--validation {share} of {len(texts)} problems leaves a side empty; change the share.")
        return {problem for problem, text in clean.items() if text in out}
