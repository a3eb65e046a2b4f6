"""The tables of a preference or self-play run; below each stands the file that its numbers are from."""

from collections.abc import Mapping
from statistics import median
from typing import Any

from sp3f_verl.report.document.blocks import Table, Text, listed, paragraph
from sp3f_verl.report.document.escape import Markdown, code, joined
from sp3f_verl.report.preference.run import PreferenceRun
from sp3f_verl.report.run_metrics import span, where
from sp3f_verl.stats.format import number
from sp3f_verl.training.metrics_log import Point
from sp3f_verl.training.selfplay.record import IterationManifest

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


def held_out_metrics(run: PreferenceRun) -> list[str]:
    """Names (without phase) in the order of the report, for the roles of the run."""
    names = ["loss", "accuracy", "margin", "history_accuracy", "history_margin", "gap/sum", "gap/per_token"]
    for metric in ("reward", "logp", "logp_per_token", "log_ratio", "tokens"):
        names += [f"{metric}/{role}" for role in run.roles]
    return [*names, "length_gap", "drift", "saturated", "saturated_history", "kl_from_opponent", "kl_from_initial"]


def held_out_table(run: PreferenceRun) -> Table:
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


def training_table(run: PreferenceRun) -> list[Table]:
    labels = {Markdown("{} ({})").format(label, code(name)): name for name, (label, _) in TRAINING.items() if run[name]}

    def cell(name: str) -> str:
        values = [point.value for point in run[name]]
        return ", ".join(f"{function(values):.4g}" for function in TRAINING[name][1])

    used = [point for name in labels.values() for point in run[name]]
    return [listed("training", labels, {"value": cell}, span(used))] if labels else []


# ---- reward order against log-likelihood order ---------------------------------------------------------------------


def contingency(
    run: PreferenceRun, phase: str, order: str, iteration: int | None = None
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


def contingency_tables(run: PreferenceRun) -> list[Text | Table]:
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


def orders_by_iteration(run: PreferenceRun) -> list[Table]:
    """The 2x2 contingencies, held-out at the end of each iteration, a row each."""
    orders = {str(t): {order: contingency(run, "val", order, t) for order in ORDERS} for t in run.iterations}
    orders = {t: by_order for t, by_order in orders.items() if any(by_order.values())}
    columns = {
        f"{how}: {cell}": lambda by_order, order=order, cell=cell: number(
            by_order[order][0][cell] if by_order[order] else None
        )
        for order, how in ORDERS.items()
        for cell in CELLS
    }
    used = [point for by_order in orders.values() for cells in by_order.values() if cells for point in cells[1]]
    return [listed("t", orders, columns, where(used))] if orders else []


# ---- self-play, by iteration ---------------------------------------------------------------------------------------


def generated_table(run: PreferenceRun) -> Table:
    """By policy: what pi_t generated for iteration t; the last row is the policy that ends the run."""
    names = ["rows", "usable", "truncated", "identical", "tokens", "exact_match"]
    names += sorted(name.removeprefix("generation/") for name in run.series if name.startswith("generation/"))
    values = {name: run.of_policy(f"generation/{name}") for name in dict.fromkeys(names)}
    values["rollout_logp_diff_max"] = run.of_policy("start/rollout_logp_diff_max")
    policies = sorted({t for points in values.values() for t in points} | set(run.manifests))
    manifests = {t: run.manifests[t][0] if t in run.manifests else IterationManifest(iteration=t) for t in policies}
    columns = {
        "trained with": lambda t: _objective(run.objectives.get(t, {})),
        "steps": lambda t: "–" if manifests[t].steps is None else str(manifests[t].steps),
        **{code(name): lambda t, name=name: _count(name, values[name].get(t)) for name in values},
        "left out, by reason": lambda t: _dropped(manifests[t].dropped),
    }
    used = where(point for points in values.values() for point in points.values())
    files = joined([*([used] if used else []), *(code(file) for _, file in run.manifests.values())], "; ")
    rows = {str(t) if t in run.starts else f"{t} (final)": t for t in policies}
    return listed("policy t", rows, columns, files, sparse=True)


def learned_table(run: PreferenceRun) -> Table:
    """By iteration: held-out metrics at its start and end."""
    changing = ("accuracy", "margin", "history_margin", "gap/per_token", f"logp_per_token/{run.roles[0]}")
    ending = ("saturated", "saturated_history", "length_gap", "kl_from_opponent", "kl_from_initial")

    def points(name: str, t: int) -> list[Point | None]:
        """At the start, where it is known and may change, and at the end."""
        before = run.before(name, t) if name in changing else None
        return [*([before] if before else []), (run.after(name, t) or [None])[-1]]

    columns = {
        code(name): lambda t, name=name: " → ".join(map(shown, points(name, t))) for name in (*changing, *ending)
    }
    used = [point for t in run.iterations for name in (*changing, *ending) for point in points(name, t)]
    return listed("t", {str(t): t for t in run.iterations}, columns, where(used), sparse=True)


def shown(point: Point | None) -> str:
    return number(point.value if point else None)


def _count(name: str, point: Point | None) -> str:
    return f"{point.value:.0f}" if point and name in COUNTS else shown(point)


def _objective(objective: Mapping[str, Any]) -> str:
    names = [str(objective[name]) for name in ("loss", "loss_type") if name in objective]
    scales = [f"{name} {objective[name]}" for name in ("alpha", "beta") if name in objective]
    return ", ".join([*names, *scales]) or "–"


def _dropped(dropped: Mapping[str, Any] | None) -> str:
    """Of {reason: count}, or {split: {reason: count}}."""
    if dropped is None:
        return "–"
    if any(isinstance(counts, dict) for counts in dropped.values()):
        return "; ".join(f"{split}: {_dropped(counts)}" for split, counts in dropped.items())
    return ", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items()) if count) or "none"
