"""Several preference or self-play runs side by side: final held-out metrics, and by iteration what counts there."""

import os
import re
from collections.abc import Callable, Sequence

from sp3f_verl.report.document.blocks import Block, Section, Table, paragraph
from sp3f_verl.report.document.escape import Markdown, code
from sp3f_verl.report.preference.tables import held_out_metrics
from sp3f_verl.report.run_metrics import Point, RunMetrics, where
from sp3f_verl.stats.format import mean_and_spread, number

SEED = re.compile(r"(?:(?<=[-_.])|^)(?:seed|s)[-_=]?\d+(?=[-_.]|$)", re.IGNORECASE)  # seed1, s1, tspin-seed_2
ORDERS = [f"order_{order}/{cell}" for order in ("raw", "per_token") for cell in ("reward_only", "logp_only")]
SYMBOLS = ("y", "y'", "y0")  # of the roles, in their order
Groups = dict[str, list[RunMetrics]]


def compare(runs: Sequence[RunMetrics]) -> list[Block]:
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
    return [*blocks, Section("Where the numbers come from", _sources(groups))]


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
    rows = []
    for name in (*names, *ORDERS):
        metric, _, role = name.partition("/")
        place = roles.index(role) if role in roles else None

        def value(run: RunMetrics, metric=metric, name=name, place=place) -> float | None:
            if place is not None:
                name = f"{metric}/{run.roles[place]}" if place < len(run.roles) else ""
            point = run.last_held_out(name)
            return point and point.value

        cells = [_cell(members, value) for members in groups.values()]
        if any(cell != "–" for cell in cells):
            rows.append([code(name if place is None else f"{metric}/{SYMBOLS[place]}"), *cells])
    return Table(["last held-out", *_heads(groups)], rows)


def _by_iteration(groups: Groups) -> Table:
    def exact(t: int) -> Callable[[RunMetrics], float | None]:
        return lambda run: (point := run.of_policy("generation/exact_match").get(t)) and point.value

    def gap(t: int) -> Callable[[RunMetrics], float | None]:
        return lambda run: points[-1].value if (points := _gaps(run, t)) else None

    kinds = {"exact match": exact, "gap": gap}
    last = max(run.iterations[-1] for runs in groups.values() for run in runs)
    rows = [
        [str(t), *(_cell(runs, kind(t)) for kind in kinds.values() for runs in groups.values())]
        for t in range(last + 2)
    ]
    header = ["t", *(f"{kind}: {head}" for kind in kinds for head in _heads(groups))]
    return Table(header, [row for row in rows if any(cell != "–" for cell in row[1:])])


def _gaps(run: RunMetrics, t: int) -> list[Point]:
    return run.after("gap/per_token", t) if t in run.starts else []


def _sources(groups: Groups) -> list[Section]:
    """A section a run: links are relative to its folder."""
    sections = []
    for label, runs in groups.items():
        for run in runs:
            points = [run.last_held_out(name) for name in held_out_metrics(run)]
            points += run.of_policy("generation/exact_match").values()
            points += [point for t in run.starts for point in _gaps(run, t)[-1:]]
            files = where(points) or Markdown("nothing held out")
            sections.append(Section(label, [paragraph("{}: {}", run.folder, files)], run.folder))
    return sections
