"""Several preference or self-play runs side by side: final held-out metrics, and by iteration what counts there."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from sp3f_verl.report.document.blocks import Block, Table, across, paragraph
from sp3f_verl.report.document.escape import Markdown, code
from sp3f_verl.report.preference.tables import held_out_metrics
from sp3f_verl.report.run_metrics import Point, RunMetrics, where
from sp3f_verl.report.side_by_side import sources
from sp3f_verl.stats.format import mean_and_spread, number

SEED = re.compile(r"(?:(?<=[-_.])|^)(?:seed|s)[-_=]?\d+(?=[-_.]|$)", re.IGNORECASE)  # seed1, s1, tspin-seed_2
ORDERS = [f"order_{order}/{cell}" for order in ("raw", "per_token") for cell in ("reward_only", "logp_only")]
SYMBOLS = ("y", "y'", "y0")  # of the roles, in their order
Groups = dict[str, list[RunMetrics]]


def compare_runs(runs: Sequence[RunMetrics]) -> list[Block]:
    """Runs are seeds of one experiment where their paths differ in `seedN` or `sN` only, and loss, objectives and last
    step are the same; every other run is a column of its own."""
    groups = _groups(runs)
    blocks: list[Block] = [
        paragraph(f"""Final held-out metrics, {len(runs)} runs; ± is the sample standard deviation over seeds.
y: chosen or real, y': rejected or generated, y0: proto. Losses, rewards and margins of different objectives are not on
one scale; the log-likelihoods (L, nats) and their gaps are. `order_raw` is a tautology for T-SPIN."""),
        _final(groups),
    ]
    if any(run.starts for run in runs):
        blocks += [
            paragraph("""By iteration: greedy exact match of policy t on held-out prompts,
and the held-out gap L(y) - L(y') per token at the end of iteration t."""),
            _by_iteration(groups),
        ]
    return [*blocks, sources(_sources(groups))]


def _groups(runs: Sequence[RunMetrics]) -> Groups:
    common = os.path.commonpath([run.folder.resolve().parent for run in runs])
    same: dict[tuple, list[RunMetrics]] = {}
    for run in runs:
        parts = run.folder.resolve().relative_to(common).parts
        stem = "/".join(kept for part in parts if (kept := SEED.sub("", part).strip("-_.")))
        key = (stem, run.loss, run.roles, str(run.objectives), _last_step(run))
        same.setdefault(key, []).append(run)
    labels: Groups = {}
    for (stem, loss, *_), members in same.items():
        label = f"{stem} ({loss})" if stem and loss and loss not in stem else stem or loss
        label = label or members[0].folder.resolve().parent.name  # seeds of one experiment stand in its folder
        labels[label if label not in labels else str(members[0].folder)] = members
    return labels


def _last_step(run: RunMetrics) -> int | None:
    return max(
        (points[-1].step for name, points in run.series.items() if name.startswith("val/") and points), default=None
    )


def _heads(groups: Groups) -> list[str]:
    return [f"{label}, {len(runs)} seeds" if len(runs) > 1 else label for label, runs in groups.items()]


def _cell(runs: Sequence[RunMetrics], value: Callable[[RunMetrics], float | None]) -> str:
    values = [known for run in runs if (known := value(run)) is not None]
    text = mean_and_spread(values) if len(values) > 1 else number(values[0] if values else None)
    return text + (f" ({len(values)} of {len(runs)})" if 0 < len(values) < len(runs) else "")


def _final(groups: Groups) -> Table:
    runs = [run for members in groups.values() for run in members]
    names = max((held_out_metrics(run) for run in runs), key=len)
    roles = max((run.roles for run in runs), key=len)

    def of_place(name: str, names: Sequence[str]) -> str:
        """The metric of a role under what the role at that place is called elsewhere; empty where there is none."""
        metric, _, role = name.partition("/")
        if role not in roles:
            return name
        return f"{metric}/{names[place]}" if (place := roles.index(role)) < len(names) else ""

    rows = {code(of_place(name, SYMBOLS)): name for name in (*names, *ORDERS)}

    def value(run: RunMetrics, row: str) -> float | None:
        return _value(run.last_held_out(of_place(rows[row], run.roles)))

    def cell(members: Sequence[RunMetrics], row: str) -> str:
        return _cell(members, lambda run: value(run, row))

    return across("last held-out", dict(zip(_heads(groups), groups.values(), strict=True)), rows, cell)


def _by_iteration(groups: Groups) -> Table:
    kinds = {
        "exact match": lambda run, t: _value(run.of_policy("generation/exact_match").get(t)),
        "gap": lambda run, t: _value((_gaps(run, t) or [None])[-1]),
    }
    heads = dict(zip(_heads(groups), groups.values(), strict=True))
    columns = {f"{kind}: {head}": (runs, value_of) for kind, value_of in kinds.items() for head, runs in heads.items()}

    def cell(column: tuple, t: str) -> str:
        runs, value_of = column
        return _cell(runs, lambda run: value_of(run, int(t)))

    last = max(run.iterations[-1] for runs in groups.values() for run in runs)
    return across("t", columns, map(str, range(last + 2)), cell)


def _gaps(run: RunMetrics, t: int) -> list[Point]:
    return run.after("gap/per_token", t) if t in run.starts else []


def _sources(groups: Groups) -> Iterator[tuple[str, Path, Markdown]]:
    for label, runs in groups.items():
        for run in runs:
            points = [run.last_held_out(name) for name in held_out_metrics(run)]
            points += run.of_policy("generation/exact_match").values()
            points += [point for t in run.starts for point in _gaps(run, t)[-1:]]
            yield label, run.folder, where(points) or Markdown("nothing held out")


def _value(point: Point | None) -> float | None:
    return point.value if point else None
