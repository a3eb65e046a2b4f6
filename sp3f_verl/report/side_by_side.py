"""Several folders of one kind side by side: the first is what the others are compared with."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sp3f_verl.data.manifest import MANIFEST, Manifest
from sp3f_verl.evaluation.results import (
    FILE,
    ArenaSummary,
    BenchmarkSummary,
    HarnessSummary,
    HarnessTask,
    Measures,
    TranslationSummary,
)
from sp3f_verl.report.arena import RATES, groups_of, judge_name
from sp3f_verl.report.benchmarks import DENOMINATOR, MEAN, file_name, output_rows, problem_of, rows_of, samples
from sp3f_verl.report.dataset import drops_of
from sp3f_verl.report.document.blocks import (
    SHARE,
    Block,
    Line,
    Lines,
    Rows,
    Section,
    Table,
    Text,
    Values,
    across,
    paragraph,
    picture,
)
from sp3f_verl.report.document.escape import Markdown, code, joined
from sp3f_verl.report.harness import REACH, mean_of, scored, spread_of
from sp3f_verl.report.rl_and_sft import ENDS, SFT, TERMS, TRAINING, VALIDATION, ends, labelled, smoothed
from sp3f_verl.report.run_metrics import RunMetrics
from sp3f_verl.report.values import cell, edges, finite, not_numbers
from sp3f_verl.stats.bootstrap import paired
from sp3f_verl.stats.format import number

Summaries = Mapping[str, tuple[Path, Any]]  # label -> (folder, what it holds)


def labels(folders: Sequence[Path]) -> list[str]:
    """The last parts of the paths, as many as tell them apart."""
    parts = [folder.resolve().parts for folder in folders]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(own[-depth:]) for own in parts]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]


def sources(named: Mapping[str, Path], files: Markdown) -> Section:
    """Where each column comes from: a section a run, since links are relative to its folder."""
    sections = [Section(label, [paragraph("{}: {}", folder, files)], folder) for label, folder in named.items()]
    return Section("Where the numbers come from", sections)


def _sources(summaries: Summaries, file: str = FILE) -> Section:
    return sources({label: folder for label, (folder, _) in summaries.items()}, code(file))


def _minus(others: Sequence[str], first: str) -> list[str]:
    return [f"{label} minus {first}" for label in others]


def _unlike(settings: Mapping[str, Mapping[str, Any]]) -> list[Text]:
    """settings: label -> setting -> value. At most one sentence: those in which the runs differ."""
    differ = []
    for name in dict.fromkeys(name for own in settings.values() for name in own):
        values = {label: json.dumps(own.get(name), ensure_ascii=False).strip('"') for label, own in settings.items()}
        if len(set(values.values())) > 1:
            shown = (f"{label} {'–' if value == 'null' else value}" for label, value in values.items())
            differ.append(Markdown("{} ({})").format(name, joined(shown)))
    return [paragraph("**Not the same settings**: {}.", joined(differ))] if differ else []


# ---- sp3f evaluate -------------------------------------------------------------------------------------------------


def compare_evaluations(summaries: Mapping[str, tuple[Path, BenchmarkSummary]]) -> list[Block]:
    first = next(iter(summaries))
    blocks: list[Block] = [
        paragraph(
            "Differences are to **{}**, over the problems that both have; their intervals and p-values pair each "
            "problem with itself. Without the answers of both (`output.jsonl`) there is only a difference of means.",
            first,
        ),
        paragraph(DENOMINATOR),
    ]
    for label, (_, summary) in summaries.items():
        blocks += [paragraph("{}: {}", label, one.text) for one in not_numbers(summary, "benchmarks")]
    settings = {
        label: summary.decoding.model_dump(exclude_unset=True)
        | {"threshold": summary.threshold, "limit": summary.limit}
        for label, (_, summary) in summaries.items()
    }
    blocks += _unlike(settings)
    names = [
        name
        for name in summaries[first][1].benchmarks
        if all(name in summary.benchmarks for _, summary in summaries.values())
    ]
    if not names:
        blocks.append(Text("They have no benchmark in common."))
    return [*blocks, *(_benchmark(summaries, name) for name in names), _sources(summaries)]


def _benchmark(summaries: Mapping[str, tuple[Path, BenchmarkSummary]], name: str) -> Section:
    rows = {label: rows_of(summary.benchmarks.get(name)) for label, (_, summary) in summaries.items()}
    languages = list(dict.fromkeys(language for own in rows.values() for language in own))
    panels, tables = [], []
    for metric in ("accuracy", "fidelity"):
        values = [
            Values(
                label,
                [_measured(own, language, metric, finite) for language in languages],
                [_measured(own, language, metric, edges) for language in languages],
                colour,
            )
            for colour, (label, own) in enumerate(rows.items())
        ]
        panels.append(Rows(f"{metric}, 95 % interval", languages, values, SHARE))
        tables.append(_differences(summaries, rows, languages, name, metric))
    drawing = picture(f"compare_{file_name(name)}.png", f"{name}, side by side", panels)
    return Section(name, [*drawing, *_other_languages(rows), *tables])


def _measured(rows: Mapping[str, Measures], language: str, metric: str, read: Callable) -> Any:
    return read(getattr(rows[language], metric) if language in rows else None)


def _languages(rows: Mapping[str, Measures]) -> set[str]:
    return set(rows) - {MEAN}


def _other_languages(rows: Mapping[str, Mapping[str, Measures]]) -> list[Text]:
    """At most one sentence: whose mean of languages is over others than the first one's."""
    named = [(_languages(own), f"{label} ({', '.join(sorted(_languages(own)))})") for label, own in rows.items()]
    (of_first, first), *others = named
    differ = [text for languages, text in others if languages != of_first]
    text = "**Means over other languages**, so without a difference: {} and {}."
    return [paragraph(text, joined(differ), first)] if differ else []


