"""What a run logs, as verl's file logger writes it (`trainer.logger=[file]`): a {step, data} a line, a file an attempt.

One rule for resumed runs: an attempt counts up to the step at which a later one goes on. At that step the later one's
values win; what the earlier one logged beyond belongs to a policy that was given up.
"""

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def next_file(folder: Path) -> Path:
    """Where the next attempt of a run logs to: verl empties the file that it opens. The folder is made."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = (int(file.stem) for file in folder.glob("*.jsonl") if file.stem.isdigit())
    return folder / f"{max(numbers, default=-1) + 1:03d}.jsonl"


@dataclass(frozen=True)
class Point:
    step: int
    value: float
    file: str


def read_metrics(folder: Path) -> dict[int, dict[str, float]]:
    """step -> metrics of the `*.jsonl` of a folder; NaN for what is not finite."""
    points, _ = read_points(sorted(folder.glob("*.jsonl")), folder)
    return {step: {name: point.value for name, point in metrics.items()} for step, metrics in points.items()}


def read_points(files: Iterable[Path], base: Path) -> tuple[dict[int, dict[str, Point]], list[str]]:
    """(step -> metric -> point, the files that are metrics), by the rule above. Files are named relative to `base`."""
    steps: dict[int, dict[str, Point]] = {}
    names = []
    for file in files:
        lines, is_metrics = list(_lines(file)), file.parent.name == "metrics"
        if not lines and not is_metrics:
            continue  # something else: responses, transcripts
        name = file.relative_to(base).as_posix()
        names.append(name)
        begins = min((step for step, _ in lines), default=math.inf)
        steps = {step: metrics for step, metrics in steps.items() if step <= begins}
        for step, data in lines:
            points = {metric: Point(step, _float(value), name) for metric, value in data.items()}
            steps.setdefault(step, {}).update(points)
    return dict(sorted(steps.items())), names


def _lines(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(step, metrics) of each line; one that is still being written, or of another kind, is left out."""
    for line in file.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("step"), int) and isinstance(entry.get("data"), dict):
            yield entry["step"], entry["data"]


def _float(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
