"""What verl's file logger wrote (`trainer.logger=[file]`): one JSON object {step, data} a line."""

import json
from pathlib import Path


def read_metrics(folder: Path) -> dict[int, dict[str, float]]:
    """step -> metrics over all `*.jsonl` of a folder; where a resumed run repeats a step, the later file wins.

    A last line that is still being written is left out.
    """
    steps: dict[int, dict[str, float]] = {}
    for file in sorted(folder.glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue
            steps.setdefault(entry["step"], {}).update(entry["data"])
    return steps
