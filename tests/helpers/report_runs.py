"""Metric files of preference and self-play runs as the trainers write them, with numbers that are easy to work out."""

import json
from pathlib import Path

from sp3f_verl.data.files import write_json
from sp3f_verl.losses.table import LOSSES

Lines = list[tuple[int, dict[str, float]]]


def measured(phase: str, roles: dict[str, tuple[float, float]], scale: float = 0.1, **more: float) -> dict[str, float]:
    """The names of `measure` in losses/objective.py. roles: role -> (log-prob a token, tokens); the
    rewards are `scale` times the sums, as T-SPIN's; every pair is ordered rightly, by both orders."""
    metrics = {"loss": 0.5, "accuracy": 1.0, "saturated": 0.0}
    for role, (mean, tokens) in roles.items():
        metrics |= {f"reward/{role}": scale * mean * tokens, f"logp/{role}": mean * tokens}
        metrics |= {f"logp_per_token/{role}": mean, f"tokens/{role}": tokens}
    rewards, lengths = ([metrics[f"{name}/{role}"] for role in roles] for name in ("reward", "tokens"))
    metrics |= {"margin": rewards[0] - rewards[1], "length_gap": lengths[0] - lengths[1]}
    if len(roles) == 3:
        metrics |= {"history_margin": rewards[1] - rewards[2], "history_accuracy": 1.0, "saturated_history": 0.0}
    for order in ("raw", "per_token"):
        cells = {"both": 1.0, "reward_only": 0.0, "logp_only": 0.0, "neither": 0.0}
        metrics |= {f"order_{order}/{cell}": share for cell, share in cells.items()}
    return {f"{phase}/{name}": value for name, value in (metrics | more).items()}


def write(folder: Path, *attempts: Lines, loss: str | None = None) -> Path:
    """metrics/000.jsonl, 001.jsonl, ...: a file an attempt. NaN is written as Python's json does. `loss`: what the run
    records as its objective; a run begun before it did so has no objective.json."""
    if loss is not None:
        row = LOSSES[loss]
        record = {"loss": loss, "loss_type": "sigmoid", "roles": row.roles, "means": "simpo" in loss}
        record |= {"needs_reference": row.needs_reference, "reward_scale": 0.1, "settings": {"beta": 0.1}}
        write_json(record, folder / "objective.json")
    for number, lines in enumerate(attempts):
        file = folder / "metrics" / f"{number:03d}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(json.dumps({"step": step, "data": data}) + "\n" for step, data in lines))
    return folder


def preference(chosen: float = -1.0, rejected: float = -2.0, **more: float) -> Lines:
    """dpo, three steps: held-out chosen from -2 to `chosen` a token (10 tokens), rejected from -2 to `rejected` (8)."""
    reference = {f"log_ratio/{role}": 0.0 for role in ("chosen", "rejected")}
    before = {"chosen": (-2.0, 10), "rejected": (-2.0, 8)}
    after = {"chosen": (chosen, 10), "rejected": (rejected, 8)}
    lines = [(0, measured("val", before, **reference, margin=0.0))]
    for step in (1, 2, 3):
        data = measured("train", before, **reference) | {"train/grad_norm": step, "train/lr": 1e-3 / step}
        lines.append((step, data | {"perf/tokens_per_second": 100.0 * step, "timing_s/step": 2.0}))
    values = {"margin": 1.5, **reference, **more}
    lines[-1][1].update(measured("val", after, **values))
    return lines


def selfplay(iterations: int = 2, steps: int = 4) -> Lines:
    """tspin. Held-out y has -1 a token before iteration 0 and 0.1 more after each; y' 0.2 less than y when it is fresh
    and 0.5 less when trained against; 10 and 20 tokens. Exact match 0.1 for policy 0, and 0.2 more each."""
    lines: Lines = []
    for t in range(iterations):
        start, y = t * steps, -1.0 + 0.1 * t
        generated = {"exact_match": 0.1 + 0.2 * t, "rows": 64, "usable": 60 - t, "truncated": 0.05, "identical": 0.01}
        lines.append((start, {f"generation/{name}": value for name, value in (generated | {"tokens": 20.0}).items()}))

        def roles(mine: float, gap: float, t=t) -> dict[str, tuple[float, float]]:
            result = {"real": (mine, 10), "generated": (mine - gap, 20)}
            return result | {"proto": (mine - 1, 20)} if t else result

        lines.append((start, measured("start", roles(y, 0.2))))
        for step in range(start + 1, start + steps + 1):
            data = measured("train", roles(y, 0.3)) | {"train/iteration": t, "train/epoch": 0}
            if step == start + steps:
                kl = {"kl_from_opponent": 0.5, "kl_from_initial": 0.5 * (t + 1)}
                data |= measured("val", roles(y + 0.1, 0.5), **kl) | {"val/iteration": t}
            lines.append((step, data))
    lines.append((iterations * steps, {"generation/exact_match": 0.1 + 0.2 * iterations}))
    return lines


def manifest(folder: Path, iteration: int, **values) -> None:
    write_json({"iteration": iteration, **values}, folder / "selfplay" / f"iteration_{iteration}" / "manifest.json")
