"""The pictures of a preference or self-play run. How to read each: docs/diagnostics.md."""

from collections.abc import Callable
from pathlib import Path

from sp3f_verl.evaluation.plots import axes_of, save
from sp3f_verl.evaluation.run_metrics import Point, RunMetrics

COLOURS = ("#0072B2", "#D55E00", "#009E73")  # Okabe and Ito's, told apart without red and green
BOUNDARY = {"color": "0.45", "linewidth": 0.9, "linestyle": ":"}


def _line(points: list[Point]) -> tuple[list[int], list[float]]:
    return [point.step for point in points], [point.value for point in points]


def over_steps(run: RunMetrics, metrics: dict[str, str], title: str, train: bool = True, share: bool = False):
    """Panel: each metric (-> label) over steps. Thin: training batches. Thick: held-out, broken between iterations,
    where the held-out responses change. None where nothing was logged."""
    phases = ("train", "val", "start") if train else ("val", "start")
    metrics = {name: label for name, label in metrics.items() if any(run[f"{phase}/{name}"] for phase in phases)}
    if not metrics:
        return None

    def draw(axis):
        for (name, label), colour in zip(metrics.items(), COLOURS, strict=False):
            first = next((t for t in run.iterations if run.held_out(name, t)), None)
            for t in run.iterations:
                if train:
                    labelled = label if first is None and t == run.iterations[0] else None
                    thin = {"alpha": 1 if first is None else 0.35, "linewidth": 1, "label": labelled}
                    axis.plot(*_line(run.within(f"train/{name}", t)), color=colour, **thin)
                thick = {"markersize": 4, "linewidth": 2, "label": label if t == first else None}
                axis.plot(*_line(run.held_out(name, t)), "o-", color=colour, **thick)
        for t, start in list(run.starts.items())[1:]:
            axis.axvline(start - 1, **BOUNDARY)
            axis.text(start - 1, 1.02, f"t={t}", transform=axis.get_xaxis_transform(), fontsize=7, color="0.3")
        if share:
            axis.set_ylim(-0.03, 1.03)
        elif axis.get_ylim()[0] < 0 < axis.get_ylim()[1]:
            axis.axhline(0, color="0.4", linewidth=0.8)
        axis.set_title(title, pad=12)
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
        if len(metrics) > 1 or next(iter(metrics.values())):
            axis.legend(fontsize=8)

    return draw


def by_iteration(lines: dict[str, dict[int, float]], title: str, share: bool = False):
    """Panel: label -> {iteration: value}. None where all are empty."""
    lines = {label: values for label, values in lines.items() if values}
    if not lines:
        return None

    def draw(axis):
        for (label, values), colour in zip(lines.items(), COLOURS, strict=False):
            axis.plot(list(values), list(values.values()), "o-", color=colour, label=label)
        axis.set_xticks(sorted({t for values in lines.values() for t in values}))
        if share:
            axis.set_ylim(-0.03, 1.03)
        else:
            axis.axhline(0, color="0.4", linewidth=0.8)
        axis.set_title(title, pad=12)
        axis.set_xlabel("iteration t")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)

    return draw


def pictures(run: RunMetrics) -> dict[str, list[Callable]]:
    """File name -> its panels, those left out of which nothing was logged."""
    first = run.roles[0]

    def by_role(name: str) -> dict[str, str]:
        return {f"{name}/{role}": role for role in run.roles}

    if run.starts:
        starts = {t: run.before("gap/per_token", t) for t in run.iterations}
        ends = {t: run.after("gap/per_token", t)[-1:] for t in run.iterations}
        lines = {
            "start: policy t": {t: point.value for t, point in starts.items() if point},
            "end: policy t+1": {t: points[0].value for t, points in ends.items() if points},
        }
        gap = by_iteration(lines, "L(y) - L(y') per token, held-out")
    else:
        gap = over_steps(run, {"gap/per_token": ""}, f"L({first}) - L({run.roles[1]}) per token")
    history = run["val/history_margin"] or run["train/history_margin"]
    held_out = any(run[f"{phase}/margin"] for phase in ("val", "start"))
    advantages = {"margin": "current (margin)" if history else "", "history_margin": "historical (history_margin)"}
    saturated = {"saturated": "current" if history else "", "saturated_history": "historical"}
    drift = {"log_ratio/" + role: role for role in run.roles}
    kl = {"kl_from_opponent": "from the opponent", "kl_from_initial": "from the initial policy"}
    policies = {
        label: {t: point.value for t, point in run.of_policy(f"generation/{name}").items()}
        for name, label in {"exact_match": "exact match", "truncated": "truncated", "identical": "identical"}.items()
    }
    found = {
        "learning.png": [
            over_steps(run, {"loss": ""}, "loss"),
            over_steps(run, {"accuracy": ""}, "accuracy", share=True),
            over_steps(run, {"margin": ""}, "margin"),
        ],
        "reward_by_role.png": [over_steps(run, by_role("reward"), "reward")],
        "log_likelihood.png": [
            over_steps(run, by_role("logp"), "log-likelihood, sum (nats)"),
            over_steps(run, by_role("logp_per_token"), "log-likelihood per token (nats)"),
        ],
        "advantage.png": [
            over_steps(run, advantages, "advantages, held-out" if held_out else "advantages", train=not held_out),
            gap,
        ],
        "saturation_length.png": [
            over_steps(run, saturated, "saturated share", share=True),
            over_steps(run, {"length_gap": ""}, f"tokens, {first} minus {run.roles[1]}"),
            over_steps(run, by_role("tokens"), "tokens of a response"),
        ],
        "drift.png": [
            over_steps(run, drift, "log-ratio to the reference (nats)"),
            over_steps(run, {"drift": ""}, f"L({first}) since the start, held-out (nats)", train=False),
            over_steps(run, kl, "KL (nats a response)", train=False),
        ],
        "generation.png": [by_iteration(policies, "responses of policy t, shares", share=True)],
    }
    return {name: kept for name, panels in found.items() if (kept := [panel for panel in panels if panel])}


def write_pictures(run: RunMetrics, folder: Path) -> list[str]:
    """Draw what the run has; answers the file names."""
    found = pictures(run)
    for name, panels in found.items():
        plt, figure, axes = axes_of(len(panels), max(4.2 * len(panels), 6.0))
        for panel, axis in zip(panels, axes if len(panels) > 1 else [axes], strict=True):
            panel(axis)
        save(plt, figure, folder / name)
    return list(found)
