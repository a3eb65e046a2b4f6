"""`sp3f report --paper`: a paper's published numbers, and a user's runs beside them."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sp3f_verl.data.files import read_parquet
from sp3f_verl.errors import BadInput
from sp3f_verl.evaluation.summary_file import edges, finite, part
from sp3f_verl.report.arena import candidates_of, name_of, overall_of
from sp3f_verl.report.document.inline import plain
from sp3f_verl.report.document.model import Block, Document, Items, Section, Table, Text
from sp3f_verl.report.harness import scored, tasks_of
from sp3f_verl.report.papers.conditions import compared, conditions_table, normal, of_paper, of_run, verdict
from sp3f_verl.report.papers.load import SOURCES, Paper, PaperTable, load
from sp3f_verl.report.side_by_side import labels
from sp3f_verl.stats.format import number
from sp3f_verl.stats.win_rates import margin

if TYPE_CHECKING:
    from sp3f_verl.report.command import Found

RUNS = {
    "evaluate": "evaluate",
    "harness": "harness",
    "arena": "arena",
    "translation": "dataset",
}  # kind of table -> run
FILES = {"dataset": "scores.parquet"}


def paper_document(name: str, found: "Sequence[Found]") -> Document:
    """BadInput for a run that has nothing to stand beside."""
    paper = load(name)
    fitting = {RUNS[table.kind] for table in paper.tables if table.kind in RUNS}
    for each in found:
        if each.kind not in fitting or (each.kind == "dataset" and not _is_translation(each)):
            raise BadInput(
                f"{each.folder} is of the kind {each.kind!r}, and --paper={name} has tables for "
                f"{' and '.join(sorted(fitting)).replace('dataset', 'data_prep.wmt compare')}; leave it out."
            )
    named = dict(zip(labels([each.folder for each in found]), found, strict=True)) if found else {}
    sections = [_section(paper, table, named) for table in paper.tables]
    return Document(paper.title, [*_lead(paper), *sections])


def _is_translation(found: "Found") -> bool:
    return found.held.get("step") == "wmt compare" and (found.folder / FILES["dataset"]).is_file()


def _lead(paper: Paper) -> list[Block]:
    return [
        Text(f"{plain(paper.cite)}. Base models: {plain(', '.join(paper.models))}."),
        Items(list(map(plain, paper.notes))),
    ]


def _section(paper: Paper, table: PaperTable, named: "dict[str, Found]") -> Section:
    header = ["model", *(plain(column) for column in table.columns), "from"]
    extra = table.kind == "arena" and table.columns == ("win", "loss", "delta")
    if extra:
        header.insert(-1, "neither")
    rows = []
    for row in table.rows:
        label = row.name + (f" against {row.baseline}" if row.baseline else "") + (f" ({row.note})" if row.note else "")
        cells = ["–" if value is None else f"{value:.{table.digits}f}" for value in row.values]
        cells += [f"{margin(*row.values[:2])[1]:.2f}"] if extra else []
        rows.append([plain(label), *cells, plain(paper.name)])
    blocks: list[Block] = [Text(f"In {plain(table.unit)}. Source: {SOURCES[table.source]}."), *_notes(table)]
    own = {label: each for label, each in named.items() if RUNS.get(table.kind) == each.kind}
    details: list[Block] = []
    for label, each in own.items():
        file = FILES.get(each.kind, "summary.json")
        for name, cells in _yours(table, each.held, each.folder):
            shown = f"**{plain(label)}**" + (f" {plain(name)}" if name else "")
            rows.append([shown, *cells, *(["–"] * (len(header) - 2 - len(cells))), plain(label)])
        details.append(_conditions(paper, table, label, each, file))
    return Section(plain(table.title), [*blocks, Table(header, rows), *details])


def _notes(table: PaperTable) -> list[Block]:
    return [Items(list(map(plain, table.notes)))] if table.notes else []


def _conditions(paper: Paper, table: PaperTable, label: str, found: "Found", file: str) -> Section:
    summary = found.held if found.kind != "dataset" else {}
    told = compared(of_paper(paper.conditions_of(table), table.columns), of_run(found.kind, summary))
    blocks = [Text(f"{verdict(told)} Numbers from `{file}`."), conditions_table(told)]
    return Section(f"{plain(label)} and the paper", blocks, found.folder)


# ---- the user's row ------------------------------------------------------------------------------------------------


def _yours(table: PaperTable, held: dict[str, Any], folder: Path) -> Iterator[tuple[str, list[str]]]:
    """(name, a cell a column)."""
    match table.kind:
        case "evaluate":
            yield "", _evaluated(table, held)
        case "harness":
            yield "", _tasks(table, held)
        case "arena":
            for name, each in candidates_of(held).items():
                halves = held.get("ties", "half") == "half"
                yield f"{name} against {name_of(held.get('baseline'))}", _arena(each) if halves else ["–"] * 4
        case "translation":
            yield from _translated(table, folder)


def _evaluated(table: PaperTable, summary: dict[str, Any]) -> list[str]:
    found = {normal(name): part(each, "mean") for name, each in part(summary, "benchmarks").items()}
    if table.id == "tasks":
        return [_percent(found.get(normal(column), {}).get("accuracy")) for column in table.columns]
    cells = []
    for column in table.columns:  # over the benchmarks
        values = [value for each in found.values() if (value := finite(each.get(column))) is not None]
        told = f" (mean of {len(values)} benchmarks)" if values else ""
        cells.append((f"{100 * sum(values) / len(values):.2f}" if values else "–") + told)
    return cells


def _percent(entry: Any) -> str:
    found, pair = finite(entry), edges(entry)
    if found is None:
        return "–"
    return f"{100 * found:.2f}" + (f" [{100 * pair[0]:.2f}; {100 * pair[1]:.2f}]" if pair else "")


def _tasks(table: PaperTable, summary: dict[str, Any]) -> list[str]:
    tasks = {normal(name): each for name, each in tasks_of(summary).items()}
    own = [column for column in table.columns if not column.startswith("mean")]
    values = [finite(tasks.get(column, {}).get("value")) for column in own]
    cells = [scored(tasks.get(column, {})) for column in own]
    if "mean" in table.columns:
        whole = bool(values) and None not in values
        cells.append(f"{sum(values) / len(values):.2f}" if whole else "– (not all tasks)" if own else _mean(tasks))
    return cells


def _mean(tasks: dict[str, dict]) -> str:
    """Of the ten tasks of Table 1, where all are there."""
    wanted = [column for column in load("tspin").table("table1").columns if column != "mean"]
    values = [finite(tasks.get(name, {}).get("value")) for name in wanted]
    return "– (not all tasks)" if None in values else f"{sum(values) / len(values):.2f}"


def _arena(found: Mapping[str, Any]) -> list[str]:
    """Win, loss, delta and neither, where ties are halves. Wins and losses are of pairs, by both orders; delta is 2 x
    the win rate - 100, over the verdicts: what a coin that draws one order comes to on average."""
    overall = overall_of(found)
    rate, pair = finite(overall.get("win_rate")), edges(overall.get("win_rate"))
    if rate is None:
        return ["–"] * 4
    delta = f"{2 * rate - 100:.2f}" + (f" [{2 * pair[0] - 100:.2f}; {2 * pair[1] - 100:.2f}]" if pair else "")
    shares = [finite(overall.get(name)) for name in ("wins", "losses", "ties")]
    win, loss, neither = ("–" if share is None else f"{share:.2f}" for share in shares)
    return [win, loss, delta, neither]


def _translated(table: PaperTable, folder: Path) -> Iterator[tuple[str, list[str]]]:
    scores: dict[str, dict[str, float | None]] = {}
    for row in read_parquet(folder / FILES["dataset"]):
        scores.setdefault(str(row["translator"]), {})[row["language"]] = row.get(f"{table.id}_sentence")
    for name, values in sorted(scores.items()):
        yield name, [number(values.get(column)) for column in table.columns]
