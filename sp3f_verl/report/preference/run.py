"""The metrics of a preference or self-play run: whose they are (roles, objective) and when (iterations, policies).

A phase stands before each name: `train`, `val` (held out), or `start`: the policy that begins an iteration, on the
pairs held out for it. docs/diagnostics.md.
"""

import bisect
from functools import cached_property
from pathlib import Path
from typing import Any

from sp3f_verl.report.run_metrics import RunMetrics
from sp3f_verl.training.metrics_log import Point
from sp3f_verl.training.objective_record import ObjectiveRecord
from sp3f_verl.training.selfplay.record import IterationManifest

ROLES = (("chosen", "rejected"), ("real", "generated", "proto"))  # of runs without a record of theirs
PHASES = ("train", "val", "start")
OF_ROLES = tuple(f"{phase}/{name}/" for phase in PHASES for name in ("reward", "logp", "logp_per_token"))


class PreferenceRun(RunMetrics):
    """Worked out besides what was logged: `<phase>/gap/sum` and `<phase>/gap/per_token`, the log-likelihood of the
    first role minus that of the second, and held-out `drift`, that of the first role minus its value before training,
    in nats."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        if self.roles:
            self._add_gaps()
            self._add_drift()

    def _add_gaps(self) -> None:
        for phase in PHASES:
            for gap, logp in (("sum", "logp"), ("per_token", "logp_per_token")):
                first, second = (self[f"{phase}/{logp}/{role}"] for role in self.roles[:2])
                others = {point.step: point.value for point in second}
                points = [Point(p.step, p.value - others[p.step], p.file) for p in first if p.step in others]
                if points:
                    self.series[f"{phase}/gap/{gap}"] = points

    def _add_drift(self) -> None:
        logps = {phase: self[f"{phase}/logp/{self.roles[0]}"] for phase in ("start", "val")}
        if any(logps.values()):
            before = min((point for points in logps.values() for point in points), key=lambda point: point.step).value
            for phase, points in logps.items():
                self.series[f"{phase}/drift"] = [Point(p.step, p.value - before, p.file) for p in points]

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
        logged = {name.split("/")[2] for name in self.names if name.startswith(OF_ROLES) and name.count("/") == 2}
        for roles in (self.objective.roles,) if self.objective else ROLES:
            if set(roles[:2]) <= logged:
                return tuple(role for role in roles if role in logged)
        return ()

    @cached_property
    def manifests(self) -> dict[int, tuple[IterationManifest, str]]:
        """iteration -> (manifest, its file), of those that can be read."""
        manifests = {}
        for file in sorted((self.folder / "selfplay").glob("iteration_*/manifest.json")):
            try:
                manifest = IterationManifest.read(file)
            except ValueError:
                continue  # half written, or of another hand: the metrics say the same
            manifests[manifest.iteration] = (manifest, file.relative_to(self.folder).as_posix())
        return manifests

    @property
    def objectives(self) -> dict[int, dict[str, Any]]:
        """iteration -> loss, loss_type, alpha and beta, where its manifest has them."""
        return {t: manifest.settings for t, (manifest, _) in self.manifests.items() if manifest.settings}

    @cached_property
    def starts(self) -> dict[int, int]:
        """iteration -> its first training step; empty where the run does not iterate."""
        starts: dict[int, int] = {}
        for point in self["train/iteration"]:
            starts[int(point.value)] = min(point.step, starts.get(int(point.value), point.step))
        for iteration, (manifest, _) in self.manifests.items():
            if iteration not in starts and manifest.start_step is not None and manifest.steps != 0:
                starts[iteration] = manifest.start_step + 1
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

    def last_held_out(self, metric: str) -> Point | None:
        return self[f"val/{metric}"][-1] if self[f"val/{metric}"] else None
