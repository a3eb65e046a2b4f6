"""The report of a folder of `sp3f evaluate --harness`: one row a task, in the harness's own metric."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sp3f_verl.evaluation.summary_file import FILE, count, finite, not_numbers, part, value
from sp3f_verl.report.document.inline import code, plain
from sp3f_verl.report.document.model import Block, Document, Picture, Rows, Table, Text, Values
from sp3f_verl.stats.format import number

REACH = 1.96  # standard errors either side: a 95 % interval


def tasks_of(summary: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {str(name): each for name, each in part(summary, "tasks").items() if isinstance(each, dict)}


def mean_of(tasks: Mapping[str, Mapping[str, Any]]) -> float | None:
    """Unweighted; None where a task has no value: a mean over other tasks is another number."""
    values = [finite(each.get("value")) for each in tasks.values()]
    return sum(values) / len(values) if values and None not in values else None


def scored(entry: Mapping[str, Any]) -> str:
    """`41.25 ± 0.80`: value and standard error."""
    error = finite(entry.get("stderr"))
    return _two(value(entry.get("value"))) + (f" ± {error:.2f}" if error is not None else "")


def _two(found: float | None) -> str:
    return number(found) if found is None or found != found else f"{found:.2f}"


def spread_of(entry: Mapping[str, Any]) -> tuple[float, float] | None:
    found, error = finite(entry.get("value")), finite(entry.get("stderr"))
    return None if found is None or error is None else (found - REACH * error, found + REACH * error)


def harness_document(folder: Path, summary: dict[str, Any]) -> Document:
    tasks = tasks_of(summary)
    suite, mean = plain(summary.get("suite", "?")), mean_of(tasks)
    lead: list[Block] = [
        Text(f"Model {code(summary.get('model', '?'))}, suite {suite}; all numbers from `{FILE}`, in points of 100."),
        Text("± is the standard error that the harness tells: of sampling the questions, and of nothing else."),
        *(
            Text(sentence)
            for sentence in not_numbers({"tasks": {n: {"value": e.get("value")} for n, e in tasks.items()}})
        ),
    ]
    if summary.get("limit"):
        lead.append(
            Text(f"**Only {count(summary['limit'])} questions a task were asked**: a trial, not a measurement.")
        )
    if tasks:
        values = [finite(each.get("value")) for each in tasks.values()]
        panel = Rows(
            "score by task, 95 % interval", list(tasks), [Values("", values, list(map(spread_of, tasks.values())))]
        )
        lead.append(Picture("harness.png", "Scores by task", [panel]))
    said = (
        f"Unweighted mean of {len(tasks)} tasks: {mean:.2f}." if mean is not None else "No mean: a task has no value."
    )
    return Document(
        f"Harness {suite}: {plain(summary.get('model', '?'))}", [*lead, _table(folder, tasks), Text(said)], folder
    )


def _table(folder: Path, tasks: Mapping[str, Mapping[str, Any]]) -> Table:
    columns = {
        "language": lambda each: plain(each.get("language", "–")),
        "metric": lambda each: plain(each.get("metric", "–")),
        "score": scored,
        "shots": lambda each: count(each.get("shots")),
        "questions": lambda each: count(each.get("n")),
        "of": lambda each: count(each.get("of")),
        "iterations": lambda each: count(each.get("iterations")),
        "version": lambda each: plain("–" if each.get("version") is None else each["version"]),
    }
    rows = [
        [
            plain(name),
            *(show(each) for show in columns.values()),
            code(f"tasks/{name}.json") if (folder / f"tasks/{name}.json").is_file() else "–",
        ]
        for name, each in tasks.items()
    ]
    kept = [n for n in range(len(columns) + 2) if n == 0 or any(row[n] != "–" for row in rows)]
    header = ["task", *columns, "in full"]
    return Table([header[n] for n in kept], [[row[n] for n in kept] for row in rows], source=f"`{FILE}`")
