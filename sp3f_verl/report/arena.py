"""The report of a folder of `sp3f evaluate --arena`: win rates against a baseline, by language and category."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sp3f_verl.evaluation.summary_file import FILE, cell, count, edges, finite, listed, not_numbers, part, value
from sp3f_verl.report.document.inline import code, plain
from sp3f_verl.report.document.model import Block, Document, Picture, Rows, Section, Table, Text, Values
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
COUNTS = ("prompts", "unparseable", "failed", "one_order", "unjudged", "missing")
LEAD = """Rates in percent; a rate over languages is their unweighted mean. A win rate is over the prompts that got a
verdict in both orders: what was unparseable, failed or missing is counted beside it, in no denominator. In brackets:
the 95 % interval, by resampling prompts. *At equal length*: as if both answered at one length (AlpacaEval 2's fit)."""


def name_of(entry: Any) -> str:
    """Of a candidate, baseline or judge: a text, or an object with one under name or model."""
    if isinstance(entry, Mapping):
        entry = entry.get("model") or entry.get("name")
    return str(entry if entry is not None else "?")


def groups_of(found: Mapping[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """language and category -> row -> its numbers, the mean of the languages last."""
    mean = part(found, "mean")
    groups = {
        "language": _rows(found, "languages") | ({MEAN: mean} if mean else {}),
        "category": _rows(found, "categories"),
    }
    return {title: rows for title, rows in groups.items() if rows}


def overall_of(summary: Mapping[str, Any]) -> dict[str, Any]:
    return groups_of(summary).get("language", {}).get(MEAN, {})


def candidates_of(summary: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Candidate -> its numbers: the first one's stand at the top of the summary."""
    others = {name: each for name, each in part(summary, "others").items() if isinstance(each, dict)}
    return {name_of(summary.get("candidate")): summary, **others}


def _rows(found: Mapping[str, Any], name: str) -> dict[str, dict[str, Any]]:
    return {str(row): each for row, each in part(found, name).items() if isinstance(each, dict)}


def arena_document(folder: Path, summary: dict[str, Any]) -> Document:
    candidates, baseline = candidates_of(summary), name_of(summary.get("baseline"))
    judge = part(summary, "judge")
    models = [name_of(each) for each in [summary.get("judge"), *listed(judge.get("panel"))]]
    named, unknown = ", ".join(map(code, candidates)), listed(summary.get("language_not_recognised"))
    lead = [
        Text(f"{named} against {code(baseline)}, judged by {', '.join(map(code, models))}; all numbers from `{FILE}`."),
        Text(LEAD),
        *(Text(sentence) for sentence in not_numbers({name: summary[name] for name in MEASURED if name in summary})),
        *([Text("Every verdict: `preferences.parquet`.")] if (folder / "preferences.parquet").is_file() else []),
        *([Text(f"Languages that cannot be recognised: {', '.join(map(plain, unknown))}.")] if unknown else []),
    ]
    sections = [
        Section(f"{plain(name)} against {plain(baseline)}", [*_groups(found, n), *_bias(found)])
        for n, (name, found) in enumerate(candidates.items())
    ]
    title = f"Arena: {plain(', '.join(candidates))} against {plain(baseline)}"
    return Document(title, [*lead, *sections, *_paired(summary), *_cost(summary)], folder)


def _groups(found: Mapping[str, Any], place: int) -> list[Block]:
    blocks: list[Block] = []
    for title, rows in groups_of(found).items():
        columns = [name for name in COLUMNS if any(name in each for each in rows.values())]
        table = [[plain(row), *(_shown(name, each.get(name)) for name in columns)] for row, each in rows.items()]
        if picture := _picture(title, rows, f"arena_{place}_{title}.png"):
            blocks.append(picture)
        blocks.append(Table([title, *(COLUMNS[name] for name in columns)], table, source=f"`{FILE}`"))
    return blocks


def _picture(title: str, rows: dict[str, dict[str, Any]], file: str) -> Picture | None:
    values = [
        Values(
            label,
            [finite(each.get(name)) for each in rows.values()],
            [edges(each.get(name)) for each in rows.values()],
            n,
        )
        for n, (name, label) in enumerate(RATES.items())
    ]
    kept = [each for each in values if any(known is not None for known in each.values)]
    panel = Rows(f"win rate by {title} in percent, 95 % interval", list(rows), kept)
    return Picture(file, f"Win rates by {title}", [panel]) if kept else None


def _shown(name: str, entry: Any) -> str:
    if name in COUNTS:
        return count(entry)
    found, pair = value(entry), edges(entry)
    if found is None or finite(entry) is None:
        return number(found)
    return f"{found:.1f}" + (f" [{pair[0]:.1f}; {pair[1]:.1f}]" if pair else "")


def _bias(found: Mapping[str, Any]) -> list[Block]:
    bias = part(found, "mean", "position_bias")
    told = {
        "first": "what is shown first wins, of decided verdicts (50: no bias)",
        "consistent": "pairs with the same outcome in both orders",
        "tied": "verdicts that are ties",
        "verdicts": "verdicts",
    }
    rows = [
        [told[name], count(bias[name]) if name == "verdicts" else _shown(name, bias[name])]
        for name in told
        if name in bias
    ]
    return [Table(["the judge and the order, in percent", "value"], rows, source=f"`{FILE}`")] if rows else []


def _paired(summary: Mapping[str, Any]) -> list[Section]:
    sections = []
    for each in listed(summary.get("paired")):
        rows = {**_rows(each, "languages"), **({MEAN: part(each, "mean")} if part(each, "mean") else {})}
        table = [
            [plain(n), count(gap.get("prompts")), _shown("", gap), number(value(gap.get("p")))]
            for n, gap in rows.items()
        ]
        title = f"{plain(each.get('a'))} minus {plain(each.get('b'))}, on the same prompts"
        sections.append(
            Section(title, [Table(["language", "prompts", "difference in points", "p"], table, source=f"`{FILE}`")])
        )
    return sections


def _cost(summary: Mapping[str, Any]) -> list[Section]:
    cost = part(summary, "cost")
    rows = [
        [plain(name), "not known" if each is None else cell(each) if name == "usd" else count(each)]
        for name, each in cost.items()
    ]
    return [Section("Cost of the judge", [Table(["what", "how much"], rows, source=f"`{FILE}`")])] if rows else []
