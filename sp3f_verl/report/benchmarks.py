"""The report of a folder of `sp3f evaluate`: per benchmark and language, with intervals, and the fidelity curve."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sp3f_verl.evaluation.problems import folder_of
from sp3f_verl.evaluation.results import FILE, BenchmarkResult, BenchmarkSummary, Measures, not_finite
from sp3f_verl.report.document import blocks as doc
from sp3f_verl.report.document.blocks import Document, Section, Table, Text, listed, paragraph, picture
from sp3f_verl.report.document.escape import Markdown, code, joined
from sp3f_verl.report.side_by_side import Named, contents, minus, sources_of, unlike
from sp3f_verl.report.values import MEAN, cell, dots, finite, not_numbers, shown, with_mean
from sp3f_verl.stats.bootstrap import Difference, paired
from sp3f_verl.stats.format import number

LISTED = 6  # files that a source names
METRICS = {"accuracy": "accuracy", "fidelity": "language fidelity"}
COUNTED = ("problems", "samples", "accuracy")
COLUMNS = ("majority", "fidelity", "undefined", "parseable", "tokens", "truncated", "failed", "refused", "unscored")
DENOMINATOR = """In brackets: the 95 % interval, by resampling problems. It says how far the sample of problems could
lead astray, and nothing about another prompt, another seed of training or contamination. Requests that failed are in no
denominator; they are counted under *failed* and *refused*, and problems without any answer under *unscored*.
*undefined* is the share of answers with too few letters to tell their language: they are in no fidelity."""
Rows = Mapping[str, Measures]


def _rows_of(benchmark: BenchmarkResult) -> Rows:
    return with_mean(benchmark.languages, benchmark.mean)


def document(folder: Path, summary: BenchmarkSummary) -> Document:
    model, decoding = summary.model or "?", summary.decoding.model_dump(exclude_unset=True)
    drawn = joined(Markdown("{} {}").format(name, json.dumps(setting)) for name, setting in decoding.items())
    fidelity = f" Fidelity: at least {summary.threshold:g} of a response in the language." if summary.threshold else ""
    lead = [
        paragraph("Model {}; {}.", code(model), drawn),
        paragraph(DENOMINATOR + fidelity),
        *not_numbers(_missing(summary)),
        *(
            paragraph("Not evaluated, as {} is not there in them: {}.", name, joined(languages))
            for name, languages in summary.skipped.items()
            if languages
        ),
    ]
    sections = [_benchmark(folder, name, benchmark) for name, benchmark in summary.benchmarks.items()]
    return Document(f"Evaluation of {model}", [*lead, *sections], folder)


def _missing(summary: BenchmarkSummary) -> list[str]:
    return [place for place in not_finite(summary) if place.startswith("benchmarks")]


def _benchmark(folder: Path, name: str, benchmark: BenchmarkResult) -> Section:
    rows = _rows_of(benchmark)
    panels: list[doc.Panel | None] = [
        dots(f"{title}, 95 % interval", rows, {"": [getattr(one, metric) for one in rows.values()]}, doc.SHARE)
        for metric, title in METRICS.items()
    ]
    if curve := _fidelity_lines(rows):
        panels.append(doc.Lines("fidelity by threshold", curve, "threshold: share of the response", doc.SHARE))
    passes = sorted({k for measures in rows.values() for k in measures.pass_at_k}, key=lambda k: (len(k), k))
    columns = {
        **{name: lambda one, name=name: shown(getattr(one, name)) for name in COUNTED},
        **{f"pass@{k}": lambda one, k=k: cell(one.pass_at_k.get(k)) for k in passes},
        **{name: lambda one, name=name: shown(getattr(one, name)) for name in COLUMNS},
    }
    table = listed("language", rows, columns, _source(folder, name, list(benchmark.languages)))
    return Section(name, [*picture(f"evaluate_{_file_name(name)}.png", f"{name}: per language", panels), table])


def _source(folder: Path, name: str, languages: list[str]) -> Markdown:
    files = [f"{folder_of(name)}/{language}/output.jsonl" for language in languages]
    files = [file for file in files if (folder / file).is_file()]
    if not files:
        return code(FILE)
    files = files if len(files) <= LISTED else [f"{folder_of(name)}/LANGUAGE/output.jsonl"]
    return Markdown("{}; the answers: {}").format(code(FILE), joined(map(code, files)))


def _file_name(name: str) -> str:
    return "".join(char if char.isalnum() else "_" for char in name)


def _fidelity_lines(rows: Rows) -> list[doc.Line]:
    """The mean of the languages in front where it is known, a line a language behind."""
    lines: list[doc.Line] = []
    for language, measures in rows.items():
        known = {at: share for at, share in measures.fidelity_curve.items() if finite(share) is not None}
        points = sorted((float(at), share) for at, share in known.items() if _is_number(at))
        if points and language == MEAN:
            lines.append(doc.Line(language, points, 0, thick=True))
        elif points:
            many = len(rows) > 6
            label, colour = ("a language", 4) if many else (language, 1 + len(lines) % 5)
            lines.append(doc.Line(label, points, colour, faint=many, name=language))
    return lines


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal()


# ---- side by side --------------------------------------------------------------------------------------------------


def compare(named: Named[BenchmarkSummary]) -> list[doc.Block]:
    summaries, first = contents(named), next(iter(named))
    blocks: list[doc.Block] = [
        paragraph(
            "Differences are to **{}**, over the problems that both have; their intervals and p-values pair each "
            "problem with itself. Without the answers of both (`output.jsonl`) there is only a difference of means.",
            first,
        ),
        paragraph(DENOMINATOR),
    ]
    for label, summary in summaries.items():
        blocks += [paragraph("{}: {}", label, one.text) for one in not_numbers(_missing(summary))]
    blocks += unlike(
        {
            label: {**one.decoding.model_dump(exclude_unset=True), "threshold": one.threshold, "limit": one.limit}
            for label, one in summaries.items()
        }
    )
    names = [name for name in summaries[first].benchmarks if all(name in one.benchmarks for one in summaries.values())]
    if not names:
        blocks.append(Text("They have no benchmark in common."))
    return [*blocks, *(_compared(named, name) for name in names), sources_of(named)]


def _compared(named: Named[BenchmarkSummary], name: str) -> Section:
    rows = {label: _rows_of(summary.benchmarks[name]) for label, summary in contents(named).items()}
    languages = list(dict.fromkeys(language for by_language in rows.values() for language in by_language))
    panels, tables = [], []
    first, *others = named
    for metric in METRICS:
        measured = {
            label: [getattr(by_language.get(language), metric, None) for language in languages]
            for label, by_language in rows.items()
        }
        panels.append(dots(f"{metric}, 95 % interval", languages, measured, doc.SHARE))
        cells = [
            [
                language,
                *(cell(entries[at]) for entries in measured.values()),
                *(_difference(named, rows, label, language, name, metric) for label in others),
            ]
            for at, language in enumerate(languages)
        ]
        tables.append(Table([metric, *named, *minus(others, first)], cells))
    drawing = picture(f"compare_{_file_name(name)}.png", f"{name}, side by side", panels)
    return Section(name, [*drawing, *_other_languages(rows), *tables])


def _languages(rows: Rows) -> set[str]:
    return set(rows) - {MEAN}


def _other_languages(rows: Mapping[str, Rows]) -> list[Text]:
    """At most one sentence: whose mean of languages is over others than the first one's."""
    named_languages = {
        label: f"{label} ({', '.join(sorted(_languages(by_language)))})" for label, by_language in rows.items()
    }
    first, *others = rows
    differ = [named_languages[label] for label in others if _languages(rows[label]) != _languages(rows[first])]
    text = "**Means over other languages**, so without a difference: {} and {}."
    return [paragraph(text, joined(differ), named_languages[first])] if differ else []


