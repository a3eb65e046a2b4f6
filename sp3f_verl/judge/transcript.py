"""A sample of what the judge was asked and what it answered: JSON lines, in files that are rotated."""

import json
import logging
import random
import sys
from collections.abc import Iterable, Iterator
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from sp3f_verl.errors import BadInput

VERSION = 1
FIELDS = {"group", "id", "ground_truth", "responses", "value", "failure", "tokens_in", "tokens_out", "seconds", "calls"}


class TranscriptWriter:
    """Writes the questions of a share of the groups. A disk that is full costs the transcript, never the run."""

    def __init__(self, path: str | Path | None, share: float, max_mb: float = 64.0, files: int = 4, seed: int = 0):
        self._share, self._random = share if path else 0.0, random.Random(seed)
        self._handler: RotatingFileHandler | None = None
        if self._share > 0:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._handler = RotatingFileHandler(
                path, maxBytes=int(max_mb * 1e6), backupCount=files, encoding="utf-8", errors="replace"
            )
            self._handler.handleError = self._give_up

    def wants(self) -> bool:
        """Drawn once a group, so that a sampled group is there as a whole."""
        return self._handler is not None and self._random.random() < self._share

    def write(self, records: Iterable[dict[str, Any]]) -> None:
        for record in records:
            if self._handler is None:
                return
            line = json.dumps({"version": VERSION, **record}, ensure_ascii=False)
            self._handler.emit(logging.LogRecord("", logging.INFO, "", 0, line, None, None))

    def _give_up(self, _record) -> None:
        print(f"sp3f_verl: the judge transcript is given up: {sys.exc_info()[1]}.", file=sys.stderr, flush=True)
        self._handler, self._share = None, 0.0


def read_transcript(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a transcript file; a last line that was cut off is left out. BadInput where it is none."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            try:
                record = json.loads(line)
            except ValueError:
                if line.endswith("\n"):
                    raise BadInput(f"{path}, line {number} is no JSON; give a judge transcript.") from None
                return
            if not isinstance(record, dict) or record.get("version") != VERSION or not record.keys() >= FIELDS:
                raise BadInput(f"{path}, line {number} is no record of a judge transcript (version {VERSION}).")
            yield record
