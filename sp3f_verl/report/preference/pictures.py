"""The pictures of a preference or self-play run, and how each is read. docs/diagnostics.md."""

from collections.abc import Mapping

from sp3f_verl.report.document.blocks import SHARE, Line, Lines, Picture
from sp3f_verl.report.run_metrics import Point, RunMetrics

# file -> (title, what it shows, what would be bad)
READ = {
    "learning.png": (
        "Loss, accuracy, margin",
        "Accuracy is the share of pairs whose preferred side has the higher reward, margin the mean difference of the "
        "rewards. Where all rewards are equal (a reference, before training) none is higher and accuracy is about 0.",
        "a held-out loss that rises while the training loss falls; an accuracy of 1 within a few steps: the pairs are "
        "too easy to teach much.",
    ),
    "reward_by_role.png": (
        "Rewards",
        "dpo, spin: beta times the log-ratio to reference or opponent. tspin: alpha times the log-likelihood. "
        "tspin_ref: alpha times the log-ratio. simpo: beta times the log-likelihood per token.",
        "both lines falling, the preferred one more slowly.",
    ),
    "log_likelihood.png": (
        "Log-likelihoods",
        "Absolute, under the policy in training: summed over a response, and per token. A sum is lower for a longer "
        "response alone; compare sides per token.",
        "the preferred side falling while the margin grows.",
    ),
    "advantage.png": (
        "Advantages",
        "Current: reward of y minus y'. Historical: y' minus y0 (T-SPIN with beta above 0). Beside them L(y) - L(y') "
        "per token, by iteration where there are several (Fig. 7 of the T-SPIN paper, there in sums).",
        "a gap below 0 under a growing margin, as the paper finds for SPIN; a historical advantage below 0.",
    ),
    "saturation_length.png": (
        "Saturation and lengths",
        "Saturated: pairs whose gradient weight is within 1 % of its limits. Tokens: of responses as trained on.",
        "saturation near 1: nothing more is learned, or alpha is too large for sums of log-probs; a length gap that is "
        "large against the lengths, or grows over iterations.",
    ),
    "drift.png": (
        "Drift and KL",
        "How far the policy went: log-ratio to reference or opponent by side, L of the preferred side against its "
        "value before training, and KL where the run measures it.",
        "the preferred side below 0; KL that grows while the held-out margin does not.",
    ),
    "generation.png": (
        "Generated responses by iteration",
        "Exact match: held-out prompts whose greedy response is the annotated one. Truncated, identical: shares of y'.",
        "truncation that grows; exact match that falls; identical near 1: nothing is left to learn from.",
    ),
}


def _line(points: list[Point]) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in points]


def over_steps(
    run: RunMetrics, metrics: Mapping[str, str], title: str, train: bool = True, share: bool = False
) -> Lines | None:
    """Panel: each metric (-> label) over steps. Faint: training batches. Thick: held-out, broken between iterations,
    where the held-out responses change. None where nothing was logged."""
    phases = ("train", "val", "start") if train else ("val", "start")
    metrics = {name: label for name, label in metrics.items() if any(run[f"{phase}/{name}"] for phase in phases)}
    if not metrics:
        return None
    lines = []
    for colour, (name, label) in enumerate(metrics.items()):
        held_out = any(run.held_out(name, t) for t in run.iterations)
        for t in run.iterations:
            if train:
                lines.append(Line(label, _line(run.within(f"train/{name}", t)), colour, faint=held_out))
            lines.append(Line(label, _line(run.held_out(name, t)), colour, thick=True))
    marks = [(start - 1, f"t={t}") for t, start in list(run.starts.items())[1:]]
    return Lines(title, [line for line in lines if line.points], limits=SHARE if share else None, marks=marks)


def by_iteration(lines: Mapping[str, Mapping[int, float]], title: str, share: bool = False) -> Lines | None:
    """Panel: label -> {iteration: value}. None where all are empty."""
    kept = [(label, list(values.items())) for label, values in lines.items() if values]
    if not kept:
        return None
    drawn = [Line(label, points, colour, thick=True) for colour, (label, points) in enumerate(kept)]
    return Lines(title, drawn, "iteration t", SHARE if share else None, whole=True)


def pictures(run: RunMetrics) -> dict[str, Picture]:
    """File name -> picture, those left out of which nothing was logged."""
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
    panels = {
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
    kept = {name: [panel for panel in row if panel] for name, row in panels.items()}
    return {name: Picture(name, READ[name][0], row) for name, row in kept.items() if row}
