"""The metrics of a preference or self-play run, each value with the file it stands in. docs/diagnostics.md."""

import bisect
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sp3f_verl.report.metrics import read_lines

ROLES = (("chosen", "rejected"), ("real", "generated", "proto"))
PHASES = ("train", "val", "start")  # start: the policy that begins an iteration, on the pairs held out for it


@dataclass(frozen=True)
class Point:
    step: int
    value: float
    file: str  # relative to the run folder


class RunMetrics:
    """What `folder`/metrics/*.jsonl holds, or `folder`/*.jsonl where there is no such. An attempt counts up to the step
    at which a later one goes on. Files are told relative to `base`, by default the folder.

    `series`: name -> points in the order of steps, finite values only. `not_finite`: name -> the others (verl's file
    logger writes NaN and infinity as null). Worked out besides: `<phase>/gap/sum` and `<phase>/gap/per_token`, the
    log-likelihood of the first role minus that of the second, and held-out `drift`, that of the first role minus its
    value before training, in nats.
    """

    def __init__(self, folder: Path, base: Path | None = None):
        self.folder, base = folder, base or folder
        latest: dict[str, dict[int, Point]] = {}
        self.files = []
        for file in sorted((folder / "metrics").glob("*.jsonl")) or sorted(folder.glob("*.jsonl")):
            name = file.relative_to(base).as_posix()
            lines = list(read_lines(file))
            if not lines and file.parent == folder:
                continue  # something else: responses, transcripts
            self.files.append(name)
            begins = min((step for step, _ in lines), default=math.inf)
            for points in latest.values():  # what it logged beyond belongs to a policy that was given up
                for step in [step for step in points if step > begins]:
                    del points[step]
            for step, data in lines:
                for metric, value in data.items():
                    latest.setdefault(metric, {})[step] = Point(step, _float(value), name)
        self.series: dict[str, list[Point]] = {}
        self.not_finite: dict[str, list[Point]] = {}
        for metric, points in latest.items():
            for _, point in sorted(points.items()):
                kind = self.series if math.isfinite(point.value) else self.not_finite
                kind.setdefault(metric, []).append(point)
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
        found = {phase: self[f"{phase}/logp/{role}"] for phase in ("start", "val") for role in self.roles[:1]}
        if any(found.values()):
            before = min((point for points in found.values() for point in points), key=lambda point: point.step).value
            for phase, points in found.items():
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
    def roles(self) -> tuple[str, ...]:
        """The roles that were logged, the preferred one first; empty where this is no preference run."""
        found = {name.split("/")[2] for name in self.names if name.startswith(_of_roles()) and name.count("/") == 2}
        for roles in ROLES:
            if set(roles[:2]) <= found:
                return tuple(role for role in roles if role in found)
        return ()

    @cached_property
    def loss(self) -> str:
        """Of the manifests, else as far as the names tell: T-SPIN_ref without a proto looks like SPIN."""
        for objective in self.objectives.values():
            if isinstance(objective.get("loss"), str):
                return objective["loss"]
        if self.roles[:1] == ("chosen",):
            return "dpo" if self.has_reference else "simpo"
        if not self.has_reference:
            return "tspin"
        return "tspin_ref" if "proto" in self.roles else "spin"

    @cached_property
    def has_reference(self) -> bool:
        return any("/log_ratio/" in name for name in self.names)

    @cached_property
    def manifests(self) -> dict[int, tuple[dict, str]]:
        """iteration -> (manifest, its file), of those that can be read."""
        found = {}
        for file in sorted((self.folder / "selfplay").glob("iteration_*/manifest.json")):
            try:
                manifest = json.loads(file.read_text(encoding="utf-8"))
                found[int(manifest["iteration"])] = (manifest, file.relative_to(self.folder).as_posix())
            except (ValueError, KeyError, TypeError):
                continue  # half written, or of another hand: the metrics say the same
        return found

    @property
    def objectives(self) -> dict[int, dict]:
        """iteration -> loss, loss_type, alpha and beta, where its manifest tells."""
        found = {t: manifest.get("settings") for t, (manifest, _) in self.manifests.items()}
        found = {t: settings for t, settings in found.items() if isinstance(settings, dict)}
        return {t: {k: v for k, v in settings.items() if k != "order_seed"} for t, settings in found.items()}

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
        return self.iterations[max(bisect.bisect_right(self._begins, step) - 1, 0)]

    @cached_property
    def _begins(self) -> list[int]:
        return list(self.starts.values())

    @cached_property
    def iterations(self) -> list[int]:
        """[0] where the run does not iterate."""
        return list(self.starts) or [0]

    def within(self, name: str, iteration: int) -> list[Point]:
        """The points whose step falls in the iteration."""
        return [point for point in self[name] if self.iteration_of(point.step) == iteration]

    def of_policy(self, name: str) -> dict[int, Point]:
        """t -> the value of policy pi_t as measured before iteration t trains it; the policy that ends the run last.

        It may be logged at the number of steps done or at that of the step to come.
        """
        found, begins = {}, {start: t for t, start in self.starts.items()}
        logged = {point.step for point in self[name]}
        for point in self[name]:
            t = begins.get(point.step + 1)
            if t is None and point.step - 1 not in logged:
                t = begins.get(point.step)
            if t is not None:
                found[t] = point
            elif begins and point.step >= max(begins):
                found[self.iterations[-1] + 1] = point
        return found

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
        return [before] * (before is not None) + self.after(metric, iteration)

    @property
    def attempts(self) -> str:
        """How many there were and their files, in words."""
        count = (
            "1 attempt" if len(self.files) == 1 else f"{len(self.files)} attempts, each up to where the next goes on"
        )
        return f"{count} ({', '.join(f'`{file}`' for file in self.files)})"

    def last_held_out(self, metric: str) -> Point | None:
        return self[f"val/{metric}"][-1] if self[f"val/{metric}"] else None

    def reward_scale(self) -> tuple[str, float, Point] | None:
        """(`raw` or `per_token`, a, where) where rewards are a times the summed or mean log-prob: T-SPIN's, SimPO's.

        Read off the means of the last step.
        """
        if self.has_reference:
            return None
        for order, logp in (("raw", "logp"), ("per_token", "logp_per_token")):
            for phase in ("val", "train"):
                pairs = [(self[f"{phase}/reward/{r}"], self[f"{phase}/{logp}/{r}"]) for r in self.roles[:2]]
                if not all(rewards and logps and rewards[-1].step == logps[-1].step for rewards, logps in pairs):
                    continue
                scales = [rewards[-1].value / logps[-1].value for rewards, logps in pairs if logps[-1].value]
                if len(scales) == 2 and scales[0] > 0 and math.isclose(*scales, rel_tol=1e-3):
                    return order, scales[0], pairs[0][0][-1]
                break
        return None


def where(points: Iterable[Point | None]) -> str:
    """The files of some values and their steps: "`metrics/000.jsonl` step 0, 30"."""
    steps: dict[str, set[int]] = {}
    for point in points:
        if point is not None:
            steps.setdefault(point.file, set()).add(point.step)
    return "; ".join(f"`{file}` step {', '.join(map(str, sorted(found)))}" for file, found in sorted(steps.items()))


def _float(value) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _of_roles() -> tuple[str, ...]:
    return tuple(f"{phase}/{name}/" for phase in PHASES for name in ("reward", "logp", "logp_per_token"))
