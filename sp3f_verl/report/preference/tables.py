"""The tables of a preference or self-play run; below each stands the file that its numbers are from."""

from collections.abc import Mapping
from statistics import median
from typing import Any

from sp3f_verl.report.document.blocks import Table, Text, paragraph
from sp3f_verl.report.document.escape import Markdown, code, joined
from sp3f_verl.report.run_metrics import Point, RunMetrics, span, where
from sp3f_verl.stats.format import number

ORDERS = {"raw": "raw (sums)", "per_token": "per token"}
CELLS = ("both", "reward_only", "logp_only", "neither")
LAST = 10  # training steps whose mean stands for `train`: one batch is noise
COUNTS = ("rows", "usable", "asked_again")
TRAINING = {
    "train/grad_norm": ("gradient norm, median and largest", (median, max)),
    "train/lr": ("learning rate, largest and last", (max, lambda values: values[-1])),
    "train/epoch": ("epoch at the end (counted from 0)", (lambda values: values[-1],)),
    "perf/tokens_per_second": ("tokens per second, median", (median,)),
    "timing_s/step": ("seconds in training steps, sum", (sum,)),
}


def held_out_metrics(run: RunMetrics) -> list[str]:
    """Names (without phase) in the order of the report, for the roles of the run."""
    names = ["loss", "accuracy", "margin", "history_accuracy", "history_margin", "gap/sum", "gap/per_token"]
    for metric in ("reward", "logp", "logp_per_token", "log_ratio", "tokens"):
        names += [f"{metric}/{role}" for role in run.roles]
    return [*names, "length_gap", "drift", "saturated", "saturated_history", "kl_from_opponent", "kl_from_initial"]


def held_out_table(run: RunMetrics) -> Table:
    """First and last held-out values of the last iteration (of the whole run where it does not iterate)."""
    rows, used = [], []
    for name in held_out_metrics(run):
        points = run.held_out(name, run.iterations[-1])
        if len(points) == 1:
            rows.append([code(name), "–", number(points[0].value), "–"])
        elif points:
            first, last = points[0].value, points[-1].value
            rows.append([code(name), number(first), number(last), number(last - first)])
        used += [points[0], points[-1]] if points else []
    return Table(["held-out", "first", "last", "change"], rows, where(used))


def training_table(run: RunMetrics) -> list[Table]:
    rows, used = [], []
    for name, (label, functions) in TRAINING.items():
        if points := run[name]:
            values = [point.value for point in points]
            shown = ", ".join(f"{function(values):.4g}" for function in functions)
            rows.append([Markdown("{} ({})").format(label, code(name)), shown])
            used += points
    return [Table(["training", "value"], rows, span(used))] if rows else []


# ---- reward order against log-likelihood order ---------------------------------------------------------------------


def contingency(
    run: RunMetrics, phase: str, order: str, iteration: int | None = None
) -> tuple[dict[str, float], list[Point]] | None:
    """(cell -> share of pairs, the points it comes from) of the last or a given iteration; None where a cell is not
    there. val: the last step that has all cells. train: the mean over the last `LAST` such steps.
    """
    iteration = run.iterations[-1] if iteration is None else iteration
    cells = {
        cell: {point.step: point for point in run.within(f"{phase}/order_{order}/{cell}", iteration)} for cell in CELLS
    }
    steps = sorted(set.intersection(*(set(points) for points in cells.values())))[-(LAST if phase == "train" else 1) :]
    if not steps:
        return None
    shares = {cell: sum(points[step].value for step in steps) / len(steps) for cell, points in cells.items()}
    return shares, [cells["both"][step] for step in steps]


def contingency_tables(run: RunMetrics) -> list[Text | Table]:
    """Reward order against log-likelihood order: 2x2, raw and per token, held-out and in training."""
    first, second = run.roles[:2]
    blocks: list[Text | Table] = []
    for phase, title in (("val", "held-out"), ("train", "training batches")):
        for order, how in ORDERS.items():
            cells = contingency(run, phase, order)
            if cells is None:
                continue
            shares, points = cells
            mean = f", mean of {len(points)}" if len(points) > 1 else ""
            total = sum(shares.values())
            wrong = "" if abs(total - 1) < 0.005 else f"; the cells add up to {total:.3f} instead of 1: do not use them"
            rows = [
                [f"r({first}) > r({second})", number(shares["both"]), number(shares["reward_only"])],
                [f"r({first}) ≤ r({second})", number(shares["logp_only"]), number(shares["neither"])],
            ]
            header = ["", f"L({first}) > L({second})", f"L({first}) ≤ L({second})"]
            blocks.append(paragraph("**{}, {}**{}:", title, how, wrong))
            blocks.append(Table(header, rows, Markdown("{}{}").format(span(points), mean)))
    return blocks or [paragraph("Not logged: `order_raw/*`, `order_per_token/*`.")]


