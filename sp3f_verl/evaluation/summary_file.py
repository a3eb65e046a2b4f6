"""summary.json of `sp3f evaluate`, `--arena` and `--harness`: read with care, since files come from elsewhere too."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sp3f_verl.errors import BadInput
from sp3f_verl.report.document.inline import code
from sp3f_verl.stats.format import number

FILE = "summary.json"
NAMES = 6  # values that a sentence names


def read_summary(folder: Path) -> dict[str, Any] | None:
    """None where the folder has none. BadInput where it cannot be read."""
    path = folder / FILE
    return read_object(path) if path.is_file() else None


def read_object(path: Path) -> dict[str, Any]:
    """What an evaluation wrote. FileNotFoundError where the file is not there, BadInput where it cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read ({str(error)[:80]}); run the evaluation again.") from None
    if not isinstance(found, dict):
        raise BadInput(f"{path} holds a {type(found).__name__} in place of an object; run the evaluation again.")
    return found


def kind_of(summary: Mapping[str, Any]) -> str | None:
    """arena, harness or evaluate."""
    kind = summary.get("kind")
    if kind in ("arena", "harness"):
        return kind
    return "evaluate" if isinstance(summary.get("benchmarks"), dict) else None


def part(summary: Any, *names: str) -> dict[str, Any]:
    """What is under the names, where it is an object; empty otherwise."""
    for name in names:
        summary = summary.get(name) if isinstance(summary, Mapping) else None
    return summary if isinstance(summary, dict) else {}


def listed(entry: Any) -> list[Any]:
    """A list; empty where it is something else."""
    return entry if isinstance(entry, list) else []


def value(entry: Any) -> float | None:
    """A number, or the mean of an interval. NaN stays; None where it is neither."""
    if isinstance(entry, Mapping):
        entry = entry.get("mean")
    if not isinstance(entry, int | float) or isinstance(entry, bool):
        return None
    try:
        return float(entry)
    except OverflowError:  # JSON's integers have no limit
        return math.inf if entry > 0 else -math.inf


def finite(entry: Any) -> float | None:
    found = value(entry)
    return found if found is not None and math.isfinite(found) else None


def edges(entry: Any) -> tuple[float, float] | None:
    """(low, high) of an interval, where both are finite."""
    if not isinstance(entry, Mapping):
        return None
    found = finite(entry.get("low")), finite(entry.get("high"))
    return None if None in found else found


def cell(entry: Any) -> str:
    """`0.625 [0.580; 0.670]`, or the number alone; `–` where there is none, NaN as such."""
    found = number(value(entry))
    pair = edges(entry)
    return f"{found} [{number(pair[0])}; {number(pair[1])}]" if pair else found


def count(entry: Any) -> str:
    found = value(entry)
    return "–" if found is None else f"{found:.0f}" if math.isfinite(found) else number(found)


def not_numbers(summary: Mapping[str, Any], file: str = FILE) -> list[str]:
    """At most one sentence: which values are NaN, infinite or null."""
    found = list(_not_numbers(summary, ""))
    if not found:
        return []
    named = ", ".join(code(name) for name in found[:NAMES]) + (f" and {len(found) - NAMES} more" * (len(found) > NAMES))
    are = "value is" if len(found) == 1 else "values are"
    return [f"{len(found)} {are} NaN, infinite or null in `{file}` and shown as such: {named}."]


def _not_numbers(entry: Any, place: str) -> Iterator[str]:
    if isinstance(entry, Mapping):
        for name, each in entry.items():
            yield from _not_numbers(each, f"{place}.{name}" if place else str(name))
    elif isinstance(entry, list):
        for index, each in enumerate(entry):
            yield from _not_numbers(each, f"{place}[{index}]")
    elif entry is None or (isinstance(entry, float) and not math.isfinite(entry)):
        yield place
