"""The report of a folder of `sp3f evaluate --arena`: win rates against a baseline, by language and category."""

from pathlib import Path

from sp3f_verl.evaluation.results import FILE, ArenaCandidate, ArenaCell, ArenaJudge, ArenaSummary, not_finite
from sp3f_verl.report.document.blocks import Block, Document, Section, Text, across, listed, paragraph, picture, section
from sp3f_verl.report.document.escape import Markdown, code, joined
from sp3f_verl.report.side_by_side import Named, contents, sources_of
from sp3f_verl.report.values import cell, count, dots, fixed, not_numbers, with_mean
from sp3f_verl.stats.format import number

SOURCE = code(FILE)
RATES = {"win_rate": "win rate", "lc_win_rate": "at equal length"}
COLUMNS = {
    **{"prompts": "prompts", **RATES, "wins": "wins", "ties": "ties", "losses": "losses"},
    **{"wrong_language": "wrong language", "baseline_wrong_language": "baseline's wrong language"},
    **{"jammed": "jammed", "win_rate_jams_lost": "win rate, jams lost"},
    **{"unparseable": "unparseable", "failed": "failed", "one_order": "one order only", "unjudged": "not judged"},
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


def _groups(candidate: ArenaCandidate) -> dict[str, dict[str, ArenaCell]]:
    """language and category -> row -> its numbers, the mean of the languages last."""
    groups = {"language": with_mean(candidate.languages, candidate.mean), "category": candidate.categories}
    return {title: rows for title, rows in groups.items() if rows}


def document(folder: Path, summary: ArenaSummary) -> Document:
    candidates, baseline = summary.candidates, summary.baseline or "?"
    judges = list(map(_judge, summary.judges)) or [code("?")]
    places = [place for place in not_finite(summary) if place.split(".")[0].split("[")[0] in MEASURED]
    unknown = summary.language_not_recognised
    gaps = {
        "prompts": lambda gap: count(gap.prompts),
        "difference in points": fixed,
        "p": lambda gap: number(gap.p),
    }
    cost = summary.cost.model_dump(exclude_unset=True) if summary.cost else {}
    amount = {"how much": lambda name: _amount(name, cost[name])}
    blocks = [
        paragraph("{} against {}, judged by {}.", joined(map(code, candidates)), code(baseline), joined(judges)),
        paragraph(LEAD),
        *not_numbers(places),
        *([paragraph("Every verdict: `preferences.parquet`.")] if (folder / "preferences.parquet").is_file() else []),
        *([paragraph("Languages that cannot be recognised: {}.", joined(unknown))] if unknown else []),
        *(
            Section(f"{name} against {baseline}", _candidate(candidate, place))
            for place, (name, candidate) in enumerate(candidates.items())
        ),
        *(
            Section(
                f"{pair.a} minus {pair.b}, on the same prompts",
                [listed("language", with_mean(pair.languages, pair.mean), gaps, SOURCE)],
            )
            for pair in summary.paired
        ),
        *section("Cost of the judge", listed("what", list(cost), amount, SOURCE)),
    ]
    return Document(f"Arena: {', '.join(candidates)} against {baseline}", blocks, folder)


def _judge(judge: ArenaJudge) -> Markdown:
    """Its model and, where it has one, its prompt."""
    model = code(judge.model or "?")
    version = f"{judge.prompt} {judge.prompt_version or ''}".strip()
    return Markdown("{} (prompt {})").format(model, code(version)) if judge.prompt else model


def _amount(name: str, amount: float | None) -> str:
    return "not known" if amount is None else cell(amount) if name == "usd" else count(amount)


def _candidate(candidate: ArenaCandidate, place: int) -> list[Block]:
    """Pictures and tables by language and category, and what the judge does with the order."""
    groups, pictures, tables = _groups(candidate), [], []
    for title, rows in groups.items():
        rates = {label: [getattr(row, name) for row in rows.values()] for name, label in RATES.items()}
        panel = dots("win rate in percent, 95 % interval", rows, rates)
        pictures += picture(f"arena_{place}_{title}.png", f"Win rates by {title}", [panel])
        columns = {
            label: lambda row, name=name: _shown(getattr(row, name))
            for name, label in COLUMNS.items()
            if any(name in row.model_fields_set for row in rows.values())
        }
        tables.append(listed(title, rows, columns, SOURCE))
    if candidate.mean and (bias := candidate.mean.position_bias):
        entries = {label: getattr(bias, name) for name, label in BIAS.items() if name in bias.model_fields_set}
        if entries:
            tables.append(listed("the judge and the order, in percent", entries, {"value": _shown}, SOURCE))
    return [*pictures, *tables]


def _shown(entry) -> str:
    return str(entry) if isinstance(entry, int) else fixed(entry)


def compare(named: Named[ArenaSummary]) -> list[Block]:
    blocks: list[Block] = []
    summaries = contents(named)
    baselines = {summary.baseline or "?" for summary in summaries.values()}
    for kind, names in (("baselines", baselines), ("judges", set(map(judge_name, summaries.values())))):
        if len(names) > 1:
            text = f"**They have different {kind}** ({{}}): do not compare them."
            blocks.append(paragraph(text, joined(map(code, sorted(names)))))
    groups = {
        f"{label}: {name}": _groups(candidate)
        for label, summary in summaries.items()
        for name, candidate in summary.candidates.items()
    }
    for title in dict.fromkeys(title for group in groups.values() for title in group):
        names = [name for group in groups.values() for name in group.get(title, {})]
        for metric, label in RATES.items():

            def rate(group: dict, name: str, title=title, metric=metric) -> str:
                return cell(getattr(group.get(title, {}).get(name), metric, None))

            blocks += section(f"By {title}: {label}, percent", across(title, groups, names, rate))
    text = "Candidates of one arena are tested against each other on the same prompts in its own report."
    return [*blocks, Text(text), sources_of(named)]
