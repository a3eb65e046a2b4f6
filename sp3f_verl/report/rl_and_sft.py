"""The report of an RL run (GRPO, SP3F) or of an SFT run, as sections: rewards, languages, judge, optimisation, cost.

Means of the first and last 10 steps stand for a beginning and an end: one batch is noise.
"""

import re
from collections.abc import Iterable, Mapping
from statistics import mean, median

from sp3f_verl.report.document.blocks import (
    SHARE,
    Block,
    Document,
    Line,
    Lines,
    Panel,
    Picture,
    Rows,
    Section,
    Table,
    Text,
    Values,
    paragraph,
    picture,
)
from sp3f_verl.report.document.escape import Markdown, code, joined
from sp3f_verl.report.run_metrics import Point, RunMetrics, span
from sp3f_verl.stats.format import number

ENDS = 10  # steps
NAMED = 8  # metrics that a sentence names
TERMS = {
    "reward/accuracy/mean": "accuracy",
    "reward/parseable/mean": "parseable",
    "reward/language/mean": "language",
    "reward/judge/mean": "win rate (0.5 by construction)",
}
BY_LANGUAGE = ("accuracy", "parseable", "language", "judge")
JUDGE = {
    "questions": ("questions asked", "sum"),
    "calls": ("answers that came", "sum"),
    "groups": ("groups judged", "sum"),
    "groups_failed": ("groups without a verdict", "sum"),
    "failed_rate": ("questions without a verdict", "mean"),
    "malformed_rate": ("answers without a verdict in them", "mean"),
    "retries": ("requests sent again", "sum"),
    "latency_p50": ("median latency, seconds", "mean"),
    "latency_p95": ("95th percentile of latency, seconds", "mean"),
    "slot_a_rate": ("A preferred (0.5: no position bias)", "mean"),
    "swap_consistency": ("same outcome in both orders", "mean"),
    "tie_rate": ("ties", "mean"),
    "agreement_with_accuracy": ("the correct one preferred, where one of two is", "mean"),
    "intransitive_triads": ("triads without an order", "mean"),
    "zero_variance_groups": ("groups in which all win rates are equal", "mean"),
    "chars_preferred": ("characters of the preferred response", "mean"),
    "chars_other": ("characters of the other", "mean"),
    "shortened": ("questions shortened to fit", "sum"),
    "skipped_pairs": ("pairs that needed no question", "sum"),
    "stored": ("answers from the store", "sum"),
}
TRAINING = {
    "critic/score/mean": "reward of a response",
    "actor/entropy": "entropy, nats a token",
    "actor/grad_norm": "gradient norm",
    "actor/ppo_kl": "KL to the policy that generated",
    "actor/pg_clipfrac": "share of tokens that were clipped",
    "actor/lr": "learning rate",
    "response_length/mean": "response tokens",
    "response_length/clip_ratio": "responses cut at the limit",
    "response/aborted_ratio": "rollouts that were given up",
    "training/rollout_probs_diff_max": "largest difference between rollout's and trainer's probability of a token",
}
SFT = {
    "train/loss": "loss",
    "val/loss": "held-out loss",
    "train/grad_norm": "gradient norm",
    "train/lr": "learning rate",
}
TOKENS = {
    "judge/tokens_in": "judge, tokens in",
    "judge/tokens_in_cached": "of which from the provider's cache",
    "judge/tokens_out": "judge, tokens out",
    "perf/total_num_tokens": "tokens of prompts and responses trained on",
    "train/global_tokens": "tokens trained on",
}
VALIDATION = ("validation/", "val-core/", "val-aux/")  # by language (verl_bridge/validation.py), and verl's own


def is_rl(run: RunMetrics) -> bool:
    return any(name.startswith(("critic/", "reward/")) for name in run.names)


def is_sft(run: RunMetrics) -> bool:
    return bool({"train/loss", "val/loss"} & run.names) and not is_rl(run)


def trainer_document(run: RunMetrics) -> Document:
    kind = "RL" if is_rl(run) else "SFT"
    steps = sorted({point.step for points in (*run.series.values(), *run.not_finite.values()) for point in points})
    head = paragraph(f"Steps {steps[0]} to {steps[-1]}; {{}}.", run.attempts)
    return Document(f"{kind} run: {run.folder.resolve().name}", [head, *trainer_sections(run)], run.folder)


def trainer_sections(run: RunMetrics, prefix: str = "") -> list[Block]:
    """prefix: of the names of the pictures."""
    parts = (_rewards, _languages, _validation, _judge, _training) if is_rl(run) else (_sft,)
    return [*not_finite(run), *(section for part in parts for section in part(run, prefix)), *_cost(run)]


# ---- what the parts share ------------------------------------------------------------------------------------------


def ends(points: list[Point]) -> tuple[float, float]:
    """Means of the first and of the last steps."""
    return mean(point.value for point in points[:ENDS]), mean(point.value for point in points[-ENDS:])


def smoothed(points: list[Point]) -> list[tuple[int, float]]:
    """The moving average over the last 10 steps."""
    values = [point.value for point in points]
    return [(point.step, mean(values[max(0, at - ENDS + 1) : at + 1])) for at, point in enumerate(points)]


