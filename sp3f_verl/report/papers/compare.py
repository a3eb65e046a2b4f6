"""`sp3f report --paper`: a paper's published numbers, and a user's runs beside them."""

from collections.abc import Iterator, Mapping, Sequence

from sp3f_verl.errors import BadInput
from sp3f_verl.evaluation.results import FILE, ArenaCandidate, BenchmarkSummary, HarnessSummary, TranslationSummary
from sp3f_verl.report.document.blocks import Block, Document, Items, Section, Table, paragraph
from sp3f_verl.report.document.escape import Markdown, code, joined
from sp3f_verl.report.folders import Folder
from sp3f_verl.report.harness import scored
from sp3f_verl.report.papers.conditions import compared, conditions_table, normal, of_paper, of_run, verdict
from sp3f_verl.report.papers.load import SOURCES, Paper, PaperTable, load
from sp3f_verl.report.side_by_side import labels
from sp3f_verl.report.values import finite, fixed
from sp3f_verl.stats.format import number
from sp3f_verl.stats.win_rates import margin

RUNS = ("arena", "evaluate", "harness", "translation")  # tables of these kinds have runs of the same kind beside them
NAMED = {"translation": "data_prep.wmt compare"}


def paper_document(name: str, folders: Sequence[Folder]) -> Document:
    """BadInput for a run that has nothing to stand beside."""
    paper = load(name)
    fitting = sorted({table.kind for table in paper.tables} & set(RUNS))
    for folder in folders:
        if folder.kind not in fitting:
            kinds = " and ".join(NAMED.get(kind, kind) for kind in fitting)
            raise BadInput(
                f"{folder.path} is of the kind {folder.kind!r}, and --paper={name} has tables for {kinds}; leave it "
                "out."
            )
    named = dict(zip(labels([folder.path for folder in folders]), folders, strict=True))
    lead = [paragraph("{}. Base models: {}.", paper.cite, joined(paper.models)), Items(paper.notes)]
    return Document(paper.title, [*lead, *(_section(paper, table, named) for table in paper.tables)])


def _section(paper: Paper, table: PaperTable, named: Mapping[str, Folder]) -> Section:
    header = ["model", *table.columns, "from"]
    has_rest = table.kind == "arena" and table.columns == ("win", "loss", "delta")
    if has_rest:
        header.insert(-1, "neither")
    rows: list[list[str]] = []
    for row in table.rows:
        label = row.name + (f" against {row.baseline}" if row.baseline else "") + (f" ({row.note})" if row.note else "")
        cells = [fixed(value, table.digits) for value in row.values]
        cells += [f"{margin(*row.values[:2])[1]:.2f}"] if has_rest else []
        rows.append([label, *cells, paper.name])
    beside = {label: folder for label, folder in named.items() if folder.kind == table.kind}
    for label, folder in beside.items():
        for name, cells in _yours(table, folder):
            shown = Markdown("**{}** {}").format(label, name) if name else Markdown("**{}**").format(label)
            rows.append([shown, *cells, *(["–"] * (len(header) - 2 - len(cells))), label])
    details: list[Block] = [_conditions(paper, table, label, folder) for label, folder in beside.items()]
    notes = [Items(table.notes)] if table.notes else []
    lead = paragraph("In {}. Source: {}.", table.unit, SOURCES[table.source])
    return Section(table.title, [lead, *notes, Table(header, rows), *details])


def _conditions(paper: Paper, table: PaperTable, label: str, folder: Folder) -> Section:
    conditions = compared(of_paper(paper.conditions_of(table), table.columns), of_run(folder.content))
    blocks = [paragraph("{} Numbers from {}.", verdict(conditions), code(FILE)), conditions_table(conditions)]
    return Section(f"{label} and the paper", blocks, folder.path)


# ---- the user's row ------------------------------------------------------------------------------------------------


def _yours(table: PaperTable, folder: Folder) -> Iterator[tuple[str, list[str]]]:
    """(name, a cell a column)."""
    match table.kind:
        case "evaluate":
            yield "", _evaluated(table, folder.content)
        case "harness":
            yield "", _tasks(table, folder.content)
        case "arena":
            halves = folder.content.ties in (None, "half")
            for name, candidate in folder.content.candidates.items():
                shown = f"{name} against {folder.content.baseline or '?'}"
                yield shown, _arena(candidate) if halves else ["–"] * 4
        case "translation":
            yield from _translated(table, folder.content)


def _evaluated(table: PaperTable, summary: BenchmarkSummary) -> list[str]:
    means = {normal(name): benchmark.mean for name, benchmark in summary.benchmarks.items() if benchmark.mean}
    if table.id == "tasks":
        return [fixed(getattr(means.get(normal(column)), "accuracy", None), 2, 100) for column in table.columns]
    cells = []
    for column in table.columns:  # over the benchmarks
        values = [value for one in means.values() if (value := finite(getattr(one, column, None))) is not None]
        mean = 100 * sum(values) / len(values) if values else None
        cells.append(fixed(mean, 2) + (f" (mean of {len(values)} benchmarks)" if values else ""))
    return cells


def _tasks(table: PaperTable, summary: HarnessSummary) -> list[str]:
    tasks = {normal(name): task for name, task in summary.tasks.items()}
    columns = [column for column in table.columns if not column.startswith("mean")]
    cells = [scored(tasks.get(column)) for column in columns]
    if "mean" in table.columns:
        names = columns or [column for column in load("tspin").table("table1").columns if column != "mean"]
        values = [finite(tasks[name].value) if name in tasks else None for name in names]
        cells.append("– (not all tasks)" if None in values else f"{sum(values) / len(values):.2f}")
    return cells


def _arena(candidate: ArenaCandidate) -> list[str]:
    """Win, loss, delta and neither, where ties are halves. Wins and losses are of pairs, by both orders; delta is 2 x
    the win rate - 100, over the verdicts: what a coin that draws one order comes to on average."""
    overall = candidate.mean
    if overall is None or finite(overall.win_rate) is None:
        return ["–"] * 4
    rate = overall.win_rate
    delta = {name: 2 * bound - 100 for name, bound in rate.model_dump().items() if bound is not None}
    win, loss, neither = (fixed(finite(share), 2) for share in (overall.wins, overall.losses, overall.ties))
    return [win, loss, fixed(type(rate)(**delta), 2), neither]


def _translated(table: PaperTable, summary: TranslationSummary) -> Iterator[tuple[str, list[str]]]:
    scores: dict[str, dict[str, float | None]] = {}
    for score in summary.scores:
        by_language = scores.setdefault(score.translator, {})
        by_language[score.language or ""] = getattr(score, f"{table.id}_sentence", None)
    for name, values in sorted(scores.items()):
        yield name, [number(values.get(column)) for column in table.columns]
