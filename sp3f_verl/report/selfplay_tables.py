"""The tables of a self-play run by iteration; every row names the files its numbers stand in."""

from sp3f_verl.report.document.inline import plain
from sp3f_verl.report.document.model import Table
from sp3f_verl.report.preference_tables import CELLS, ORDERS, contingency
from sp3f_verl.report.run_metrics import Point, RunMetrics, where
from sp3f_verl.stats.format import number

COUNTS = ("rows", "usable", "asked_again")


def generated_table(run: RunMetrics) -> Table:
    """By policy: what pi_t generated for iteration t; the last row is the policy that ends the run."""
    names = ["rows", "usable", "truncated", "identical", "tokens", "exact_match"]
    logged = sorted(name.removeprefix("generation/") for name in run.series if name.startswith("generation/"))
    names += [name for name in logged if name not in names]
    found = {name: run.of_policy(f"generation/{name}") for name in names}
    found["rollout_logp_diff_max"] = run.of_policy("start/rollout_logp_diff_max")
    rows = []
    for t in sorted({t for values in found.values() for t in values} | set(run.manifests)):
        points = [values.get(t) for values in found.values()]
        manifest, file = run.manifests.get(t, ({}, ""))
        sources = [where(points), f"`{file}`" if file else ""]
        rows.append(
            [
                str(t) if t in run.starts else f"{t} (final)",
                _objective(run.objectives.get(t, {})),
                plain(manifest.get("steps", "–")),
                *(_count(name, point) for name, point in zip(found, points, strict=True)),
                _dropped(manifest.get("dropped")),
                "; ".join(filter(None, sources)),
            ]
        )
    header = ["policy t", "trained with", "steps", *(f"`{name}`" for name in found), "left out, by reason", "from"]
    return _without_empty_columns(header, rows)


def learned_table(run: RunMetrics) -> Table:
    """By iteration: held-out metrics at its start and end."""
    changing = ("accuracy", "margin", "history_margin", "gap/per_token", f"logp_per_token/{run.roles[0]}")
    ending = ("saturated", "saturated_history", "length_gap", "kl_from_opponent", "kl_from_initial")
    rows = []
    for t in run.iterations:
        cells, used = [], []
        for name in (*changing, *ending):
            before, after = run.before(name, t), (run.after(name, t) or [None])[-1]
            both = name in changing and before is not None
            if both:
                used.append(before)
            used.append(after)
            cells.append((f"{_value(before)} → " if both else "") + _value(after))
        rows.append([str(t), *cells, where(used) or "–"])
    return _without_empty_columns(["t", *(f"`{name}`" for name in (*changing, *ending)), "from"], rows)


def orders_by_iteration(run: RunMetrics) -> list[Table]:
    """The 2x2 contingencies, held-out at the end of each iteration, a row each."""
    rows = []
    for t in run.iterations:
        found = [contingency(run, "val", order, t) for order in ORDERS]
        if any(found):
            cells = [number(each[0][cell] if each else None) for each in found for cell in CELLS]
            rows.append([str(t), *cells, where(point for each in found if each for point in each[1])])
    header = ["t", *(f"{how}: {cell}" for how in ORDERS.values() for cell in CELLS), "from"]
    return [Table(header, rows)] if rows else []


def _value(point: Point | None) -> str:
    return number(point.value if point else None)


def _count(name: str, point: Point | None) -> str:
    return f"{point.value:.0f}" if point and name in COUNTS else _value(point)


def _objective(objective: dict) -> str:
    names = [plain(objective[name]) for name in ("loss", "loss_type") if name in objective]
    return (
        ", ".join([*names, *(f"{name} {objective[name]:g}" for name in ("alpha", "beta") if name in objective)]) or "–"
    )


def _dropped(dropped) -> str:
    """Of {reason: count}, or {split: {reason: count}}."""
    if not isinstance(dropped, dict):
        return "–"
    if any(isinstance(each, dict) for each in dropped.values()):
        return "; ".join(f"{plain(split)}: {_dropped(each)}" for split, each in dropped.items())
    return ", ".join(f"{count} {plain(reason)}" for reason, count in sorted(dropped.items()) if count) or "none"


def _without_empty_columns(header: list[str], rows: list[list[str]]) -> Table:
    kept = [i for i in range(len(header)) if any(row[i] != "–" for row in rows)]
    return Table([header[i] for i in kept], [[row[i] for i in kept] for row in rows])
