"""The metrics of a run as verl's file logger wrote them (`trainer.logger=[file]`): one {step, data} a line, a file an
attempt. docs/diagnostics.md.

One rule for resumed runs: an attempt counts up to the step at which a later one goes on. At that step the later one's
values win; what the earlier one logged beyond belongs to a policy that was given up.
"""

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sp3f_verl.report.document.escape import Markdown, code, joined


@dataclass(frozen=True)
class Point:
    step: int
    value: float
    file: str  # relative to the run folder


def read_metrics(folder: Path) -> dict[int, dict[str, float]]:
    """step -> metrics of the `*.jsonl` of a folder; NaN for what is not finite."""
    points, _ = _read(sorted(folder.glob("*.jsonl")), folder)
    return {step: {name: point.value for name, point in metrics.items()} for step, metrics in points.items()}


def _read(files: Iterable[Path], base: Path) -> tuple[dict[int, dict[str, Point]], list[str]]:
    """(step -> metric -> point, the files that are metrics), by the rule above."""
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


class RunMetrics:
    """What `folder`/metrics/*.jsonl holds, or `folder`/*.jsonl where there is no such. Files are named relative to
    `base`, by default the folder.

    `series`: name -> points in the order of steps, finite values only. `not_finite`: name -> the others (verl's file
    logger writes NaN and infinity as null).
    """

    def __init__(self, folder: Path, base: Path | None = None):
        self.folder = folder
        files = sorted((folder / "metrics").glob("*.jsonl")) or sorted(folder.glob("*.jsonl"))
        steps, self.files = _read(files, base or folder)
        self.series: dict[str, list[Point]] = {}
        self.not_finite: dict[str, list[Point]] = {}
        for metrics in steps.values():
            for name, point in metrics.items():
                kind = self.series if math.isfinite(point.value) else self.not_finite
                kind.setdefault(name, []).append(point)

    def __getitem__(self, name: str) -> list[Point]:
        return self.series.get(name, [])

    @cached_property
    def names(self) -> set[str]:
        """Of all that was logged, finite or not."""
        return {*self.series, *self.not_finite}

    def ends_finite(self, name: str) -> bool:
        """The last value that was logged is finite."""
        last, other = self[name][-1:], self.not_finite.get(name, [])[-1:]
        return bool(last) and (not other or other[0].step < last[0].step)

    @property
    def attempts(self) -> Markdown:
        """How many there were and their files, in words."""
        many = f"{len(self.files)} attempts, each up to where the next goes on"
        attempts = "1 attempt" if len(self.files) == 1 else many
        return Markdown(attempts + " ({})").format(joined(map(code, self.files)))


def where(points: Iterable[Point | None]) -> Markdown:
    """The files of some values and their steps: "`metrics/000.jsonl` step 0, 30"."""
    return _by_file(points, lambda steps: ", ".join(map(str, steps)))


def span(points: Iterable[Point | None]) -> Markdown:
    """The files of many values, and the first and last step of each: "`metrics/000.jsonl` step 1 to 30"."""
    return _by_file(points, lambda steps: f"{steps[0]} to {steps[-1]}" if len(steps) > 1 else f"{steps[0]}")


def _by_file(points: Iterable[Point | None], steps_of) -> Markdown:
    steps: dict[str, set[int]] = {}
    for point in points:
        if point is not None:
            steps.setdefault(point.file, set()).add(point.step)
    named = [Markdown("{} step {}").format(code(file), steps_of(sorted(at))) for file, at in sorted(steps.items())]
    return joined(named, "; ")


def _float(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
