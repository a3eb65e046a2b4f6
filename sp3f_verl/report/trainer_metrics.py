"""What the reports of RL and SFT runs take from their metrics: means of the first and last steps, and sums."""

from collections.abc import Iterable
from statistics import mean

from sp3f_verl.report.document.inline import code
from sp3f_verl.report.document.model import Line, Lines, Table
from sp3f_verl.report.preference_tables import span
from sp3f_verl.report.run_metrics import Point, RunMetrics
from sp3f_verl.stats.format import number

ENDS = 10  # steps whose mean stands for a beginning or an end: one batch is noise
NAMES = 8  # metrics that a sentence names


def ends(points: list[Point]) -> tuple[float, float]:
    """Means of the first and of the last steps."""
    return mean(p.value for p in points[:ENDS]), mean(p.value for p in points[-ENDS:])


def smoothed(points: list[Point]) -> list[tuple[int, float]]:
    """The moving average over the last 10 steps."""
    values = [point.value for point in points]
    return [(point.step, mean(values[max(0, i - ENDS + 1) : i + 1])) for i, point in enumerate(points)]


def ends_table(run: RunMetrics, labels: dict[str, str], head: str) -> list[Table]:
    """labels: metric -> what it is. A row for each that was logged, finite or not; none where nothing was."""
    rows = []
    for metric, label in labels.items():
        points = run[metric]
        if not points and metric not in run.not_finite:
            continue
        cells = ["NaN"] * 3
        if points:
            first, last = ends(points)
            cells = [number(first), number(last) if run.ends_finite(metric) else "NaN", number(last - first)]
        source = span(points or run.not_finite[metric])
        rows.append([f"{label} ({code(metric)})" if label else code(metric), *cells, source])
    header = [head, f"first {ENDS} steps", f"last {ENDS} steps", "change", "from"]
    return [Table(header, rows)] if rows else []


def curves(
    run: RunMetrics, metrics: dict[str, str], title: str, limits: tuple[float, float] | None = None, smooth: bool = True
) -> Lines | None:
    """A panel of metrics (-> label) over steps; None where nothing was logged."""
    lines = []
    for metric, label in metrics.items():
        if points := run[metric]:
            drawn = smoothed(points) if smooth else [(point.step, point.value) for point in points]
            lines.append(Line(label, drawn, len(lines), thick=not smooth and len(drawn) <= 40))
    return Lines(title, lines, limits=limits) if lines else None


def not_finite(run: RunMetrics) -> list[str]:
    """At most one sentence: how many values are NaN or infinite, and of which metrics."""
    if not run.not_finite:
        return []
    count = sum(map(len, run.not_finite.values()))
    named = [
        f"{code(name)} {len(points)} of {len(points) + len(run[name])}"
        for name, points in sorted(run.not_finite.items())[:NAMES]
    ]
    more = len(run.not_finite) - len(named)
    named += [f"and {more} more"] * bool(more)
    first = min((point for points in run.not_finite.values() for point in points), key=lambda point: point.step)
    return [
        f"{count} values are NaN or infinite and left out of means and plots (first: `{first.file}` step "
        f"{first.step}): {', '.join(named)}."
    ]


def total(points: Iterable[Point]) -> float:
    return sum(point.value for point in points)
