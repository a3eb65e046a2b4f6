"""The pictures of a preference or self-play run, and how each is read. docs/diagnostics.md."""

from collections.abc import Mapping, Sequence

from sp3f_verl.report.document.blocks import SHARE, Line, Lines, Picture, picture
from sp3f_verl.report.preference.run import PHASES, PreferenceRun
from sp3f_verl.training.metrics_log import Point

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
        "tspin_ref: alpha times the log-ratio. simpo: beta times the log-likelihood per token. "
        "simpo_ref: beta times the log-ratio per token.",
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
HELD_OUT = ("val", "start")
ADVANTAGES = {"margin": "current (margin)", "history_margin": "historical (history_margin)"}
SATURATED = {"saturated": "current", "saturated_history": "historical"}
KL = {"kl_from_opponent": "from the opponent", "kl_from_initial": "from the initial policy"}
GENERATED = {"exact_match": "exact match", "truncated": "truncated", "identical": "identical"}
# (file, title, metrics: one, `/*` for one a role, or metric -> label; phases, limits)
PANELS = (
    ("learning.png", "loss", "loss", PHASES, None),
    ("learning.png", "accuracy", "accuracy", PHASES, SHARE),
    ("learning.png", "margin", "margin", PHASES, None),
    ("reward_by_role.png", "reward", "reward/*", PHASES, None),
    ("log_likelihood.png", "log-likelihood, sum (nats)", "logp/*", PHASES, None),
    ("log_likelihood.png", "log-likelihood per token (nats)", "logp_per_token/*", PHASES, None),
    ("advantage.png", "advantages, held-out", ADVANTAGES, HELD_OUT, None),
    ("saturation_length.png", "saturated share", SATURATED, PHASES, SHARE),
    ("saturation_length.png", "tokens, {0} minus {1}", "length_gap", PHASES, None),
    ("saturation_length.png", "tokens of a response", "tokens/*", PHASES, None),
    ("drift.png", "log-ratio to the reference (nats)", "log_ratio/*", PHASES, None),
    ("drift.png", "L({0}) since the start, held-out (nats)", "drift", HELD_OUT, None),
    ("drift.png", "KL (nats a response)", KL, HELD_OUT, None),
)


def pictures(run: PreferenceRun) -> dict[str, Picture]:
    """File name -> picture, those left out of which nothing was logged."""
    panels: dict[str, list[Lines | None]] = {file: [] for file in READ}
    for file, title, metrics, phases, limits in PANELS:
        panels[file].append(_over_steps(run, title.format(*run.roles), metrics, phases, limits))
    advantages = panels["advantage.png"]
    if advantages == [None]:
        advantages[0] = _over_steps(run, "advantages", ADVANTAGES, PHASES)
    if run.starts:
        ends = {t: run.after("gap/per_token", t)[:1] for t in run.iterations}
        gaps = {
            "start: policy t": {t: run.before("gap/per_token", t) for t in run.iterations},
            "end: policy t+1": {t: points[0] for t, points in ends.items() if points},
        }
        advantages.append(_by_iteration(gaps, "L(y) - L(y') per token, held-out"))
    else:
        advantages.append(_over_steps(run, "L({}) - L({}) per token".format(*run.roles), "gap/per_token", PHASES))
    policies = {label: run.of_policy(f"generation/{name}") for name, label in GENERATED.items()}
    panels["generation.png"].append(_by_iteration(policies, "responses of policy t, shares", SHARE))
    drawn = [one for file, (title, *_) in READ.items() for one in picture(file, title, panels[file])]
    return {one.file: one for one in drawn}


def _line(points: Sequence[Point]) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in points]


def _over_steps(
    run: PreferenceRun,
    title: str,
    metrics: str | Mapping[str, str],
    phases: Sequence[str],
    limits: tuple[float, float] | None = None,
) -> Lines | None:
    """Each metric over steps. Faint: training batches. Thick: held-out, broken between iterations, where the held-out
    responses change. None where nothing was logged."""
    if isinstance(metrics, str):
        by_role = {f"{metrics[:-1]}{role}": role for role in run.roles}
        metrics = by_role if metrics.endswith("*") else {metrics: ""}
    metrics = {name: label for name, label in metrics.items() if any(run[f"{phase}/{name}"] for phase in phases)}
    lines = []
    for colour, (name, label) in enumerate(metrics.items()):
        label = "" if len(metrics) == 1 and label.startswith("current") else label  # beside a historical one only
        held_out = any(run.held_out(name, t) for t in run.iterations)
        for t in run.iterations:
            if "train" in phases:
                lines.append(Line(label, _line(run.within(f"train/{name}", t)), colour, faint=held_out))
            lines.append(Line(label, _line(run.held_out(name, t)), colour, thick=True))
    marks = [(start - 1, f"t={t}") for t, start in list(run.starts.items())[1:]]
    kept = [line for line in lines if line.points]
    return Lines(title, kept, limits=limits, marks=marks) if metrics else None


def _by_iteration(series: Mapping[str, Mapping[int, Point | None]], title: str, limits=None) -> Lines | None:
    """label -> {iteration: point}. None where all are empty."""
    known = [(label, [(t, p.value) for t, p in points.items() if p]) for label, points in series.items()]
    kept = [(label, points) for label, points in known if points]
    lines = [Line(label, points, colour, thick=True) for colour, (label, points) in enumerate(kept)]
    return Lines(title, lines, "iteration t", limits, whole=True) if lines else None
