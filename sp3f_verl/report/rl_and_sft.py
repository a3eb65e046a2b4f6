"""The report of an RL run (GRPO, SP3F) or of an SFT run, as sections: rewards, languages, judge, optimisation, cost.

Means of the first and last 10 steps stand for a beginning and an end: one batch is noise.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean, median

from sp3f_verl.report.document import blocks as doc
from sp3f_verl.report.document.blocks import SHARE, Document, Section, Table, Text, across, paragraph, picture, section
from sp3f_verl.report.document.escape import Markdown, code, joined
from sp3f_verl.report.run_metrics import Point, RunMetrics, span
from sp3f_verl.report.side_by_side import Named, contents, sources
from sp3f_verl.report.values import dots
from sp3f_verl.stats.format import number

ENDS = 10  # steps
AVERAGE = f"{ENDS}-step average"
HEAD = (f"first {ENDS} steps", f"last {ENDS} steps")
NAMED = 8  # metrics that a sentence names
REWARD = {"critic/score/mean": "whole reward"}
TERMS = {
    "reward/accuracy/mean": "accuracy",
    "reward/parseable/mean": "parseable",
    "reward/language/mean": "language",
    "reward/judge/mean": "win rate (0.5 by construction)",
}
BY_LANGUAGE = ("accuracy", "parseable", "language", "judge")
SUMMED = "questions calls groups groups_failed retries shortened skipped_pairs stored".split()  # of judge/, and failed/
JUDGE = {
    "questions": "questions asked",
    "calls": "answers that came",
    "groups": "groups judged",
    "groups_failed": "groups without a verdict",
    "failed_rate": "questions without a verdict",
    "malformed_rate": "answers without a verdict in them",
    "retries": "requests sent again",
    "latency_p50": "median latency, seconds",
    "latency_p95": "95th percentile of latency, seconds",
    "slot_a_rate": "A preferred (0.5: no position bias)",
    "swap_consistency": "same outcome in both orders",
    "tie_rate": "ties",
    "agreement_with_accuracy": "the correct one preferred, where one of two is",
    "intransitive_triads": "triads without an order",
    "zero_variance_groups": "groups in which all win rates are equal",
    "chars_preferred": "characters of the preferred response",
    "chars_other": "characters of the other",
    "shortened": "questions shortened to fit",
    "skipped_pairs": "pairs that needed no question",
    "stored": "answers from the store",
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
JUDGED = {
    "judge/slot_a_rate": "A preferred",
    "judge/swap_consistency": "same in both orders",
    "judge/tie_rate": "ties",
    "judge/agreement_with_accuracy": "agrees with accuracy",
    "judge/failed_rate": "no verdict",
}
LENGTHS = {"judge/chars_preferred": "preferred", "judge/chars_other": "other"}
LOSS = {"train/loss": "training batch", "val/loss": "held-out"}
# (file, title of the panel, metric -> label in the legend, limits of the y axis)
PANELS = (
    ("rewards.png", f"reward terms, {AVERAGE}", TERMS, SHARE),
    ("rewards.png", f"whole reward, {AVERAGE}", {"critic/score/mean": ""}, None),
    ("judge.png", f"shares, {AVERAGE}", JUDGED, SHARE),
    ("judge.png", f"characters of a response, {AVERAGE}", LENGTHS, None),
    ("training.png", "entropy (nats a token)", {"actor/entropy": ""}, None),
    ("training.png", "gradient norm", {"actor/grad_norm": ""}, None),
    ("training.png", "response tokens", {"response_length/mean": ""}, None),
    ("loss.png", "loss", LOSS, None),
    ("loss.png", "gradient norm", {"train/grad_norm": ""}, None),
)
READ_TERMS = f"""Means over {ENDS} steps, or all there are. The win rate compares the rollouts of a prompt with each \
other: its mean is 0.5 whatever is learned. Terms without weight are logged, too."""
READ_LANGUAGES = f"""Rollouts in training, first {ENDS} → last {ENDS} steps that had the language. They are of other \
prompts, drawn at the training temperature: no measure of the model, for which {{}} is."""
READ_JUDGE = """Watch the agreement with accuracy and the lengths: a judge that is being gamed shows there first. What \
each number means: docs/judge.md of sp3f_verl."""


def is_rl(run: RunMetrics) -> bool:
    return any(name.startswith(("critic/", "reward/")) for name in run.names)


def is_sft(run: RunMetrics) -> bool:
    return bool({"train/loss", "val/loss"} & run.names) and not is_rl(run)


def document(folder: Path, run: RunMetrics) -> Document:
    kind = "RL" if is_rl(run) else "SFT"
    steps = sorted({point.step for points in (*run.series.values(), *run.not_finite.values()) for point in points})
    head = paragraph(f"Steps {steps[0]} to {steps[-1]}; {{}}.", run.attempts)
    return Document(f"{kind} run: {folder.resolve().name}", [head, *trainer_sections(run)], folder)


def trainer_sections(run: RunMetrics, prefix: str = "") -> list[doc.Block]:
    """prefix: of the names of the pictures."""
    drawn, table = partial(_drawn, run, prefix), partial(_ends_table, run)
    if not is_rl(run):
        own = section("Training", *drawn("loss.png", "Loss over steps", smooth=False), *table(SFT, "training"))
        return [*_not_finite(run), *own, *_cost(run)]
    others = sorted(name for name in run.names if re.fullmatch(r"reward/[^/]+/mean", name) and name not in TERMS)
    terms = {**REWARD, **TERMS, **dict.fromkeys(others, "")}
    return [
        *_not_finite(run),
        *section(
            "Reward terms", *drawn("rewards.png", "Reward terms over steps"), Text(READ_TERMS), *table(terms, "term")
        ),
        *_languages(run, prefix),
        *_validation(run, prefix),
        *section("The judge", *drawn("judge.png", "The judge over steps"), Text(READ_JUDGE), *_judge(run)),
        *section("Training", *drawn("training.png", "Training over steps"), *table(TRAINING, "training")),
        *_cost(run),
    ]


# ---- what the parts share ------------------------------------------------------------------------------------------


def _values(points: Sequence[Point]) -> list[float]:
    return [point.value for point in points]


def _ends(points: Sequence[Point]) -> tuple[float, float]:
    """Means of the first and of the last steps."""
    return mean(_values(points[:ENDS])), mean(_values(points[-ENDS:]))


def _line(label: str, points: Sequence[Point], colour: int, smooth: bool = True) -> doc.Line:
    """`smooth`: the moving average over the last 10 steps."""
    values = _values(points)
    shown = [mean(values[max(0, at - ENDS + 1) : at + 1]) for at in range(len(values))] if smooth else values
    steps = [point.step for point in points]
    return doc.Line(label, list(zip(steps, shown, strict=True)), colour, thick=not smooth and len(points) <= 40)


def _panel(title: str, series: Mapping[str, Sequence[Point]], limits=None, smooth: bool = True) -> doc.Lines | None:
    """Points by their label over steps; None where there are none."""
    lines = [_line(label, points, at, smooth) for at, (label, points) in enumerate(series.items())]
    kept = [line for line in lines if line.points]
    return doc.Lines(title, kept, limits=limits) if kept else None


def _drawn(run: RunMetrics, prefix: str, file: str, title: str, smooth: bool = True) -> list[doc.Picture]:
    panels = [
        _panel(name, {label: run[metric] for metric, label in metrics.items() if run[metric]}, limits, smooth)
        for own, name, metrics, limits in PANELS
        if own == file
    ]
    return picture(f"{prefix}{file}", title, panels)


def _labelled(label: str, metric: str) -> Markdown:
    return Markdown("{} ({})").format(label, code(metric)) if label else code(metric)


def _table(run: RunMetrics, header: Sequence[str], rows: Mapping[str, Sequence[str]]) -> Table:
    """rows: metric -> its row; below it the steps of all of them."""
    used = [point for metric in rows for point in run[metric] or run.not_finite.get(metric, [])]
    return Table(header, list(rows.values()), span(used))


def _ends_table(run: RunMetrics, labels: Mapping[str, str], head: str) -> list[Table]:
    """labels: metric -> what it is. A row for each that was logged, finite or not; none where nothing was."""
    rows = {}
    for metric, label in labels.items():
        if metric in run.names:
            cells = ["NaN"] * 3
            if points := run[metric]:
                first, last = _ends(points)
                cells = [number(first), number(last) if run.ends_finite(metric) else "NaN", number(last - first)]
            rows[metric] = [_labelled(label, metric), *cells]
    return [_table(run, [head, *HEAD, "change"], rows)] if rows else []


def _not_finite(run: RunMetrics) -> list[Text]:
    """At most one sentence: how many values are NaN or infinite, and of which metrics."""
    if not run.not_finite:
        return []
    bad = [point for points in run.not_finite.values() for point in points]
    named = [
        Markdown("{} {} of {}").format(code(name), len(points), len(points) + len(run[name]))
        for name, points in sorted(run.not_finite.items())[:NAMED]
    ]
    more = [f"and {len(run.not_finite) - NAMED} more"] if len(run.not_finite) > NAMED else []
    first = min(bad, key=lambda point: point.step)
    text = "{} values are NaN or infinite and left out of means and plots (first: {} step {}): {}."
    return [paragraph(text, len(bad), code(first.file), first.step, joined([*named, *more]))]


# ---- the parts -----------------------------------------------------------------------------------------------------


def _languages(run: RunMetrics, prefix: str) -> list[Section]:
    pattern = rf"reward/({'|'.join(BY_LANGUAGE)})/([^/]+)"
    languages = sorted({match[2] for name in run.names if (match := re.fullmatch(pattern, name))} - {"mean"})
    points = {(term, language): run[f"reward/{term}/{language}"] for term in BY_LANGUAGE for language in languages}
    ends = {key: _ends(own) if own else (None, None) for key, own in points.items()}
    terms = [term for term in BY_LANGUAGE if any(points[term, language] for language in languages)]

    def change(term: str, language: str) -> str:
        return " → ".join(map(number, ends[term, language])) if points[term, language] else "–"

    panels = [
        dots(
            f"{term}, rollouts in training",
            languages,
            {head: [ends[term, language][at] for language in languages] for at, head in enumerate(HEAD)},
            SHARE,
        )
        for term in ("accuracy", "language")
    ]
    title = "Rollouts per language, beginning and end of training"
    rows = [[language, *(change(term, language) for term in terms)] for language in languages]
    return section(
        "By language, in training",
        *picture(f"{prefix}rollout_languages.png", title, panels),
        paragraph(READ_LANGUAGES, code("sp3f evaluate")),
        Table(["language", *terms], rows, span(point for own in points.values() for point in own)),
    )


def _validation(run: RunMetrics, prefix: str) -> list[Section]:
    names = sorted(name for name in run.names if name.startswith(VALIDATION))
    means = [name for name in names if re.fullmatch(r"validation/.+/mean/(accuracy|fidelity|parseable)", name)]
    drawn = (means or [name for name in names if name.startswith("val-core/")])[:6]
    panel = _panel("validation", {name.split("/", 1)[1]: run[name] for name in drawn if run[name]}, smooth=False)
    rows = {}
    for name in names:
        if points := run[name]:
            first, last = points[0].value, points[-1].value
            change = number(last - first) if len(points) > 1 else "–"
            rows[name] = [code(name), number(first), number(last), change]
    table = _table(run, ["validation", "first", "last", "change"], rows)
    return section("Validation", *picture(f"{prefix}validation.png", "Validation over steps", [panel]), table)


def _judge(run: RunMetrics) -> list[Table]:
    failed = sorted(name for name in run.names if name.startswith("judge/failed/"))
    labels = {f"judge/{name}": label for name, label in JUDGE.items()}
    labels |= {name: f"failed: {name.removeprefix('judge/failed/')}" for name in failed}
    rows = {}
    for name, label in labels.items():
        if points := run[name]:
            is_sum = name in failed or name.removeprefix("judge/") in SUMMED
            cells = [number(sum(_values(points))), "–", "–"] if is_sum else ["–", *map(number, _ends(points))]
            rows[name] = [_labelled(label, name), *cells]
    return [_table(run, ["judge", "sum", *HEAD], rows)]


def _cost(run: RunMetrics) -> list[Section]:
    """metric -> (what, how the amount is worked out of its values)."""
    seconds = sum(_values(run["timing_s/step"]))
    parts = sorted(name for name in run.series if name.startswith("timing_s/") and name != "timing_s/step")
    amounts: dict[str, tuple[str, Callable[[list[float]], float | str]]] = {
        "judge/usd_total": ("judge, USD, with all resumes", lambda values: values[-1]),
        "judge/usd": ("judge, USD", sum),
        **{name: (_labelled(label, name), sum) for name, label in TOKENS.items()},
        "timing_s/step": (_labelled("seconds in steps", "timing_s/step"), sum),
        **{name: (f"of which {name.removeprefix('timing_s/')}", partial(_share, seconds)) for name in parts if seconds},
        "perf/throughput": (_labelled("tokens a second and device, median", "perf/throughput"), median),
    }
    for name in ("actor/perf/max_memory_allocated_gb", "perf/max_memory_allocated_gb"):
        amounts[name] = (_labelled("memory of a device, GB, largest", name), max)
    rows = {}
    for name, (label, how) in amounts.items():
        if run[name] and not (name == "judge/usd" and run["judge/usd_total"]):
            amount = how(_values(run[name]))
            rows[name] = [label, amount if isinstance(amount, str) else number(amount)]
    return section("Cost", _table(run, ["what", "how much"], rows))


def _share(seconds: float, values: list[float]) -> str:
    return f"{sum(values):.1f} ({sum(values) / seconds:.0%})"


def compare(named: Named[RunMetrics]) -> list[doc.Block]:
    runs = contents(named)
    metrics = {**REWARD, **TERMS, **TRAINING, **SFT}
    last = {_labelled(label, metric): metric for metric, label in metrics.items()}
    panels = [
        _panel(f"{metrics[metric]}, {AVERAGE}", {label: run[metric] for label, run in runs.items()})
        for metric in (*REWARD, *list(TERMS)[:3], "train/loss", "val/loss")
    ]
    validated = {
        code(name): name for run in runs.values() for name in sorted(run.series) if name.startswith(VALIDATION[:2])
    }
    validation = across("last validation", runs, sorted(validated), lambda run, name: _last(run[validated[name]]))
    return [
        *picture("compare_training.png", "Training, side by side", panels),
        Text(f"Means of the last {ENDS} steps that were logged."),
        across("metric", runs, last, lambda run, name: _last(run[last[name]], ENDS)),
        *([validation] if validation.rows else []),
        sources((label, run.folder, run.attempts) for label, run in runs.items()),
    ]


def _last(points: Sequence[Point], steps: int = 1) -> str:
    return number(mean(_values(points[-steps:]))) if points else "–"
