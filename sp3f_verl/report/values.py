"""Values of typed results (evaluation/results.py) as cells of tables and points of plots."""

import math
from collections.abc import Iterable, Mapping

from sp3f_verl.evaluation.results import FILE, Estimate
from sp3f_verl.report.document.blocks import Rows, T, Text, Values, paragraph
from sp3f_verl.report.document.escape import code, joined
from sp3f_verl.stats.format import number

MEAN = "mean of languages"
NAMED = 6  # values that a sentence names


def with_mean(languages: Mapping[str, T], mean: T | None) -> dict[str, T]:
    """A row a language, and their mean at the end where it is known."""
    return {**languages, MEAN: mean} if mean else dict(languages)


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


def fixed(entry: Estimate | float | None, digits: int = 1, scale: float = 1.0, sign: str = "") -> str:
    """The same of `scale` times a number, with a fixed number of digits; `sign`: "+" shows it always."""
    if finite(entry) is None:
        return number(value(entry))
    pair = edges(entry)
    interval = f" [{scale * pair[0]:.{digits}f}; {scale * pair[1]:.{digits}f}]" if pair else ""
    return f"{round(scale * finite(entry), digits) + 0.0:{sign}.{digits}f}{interval}"  # + 0.0: no minus before zero


def count(entry: float | None) -> str:
    """A whole number; `–` where there is none."""
    return f"{entry:.0f}" if entry is not None and math.isfinite(entry) else number(entry)


def shown(entry: Estimate | float | str | None) -> str:
    """A cell by the type of its value: texts as they are, counts whole, all else by `cell`."""
    return str(entry) if isinstance(entry, str | int) else cell(entry)


def dots(
    title: str,
    categories: Iterable[str],
    series: Mapping[str, Iterable[Estimate | float | None]],
    limits: tuple[float, float] | None = None,
    bars: bool = False,
) -> Rows | None:
    """A panel with a row a category. series: label -> an entry a category; those without a number are left out, and
    with all of them the panel."""
    lists = {label: list(entries) for label, entries in series.items()}
    values = [
        Values(label, [finite(entry) for entry in entries], [edges(entry) for entry in entries], colour)
        for colour, (label, entries) in enumerate(lists.items())
    ]
    kept = [one for one in values if any(known is not None for known in one.values)]
    return Rows(title, list(categories), kept, limits, bars) if kept else None


def not_numbers(places: list[str], file: str = FILE) -> list[Text]:
    """At most one sentence: the places at which a value is NaN, infinite or null."""
    if not places:
        return []
    more = f" and {len(places) - NAMED} more" if len(places) > NAMED else ""
    verb = "value is" if len(places) == 1 else "values are"
    text = f"{len(places)} {verb} NaN, infinite or null in {{}} and shown as such: {{}}{more}."
    return [paragraph(text, code(file), joined(map(code, places[:NAMED])))]
