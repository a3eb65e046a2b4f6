"""The metrics of a run as series, with the files and steps that they come from. docs/diagnostics.md."""

import math
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from sp3f_verl.report.document.escape import Markdown, code, joined
from sp3f_verl.training.metrics_log import Point, read_points


class RunMetrics:
    """What `folder`/metrics/*.jsonl holds, or `folder`/*.jsonl where there is no such. Files are named relative to
    `base`, by default the folder.

    `series`: name -> points in the order of steps, finite values only. `not_finite`: name -> the others (verl's file
    logger writes NaN and infinity as null).
    """

    def __init__(self, folder: Path, base: Path | None = None):
        self.folder = folder
        files = sorted((folder / "metrics").glob("*.jsonl")) or sorted(folder.glob("*.jsonl"))
        steps, self.files = read_points(files, base or folder)
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
