"""The metrics of a run as verl's file logger wrote them (`trainer.logger=[file]`): one {step, data} a line, a file an
attempt. docs/diagnostics.md.

One rule for resumed runs: an attempt counts up to the step at which a later one goes on. At that step the later one's
values win; what the earlier one logged beyond belongs to a policy that was given up.
"""

import bisect
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sp3f_verl.report.document.escape import Markdown, code, joined
from sp3f_verl.training.objective_record import ObjectiveRecord

ROLES = (("chosen", "rejected"), ("real", "generated", "proto"))  # of runs without a record of theirs
PHASES = ("train", "val", "start")  # start: the policy that begins an iteration, on the pairs held out for it


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
    logger writes NaN and infinity as null). Worked out besides: `<phase>/gap/sum` and `<phase>/gap/per_token`, the
    log-likelihood of the first role minus that of the second, and held-out `drift`, that of the first role minus its
    value before training, in nats.
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
        self._add_gaps()
        self._add_drift()

    def _add_gaps(self) -> None:
        if not self.roles:
            return
        for phase in PHASES:
            for gap, logp in (("sum", "logp"), ("per_token", "logp_per_token")):
                first, second = (self.series.get(f"{phase}/{logp}/{role}", []) for role in self.roles[:2])
                others = {point.step: point.value for point in second}
                points = [Point(p.step, p.value - others[p.step], p.file) for p in first if p.step in others]
                if points:
                    self.series[f"{phase}/gap/{gap}"] = points

    def _add_drift(self) -> None:
        logps = {phase: self[f"{phase}/logp/{role}"] for phase in ("start", "val") for role in self.roles[:1]}
        if any(logps.values()):
            before = min((point for points in logps.values() for point in points), key=lambda point: point.step).value
            for phase, points in logps.items():
                self.series[f"{phase}/drift"] = [Point(p.step, p.value - before, p.file) for p in points]

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

    @cached_property
    def objective(self) -> ObjectiveRecord | None:
        """What the run recorded of its loss; None for runs begun before it was recorded."""
        return ObjectiveRecord.read(self.folder)

    @property
    def loss(self) -> str | None:
        """The name of the loss, of the record or of an iteration's manifest; None where neither is there."""
        if self.objective is not None:
            return self.objective.loss
        return next((one["loss"] for one in self.objectives.values() if isinstance(one.get("loss"), str)), None)

    @cached_property
    def roles(self) -> tuple[str, ...]:
        """The roles that were logged, the preferred one first; empty where this is no preference run."""
        logged = {name.split("/")[2] for name in self.names if name.startswith(_of_roles()) and name.count("/") == 2}
        for roles in (self.objective.roles,) if self.objective else ROLES:
            if set(roles[:2]) <= logged:
                return tuple(role for role in roles if role in logged)
        return ()

    @cached_property
    def manifests(self) -> dict[int, tuple[dict[str, Any], str]]:
        """iteration -> (manifest, its file), of those that can be read."""
        manifests = {}
        for file in sorted((self.folder / "selfplay").glob("iteration_*/manifest.json")):
            try:
                manifest = json.loads(file.read_text(encoding="utf-8"))
                manifests[int(manifest["iteration"])] = (manifest, file.relative_to(self.folder).as_posix())
            except (ValueError, KeyError, TypeError):
                continue  # half written, or of another hand: the metrics say the same
        return manifests

    @property
    def objectives(self) -> dict[int, dict[str, Any]]:
        """iteration -> loss, loss_type, alpha and beta, where its manifest has them."""
        settings = {t: manifest.get("settings") for t, (manifest, _) in self.manifests.items()}
        return {
            t: {name: value for name, value in own.items() if name != "order_seed"}
            for t, own in settings.items()
            if isinstance(own, dict)
        }

    @cached_property
    def starts(self) -> dict[int, int]:
        """iteration -> its first training step; empty where the run does not iterate."""
        starts: dict[int, int] = {}
        for point in self["train/iteration"]:
            starts[int(point.value)] = min(point.step, starts.get(int(point.value), point.step))
        for iteration, (manifest, _) in self.manifests.items():
            done = manifest.get("start_step")  # steps done when the iteration began
            if iteration not in starts and isinstance(done, int) and manifest.get("steps") != 0:
                starts[iteration] = done + 1
        return dict(sorted(starts.items()))

    def iteration_of(self, step: int) -> int:
        """In which a training step, and what was measured after it, falls; step 0 falls in the first iteration."""
        return self.iterations[max(bisect.bisect_right(list(self.starts.values()), step) - 1, 0)]

    @cached_property
    def iterations(self) -> list[int]:
        """[0] where the run does not iterate."""
        return list(self.starts) or [0]

    def within(self, name: str, iteration: int) -> list[Point]:
        """The points whose step falls in the iteration."""
        return [point for point in self[name] if self.iteration_of(point.step) == iteration]

    def of_policy(self, name: str) -> dict[int, Point]:
        """t -> the value of policy pi_t as measured, at the number of steps done, before iteration t trains it; the
        policy that ends the run last."""
        policies: dict[int, Point] = {}
        begins = {start - 1: t for t, start in self.starts.items()}
        for point in self[name]:
            if point.step in begins:
                policies[begins[point.step]] = point
            elif begins and point.step > max(begins):
                policies[self.iterations[-1] + 1] = point
        return policies

    def before(self, metric: str, iteration: int) -> Point | None:
        """The held-out value before an iteration trains (before the run trains, where it does not iterate)."""
        if point := self.of_policy(f"start/{metric}").get(iteration):
            return point
        first = self.starts.get(iteration, 1)
        early = [point for point in self.within(f"val/{metric}", iteration) if point.step < first]
        return early[0] if early else None

    def after(self, metric: str, iteration: int) -> list[Point]:
        """The held-out values since an iteration trains."""
        before = self.before(metric, iteration)
        return [p for p in self.within(f"val/{metric}", iteration) if before is None or p.step > before.step]

    def held_out(self, metric: str, iteration: int) -> list[Point]:
        """Before an iteration trains, where that was measured, and then what was measured in it."""
        before = self.before(metric, iteration)
        return [*([before] if before else []), *self.after(metric, iteration)]

    @property
    def attempts(self) -> Markdown:
        """How many there were and their files, in words."""
        many = f"{len(self.files)} attempts, each up to where the next goes on"
        attempts = "1 attempt" if len(self.files) == 1 else many
        return Markdown(attempts + " ({})").format(joined(map(code, self.files)))

    def last_held_out(self, metric: str) -> Point | None:
        return self[f"val/{metric}"][-1] if self[f"val/{metric}"] else None


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
    named = [Markdown("{} step {}").format(code(file), steps_of(sorted(own))) for file, own in sorted(steps.items())]
    return joined(named, "; ")


def _float(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _of_roles() -> tuple[str, ...]:
    return tuple(f"{phase}/{name}/" for phase in PHASES for name in ("reward", "logp", "logp_per_token"))