def orders_by_iteration(run: RunMetrics) -> list[Table]:
    """The 2x2 contingencies, held-out at the end of each iteration, a row each."""
    rows, used = [], []
    for t in run.iterations:
        orders = [contingency(run, "val", order, t) for order in ORDERS]
        if any(orders):
            rows.append([str(t), *(number(own[0][cell] if own else None) for own in orders for cell in CELLS)])
            used += [point for own in orders if own for point in own[1]]
    header = ["t", *(f"{how}: {cell}" for how in ORDERS.values() for cell in CELLS)]
    return [Table(header, rows, where(used))] if rows else []


# ---- self-play, by iteration ---------------------------------------------------------------------------------------


def generated_table(run: RunMetrics) -> Table:
    """By policy: what pi_t generated for iteration t; the last row is the policy that ends the run."""
    names = ["rows", "usable", "truncated", "identical", "tokens", "exact_match"]
    logged = sorted(name.removeprefix("generation/") for name in run.series if name.startswith("generation/"))
    names += [name for name in logged if name not in names]
    values = {name: run.of_policy(f"generation/{name}") for name in names}
    values["rollout_logp_diff_max"] = run.of_policy("start/rollout_logp_diff_max")
    rows = []
    for t in sorted({t for points in values.values() for t in points} | set(run.manifests)):
        manifest, _ = run.manifests.get(t, ({}, ""))
        rows.append(
            [
                str(t) if t in run.starts else f"{t} (final)",
                _objective(run.objectives.get(t, {})),
                str(manifest.get("steps", "–")),
                *(_count(name, points.get(t)) for name, points in values.items()),
                _dropped(manifest.get("dropped")),
            ]
        )
    header = ["policy t", "trained with", "steps", *map(code, values), "left out, by reason"]
    used = where(point for points in values.values() for point in points.values())
    files = [code(file) for _, file in run.manifests.values()]
    return _without_empty_columns(header, rows, joined([*([used] if used else []), *files], "; "))


def learned_table(run: RunMetrics) -> Table:
    """By iteration: held-out metrics at its start and end."""
    changing = ("accuracy", "margin", "history_margin", "gap/per_token", f"logp_per_token/{run.roles[0]}")
    ending = ("saturated", "saturated_history", "length_gap", "kl_from_opponent", "kl_from_initial")
    rows, used = [], []
    for t in run.iterations:
        cells = []
        for name in (*changing, *ending):
            before, after = run.before(name, t), (run.after(name, t) or [None])[-1]
            both = name in changing and before is not None
            used += [before, after] if both else [after]
            cells.append((f"{_value(before)} → " if both else "") + _value(after))
        rows.append([str(t), *cells])
    return _without_empty_columns(["t", *map(code, (*changing, *ending))], rows, where(used))


def _value(point: Point | None) -> str:
    return number(point.value if point else None)


def _count(name: str, point: Point | None) -> str:
    return f"{point.value:.0f}" if point and name in COUNTS else _value(point)


def _objective(objective: Mapping[str, Any]) -> str:
    names = [str(objective[name]) for name in ("loss", "loss_type") if name in objective]
    scales = [f"{name} {objective[name]}" for name in ("alpha", "beta") if name in objective]
    return ", ".join([*names, *scales]) or "–"


def _dropped(dropped: Any) -> str:
    """Of {reason: count}, or {split: {reason: count}}."""
    if not isinstance(dropped, dict):
        return "–"
    if any(isinstance(counts, dict) for counts in dropped.values()):
        return "; ".join(f"{split}: {_dropped(counts)}" for split, counts in dropped.items())
    return ", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items()) if count) or "none"


def _without_empty_columns(header: list[str], rows: list[list[str]], source: str) -> Table:
    kept = [at for at in range(len(header)) if any(row[at] != "–" for row in rows)]
    return Table([header[at] for at in kept], [[row[at] for at in kept] for row in rows], source)
