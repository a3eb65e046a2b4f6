"""The tables of a preference or self-play run; every row or caption names the file its numbers stand in."""

from statistics import median

from sp3f_verl.report.document.model import Table, Text
from sp3f_verl.report.run_metrics import Point, RunMetrics, where
from sp3f_verl.stats.format import number

ORDERS = {"raw": "raw (sums)", "per_token": "per token"}
CELLS = ("both", "reward_only", "logp_only", "neither")
LAST = 10  # training steps whose mean stands for `train`: one batch is noise


def held_out_metrics(run: RunMetrics) -> list[str]:
    """Names (without phase) in the order of the report, for the roles of the run."""
    names = ["loss", "accuracy", "margin", "history_accuracy", "history_margin", "gap/sum", "gap/per_token"]
    for metric in ("reward", "logp", "logp_per_token", "log_ratio", "tokens"):
        names += [f"{metric}/{role}" for role in run.roles]
    return [*names, "length_gap", "drift", "saturated", "saturated_history", "kl_from_opponent", "kl_from_initial"]


def held_out_table(run: RunMetrics) -> Table:
    """First and last held-out values of the last iteration (of the whole run where it does not iterate)."""
    rows = []
    for name in held_out_metrics(run):
        points = run.held_out(name, run.iterations[-1])
        if len(points) == 1:
            rows.append([f"`{name}`", "–", number(points[0].value), "–", where(points)])
        elif points:
            first, last = points[0], points[-1]
            change = number(last.value - first.value)
            rows.append([f"`{name}`", number(first.value), number(last.value), change, where([first, last])])
    return Table(["held-out", "first", "last", "change", "from"], rows)


def training_table(run: RunMetrics) -> list[Table]:
    told = {
        "train/grad_norm": ("gradient norm, median and largest", (median, max)),
        "train/lr": ("learning rate, largest and last", (max, lambda values: values[-1])),
        "train/epoch": ("epoch at the end (counted from 0)", (lambda values: values[-1],)),
        "perf/tokens_per_second": ("tokens per second, median", (median,)),
        "timing_s/step": ("seconds in training steps, sum", (sum,)),
    }
    rows = []
    for name, (label, functions) in told.items():
        if points := run[name]:
            values = [point.value for point in points]
            said = ", ".join(f"{function(values):.4g}" for function in functions)
            rows.append([f"{label} (`{name}`)", said, span(points)])
    return [Table(["training", "value", "from"], rows)] if rows else []


def span(points: list[Point]) -> str:
    """The files of many values, and the first and last step of each."""
    by_file: dict[str, list[int]] = {}
    for point in points:
        by_file.setdefault(point.file, []).append(point.step)
    spans = {
        file: f"{min(steps)} to {max(steps)}" if len(steps) > 1 else f"{steps[0]}" for file, steps in by_file.items()
    }
    return "; ".join(f"`{file}` step {span}" for file, span in sorted(spans.items()))


def contingency(
    run: RunMetrics, phase: str, order: str, iteration: int | None = None
) -> tuple[dict[str, float], list[Point]] | None:
    """(cell -> share of pairs, the points it comes from) of the last or a given iteration; None where a cell is not
    there. val: the last step that has all cells. train: the mean over the last `LAST` such steps.
    """
    iteration = run.iterations[-1] if iteration is None else iteration
    cells = {cell: {p.step: p for p in run.within(f"{phase}/order_{order}/{cell}", iteration)} for cell in CELLS}
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
            found = contingency(run, phase, order)
            if found is None:
                continue
            shares, points = found
            source = span(points) + (f", mean of {len(points)}" * (len(points) > 1))
            total = sum(shares.values())
            wrong = "" if abs(total - 1) < 0.005 else f"; the cells add up to {total:.3f} instead of 1: do not use them"
            rows = [
                [f"r({first}) > r({second})", number(shares["both"]), number(shares["reward_only"])],
                [f"r({first}) ≤ r({second})", number(shares["logp_only"]), number(shares["neither"])],
            ]
            blocks.append(Text(f"**{title}, {how}** (from {source}){wrong}:"))
            blocks.append(
                Table(["", f"L({first}) > L({second})", f"L({first}) ≤ L({second})"], rows, f"{title}, {how}")
            )
    return blocks or [Text("Not logged: `order_raw/*`, `order_per_token/*`.")]
