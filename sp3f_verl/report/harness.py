"""The report of a folder of `sp3f evaluate --harness`: one row a task, in the harness's own metric."""

from collections.abc import Mapping
from pathlib import Path

from sp3f_verl.evaluation.results import FILE, HarnessSummary, HarnessTask
from sp3f_verl.report.document.blocks import Document, Rows, Table, Text, Values, paragraph, picture
from sp3f_verl.report.document.escape import Markdown, code
from sp3f_verl.report.values import count, finite, not_numbers, shown
from sp3f_verl.stats.format import number

COLUMNS = {
    "language": "language",
    "metric": "metric",
    "value": "score",
    "shots": "shots",
    "n": "questions",
    "of": "of",
    "iterations": "iterations",
    "version": "version",
}
REACH = 1.96  # standard errors either side: a 95 % interval


def mean_of(tasks: Mapping[str, HarnessTask]) -> float | None:
    """Unweighted; None where a task has no value: a mean over other tasks is another number."""
    values = [finite(task.value) for task in tasks.values()]
    return sum(values) / len(values) if values and None not in values else None


def scored(task: HarnessTask | None) -> str:
    """`41.25 ± 0.80`: value and standard error."""
    if task is None or finite(task.value) is None:
        return number(task.value if task else None)
    return f"{task.value:.2f}" + (f" ± {task.stderr:.2f}" if finite(task.stderr) is not None else "")


def spread_of(task: HarnessTask | None) -> tuple[float, float] | None:
    if task is None or finite(task.value) is None or finite(task.stderr) is None:
        return None
    return task.value - REACH * task.stderr, task.value + REACH * task.stderr


def harness_document(folder: Path, summary: HarnessSummary) -> Document:
    tasks, mean = summary.tasks, mean_of(summary.tasks)
    lead = [
        paragraph("Model {}, suite {}; in points of 100.", code(summary.model or "?"), summary.suite or "?"),
        Text("± is the standard error that the harness tells: of sampling the questions, and of nothing else."),
        *_values_missing(summary),
    ]
    if summary.limit:
        lead.append(
            paragraph("**Only {} questions a task were asked**: a trial, not a measurement.", count(summary.limit))
        )
    values = Values("", [finite(task.value) for task in tasks.values()], list(map(spread_of, tasks.values())))
    panel = Rows("score by task, 95 % interval", list(tasks), [values]) if tasks else None
    unweighted = f"Unweighted mean of {len(tasks)} tasks: {mean:.2f}." if mean is not None else ""
    return Document(
        f"Harness {summary.suite or '?'}: {summary.model or '?'}",
        [
            *lead,
            *picture("harness.png", "Scores by task", [panel]),
            table_of(tasks, folder),
            Text(unweighted or "No mean: a task has no value."),
            *_by_language(summary),
        ],
        folder,
    )


def _by_language(summary: HarnessSummary) -> list[Table]:
    """The means of each language's tasks, where tasks have one."""
    means = summary.mean.languages if summary.mean else {}
    rows = [
        [language, count(mean.tasks), "–" if mean.value is None else f"{mean.value:.2f}"]
        for language, mean in means.items()
    ]
    return [Table(["language", "tasks", "mean"], rows, code(FILE))] if rows else []


def _values_missing(summary: HarnessSummary) -> list[Text]:
    without = HarnessSummary(tasks={name: HarnessTask(value=task.value) for name, task in summary.tasks.items()})
    return not_numbers(without)


def table_of(tasks: Mapping[str, HarnessTask], folder: Path | None = None) -> Table:
    """A row a task. `folder`: where the harness's own words on each are, named below it."""
    rows = [
        [name, *(scored(task) if column == "value" else shown(getattr(task, column)) for column in COLUMNS)]
        for name, task in tasks.items()
    ]
    kept = [at for at in range(len(COLUMNS) + 1) if at == 0 or any(row[at] != "–" for row in rows)]
    header = ["task", *COLUMNS.values()]
    files = [f"tasks/{name}.json" for name in tasks if folder and (folder / f"tasks/{name}.json").is_file()]
    source = Markdown("{}, in full {}").format(code(FILE), Markdown(", ").join(map(code, files)))
    return Table(
        [header[at] for at in kept],
        [[row[at] for at in kept] for row in rows],
        source if files else code(FILE),
    )
