"""Several runs of one kind side by side: the first is what the others are compared with."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sp3f_verl.evaluation.summary_file import FILE, cell, edges, finite, not_numbers, part
from sp3f_verl.report.arena import RATES, candidates_of, groups_of, name_of
from sp3f_verl.report.benchmarks import DENOMINATOR, MEAN, output_rows, problem_of, rows_of, samples
from sp3f_verl.report.dataset import counts_of, drops_of
from sp3f_verl.report.document.inline import code, plain
from sp3f_verl.report.document.model import SHARE, Block, Line, Lines, Picture, Rows, Section, Table, Text, Values
from sp3f_verl.report.harness import REACH, mean_of, scored, spread_of, tasks_of
from sp3f_verl.report.rl_and_sft import SFT, TERMS, TRAINING, VALIDATION
from sp3f_verl.report.run_metrics import RunMetrics
from sp3f_verl.report.trainer_metrics import ENDS, ends, smoothed
from sp3f_verl.stats.bootstrap import paired
from sp3f_verl.stats.format import number

Summaries = dict[str, tuple[Path, dict[str, Any]]]  # label -> (folder, what it holds)


def labels(folders: Sequence[Path]) -> list[str]:
    """The last parts of the paths, as many as tell them apart."""
    parts = [folder.resolve().parts for folder in folders]
    for depth in range(1, max(map(len, parts)) + 1):
        found = ["/".join(each[-depth:]) for each in parts]
        if len(set(found)) == len(found):
            return found
    return [str(folder) for folder in folders]


def sources(named: dict[str, Path], file: str) -> Section:
    """Where each column comes from: a section a run, since links are relative to its folder."""
    return Section(
        "Where the numbers come from",
        [Section(plain(label), [Text(f"{plain(folder)}: `{file}`")], folder) for label, folder in named.items()],
    )


def _sources(found: Summaries) -> Section:
    return sources({label: folder for label, (folder, _) in found.items()}, FILE)


# ---- sp3f evaluate -------------------------------------------------------------------------------------------------


def compare_evaluations(found: Summaries) -> list[Block]:
    first = next(iter(found))
    blocks: list[Block] = [
        Text(
            f"Differences are to **{plain(first)}**, over the problems that both have; their intervals and p-values "
            "pair each problem with itself. Without the answers of both (`output.jsonl`) there is only a difference of "
            "means."
        ),
        Text(DENOMINATOR),
    ]
    for label, (_, summary) in found.items():
        blocks += [
            Text(f"{plain(label)}: {sentence}") for sentence in not_numbers({"benchmarks": part(summary, "benchmarks")})
        ]
    decodings = {label: part(s, "decoding") for label, (_, s) in found.items()}
    limits = {label: {name: s.get(name) for name in ("threshold", "limit")} for label, (_, s) in found.items()}
    blocks += _unlike({label: decodings[label] | limits[label] for label in found})
    names = [
        name
        for name in part(found[first][1], "benchmarks")
        if all(part(s, "benchmarks", name) for _, s in found.values())
    ]
    if not names:
        blocks.append(Text("They have no benchmark in common."))
    for name in names:
        blocks.append(_benchmark(found, str(name)))
    return [*blocks, _sources(found)]


def _unlike(settings: dict[str, dict[str, Any]]) -> list[Block]:
    """settings: label -> setting -> value. At most one sentence: those in which the runs differ."""
    differ = []
    for name in dict.fromkeys(name for each in settings.values() for name in each):
        told = {label: json.dumps(each.get(name), ensure_ascii=False).strip('"') for label, each in settings.items()}
        if len(set(told.values())) > 1:
            values = (f"{plain(label)} {'–' if value == 'null' else plain(value)}" for label, value in told.items())
            differ.append(f"{plain(name)} ({', '.join(values)})")
    return [Text(f"**Not the same settings**: {', '.join(differ)}.")] if differ else []


def _languages(rows: dict[str, Any]) -> set[str]:
    return set(rows) - {MEAN}


def _other_languages(each_rows: dict[str, dict]) -> list[Block]:
    """At most one sentence: whose mean of languages is over others than the first one's."""
    first, *others = (
        (each, f"{plain(label)} ({plain(', '.join(sorted(each)))})")
        for label, rows in each_rows.items()
        for each in [_languages(rows)]
    )
    told = [said for languages, said in others if languages != first[0]]
    if not told:
        return []
    return [Text(f"**Means over other languages**, so without a difference: {', '.join(told)} and {first[1]}.")]