def labelled(label: str, metric: str) -> Markdown:
    return Markdown("{} ({})").format(label, code(metric)) if label else code(metric)


def _ends_table(run: RunMetrics, labels: Mapping[str, str], head: str) -> list[Table]:
    """labels: metric -> what it is. A row for each that was logged, finite or not; none where nothing was."""
    rows, used = [], []
    for metric, label in labels.items():
        points = run[metric]
        if not points and metric not in run.not_finite:
            continue
        cells = ["NaN"] * 3
        if points:
            first, last = ends(points)
            cells = [number(first), number(last) if run.ends_finite(metric) else "NaN", number(last - first)]
        used += points or run.not_finite[metric]
        rows.append([labelled(label, metric), *cells])
    return [Table([head, f"first {ENDS} steps", f"last {ENDS} steps", "change"], rows, span(used))] if rows else []


def _curves(
    run: RunMetrics, metrics: Mapping[str, str], title: str, limits: tuple[float, float] | None = None, smooth=True
) -> Lines | None:
    """A panel of metrics (-> label) over steps; None where nothing was logged."""
    lines = []
    for metric, label in metrics.items():
        if points := run[metric]:
            drawn = smoothed(points) if smooth else [(point.step, point.value) for point in points]
            lines.append(Line(label, drawn, len(lines), thick=not smooth and len(drawn) <= 40))
    return Lines(title, lines, limits=limits) if lines else None


def not_finite(run: RunMetrics) -> list[Text]:
    """At most one sentence: how many values are NaN or infinite, and of which metrics."""
    if not run.not_finite:
        return []
    how_many = sum(map(len, run.not_finite.values()))
    named = [
        Markdown("{} {} of {}").format(code(name), len(points), len(points) + len(run[name]))
        for name, points in sorted(run.not_finite.items())[:NAMED]
    ]
    more = len(run.not_finite) - len(named)
    first = min((point for points in run.not_finite.values() for point in points), key=lambda point: point.step)
    text = "{} values are NaN or infinite and left out of means and plots (first: {} step {}): {}."
    listed = joined([*named, *([f"and {more} more"] if more else [])])
    return [paragraph(text, how_many, code(first.file), first.step, listed)]


def total(points: Iterable[Point]) -> float:
    return sum(point.value for point in points)


def _section(title: str, blocks: list[Block]) -> list[Section]:
    """None where neither a table nor a picture is in it."""
    return [Section(title, blocks)] if any(isinstance(block, Table | Picture) for block in blocks) else []


# ---- the parts -----------------------------------------------------------------------------------------------------


def _rewards(run: RunMetrics, prefix: str) -> list[Section]:
    others = sorted(name for name in run.names if re.fullmatch(r"reward/[^/]+/mean", name) and name not in TERMS)
    panels = [_curves(run, TERMS, f"reward terms, {ENDS}-step average", SHARE)]
    panels.append(_curves(run, {"critic/score/mean": ""}, f"whole reward, {ENDS}-step average"))
    text = (
        f"Means over {ENDS} steps, or all there are. The win rate compares the rollouts of a prompt with each "
        "other: its mean is 0.5 whatever is learned. Terms without weight are logged, too."
    )
    labels = {"critic/score/mean": "whole reward", **TERMS, **dict.fromkeys(others, "")}
    drawing = picture(f"{prefix}rewards.png", "Reward terms over steps", panels)
    return _section("Reward terms", [*drawing, Text(text), *_ends_table(run, labels, "term")])


def _languages(run: RunMetrics, prefix: str) -> list[Section]:
    pattern = rf"reward/({'|'.join(BY_LANGUAGE)})/([^/]+)"
    names = {match[2] for name in run.names if (match := re.fullmatch(pattern, name))}
    languages = sorted(names - {"mean"})
    if not languages:
        return []
    points = {(term, language): run[f"reward/{term}/{language}"] for term in BY_LANGUAGE for language in languages}
    terms = [term for term in BY_LANGUAGE if any(points[term, language] for language in languages)]
    rows = []
    for language in languages:
        series = [points[term, language] for term in terms]
        rows.append([language, *(" → ".join(map(number, ends(own))) if own else "–" for own in series)])
    panels: list[Panel] = []
    for term in ("accuracy", "language"):
        both = [ends(own) if (own := points[term, language]) else (None, None) for language in languages]
        if any(pair[0] is not None for pair in both):
            values = [
                Values(f"{which} {ENDS} steps", [pair[at] for pair in both], (), at)
                for at, which in enumerate(("first", "last"))
            ]
            panels.append(Rows(f"{term}, rollouts in training", languages, values, SHARE))
    text = (
        f"Rollouts in training, first {ENDS} → last {ENDS} steps that had the language. They are of other prompts, "
        "drawn at the training temperature: no measure of the model, for which {} is."
    )
    title = "Rollouts per language, beginning and end of training"
    source = span(point for own in points.values() for point in own)
    return _section(
        "By language, in training",
        [
            *picture(f"{prefix}rollout_languages.png", title, panels),
            paragraph(text, code("sp3f evaluate")),
            Table(["language", *terms], rows, source),
        ],
    )