def _differences(
    summaries: Mapping[str, tuple[Path, BenchmarkSummary]],
    rows: Mapping[str, Mapping[str, Measures]],
    languages: Sequence[str],
    name: str,
    metric: str,
) -> Table:
    first, *others = summaries
    cells = [
        [
            language,
            *(_measured(rows[label], language, metric, cell) for label in summaries),
            *(_difference(summaries, rows, label, first, language, name, metric) for label in others),
        ]
        for language in languages
    ]
    return Table([metric, *summaries, *_minus(others, first)], cells)


def _difference(summaries, rows, label: str, first: str, language: str, name: str, metric: str) -> str:
    if language == MEAN and _languages(rows[label]) != _languages(rows[first]):
        return "–"
    (folder, summary), (base_folder, base) = summaries[label], summaries[first]
    languages = [language] if language != MEAN else list(base.benchmarks[name].languages)
    pairs = _pairs(folder, base_folder, name, languages, metric, finite(summary.threshold) or 0.7)
    if pairs:
        try:
            got = paired(*zip(*pairs, strict=True))
        except ValueError:  # a value in it is not finite
            got = None
        if got and got.n:
            return f"{got.mean:+.3f} [{number(got.low)}; {number(got.high)}], p {got.p:.2g}, n {got.n}"
    values = [_measured(rows[one], language, metric, finite) for one in (label, first)]
    return "–" if None in values else f"{values[0] - values[1]:+.3f} (of means)"


def _pairs(
    folder: Path, base: Path, name: str, languages: Sequence[str], metric: str, threshold: float
) -> list[tuple[list[float], list[float]]]:
    """A problem's values under both, its translations as one problem; none where a language has other problems."""
    pairs: dict[str, tuple[list[float], list[float]]] = {}
    problems = []
    for language in languages:
        rows = [output_rows(one, name, language) for one in (folder, base)]
        both = rows[0].keys() & rows[1].keys()
        problems.append({problem_of(rows[0][ident], ident) for ident in both})
        for ident in sorted(both):
            sides = pairs.setdefault(problem_of(rows[0][ident], ident), ([], []))
            values = [samples(side[ident], metric, threshold) for side in rows]
            if all(values):
                for side, own in zip(sides, values, strict=True):
                    side.append(sum(own) / len(own))
    return list(pairs.values()) if all(own == problems[0] for own in problems) else []


# ---- harness, arena, data sets, translators ------------------------------------------------------------------------