def _difference(named: Named[BenchmarkSummary], rows, label: str, language: str, name: str, metric: str) -> str:
    """The label's minus the first one's."""
    first = next(iter(named))
    if language == MEAN and _languages(rows[label]) != _languages(rows[first]):
        return "–"
    if got := difference(named[label], named[first], name, language, metric):
        return f"{got.mean:+.3f} [{number(got.low)}; {number(got.high)}], p {got.p:.2g}, n {got.n}"
    values = [finite(getattr(rows[one].get(language), metric, None)) for one in (label, first)]
    return "–" if None in values else f"{values[0] - values[1]:+.3f} (of means)"


def difference(
    side: tuple[Path, BenchmarkSummary],
    base: tuple[Path, BenchmarkSummary],
    name: str,
    language: str,
    metric: str,
    level: float = 0.95,
) -> Difference | None:
    """The side's minus the base's, problem by problem, of a language or MEAN; None where both have not the answers to
    the same problems, or a value in them is not finite."""
    (folder, summary), (base_folder, known) = side, base
    by_language = [one.benchmarks[name].languages if name in one.benchmarks else {} for one in (known, summary)]
    languages = [language] if language != MEAN else list(by_language[0])
    if language == MEAN and set(by_language[0]) != set(by_language[1]):
        return None
    pairs = _pairs(folder, base_folder, name, languages, metric, finite(summary.threshold) or 0.7)
    try:
        got = paired(*zip(*pairs, strict=True), level=level) if pairs else None
    except ValueError:
        return None
    return got if got and got.n else None


def _pairs(
    folder: Path, base: Path, name: str, languages: Sequence[str], metric: str, threshold: float
) -> list[tuple[list[float], list[float]]]:
    """A problem's values under both, its translations as one problem; none where a language has other problems."""
    pairs: dict[str, tuple[list[float], list[float]]] = {}
    problems = []
    for language in languages:
        rows = [output_rows(one, name, language) for one in (folder, base)]
        both = sorted(rows[0].keys() & rows[1].keys())
        problem_of = {ident: str(rows[0][ident].get("problem", ident)) for ident in both}
        problems.append(set(problem_of.values()))
        for ident in both:
            sides = pairs.setdefault(problem_of[ident], ([], []))
            values = [_samples(side[ident], metric, threshold) for side in rows]
            if all(values):
                for side, samples in zip(sides, values, strict=True):
                    side.append(sum(samples) / len(samples))
    return list(pairs.values()) if all(ids == problems[0] for ids in problems) else []


def output_rows(folder: Path, benchmark: str, language: str) -> dict[str, dict[str, Any]]:
    """id -> line of the language's output.jsonl; empty where there is none. Lines that cannot be read are left out."""
    path = folder / folder_of(benchmark) / language / "output.jsonl"
    if not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
        return {}
    rows = {}
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):  # texts hold other ends of lines
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and "id" in row:
            rows[str(row["id"])] = row
    return rows


def _samples(row: Mapping[str, Any], metric: str, threshold: float) -> list[float]:
    """The values of one problem: accuracy as it is, fidelity by the threshold. Undefined ones are left out."""
    entry = row.get("lang" if metric == "fidelity" else metric)
    entries = entry if isinstance(entry, list) else [entry]
    values = [float(one) for one in entries if isinstance(one, int | float) and not isinstance(one, bool)]
    return [float(share >= threshold) for share in values] if metric == "fidelity" else values
