"""Folders of evaluations, arenas, harnesses and data sets as the commands write them."""

import json
import random
from pathlib import Path

from sp3f_verl.data.files import write_json, write_parquet, write_text
from sp3f_verl.report.quickstart import COLUMNS, SPLITS

HOSTILE = (
    """<script>alert("x")</script> | '`*\\ [a](javascript:alert(1)) &lt; **b** <img src=x onerror=alert(2)> $\\frac{$"""
)


def quickstart(folder: Path, sft: float | None = None, sp3f: float | None = None, languages=("es", "sw", "zh")) -> Path:
    """What its evaluations leave: one value a stage in every place, or drawn ones where none is given."""
    draw = random.Random(1)
    for stage, value in (("sft", sft), ("sp3f", sft if sp3f is None else sp3f)):
        for split in SPLITS:
            means = {
                language: {name: draw.random() if value is None else value for name in COLUMNS}
                for language in (*languages, "all")
            }
            write_json({"greedy": means, "sampled": means}, folder / "evaluation" / f"{stage}_{split}.json")
    write_parquet([{"messages": []}] * 3, folder / "data" / "sft.parquet")
    return folder


def interval(mean: float, reach: float = 0.05) -> dict[str, float]:
    return {"mean": mean, "low": mean - reach, "high": mean + reach}


def evaluation(
    folder: Path,
    means: dict[str, float],
    model: str = "model",
    benchmark: str = "mgsm",
    problems: int = 40,
    seed: int = 1,
) -> Path:
    """means: language -> accuracy. Two samples a problem; which problems are hard is the same for every model."""
    draw, languages = random.Random(seed), {}
    for language, mean in means.items():
        hard = random.Random(language)
        rows = []
        for number in range(problems):
            right = [float(hard.random() * 0.8 + draw.random() * 0.2 < mean) for _ in range(2)]
            rows.append({"id": f"{number:03d}", "accuracy": right, "lang": [1.0, None if number == 0 else 0.75]})
        accuracy = sum(sum(row["accuracy"]) for row in rows) / (2 * problems)
        curve = {f"{n / 10}": 1 - n / 20 for n in range(1, 11)}
        languages[language] = {
            **{"problems": problems, "samples": 2, "accuracy": interval(accuracy), "fidelity": interval(0.9)},
            **{"majority": interval(accuracy), "pass_at_k": {"1": accuracy, "2": accuracy + 0.02}},
            **{"fidelity_curve": curve, "parseable": 0.95, "tokens": 210.5, "truncated": 0.01, "failed": 3},
        }
        text = "".join(json.dumps(row) + "\n" for row in rows)
        write_text(text, folder / benchmark / language / "output.jsonl")
    accuracies = [one["accuracy"]["mean"] for one in languages.values()]
    mean = languages[next(iter(languages))] | {"accuracy": interval(sum(accuracies) / len(accuracies), 0.03)}
    decoding = {"samples": 8, "temperature": 0.7, "top_p": 0.8}
    summary = {"kind": "benchmarks", "model": model, "decoding": decoding, "threshold": 0.7}
    write_json(summary | {"benchmarks": {benchmark: {"languages": languages, "mean": mean}}}, folder / "summary.json")
    return folder


def arena_cell(rate: float, prompts: int = 150) -> dict:
    rates = {"win_rate": interval(rate, 2.5), "lc_win_rate": interval(rate - 1, 3), "wins": rate - 1, "ties": 2.0}
    counts = {"prompts": prompts, "missing": 1, "unjudged": 0, "unparseable": 2, "failed": 0}
    bias = {"first": interval(54.0, 1.0), "consistent": 81.5, "tied": 3.0, "verdicts": 600}
    return rates | counts | {"losses": 99 - rate, "wrong_language": 3.5, "position_bias": bias}


def arena(folder: Path, rates: dict[str, float], candidate: str = "dpo", baseline: str = "base") -> Path:
    languages = {language: arena_cell(rate) for language, rate in rates.items()}
    mean = arena_cell(sum(rates.values()) / len(rates))
    gap = interval(4.0, 3.0) | {"p": 0.012, "prompts": 150}
    summary = {
        **{"kind": "arena", "unit": "percent", "candidate": candidate, "baseline": baseline, "languages": languages},
        **{"categories": {"open": mean}, "mean": mean, "judge": {"model": "Qwen2.5-32B-Instruct", "panel": []}},
        **{"others": {"sft": {"languages": languages, "categories": {}, "mean": mean}}},
        **{"paired": [{"a": candidate, "b": "sft", "mean": gap, "languages": {name: gap for name in rates}}]},
        **{"cost": {"questions": 600, "usd": 1.25}},
    }
    write_json(summary, folder / "summary.json")
    return folder


def harness(folder: Path, values: dict[str, float | None], shots: dict[str, int] | None = None) -> Path:
    """values: task -> points of 100."""
    tasks = {
        name: {
            "metric": "acc",
            "value": value,
            "stderr": 0.8,
            "shots": (shots or {}).get(name, 5),
            "n": 1000,
            "version": 1,
        }
        for name, value in values.items()
    }
    summary = {"kind": "harness", "suite": "tspin", "package": "lm-eval", "model": "mine", "tasks": tasks}
    write_json(summary | {"versions": {"lm-eval": "0.4.9"}}, folder / "summary.json")
    return folder


def dataset(folder: Path, drops: dict[str, int] | None = None, step: str = "sp3f", **notes) -> Path:
    manifest = {
        **{"step": step, "inputs": {"questions.jsonl": "ab" * 32}, "settings": {"seed": 1, "languages": ["es", "sw"]}},
        **{"models": ["gpt-x"], "prompts": {}, "notes": {"asked": {"requests": 120, "usd": 0.75}, **notes}},
        **{"rows": {"train": {"es": 70, "sw": 20}, "validation": {"es": 9, "sw": 1}}, "versions": {"sp3f-verl": "0.1"}},
        **{"drops": drops if drops is not None else {"no answer": 12, "off language": 8}, "outputs": {}},
    }
    write_json(manifest, folder / "manifest.json")
    return folder