def _benchmark(found: Summaries, name: str) -> Section:
    each_rows = {label: rows_of(part(summary, "benchmarks", name)) for label, (_, summary) in found.items()}
    languages = list(dict.fromkeys(language for rows in each_rows.values() for language in rows))
    panels, tables = [], []
    for metric in ("accuracy", "fidelity"):
        values = [
            Values(
                label,
                [finite(rows.get(language, {}).get(metric)) for language in languages],
                [edges(rows.get(language, {}).get(metric)) for language in languages],
                colour,
            )
            for colour, (label, rows) in enumerate(each_rows.items())
        ]
        panels.append(Rows(f"{metric}, 95 % interval", languages, values, SHARE))
        tables.append(Table(*_differences(found, each_rows, languages, name, metric), f"{name}: {metric}"))
    file = "".join(c if c.isalnum() else "_" for c in name)
    blocks = [Picture(f"compare_{file}.png", f"{plain(name)}, side by side", panels), *_other_languages(each_rows)]
    return Section(plain(name), [*blocks, *tables])


def _differences(found: Summaries, each_rows: dict, languages: list[str], name: str, metric: str) -> tuple[list, list]:
    first, *others = found
    header = [metric, *(plain(label) for label in found), *(f"{plain(label)} minus {plain(first)}" for label in others)]
    rows = []
    for language in languages:
        cells = [cell(each_rows[label].get(language, {}).get(metric)) for label in found]
        changes = [
            _difference(found[label], found[first], name, language, metric, each_rows, label, first) for label in others
        ]
        rows.append([plain(language), *cells, *changes])
    return header, rows


def _difference(one, base, name, language, metric, each_rows, label, first) -> str:
    if language == MEAN and _languages(each_rows[label]) != _languages(each_rows[first]):
        return "–"
    threshold = finite(one[1].get("threshold")) or 0.7
    languages = [language] if language != MEAN else list(part(base[1], "benchmarks", name, "languages"))
    pairs = _pairs(one[0], base[0], name, languages, metric, threshold)
    if pairs:
        try:
            got = paired(*zip(*pairs, strict=True))
        except ValueError:  # a value in it is not finite
            got = None
        if got and got.n:
            return f"{got.mean:+.3f} [{number(got.low)}; {number(got.high)}], p {got.p:.2g}, n {got.n}"
    values = [finite(each_rows[each].get(language, {}).get(metric)) for each in (label, first)]
    return "–" if None in values else f"{values[0] - values[1]:+.3f} (of means)"


