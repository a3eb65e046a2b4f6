"""summary.json of `sp3f evaluate` as a table for a terminal."""

from collections.abc import Mapping
from typing import Any

HEADER = ("", "accuracy", "pass@k", "majority", "fidelity", "parseable", "tokens", "truncated", "undefined", "failed")


def table_of(summary: Mapping[str, Any]) -> str:
    """Shares in per cent, with their 95 % intervals; `mean` is the unweighted mean of the languages."""
    rows = []
    for name, told in summary["benchmarks"].items():
        every = [*told["languages"].items(), *([("mean", told["mean"])] if len(told["languages"]) > 1 else [])]
        rows += [[f"{name} {code}", *_row(measures)] for code, measures in every]
    header = [*HEADER]
    header[2] = f"pass@{summary['decoding']['samples']}"
    widths = [max(len(row[at]) for row in [header, *rows]) for at in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [header, *rows]]
    return "\n".join(line.rstrip() for line in lines)


def _row(measures: Mapping[str, Any]) -> list[str]:
    best = list(measures["pass_at_k"].values())[-1]
    return [
        _share(measures["accuracy"]),
        _share(best),
        *(_share(measures[name]) for name in ("majority", "fidelity")),
        _share(measures["parseable"]),
        "–" if measures["tokens"] is None else f"{measures['tokens']:.0f}",
        *(_share(measures[name]) for name in ("truncated", "undefined")),
        str(measures["failed"]),
    ]


def _share(value: Mapping[str, float] | float | None) -> str:
    if value is None:
        return "–"
    if isinstance(value, Mapping):
        return f"{100 * value['mean']:.1f} [{100 * value['low']:.1f}, {100 * value['high']:.1f}]"
    return f"{100 * value:.1f}"
