"""What verl's file logger wrote (`trainer.logger=[file]`): one JSON object {step, data} a line."""

import json
from collections.abc import Iterator
from pathlib import Path


def read_lines(file: Path) -> Iterator[tuple[int, dict[str, float]]]:
    """(step, metrics) of each line; one that is still being written, or of another kind, is left out. NaN and infinity
    are None."""
    for line in file.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("step"), int) and isinstance(entry.get("data"), dict):
            yield entry["step"], entry["data"]


def read_metrics(folder: Path) -> dict[int, dict[str, float]]:
    """step -> metrics over all `*.jsonl` of a folder; where a resumed run repeats a step, the later file wins."""
    steps: dict[int, dict[str, float]] = {}
    for file in sorted(folder.glob("*.jsonl")):
        for step, data in read_lines(file):
            steps.setdefault(step, {}).update(data)
    return steps
