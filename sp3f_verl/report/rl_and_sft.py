"""The report of an RL run (GRPO, SP3F) or of an SFT run, as sections: rewards, languages, judge, optimisation, cost."""

import re

from sp3f_verl.report.document.inline import code, plain
from sp3f_verl.report.document.model import (
    SHARE,
    Block,
    Document,
    Lines,
    Picture,
    Rows,
    Section,
    Table,
    Text,
    Values,
)
from sp3f_verl.report.preference_tables import span
from sp3f_verl.report.run_metrics import RunMetrics, where
from sp3f_verl.report.trainer_metrics import ENDS, curves, ends, ends_table, not_finite, total
from sp3f_verl.stats.format import number

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
VALIDATION = ("validation/", "val-core/", "val-aux/")  # by language (verl_bridge/validation.py), and verl's own


def is_rl(run: RunMetrics) -> bool:
    return any(name.startswith(("critic/", "reward/")) for name in run.names)


def is_sft(run: RunMetrics) -> bool:
    return bool({"train/loss", "val/loss"} & run.names) and not is_rl(run)


def trainer_document(run: RunMetrics) -> Document:
    name = plain(run.folder.resolve().name)
    title = f"RL run: {name}" if is_rl(run) else f"SFT run: {name}"
    steps = sorted({point.step for points in (*run.series.values(), *run.not_finite.values()) for point in points})
    head = f"Steps {steps[0]} to {steps[-1]}; {run.attempts}."
    return Document(title, [Text(head), *trainer_sections(run)], run.folder)


def trainer_sections(run: RunMetrics, prefix: str = "") -> list[Block]:
    """prefix: of the names of the pictures."""
    found = [Text(sentence) for sentence in not_finite(run)]
    parts = (_rewards, _languages, _validation, _judge, _training) if is_rl(run) else (_sft,)
    return [*found, *(section for part in parts for section in part(run, prefix)), *_cost(run)]


def reward_picture(run: RunMetrics, file: str = "rewards.png") -> Picture | None:
    panels = [curves(run, TERMS, f"reward terms, {ENDS}-step average", SHARE)]
    panels.append(curves(run, {"critic/score/mean": ""}, f"whole reward, {ENDS}-step average"))
    return _picture(file, "Reward terms over steps", panels)


def _picture(file: str, title: str, panels: list[Lines | Rows | None]) -> Picture | None:
    kept = [panel for panel in panels if panel]
    return Picture(file, title, kept) if kept else None


def _rewards(run: RunMetrics, prefix: str) -> list[Section]:
    others = sorted(name for name in run.names if re.fullmatch(r"reward/[^/]+/mean", name) and name not in TERMS)
    blocks: list[Block | None] = [reward_picture(run, f"{prefix}rewards.png")]
    blocks.append(
        Text(
            f"Means over {ENDS} steps, or all there are. The win rate compares the rollouts of a prompt with each "
            "other: its mean is 0.5 whatever is learned. Terms without weight are logged, too."
        )
    )
    blocks += ends_table(run, {"critic/score/mean": "whole reward", **TERMS, **dict.fromkeys(others, "")}, "term")
    return _section("Reward terms", blocks)


def _languages(run: RunMetrics, prefix: str) -> list[Section]:
    names = {
        name.split("/")[2]
        for name in run.names
        if re.fullmatch(rf"reward/({'|'.join(BY_LANGUAGE)})/[^/]+", name) and not name.endswith("/mean")
    }
    languages = sorted(names)
    if not languages:
        return []
    found = {(term, code_): run[f"reward/{term}/{code_}"] for term in BY_LANGUAGE for code_ in languages}
    terms = [term for term in BY_LANGUAGE if any(found[term, each] for each in languages)]
    rows = []
    for language in languages:
        cells = []
        for term in terms:
            points = found[term, language]
            cells.append(" → ".join(map(number, ends(points))) if points else "–")
        rows.append([plain(language), *cells, span([p for term in terms[:1] for p in found[term, language]])])
    panels = []
    for term in ("accuracy", "language"):
        both = [ends(found[term, each]) if found[term, each] else (None, None) for each in languages]
        if any(pair[0] is not None for pair in both):
            values = [
                Values(f"{which} {ENDS} steps", [pair[n] for pair in both], (), n)
                for n, which in ((0, "first"), (1, "last"))
            ]
            panels.append(Rows(f"{term}, rollouts in training", languages, values, SHARE))
    told = Text(
        f"Rollouts in training, first {ENDS} → last {ENDS} steps that had the language. They are of other prompts, "
        "drawn at the training temperature: no measure of the model, for which `sp3f evaluate` is."
    )
    picture = _picture(f"{prefix}rollout_languages.png", "Rollouts per language, beginning and end of training", panels)
    return _section("By language, in training", [told, picture, Table(["language", *terms, "from"], rows)])