def compare_harnesses(summaries: Mapping[str, tuple[Path, HarnessSummary]]) -> list[Block]:
    first, *others = summaries
    tasks = {label: summary.tasks for label, (_, summary) in summaries.items()}
    names = list(dict.fromkeys(name for own in tasks.values() for name in own))
    rows = [
        [
            name,
            *(scored(own.get(name)) for own in tasks.values()),
            *(_points(tasks[label].get(name), tasks[first].get(name)) for label in others),
        ]
        for name in names
    ]
    rows.append(["mean of tasks", *(number(mean_of(own)) for own in tasks.values()), *["–"] * len(others)])
    values = [
        Values(
            label,
            [finite(own[name].value) if name in own else None for name in names],
            [spread_of(own.get(name)) for name in names],
            colour,
        )
        for colour, (label, own) in enumerate(tasks.items())
    ]
    settings = {label: {"limit": summary.limit, **summary.versions} for label, (_, summary) in summaries.items()}
    unlike = {
        name: [field for label in others for field in _unequal(tasks[label].get(name), tasks[first].get(name))]
        for name in names
    }
    named = [f"{name} ({', '.join(dict.fromkeys(fields))})" for name, fields in unlike.items() if fields]
    text = "**Not measured alike**, so without a difference: {}."
    return [
        *_unlike(settings),
        *([paragraph(text, joined(named))] if named else []),
        *picture("compare_harness.png", "Scores by task", [Rows("score by task, 95 % interval", names, values)]),
        Table(["task", *summaries, *_minus(others, first)], rows),
        Text(
            "Differences have a 95 % interval from both standard errors, as if the questions were others: the harness "
            "does not tell answers by question here, and pairing them would narrow it."
        ),
        _sources(summaries),
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
    return f"{change:+.2f} [{change - reach:.2f}; {change + reach:.2f}]"


def compare_arenas(summaries: Mapping[str, tuple[Path, ArenaSummary]]) -> list[Block]:
    blocks: list[Block] = []
    every = [summary for _, summary in summaries.values()]
    for kind, names in (("baselines", {one.baseline or "?" for one in every}), ("judges", set(map(judge_name, every)))):
        if len(names) > 1:
            text = f"**They have different {kind}** ({{}}): do not compare them."
            blocks.append(paragraph(text, joined(map(code, sorted(names)))))
    groups = {
        f"{label}: {name}": groups_of(candidate)
        for label, (_, summary) in summaries.items()
        for name, candidate in summary.candidates.items()
    }
    for title in dict.fromkeys(title for own in groups.values() for title in own):
        names = [name for own in groups.values() for name in own.get(title, {})]
        for metric, label in RATES.items():

            def rate(own: dict, name: str, title=title, metric=metric) -> str:
                return cell(getattr(own.get(title, {}).get(name), metric, None))

            table = across(title, groups, names, rate)
            blocks += [Section(f"By {title}: {label}, percent", [table])] if table.rows else []
    text = "Candidates of one arena are tested against each other on the same prompts in its own report."
    return [*blocks, Text(text), _sources(summaries)]


def compare_datasets(manifests: Mapping[str, tuple[Path, Manifest]]) -> list[Block]:
    counts = {label: _rows_of(manifest) for label, (_, manifest) in manifests.items()}
    names = [name for own in counts.values() for name in own]
    table = across("rows", counts, names, lambda own, name: own.get(name, "–"))
    return [table, _sources(manifests, MANIFEST)]


def _rows_of(manifest: Manifest) -> dict[str, str]:
    """What the table of one data set says: the step, what was left out, and the rows of each file."""
    drops = {f"left out: {reason}": str(n) for reason, n in drops_of(manifest).items()}
    kept = {code(f"{name}.parquet"): str(sum(counts.values())) for name, counts in manifest.rows.items()}
    return {"step": code(manifest.step), **drops, **kept}


def compare_translations(summaries: Mapping[str, tuple[Path, TranslationSummary]]) -> list[Block]:
    """Means over all pairs, a translator a row."""
    rows = [
        [f"{label}: {mean.translator}", number(mean.bleu), number(mean.chrf), number(mean.comet)]
        for label, (_, summary) in summaries.items()
        for mean in summary.averages
    ]
    return [Table(["mean over all pairs", "BLEU", "chrF++", "COMET"], rows), _sources(summaries)]


# ---- RL and SFT ----------------------------------------------------------------------------------------------------


def compare_trainers(runs: Sequence[RunMetrics]) -> list[Block]:
    named = dict(zip(labels([run.folder for run in runs]), runs, strict=True))
    metrics = {"critic/score/mean": "whole reward", **TERMS, **TRAINING, **SFT}
    last = {labelled(label, metric): metric for metric, label in metrics.items()}
    ended = across("metric", named, last, lambda run, name: _end(run, last[name]))
    panels = []
    for metric in ("critic/score/mean", *list(TERMS)[:3], "train/loss", "val/loss"):
        lines = [Line(label, smoothed(run[metric]), at) for at, (label, run) in enumerate(named.items()) if run[metric]]
        if lines:
            panels.append(Lines(f"{metrics[metric]}, {ENDS}-step average", lines))
    validated = {code(name): name for run in runs for name in sorted(run.series) if name.startswith(VALIDATION[:2])}
    validation = across("last validation", named, sorted(validated), lambda run, name: _last(run, validated[name]))
    files = [
        Section(label, [paragraph("{}: {}", run.folder, run.attempts)], run.folder) for label, run in named.items()
    ]
    return [
        *picture("compare_training.png", "Training, side by side", panels),
        Text(f"Means of the last {ENDS} steps that were logged."),
        ended,
        *([validation] if validation.rows else []),
        Section("Where the numbers come from", files),
    ]


def _end(run: RunMetrics, metric: str) -> str:
    return number(ends(run[metric])[1]) if run[metric] else "–"


def _last(run: RunMetrics, metric: str) -> str:
    return number(run[metric][-1].value) if run[metric] else "–"
