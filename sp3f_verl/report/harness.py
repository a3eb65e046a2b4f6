"""The report of a folder of `sp3f evaluate --harness`: one row a task, in the harness's own metric."""

import math
from collections.abc import Mapping
from pathlib import Path

from sp3f_verl.evaluation.results import FILE, Estimate, HarnessSummary, HarnessTask
from sp3f_verl.report.document.blocks import Block, Document, Table, Text, listed, paragraph, picture
from sp3f_verl.report.document.escape import Markdown, code, joined
from sp3f_verl.report.side_by_side import Named, contents, minus, sources_of, unlike
from sp3f_verl.report.values import count, dots, finite, fixed, not_numbers, shown
from sp3f_verl.stats.format import number

Tasks = Mapping[str, HarnessTask]
FIELDS = {"language": "language", "metric": "metric", "value": "score", "shots": "shots", "n": "questions", "of": "of"}
FIELDS |= {"iterations": "iterations", "version": "version"}
DRAWN = "score by task, 95 % interval"
REACH = 1.96  # standard errors either side: a 95 % interval


def _mean(tasks: Tasks) -> float | None:
    """Unweighted; None where a task has no value: a mean over other tasks is another number."""
    values = [finite(task.value) for task in tasks.values()]
    return sum(values) / len(values) if values and None not in values else None


def scored(task: HarnessTask | None) -> str:
    """`41.25 ± 0.80`: value and standard error."""
    known = finite(task.stderr) if task and finite(task.value) is not None else None
    return fixed(task.value if task else None, 2) + (f" ± {known:.2f}" if known is not None else "")


def _interval(task: HarnessTask | None) -> Estimate | float | None:
    if task is None or finite(task.value) is None or finite(task.stderr) is None:
        return task and task.value
    reach = REACH * task.stderr
    return Estimate(mean=task.value, low=task.value - reach, high=task.value + reach)


def document(folder: Path, summary: HarnessSummary) -> Document:
    tasks, mean, suite, model = summary.tasks, _mean(summary.tasks), summary.suite or "?", summary.model or "?"
    columns = {title: lambda task, field=field: shown(getattr(task, field)) for field, title in FIELDS.items()}
    files = [f"tasks/{name}.json" for name in tasks if (folder / f"tasks/{name}.json").is_file()]
    source = Markdown("{}, in full {}").format(code(FILE), joined(map(code, files))) if files else code(FILE)
    means = summary.mean.languages if summary.mean else {}
    of_language = {"tasks": lambda mean: count(mean.tasks), "mean": lambda mean: fixed(mean.value, 2)}
    trial = "**Only {} questions a task were asked**: a trial, not a measurement."
    blocks = [
        paragraph("Model {}, suite {}; in points of 100.", code(model), suite),
        Text("± is the standard error that the harness tells: of sampling the questions, and of nothing else."),
        *not_numbers([f"tasks.{name}.value" for name, task in tasks.items() if finite(task.value) is None]),
        *([paragraph(trial, count(summary.limit))] if summary.limit else []),
        *picture("harness.png", "Scores by task", [dots(DRAWN, tasks, {"": map(_interval, tasks.values())})]),
        listed("task", tasks, columns | {"score": scored}, source, sparse=True),
        Text(
            "No mean: a task has no value." if mean is None else f"Unweighted mean of {len(tasks)} tasks: {mean:.2f}."
        ),
        *([listed("language", means, of_language, code(FILE))] if means else []),
    ]
    return Document(f"Harness {suite}: {model}", blocks, folder)


def compare(named: Named[HarnessSummary]) -> list[Block]:
    tasks = {label: summary.tasks for label, summary in contents(named).items()}
    first, *others = named
    names = list(dict.fromkeys(name for by_task in tasks.values() for name in by_task))
    rows = [
        [
            name,
            *(scored(by_task.get(name)) for by_task in tasks.values()),
            *(_points(tasks[label].get(name), tasks[first].get(name)) for label in others),
        ]
        for name in names
    ]
    rows.append(["mean of tasks", *(number(_mean(by_task)) for by_task in tasks.values()), *["–"] * len(others)])
    settings = {label: {"limit": one.limit, **one.versions} for label, one in contents(named).items()}
    unequal = []
    for name in names:
        fields = [field for label in others for field in _unequal(tasks[label].get(name), tasks[first].get(name))]
        unequal += [f"{name} ({', '.join(dict.fromkeys(fields))})"] if fields else []
    text = "**Not measured alike**, so without a difference: {}."
    intervals = {label: [_interval(by_task.get(name)) for name in names] for label, by_task in tasks.items()}
    return [
        *unlike(settings),
        *([paragraph(text, joined(unequal))] if unequal else []),
        *picture("compare_harness.png", "Scores by task", [dots(DRAWN, names, intervals)]),
        Table(["task", *named, *minus(others, first)], rows),
        Text(
            "Differences have a 95 % interval from both standard errors, as if the questions were others: the harness "
            "does not tell answers by question here, and pairing them would narrow it."
        ),
        sources_of(named),
    ]


def _unequal(task: HarnessTask | None, base: HarnessTask | None) -> list[str]:
    """In what a task was measured otherwise, where both have it."""
    if task is None or base is None:
        return []
    return [name for name in ("metric", "filter", "shots") if getattr(task, name) != getattr(base, name)]


def _points(task: HarnessTask | None, base: HarnessTask | None) -> str:
    if task is None or base is None or None in (finite(task.value), finite(base.value)) or _unequal(task, base):
        return "–"
    change = task.value - base.value
    if None in (finite(task.stderr), finite(base.stderr)):
        return f"{change:+.2f}"
    reach = REACH * math.hypot(task.stderr, base.stderr)
    return fixed(Estimate(mean=change, low=change - reach, high=change + reach), 2, sign="+")
