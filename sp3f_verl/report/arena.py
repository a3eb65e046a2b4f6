"""The report of a folder of `sp3f evaluate --arena`: win rates against a baseline, by language and category."""

from collections.abc import Mapping
from pathlib import Path

from sp3f_verl.evaluation.results import (
    FILE,
    ArenaCandidate,
    ArenaCell,
    ArenaJudge,
    ArenaSummary,
    Estimate,
    PairedGap,
    PositionBias,
    not_finite,
)
from sp3f_verl.report.document.blocks import (
    Block,
    Document,
    Panel,
    Rows,
    Section,
    Table,
    Values,
    paragraph,
    picture,
)
from sp3f_verl.report.document.escape import Markdown, code, joined
from sp3f_verl.report.values import cell, count, edges, finite, percent, places_sentence
from sp3f_verl.stats.format import number

MEAN = "mean of languages"
RATES = {"win_rate": "win rate", "lc_win_rate": "at equal length"}
COLUMNS = {
    "prompts": "prompts",
    **RATES,
    "wins": "wins",
    "ties": "ties",
    "losses": "losses",
    "wrong_language": "wrong language",
    "baseline_wrong_language": "baseline's wrong language",
    "unparseable": "unparseable",
    "failed": "failed",
    "one_order": "one order only",
    "unjudged": "not judged",
    "missing": "missing",
}
MEASURED = ("languages", "categories", "mean", "others", "paired")
BIAS = {
    "first": "what is shown first wins, of decided verdicts (50: no bias)",
    "consistent": "pairs with the same outcome in both orders",
    "tied": "verdicts that are ties",
    "verdicts": "verdicts",
}
LEAD = """Rates in percent; a rate over languages is their unweighted mean. A win rate is over the prompts that got a
verdict in both orders: what was unparseable, failed or missing is counted beside it, in no denominator. In brackets:
the 95 % interval, by resampling prompts. *At equal length*: as if both answered at one length (AlpacaEval 2's fit)."""


def judge_name(summary: ArenaSummary) -> str:
    """Of the judge itself, without a panel's members."""
    return (summary.judge.model if summary.judge else None) or "?"


def groups_of(candidate: ArenaCandidate) -> dict[str, dict[str, ArenaCell]]:
    """language and category -> row -> its numbers, the mean of the languages last."""
    groups = {
        "language": candidate.languages | ({MEAN: candidate.mean} if candidate.mean else {}),
        "category": candidate.categories,
    }
    return {title: rows for title, rows in groups.items() if rows}


def arena_document(folder: Path, summary: ArenaSummary) -> Document:
    candidates, baseline = summary.candidates, summary.baseline or "?"
    judges = list(map(_judge, summary.judges)) or [code("?")]
    names = joined(map(code, candidates))
    unknown = summary.language_not_recognised
    lead = [
        paragraph("{} against {}, judged by {}.", names, code(baseline), joined(judges)),
        paragraph(LEAD),
        *places_sentence(
            [place for place in not_finite(summary) if place.split(".")[0].split("[")[0] in MEASURED], FILE
        ),
        *([paragraph("Every verdict: `preferences.parquet`.")] if (folder / "preferences.parquet").is_file() else []),
        *([paragraph("Languages that cannot be recognised: {}.", joined(unknown))] if unknown else []),
    ]
    sections = [
        Section(f"{name} against {baseline}", [*_groups(candidate, place), *_bias(candidate)])
        for place, (name, candidate) in enumerate(candidates.items())
    ]
    title = f"Arena: {', '.join(candidates)} against {baseline}"
    return Document(title, [*lead, *sections, *map(_paired, summary.paired), *_cost(summary)], folder)


def _judge(judge: ArenaJudge) -> Markdown:
    """Its model and, where it has one, its prompt."""
    model = code(judge.model or "?")
    version = f"{judge.prompt} {judge.prompt_version or ''}".strip()
    return Markdown("{} (prompt {})").format(model, code(version)) if judge.prompt else model


def _groups(candidate: ArenaCandidate, place: int) -> list[Block]:
    groups = groups_of(candidate)
    blocks: list[Block] = []
    for title, rows in groups.items():
        blocks += picture(f"arena_{place}_{title}.png", f"Win rates by {title}", [_panel(rows)])
    return [*blocks, *(table_of(title, rows) for title, rows in groups.items())]


def table_of(title: str, rows: Mapping[str, ArenaCell]) -> Table:
    """A row a language or category, in the columns that any of them has."""
    columns = [name for name in COLUMNS if any(name in row.model_fields_set for row in rows.values())]
    cells = [[name, *(_shown(row, column) for column in columns)] for name, row in rows.items()]
    return Table([title, *(COLUMNS[name] for name in columns)], cells, code(FILE))


def _panel(rows: Mapping[str, ArenaCell]) -> Panel | None:
    values = [
        Values(
            label,
            [finite(getattr(row, name)) for row in rows.values()],
            [edges(getattr(row, name)) for row in rows.values()],
            colour,
        )
        for colour, (name, label) in enumerate(RATES.items())
    ]
    kept = [series for series in values if any(known is not None for known in series.values)]
    return Rows("win rate in percent, 95 % interval", list(rows), kept) if kept else None


def _shown(row: ArenaCell | PositionBias, name: str) -> str:
    entry: Estimate | float | None = getattr(row, name)
    return str(entry) if isinstance(entry, int) else percent(entry)


def _bias(candidate: ArenaCandidate) -> list[Table]:
    bias = candidate.mean.position_bias if candidate.mean else None
    if bias is None:
        return []
    rows = [[label, _shown(bias, name)] for name, label in BIAS.items() if name in bias.model_fields_set]
    return [Table(["the judge and the order, in percent", "value"], rows, code(FILE))] if rows else []


def _paired(gaps: PairedGap) -> Section:
    rows = gaps.languages | ({MEAN: gaps.mean} if gaps.mean else {})
    cells = [[name, count(gap.prompts), percent(gap), number(gap.p)] for name, gap in rows.items()]
    table = Table(["language", "prompts", "difference in points", "p"], cells, code(FILE))
    return Section(f"{gaps.a} minus {gaps.b}, on the same prompts", [table])


def _cost(summary: ArenaSummary) -> list[Section]:
    cost = summary.cost.model_dump(exclude_unset=True) if summary.cost else {}
    rows = [
        [name, "not known" if amount is None else cell(amount) if name == "usd" else count(amount)]
        for name, amount in cost.items()
    ]
    return [Section("Cost of the judge", [Table(["what", "how much"], rows, code(FILE))])] if rows else []