def _validation(run: RunMetrics, prefix: str) -> list[Section]:
    names = sorted(name for name in run.names if name.startswith(VALIDATION))
    means = [name for name in names if re.fullmatch(r"validation/.+/mean/(accuracy|fidelity|parseable)", name)]
    drawn = (means or [name for name in names if name.startswith("val-core/")])[:6]
    panel = _curves(run, {name: name.split("/", 1)[1] for name in drawn}, "validation", smooth=False)
    rows = []
    for name in names:
        if points := run[name]:
            first, last = points[0].value, points[-1].value
            change = number(last - first) if len(points) > 1 else "–"
            rows.append([code(name), number(first), number(last), change])
    source = span(point for name in names for point in run[name])
    table = [Table(["validation", "first", "last", "change"], rows, source)] if rows else []
    return _section("Validation", [*picture(f"{prefix}validation.png", "Validation over steps", [panel]), *table])


def _judge(run: RunMetrics, prefix: str) -> list[Section]:
    rows, used = [], []
    failed = sorted(name for name in run.names if name.startswith("judge/failed/"))
    labels = {f"judge/{name}": entry for name, entry in JUDGE.items()}
    labels |= {name: (f"failed: {name.removeprefix('judge/failed/')}", "sum") for name in failed}
    for name, (label, how) in labels.items():
        if points := run[name]:
            first, last = ends(points)
            cells = [number(total(points)), "–", "–"] if how == "sum" else ["–", number(first), number(last)]
            rows.append([labelled(label, name), *cells])
            used += points
    if not rows:
        return []
    shares = {
        "judge/slot_a_rate": "A preferred",
        "judge/swap_consistency": "same in both orders",
        "judge/tie_rate": "ties",
        "judge/agreement_with_accuracy": "agrees with accuracy",
        "judge/failed_rate": "no verdict",
    }
    lengths = {"judge/chars_preferred": "preferred", "judge/chars_other": "other"}
    panels = [
        _curves(run, shares, f"shares, {ENDS}-step average", SHARE),
        _curves(run, lengths, f"characters of a response, {ENDS}-step average"),
    ]
    text = (
        "Watch the agreement with accuracy and the lengths: a judge that is being gamed shows there first. What each "
        "number means: docs/judge.md of sp3f_verl."
    )
    drawing = picture(f"{prefix}judge.png", "The judge over steps", panels)
    header = ["judge", "sum", f"first {ENDS} steps", f"last {ENDS} steps"]
    return _section("The judge", [*drawing, paragraph(text), Table(header, rows, span(used))])


def _training(run: RunMetrics, prefix: str) -> list[Section]:
    panels = [
        _curves(run, {"actor/entropy": ""}, "entropy (nats a token)"),
        _curves(run, {"actor/grad_norm": ""}, "gradient norm"),
        _curves(run, {"response_length/mean": ""}, "response tokens"),
    ]
    drawing = picture(f"{prefix}training.png", "Training over steps", panels)
    return _section("Training", [*drawing, *_ends_table(run, TRAINING, "training")])


def _sft(run: RunMetrics, prefix: str) -> list[Section]:
    panels = [
        _curves(run, {"train/loss": "training batch", "val/loss": "held-out"}, "loss", smooth=False),
        _curves(run, {"train/grad_norm": ""}, "gradient norm", smooth=False),
    ]
    drawing = picture(f"{prefix}loss.png", "Loss over steps", panels)
    return _section("Training", [*drawing, *_ends_table(run, SFT, "training")])


def _cost(run: RunMetrics) -> list[Section]:
    rows, used = [], []

    def row(label: str, amount: str, points: list[Point]) -> None:
        rows.append([label, amount])
        used.extend(points)

    if points := run["judge/usd_total"]:
        row("judge, USD, with all resumes", number(points[-1].value), points)
    elif points := run["judge/usd"]:
        row("judge, USD", number(total(points)), points)
    for name, label in TOKENS.items():
        if points := run[name]:
            row(labelled(label, name), number(total(points)), points)
    if step := run["timing_s/step"]:
        row(Markdown("seconds in steps ({})").format(code("timing_s/step")), number(total(step)), step)
        for name in sorted(name for name in run.series if name.startswith("timing_s/") and name != "timing_s/step"):
            share = total(run[name]) / total(step) if total(step) else 0.0
            label = f"of which {name.removeprefix('timing_s/')}"
            row(label, f"{total(run[name]):.1f} ({share:.0%})", run[name])
    if points := run["perf/throughput"]:
        row(
            labelled("tokens a second and device, median", "perf/throughput"),
            number(median(point.value for point in points)),
            points,
        )
    for name in ("actor/perf/max_memory_allocated_gb", "perf/max_memory_allocated_gb"):
        if points := run[name]:
            row(
                labelled("memory of a device, GB, largest", name),
                number(max(point.value for point in points)),
                points,
            )
    return _section("Cost", [Table(["what", "how much"], rows, span(used))] if rows else [])
