"""Values of typed results (evaluation/results.py) as cells of tables and points of plots."""

import math
from collections.abc import Mapping
from typing import Any

from sp3f_verl.evaluation.results import FILE, Estimate, Result, not_finite
from sp3f_verl.report.document.blocks import Text, paragraph
from sp3f_verl.report.document.escape import code, joined
from sp3f_verl.stats.format import number

NAMED = 6  # values that a sentence names


def value(entry: Estimate | float | None) -> float | None:
    """A number, or the mean of an interval; NaN stays."""
    return entry.mean if isinstance(entry, Estimate) else entry


def finite(entry: Estimate | float | None) -> float | None:
    known = value(entry)
    return known if known is not None and math.isfinite(known) else None


def edges(entry: Estimate | float | None) -> tuple[float, float] | None:
    """(low, high) of an interval, where both are finite."""
    if not isinstance(entry, Estimate) or None in (pair := (finite(entry.low), finite(entry.high))):
        return None
    return pair


def cell(entry: Estimate | float | None) -> str:
    """`0.625 [0.580; 0.670]`, or the number alone; `–` where there is none, NaN as such."""
    pair = edges(entry)
    return number(value(entry)) + (f" [{number(pair[0])}; {number(pair[1])}]" if pair else "")


def percent(entry: Estimate | float | None, digits: int = 1, scale: float = 1.0) -> str:
    """The same of a number in percent, with a fixed number of digits."""
    if finite(entry) is None:
        return number(value(entry))
    pair = edges(entry)
    interval = f" [{scale * pair[0]:.{digits}f}; {scale * pair[1]:.{digits}f}]" if pair else ""
    return f"{scale * finite(entry):.{digits}f}{interval}"


def count(entry: float | None) -> str:
    """A whole number; `–` where there is none."""
    return f"{entry:.0f}" if entry is not None and math.isfinite(entry) else number(entry)


def shown(entry: Estimate | float | str | None) -> str:
    """A cell by the type of its value: texts as they are, counts whole, all else by `cell`."""
    if isinstance(entry, str | int):
        return str(entry)
    return cell(entry)


def not_numbers(result: Result, place: str = "", file: str = FILE) -> list[Text]:
    """At most one sentence: which values (below `place`) are NaN, infinite or null."""
    return places_sentence([name for name in not_finite(result) if name.startswith(place)], file)


def places_sentence(places: list[str], file: str) -> list[Text]:
    if not places:
        return []
    more = f" and {len(places) - NAMED} more" if len(places) > NAMED else ""
    verb = "value is" if len(places) == 1 else "values are"
    names = joined(map(code, places[:NAMED]))
    return [
        paragraph(
            f"{len(places)} {verb} NaN, infinite or null in {{}} and shown as such: {{}}{more}.", code(file), names
        )
    ]


def in_json(content: Mapping[str, Any], place: str = "") -> list[str]:
    """The places of a JSON object at which a value is NaN, infinite or null."""
    places = []
    for name, inner in content.items():
        where = f"{place}.{name}" if place else str(name)
        if isinstance(inner, Mapping):
            places += in_json(inner, where)
        elif inner is None or (isinstance(inner, float) and not math.isfinite(inner)):
            places.append(where)
    return places
