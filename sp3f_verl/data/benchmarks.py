"""Files of evaluation questions: as rows of verl for validation, and as the texts that training must not contain.

A file is named `NAME:LANGUAGE=FILE`, such as `mgsm:es=mgsm_es.tsv`: MGSM's TSV (question, tab, answer), or parquet or
JSON lines with `question`, `answer` and optionally `id`, `checker` (docs/rewards.md), `query_en` and `solution_en`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sp3f_verl import languages
from sp3f_verl.data.rows import row_id
from sp3f_verl.data.sets.mgsm import read_questions
from sp3f_verl.data.tables import read_rows
from sp3f_verl.errors import BadInput
from sp3f_verl.rewards.checkers import checker_of

OPTIONAL = ("id", "checker", "query_en", "solution_en")


@dataclass(frozen=True)
class Benchmark:
    name: str
    language: str
    path: Path

    @classmethod
    def of(cls, text: str) -> "Benchmark":
        """From `NAME:LANGUAGE=FILE`; ValueError otherwise."""
        head, equals, path = text.partition("=")
        name, colon, language = head.rpartition(":")
        if not (equals and colon and name and path):
            raise ValueError(f"{text!r} is not NAME:LANGUAGE=FILE, such as mgsm:es=mgsm_es.tsv")
        return cls(name, language, Path(path))

    def questions(self) -> Iterator[dict[str, Any]]:
        """`question`, `answer` and those of `OPTIONAL` that the file has. BadInput where it cannot be read."""
        languages.get(self.language)
        if self.path.suffix == ".tsv":
            yield from ({"question": question, "answer": answer} for question, answer in read_questions(self.path))
        else:
            yield from read_rows(self.path, ("question", "answer"), OPTIONAL)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Rows of schemas.RL; `data_source` is the benchmark's name, by which verl tells validation scores apart."""
        instruction = languages.get(self.language).instruction
        for index, row in enumerate(self.questions()):
            own = row.get("id") or row["question"]
            extra = {"index": index, "lang": self.language, "checker": row.get("checker")}
            try:
                checker_of(extra)
            except BadInput as error:
                raise BadInput(f"{self.path}, question {index}: {error}") from None
            turns = {"system": instruction, "user": row["question"]}
            yield {
                **{"id": row_id(self.name, [self.language, own]), "problem": row_id(self.name, own)},
                "data_source": self.name,
                "prompt": [{"role": role, "content": content} for role, content in turns.items()],
                "reward_model": {"style": "rule", "ground_truth": str(row["answer"])},
                **{"extra_info": extra, "language": self.language},
                **{name: row.get(name) for name in ("query_en", "solution_en")},
            }
