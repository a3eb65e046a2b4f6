"""A sample of what the judges were asked and what they answered: JSON lines, in files that are rotated.

A log: the numbers of a run come from what a judge returns. `sp3f judge-check --replay` alone reads it.
"""

import dataclasses
import json
import logging
import random
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from sp3f_verl.errors import BadInput
from sp3f_verl.judge.base import Asked, Judge
from sp3f_verl.judge.settings import Transcript
from sp3f_verl.judge.verdicts.verdict import Verdict
from sp3f_verl.log import log

VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A line of a transcript: one question to one judge about one row.

    group: the same for all questions that were asked together. responses: the texts that were shown. value: A, B or
    TIE, P(the first is better), a ranking or a language code; null where it failed. seconds: of the last answer.
    retries: the failures after which the question was sent again.
    """

    group: str
    judge: str = ""
    model: str | None = None
    prompt: str | None = None
    prompt_version: str | None = None
    id: str
    language: str | None = None
    query_en: str | None = None
    solution_en: str | None = None
    ground_truth: str
    responses: list[str]
    answer: str = ""
    value: Any
    failure: str | None
    tokens_in: int
    tokens_out: int
    seconds: float
    calls: int
    retries: Sequence[str] = ()


REQUIRED = {field.name for field in dataclasses.fields(Entry) if field.default is dataclasses.MISSING}


def entries(records: Sequence[Asked], row: Mapping[str, Any], judge: Judge) -> list[Entry]:
    """The lines of what a judge was asked about a row."""
    group = uuid.uuid4().hex  # a prompt comes back every epoch
    identity = judge.identity()
    shows_solution = "solution_en" in judge.needed_fields()
    return [
        Entry(
            group=group,
            judge=identity["judge"],
            model=identity.get("model"),
            prompt=identity.get("prompt"),
            prompt_version=identity.get("prompt_version"),
            id=row["id"],
            language=row["language"],
            query_en=row["query_en"],
            solution_en=row["solution_en"] if shows_solution else None,
            ground_truth=row["reward_model"]["ground_truth"],
            responses=list(record.texts),
            answer=record.answer,
            value=record.value.name if isinstance(record.value, Verdict) else record.value,
            failure=record.failure,
            tokens_in=record.usage.prompt_tokens,
            tokens_out=record.usage.completion_tokens,
            seconds=record.seconds,
            calls=record.calls,
            retries=record.retries,
        )
        for record in records
    ]


class TranscriptWriter:
    """Writes the questions of a share of the groups. A disk that is full costs the transcript, never the run."""

    def __init__(self, settings: Transcript, seed: int = 0):
        self._share, self._random = settings.share if settings.path else 0.0, random.Random(seed)
        self._handler: RotatingFileHandler | None = None
        if self._share > 0:
            Path(settings.path).parent.mkdir(parents=True, exist_ok=True)
            self._handler = RotatingFileHandler(
                settings.path,
                maxBytes=int(settings.max_mb * 1e6),
                backupCount=settings.files,
                encoding="utf-8",
                errors="replace",
            )
            self._handler.handleError = self._give_up

    def wants(self) -> bool:
        """Drawn once a group, so that a sampled group is there as a whole."""
        return self._handler is not None and self._random.random() < self._share

    def write(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            if self._handler is None:
                return
            line = json.dumps({"version": VERSION, **vars(entry)}, ensure_ascii=False)
            self._handler.emit(logging.LogRecord("", logging.INFO, "", 0, line, None, None))

    def _give_up(self, _record) -> None:
        log.warning("the judge transcript is given up: %s.", sys.exc_info()[1])
        self._handler, self._share = None, 0.0


def read_transcript(path: Path) -> Iterator[Entry]:
    """The lines of a transcript file; a last line that was cut off is left out. BadInput where it is none."""
    names = {field.name for field in dataclasses.fields(Entry)}
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            try:
                values = json.loads(line)
            except ValueError:
                if line.endswith("\n"):
                    raise BadInput(f"{path}, line {number} is no JSON; give a judge transcript.") from None
                return
            if not isinstance(values, dict) or values.get("version") != VERSION or not values.keys() >= REQUIRED:
                raise BadInput(f"{path}, line {number} is no record of a judge transcript (version {VERSION}).")
            yield Entry(**{name: value for name, value in values.items() if name in names})
