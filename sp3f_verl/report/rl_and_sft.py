"""The report of an RL run (GRPO, SP3F) or of an SFT run, as sections: rewards, languages, judge, optimisation, cost.

Means of the first and last 10 steps stand for a beginning and an end: one batch is noise.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean, median

from sp3f_verl.report.document import blocks as doc
from sp3f_verl.report.document.blocks import (
    SHARE,
    Document,
    Section,
    Table,
    Text,
    across,
    listed,
    paragraph,
    picture,
    section,
)
from sp3f_verl.report.document.escape import Markdown, code, joined
from sp3f_verl.report.run_metrics import RunMetrics, span
from sp3f_verl.report.side_by_side import Named, contents, sources
from sp3f_verl.report.values import dots
from sp3f_verl.stats.format import number
from sp3f_verl.training.metrics_log import Point

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
TEACHER = {
    "distill/divergence": "divergence from the teacher, nats a token",
    "distill/teacher_entropy": "the teacher's entropy, nats a token",
    "distill/student_entropy": "the student's, nats a token",
    "distill/failed": "samples without the teacher",
    "token_credit/strength": "strength of token credit",
    "token_credit/up": "tokens credited more",
    "token_credit/down": "tokens credited less",
    "token_credit/clipped": "tokens beyond the clip",
    "token_credit/delta/mean": "log-ratio of the teacher to the policy, nats a token",
    "token_credit/failed": "samples without the teacher",
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
MEMORY = ("actor/perf/max_memory_allocated_gb", "perf/max_memory_allocated_gb")
DEVICE = {"perf/throughput": "tokens a second and device, median"}
DEVICE |= dict.fromkeys(MEMORY, "memory of a device, GB, largest")
VALIDATION = ("validation/", "val-core/", "val-aux/")  # by language (verl_bridge/rl/validation.py), and verl's own
JUDGED = {
    "judge/slot_a_rate": "A preferred",
    "judge/swap_consistency": "same in both orders",
    "judge/tie_rate": "ties",
    "judge/agreement_with_accuracy": "agrees with accuracy",
    "judge/failed_rate": "no verdict",
}
BY_TEACHER = r"(?:distill/divergence|token_credit/delta)/(?!mean$)[^/]+"
ENTROPIES = {"distill/teacher_entropy": "teacher", "distill/student_entropy": "student"}
LEAKS = {"reward/leak_mention/mean": "mentions a solution", "reward/leak_copied/mean": "copied from it"}
LENGTHS = {"judge/chars_preferred": "preferred", "judge/chars_other": "other"}
LOSS = {"train/loss": "training batch", "val/loss": "held-out"}
MOST_PARTS = 5  # of a step that are drawn
# (file, title of the panel, metric -> label in the legend, limits of the y axis)
PANELS = (
    ("rewards.png", f"reward terms, {AVERAGE}", TERMS, SHARE),
    ("rewards.png", f"whole reward, {AVERAGE}", {"critic/score/mean": ""}, None),
    ("judge.png", f"shares, {AVERAGE}", JUDGED, SHARE),
    ("judge.png", f"characters of a response, {AVERAGE}", LENGTHS, None),
    ("training.png", "entropy (nats a token)", {"actor/entropy": ""}, None),
    ("training.png", "gradient norm", {"actor/grad_norm": ""}, None),
    ("training.png", "response tokens", {"response_length/mean": ""}, None),
    ("teacher.png", "divergence, nats a token", {"distill/divergence": ""}, None),
    ("teacher.png", "entropy, nats a token", ENTROPIES, None),
    ("teacher.png", "tokens credited", {"token_credit/up": "more", "token_credit/down": "less"}, SHARE),
    ("teacher.png", "leakage", LEAKS, SHARE),
    ("loss.png", "loss", LOSS, None),
    ("loss.png", "gradient norm", {"train/grad_norm": ""}, None),
)
READ_TERMS = f"""Means over {ENDS} steps, or all there are. The win rate compares the rollouts of a prompt with each \
other: its mean is 0.5 whatever is learned. Terms without weight are logged, too."""
READ_LANGUAGES = f"""Rollouts in training, first {ENDS} → last {ENDS} steps that had the language. They are of other \
prompts, drawn at the training temperature: no measure of the model, for which {{}} is."""
READ_TEACHER = """Leakage (among the reward terms), falling response lengths and a rising share of English are what a \
privileged teacher teaches beside the task. What each number means: docs/copsd.md of sp3f_verl."""
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
        training = section("Training", *drawn("loss.png", "Loss over steps", smooth=False), table(SFT, "training"))
        return [*_not_finite(run), *training, *_cost(run, prefix)]
    others = sorted(name for name in run.names if re.fullmatch(r"reward/[^/]+/mean", name) and name not in TERMS)
    terms = table({**REWARD, **TERMS, **dict.fromkeys(others, "")}, "term")
    return [
        *_not_finite(run),
        *section("Reward terms", *drawn("rewards.png", "Reward terms over steps"), Text(READ_TERMS), terms),
        *_languages(run, prefix),
        *_validation(run, prefix),
        *section("The judge", *drawn("judge.png", "The judge over steps"), Text(READ_JUDGE), _judge(run)),
        *(_teacher(drawn, table, run) if run.names & TEACHER.keys() else []),
        *section("Training", *drawn("training.png", "Training over steps"), table(TRAINING, "training")),
        *_cost(run, prefix),
    ]


def _teacher(drawn, table, run: RunMetrics) -> list[Section]:
    by_language = dict.fromkeys(sorted(name for name in run.names if re.fullmatch(BY_TEACHER, name)), "")
    pictures = drawn("teacher.png", "The teacher over steps")
    return section("The teacher", *pictures, Text(READ_TEACHER), table({**TEACHER, **by_language}, "teacher"))


# ---- what the parts share ------------------------------------------------------------------------------------------


def _ends(values: Sequence[float]) -> tuple[float, float]:
    """Means of the first and of the last steps."""
    return mean(values[:ENDS]), mean(values[-ENDS:])


def _panel(title: str, series: Mapping[str, Sequence[Point]], limits=None, smooth: bool = True) -> doc.Lines | None:
    """Points by their label over steps, `smooth`: the average over the last 10; None where there are none."""
    lines = []
    for colour, (label, points) in enumerate(series.items()):
        values = [point.value for point in points]
        shown = [mean(values[max(0, at - ENDS + 1) : at + 1]) for at in range(len(values))] if smooth else values
        line = [(point.step, y) for point, y in zip(points, shown, strict=True)]
        lines += [doc.Line(label, line, colour, thick=not smooth and len(line) <= 40)] if line else []
    return doc.Lines(title, lines, limits=limits) if lines else None


def _drawn(run: RunMetrics, prefix: str, file: str, title: str, smooth: bool = True) -> list[doc.Picture]:
    panels = [
        _panel(name, {label: run[metric] for metric, label in metrics.items() if run[metric]}, limits, smooth)
        for drawn_in, name, metrics, limits in PANELS
        if drawn_in == file
    ]
    return picture(f"{prefix}{file}", title, panels)


def _labelled(labels: Mapping[str, str]) -> dict[str, Markdown]:
    """metric -> what it is, with its name."""
    return {
        name: Markdown("{} ({})").format(label, code(name)) if label else code(name) for name, label in labels.items()
    }


Cells = Callable[[str, list[float]], Sequence[str]]


def _table(run: RunMetrics, header: Sequence[str], labels: Mapping[str, str], cells: Cells) -> Table:
    """A row for each metric that was logged; below it the steps of all of them. cells: of a metric and its values."""
    rows, used = [], []
    for name in (name for name in labels if name in run.names):
        values = [point.value for point in run[name]]
        rows.append([labels[name], *(cells(name, values) if values else ["NaN"] * (len(header) - 1))])
        used += run[name] or run.not_finite[name]
    return Table(header, rows, span(used))


def _ends_table(run: RunMetrics, labels: Mapping[str, str], head: str) -> Table:
    def cells(name: str, values: list[float]) -> list[str]:
        first, last = _ends(values)
        return [number(first), number(last) if run.ends_finite(name) else "NaN", number(last - first)]

    return _table(run, [head, *HEAD, "change"], _labelled(labels), cells)


def _not_finite(run: RunMetrics) -> list[Text]:
    """At most one sentence: how many values are NaN or infinite, and of which metrics."""
    if not run.not_finite:
        return []
    bad = [point for points in run.not_finite.values() for point in points]
    named = [
        Markdown("{} {} of {}").format(code(name), len(points), len(points) + len(run[name]))
        for name, points in sorted(run.not_finite.items())
    ]
    listed = named if len(named) <= NAMED else [*named[:NAMED], f"and {len(named) - NAMED} more"]
    first = min(bad, key=lambda point: point.step)
    text = "{} values are NaN or infinite and left out of means and plots (first: {} step {}): {}."
    return [paragraph(text, len(bad), code(first.file), first.step, joined(listed))]


# ---- the parts -----------------------------------------------------------------------------------------------------


def _languages(run: RunMetrics, prefix: str) -> list[Section]:
    pattern = rf"reward/({'|'.join(BY_LANGUAGE)})/([^/]+)"
    languages = sorted({match[2] for name in run.names if (match := re.fullmatch(pattern, name))} - {"mean"})
    points = {(term, language): run[f"reward/{term}/{language}"] for term in BY_LANGUAGE for language in languages}
    ends = {key: _ends([point.value for point in series]) for key, series in points.items() if series}
    terms = [term for term in BY_LANGUAGE if any((term, language) in ends for language in languages)]
    columns = {term: lambda name, term=term: " → ".join(map(number, ends.get((term, name), [None]))) for term in terms}
    panels = []
    for term in ("accuracy", "language"):
        both = [ends.get((term, language), (None, None)) for language in languages]
        values = {head: [pair[at] for pair in both] for at, head in enumerate(HEAD)}
        panels.append(dots(f"{term}, rollouts in training", languages, values, SHARE))
    title = "Rollouts per language, beginning and end of training"
    return section(
        "By language, in training",
        *picture(f"{prefix}rollout_languages.png", title, panels),
        paragraph(READ_LANGUAGES, code("sp3f evaluate")),
        listed("language", languages, columns, span(point for series in points.values() for point in series)),
    )


def _validation(run: RunMetrics, prefix: str) -> list[Section]:
    names = sorted(name for name in run.names if name.startswith(VALIDATION))
    means = [name for name in names if re.fullmatch(r"validation/.+/mean/(accuracy|fidelity|parseable)", name)]
    drawn = (means or [name for name in names if name.startswith("val-core/")])[:6]
    panel = _panel("validation", {name.split("/", 1)[1]: run[name] for name in drawn if run[name]}, smooth=False)

    def cells(_: str, values: list[float]) -> list[str]:
        return [number(values[0]), number(values[-1]), number(values[-1] - values[0]) if len(values) > 1 else "–"]

    table = _table(run, ["validation", "first", "last", "change"], _labelled(dict.fromkeys(names, "")), cells)
    return section("Validation", *picture(f"{prefix}validation.png", "Validation over steps", [panel]), table)


def _judge(run: RunMetrics) -> Table:
    failed = sorted(name for name in run.names if name.startswith("judge/failed/"))
    labels = {f"judge/{name}": label for name, label in JUDGE.items()}
    labels |= {name: f"failed: {name.removeprefix('judge/failed/')}" for name in failed}
    summed = {*failed, *(f"judge/{name}" for name in SUMMED)}

    def cells(name: str, values: list[float]) -> list[str]:
        return [number(sum(values)), "–", "–"] if name in summed else ["–", *map(number, _ends(values))]

    return _table(run, ["judge", "sum", *HEAD], _labelled(labels), cells)


def _cost(run: RunMetrics, prefix: str) -> list[Section]:
    seconds = sum(point.value for point in run["timing_s/step"])
    parts = sorted(name for name in run.series if name.startswith("timing_s/") and name != "timing_s/step")
    labels = {"judge/usd_total": "judge, USD, with all resumes"} if run["judge/usd_total"] else {}
    labels = labels or {"judge/usd": "judge, USD"}
    labels |= _labelled({**TOKENS, "timing_s/step": "seconds in steps"})
    labels |= {name: f"of which {name.removeprefix('timing_s/')}" for name in parts if seconds}
    labels |= _labelled(DEVICE)

    def cells(name: str, values: list[float]) -> list[str]:
        if name in parts:
            return [f"{sum(values):.1f} ({sum(values) / seconds:.0%})"]
        of = {"judge/usd_total": lambda values: values[-1], "perf/throughput": median, **dict.fromkeys(MEMORY, max)}
        return [number(of.get(name, sum)(values))]

    table = _table(run, ["what", "how much"], labels, cells)
    return section("Cost", *picture(f"{prefix}time.png", "Where the time of a step goes", [_time(run, parts)]), table)


def _time(run: RunMetrics, parts: Sequence[str]) -> doc.Lines | None:
    """The seconds of a step's parts upon each other, the largest below; what is left of the step on top."""
    steps = {point.step: point.value for point in run["timing_s/step"]}
    taken = {name: {point.step: point.value for point in run[name]} for name in parts}
    largest = sorted(
        (name for name in parts if taken[name].keys() == steps.keys()), key=lambda n: -sum(taken[n].values())
    )
    edges, lines = dict.fromkeys(steps, 0.0), []
    for colour, name in enumerate(largest[:MOST_PARTS]):
        edges = {step: edge + taken[name][step] for step, edge in edges.items()}
        lines.append(doc.Line(name.removeprefix("timing_s/"), sorted(edges.items()), colour))
    if not lines:
        return None
    whole = {step: max(seconds, edges[step]) for step, seconds in steps.items()}
    lines.append(doc.Line("the rest", sorted(whole.items()), len(lines)))
    return doc.Lines("seconds of a step", lines, stacked=True)


def compare(named: Named[RunMetrics]) -> list[doc.Block]:
    runs = contents(named)
    metrics = {**REWARD, **TERMS, **TRAINING, **SFT}
    panels = [
        _panel(f"{metrics[metric]}, {AVERAGE}", {label: run[metric] for label, run in runs.items()})
        for metric in (*REWARD, *list(TERMS)[:3], "train/loss", "val/loss")
    ]
    names = {label: name for name, label in _labelled(metrics).items()}
    validated = {name for run in runs.values() for name in run.series if name.startswith(VALIDATION[:2])}
    validations = {code(name): name for name in sorted(validated)}
    validation = across("last validation", runs, validations, lambda run, name: _last(run[validations[name]], 1))
    return [
        *picture("compare_training.png", "Training, side by side", panels),
        Text(f"Means of the last {ENDS} steps that were logged."),
        across("metric", runs, names, lambda run, name: _last(run[names[name]], ENDS)),
        *([validation] if validation.rows else []),
        sources((label, run.folder, run.attempts) for label, run in runs.items()),
    ]


def _last(points: Sequence[Point], steps: int) -> str:
    return number(mean(point.value for point in points[-steps:])) if points else "–"