def _pairs(one: Path, base: Path, name: str, languages: list[str], metric: str, threshold: float) -> list[tuple]:
    """A problem's values under both, its translations as one problem; none where a language has other problems."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    problems = []
    for language in languages:
        rows = [output_rows(folder, name, language) for folder in (one, base)]
        both = rows[0].keys() & rows[1].keys()
        problems.append({problem_of(rows[0][each], each) for each in both})
        for each in sorted(both):
            sides = found.setdefault(problem_of(rows[0][each], each), ([], []))
            values = [samples(side[each], metric, threshold) for side in rows]
            if all(values):
                for side, own in zip(sides, values, strict=True):
                    side.append(sum(own) / len(own))
    return list(found.values()) if all(each == problems[0] for each in problems) else []


# ---- harness, arena, data sets, trainers ---------------------------------------------------------------------------


def compare_harnesses(found: Summaries) -> list[Block]:
    first, *others = found
    tasks = {label: tasks_of(summary) for label, (_, summary) in found.items()}
    names = list(dict.fromkeys(name for each in tasks.values() for name in each))
    rows = []
    for name in names:
        changes = [_points(tasks[label].get(name, {}), tasks[first].get(name, {})) for label in others]
        rows.append([plain(name), *(scored(tasks[label].get(name, {})) for label in found), *changes])
    means = {label: mean_of(each) for label, each in tasks.items()}
    rows.append(["mean of tasks", *(number(mean) for mean in means.values()), *["–"] * len(others)])
    values = [
        Values(
            label,
            [finite(each.get(name, {}).get("value")) for name in names],
            [spread_of(each.get(name, {})) for name in names],
            n,
        )
        for n, (label, each) in enumerate(tasks.items())
    ]
    header = ["task", *map(plain, found), *(f"{plain(label)} minus {plain(first)}" for label in others)]
    said = Text(
        "Differences have a 95 % interval from both standard errors, as if the questions were others: the harness "
        "does not tell answers by question here, and pairing them would narrow it."
    )
    picture = Picture("compare_harness.png", "Scores by task", [Rows("score by task, 95 % interval", names, values)])
    settings = {label: {"limit": s.get("limit"), **part(s, "versions")} for label, (_, s) in found.items()}
    unlike = {
        name: [f for label in others for f in _measured(*(tasks[n].get(name, {}) for n in (label, first)))]
        for name in names
    }
    named = [f"{plain(name)} ({', '.join(dict.fromkeys(fields))})" for name, fields in unlike.items() if fields]
    alike = [Text(f"**Not measured alike**, so without a difference: {', '.join(named)}.")] if named else []
    return [*_unlike(settings), *alike, picture, Table(header, rows), said, _sources(found)]


def _measured(one: dict, base: dict) -> list[str]:
    """In what a task was measured otherwise, where both have it."""
    return [name for name in ("metric", "filter", "shots") if one and base and one.get(name) != base.get(name)]


def _points(one: dict, base: dict) -> str:
    values = [finite(each.get("value")) for each in (one, base)]
    errors = [finite(each.get("stderr")) for each in (one, base)]
    if None in values or _measured(one, base):
        return "–"
    change = values[0] - values[1]
    if None in errors:
        return f"{change:+.2f}"
    reach = REACH * math.hypot(*errors)
    return f"{change:+.2f} [{change - reach:.2f}; {change + reach:.2f}]"


def compare_arenas(found: Summaries) -> list[Block]:
    blocks: list[Block] = []
    columns = {
        f"{label}: {name}": held
        for label, (_, summary) in found.items()
        for name, held in candidates_of(summary).items()
    }
    for key, name in (("baseline", "baselines"), ("judge", "judges")):
        told = sorted({name_of(summary.get(key)) for _, summary in found.values()})
        if len(told) > 1:
            blocks.append(Text(f"**They have different {name}** ({', '.join(map(code, told))}): do not compare them."))
    groups = {label: groups_of(held) for label, held in columns.items()}
    for title in dict.fromkeys(title for each in groups.values() for title in each):
        names = list(dict.fromkeys(name for each in groups.values() for name in each.get(title, {})))
        for metric, told in RATES.items():
            rows = [
                [plain(n), *(cell(each.get(title, {}).get(n, {}).get(metric)) for each in groups.values())]
                for n in names
            ]
            if any(shown != "–" for row in rows for shown in row[1:]):
                head = [title, *map(plain, groups)]
                blocks.append(Section(f"By {title}: {told}, percent", [Table(head, rows)]))
    blocks.append(Text("Candidates of one arena are tested against each other on the same prompts in its own report."))
    return [*blocks, _sources(found)]


def compare_datasets(found: Summaries) -> list[Block]:
    kept = {label: {name: sum(c.values()) for name, c in counts_of(m).items()} for label, (_, m) in found.items()}
    drops = {label: drops_of(manifest) for label, (_, manifest) in found.items()}
    rows = [["step", *(code(manifest["step"]) for _, manifest in found.values())]]
    for reason in dict.fromkeys(reason for each in drops.values() for reason in each):
        rows.append([f"left out: {plain(reason)}", *(str(each.get(reason, "–")) for each in drops.values())])
    for name in dict.fromkeys(name for each in kept.values() for name in each):
        rows.append([code(f"{name}.parquet"), *(str(each.get(name, "–")) for each in kept.values())])
    table = Table(["rows", *map(plain, found)], rows)
    return [table, sources({label: folder for label, (folder, _) in found.items()}, "manifest.json")]


def compare_trainers(runs: Sequence[RunMetrics]) -> list[Block]:
    named = dict(zip(labels([run.folder for run in runs]), runs, strict=True))
    metrics = {"critic/score/mean": "whole reward", **TERMS, **TRAINING, **SFT}
    rows, panels = [], []
    for metric, label in metrics.items():
        if any(run[metric] for run in runs):
            cells = [number(ends(run[metric])[1]) if run[metric] else "–" for run in runs]
            rows.append([f"{label} ({code(metric)})", *cells])
    for metric in ("critic/score/mean", *list(TERMS)[:3], "train/loss", "val/loss"):
        lines = [Line(label, smoothed(run[metric]), n) for n, (label, run) in enumerate(named.items()) if run[metric]]
        if lines:
            panels.append(Lines(f"{metrics[metric]}, {ENDS}-step average", lines))
    blocks: list[Block] = [Picture("compare_training.png", "Training, side by side", panels)] if panels else []
    blocks += [Text(f"Means of the last {ENDS} steps that were logged."), Table(["metric", *map(plain, named)], rows)]
    validated = sorted({name for run in runs for name in run.series if name.startswith(VALIDATION[:2])})
    rows = [[code(name), *(number(run[name][-1].value) if run[name] else "–" for run in runs)] for name in validated]
    blocks += [Table(["last validation", *map(plain, named)], rows)] if rows else []
    files = [
        Section(plain(label), [Text(f"{plain(run.folder)}: {run.attempts}")], run.folder)
        for label, run in named.items()
    ]
    return [*blocks, Section("Where the numbers come from", files)]