def _validation(run: RunMetrics, prefix: str) -> list[Section]:
    names = sorted(name for name in run.names if name.startswith(VALIDATION))
    means = [name for name in names if re.fullmatch(r"validation/.+/mean/(accuracy|fidelity|parseable)", name)]
    drawn = (means or [name for name in names if name.startswith("val-core/")])[:6]
    panel = curves(run, {name: name.split("/", 1)[1] for name in drawn}, "validation", smooth=False)
    rows = []
    for name in names:
        if points := run[name]:
            first, last = points[0], points[-1]
            change = number(last.value - first.value) if len(points) > 1 else "–"
            rows.append([code(name), number(first.value), number(last.value), change, where([first, last])])
    table = [Table(["validation", "first", "last", "change", "from"], rows)] if rows else []
    return _section("Validation", [_picture(f"{prefix}validation.png", "Validation over steps", [panel]), *table])


def _judge(run: RunMetrics, prefix: str) -> list[Section]:
    rows = []
    logged = [name.removeprefix("judge/") for name in sorted(run.names) if name.startswith("judge/")]
    failed = [name for name in logged if name.startswith("failed/")]
    for name in [*JUDGE, *failed]:
        label, how = JUDGE.get(name, (f"failed: {plain(name.removeprefix('failed/'))}", "sum"))
        if points := run[f"judge/{name}"]:
            first, last = ends(points)
            cells = [number(total(points)), "–", "–"] if how == "sum" else ["–", number(first), number(last)]
            rows.append([f"{label} ({code('judge/' + name)})", *cells, span(points)])
    if not rows:
        return []
    shares = {"slot_a_rate": "A preferred", "swap_consistency": "same in both orders", "tie_rate": "ties"}
    shares |= {"agreement_with_accuracy": "agrees with accuracy", "failed_rate": "no verdict"}
    lengths = {"judge/chars_preferred": "preferred", "judge/chars_other": "other"}
    panels = [
        curves(run, {f"judge/{name}": label for name, label in shares.items()}, f"shares, {ENDS}-step average", SHARE),
        curves(run, lengths, f"characters of a response, {ENDS}-step average"),
    ]
    told = Text(
        "Watch the agreement with accuracy and the lengths: a judge that is being gamed shows there first. What each "
        "number means: docs/judge.md of sp3f_verl."
    )
    header = ["judge", "sum", f"first {ENDS} steps", f"last {ENDS} steps", "from"]
    return _section(
        "The judge", [_picture(f"{prefix}judge.png", "The judge over steps", panels), told, Table(header, rows)]
    )


def _training(run: RunMetrics, prefix: str) -> list[Section]:
    panels = [
        curves(run, {"actor/entropy": ""}, "entropy (nats a token)"),
        curves(run, {"actor/grad_norm": ""}, "gradient norm"),
        curves(run, {"response_length/mean": ""}, "response tokens"),
    ]
    return _section(
        "Training",
        [_picture(f"{prefix}training.png", "Training over steps", panels), *ends_table(run, TRAINING, "training")],
    )


def _sft(run: RunMetrics, prefix: str) -> list[Section]:
    panels = [
        curves(run, {"train/loss": "training batch", "val/loss": "held-out"}, "loss", smooth=False),
        curves(run, {"train/grad_norm": ""}, "gradient norm", smooth=False),
    ]
    return _section(
        "Training", [_picture(f"{prefix}loss.png", "Loss over steps", panels), *ends_table(run, SFT, "training")]
    )


def _cost(run: RunMetrics) -> list[Section]:
    rows = []

    def row(label: str, value: float, points) -> None:
        rows.append([label, number(value), span(points)])

    if points := run["judge/usd_total"] or run["judge/usd"]:
        value = points[-1].value if run["judge/usd_total"] else total(points)
        row("judge, USD, with all resumes", value, points[-1:] if run["judge/usd_total"] else points)
    for name, label in {
        "judge/tokens_in": "judge, tokens in",
        "judge/tokens_in_cached": "of which from the provider's cache",
        "judge/tokens_out": "judge, tokens out",
        "perf/total_num_tokens": "tokens of prompts and responses trained on",
        "train/global_tokens": "tokens trained on",
    }.items():
        if points := run[name]:
            row(f"{label} ({code(name)})", total(points), points)
    step = run["timing_s/step"]
    if step:
        row("seconds in steps (`timing_s/step`)", total(step), step)
        for name in sorted(name for name in run.series if name.startswith("timing_s/") and name != "timing_s/step"):
            share = total(run[name]) / total(step) if total(step) else 0.0
            rows.append(
                [
                    f"of which {plain(name.removeprefix('timing_s/'))}",
                    f"{total(run[name]):.1f} ({share:.0%})",
                    span(run[name]),
                ]
            )
    for name in ("perf/throughput", "actor/perf/max_memory_allocated_gb", "perf/max_memory_allocated_gb"):
        if points := run[name]:
            label = (
                "tokens a second and device, median"
                if name.endswith("throughput")
                else "memory of a device, GB, largest"
            )
            values = sorted(point.value for point in points)
            row(
                f"{label} ({code(name)})",
                values[len(values) // 2] if name.endswith("throughput") else values[-1],
                points,
            )
    return _section("Cost", [Table(["what", "how much", "from"], rows)] if rows else [])


def _section(title: str, blocks: list[Block | None]) -> list[Section]:
    """None where neither a table nor a picture is in it."""
    kept = [block for block in blocks if block]
    return [Section(title, kept)] if any(isinstance(block, Table | Picture) for block in kept) else []
