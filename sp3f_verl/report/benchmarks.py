"""The report of a folder of `sp3f evaluate`: per benchmark and language, with intervals, and the fidelity curve."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sp3f_verl.evaluation.problems import folder_of
from sp3f_verl.evaluation.results import FILE, BenchmarkResult, BenchmarkSummary, Measures
from sp3f_verl.report.document.blocks import (
    SHARE,
    Document,
    Line,
    Lines,
    Panel,
    Rows,
    Section,
    Table,
    Values,
    paragraph,
    picture,
)
from sp3f_verl.report.document.escape import Markdown, code, joined
from sp3f_verl.report.values import cell, edges, finite, not_numbers, shown

MEAN = "mean of languages"
LISTED = 6  # files that a source names
COLUMNS = ("majority", "fidelity", "undefined", "parseable", "tokens", "truncated", "failed", "refused", "unscored")
DENOMINATOR = """In brackets: the 95 % interval, by resampling problems. It says how far the sample of problems could
lead astray, and nothing about another prompt, another seed of training or contamination. Requests that failed are in no
denominator; they are counted under *failed* and *refused*, and problems without any answer under *unscored*.
*undefined* is the share of answers with too few letters to tell their language: they are in no fidelity."""


def rows_of(benchmark: BenchmarkResult | None) -> dict[str, Measures]:
    """language -> its numbers, and the mean of the languages at the end where it is known."""
    if benchmark is None:
        return {}
    return benchmark.languages | ({MEAN: benchmark.mean} if benchmark.mean else {})


def evaluate_document(folder: Path, summary: BenchmarkSummary) -> Document:
    model, decoding = summary.model or "?", summary.decoding.model_dump(exclude_unset=True)
    drawn = joined(Markdown("{} {}").format(name, json.dumps(setting)) for name, setting in decoding.items())
    fidelity = f" Fidelity: at least {summary.threshold:g} of a response in the language." if summary.threshold else ""
    lead = [
        paragraph("Model {}; {}.", code(model), drawn),
        paragraph(DENOMINATOR + fidelity),
        *not_numbers(summary, "benchmarks"),
        *(
            paragraph("Not evaluated, as {} is not there in them: {}.", name, joined(languages))
            for name, languages in summary.skipped.items()
            if languages
        ),
    ]
    sections = [_benchmark(folder, name, benchmark) for name, benchmark in summary.benchmarks.items()]
    return Document(f"Evaluation of {model}", [*lead, *sections], folder)


def _benchmark(folder: Path, name: str, benchmark: BenchmarkResult) -> Section:
    rows = rows_of(benchmark)
    drawing = picture(f"evaluate_{file_name(name)}.png", f"{name}: per language", _panels(rows))
    return Section(name, [*drawing, table_of(name, benchmark, folder)])


def table_of(name: str, benchmark: BenchmarkResult, folder: Path | None = None) -> Table:
    """A row a language. `folder`: where its answers are, named below it."""
    rows = rows_of(benchmark)
    passes = sorted({k for measures in rows.values() for k in measures.pass_at_k}, key=lambda k: (len(k), k))
    cells = [
        [
            language,
            *(shown(getattr(measures, name)) for name in ("problems", "samples", "accuracy")),
            *(cell(measures.pass_at_k.get(k)) for k in passes),
            *(shown(getattr(measures, name)) for name in COLUMNS),
        ]
        for language, measures in rows.items()
    ]
    header = ["language", "problems", "samples", "accuracy", *(f"pass@{k}" for k in passes), *COLUMNS]
    return Table(header, cells, _source(folder, name, list(benchmark.languages)) if folder else "")


def _source(folder: Path, name: str, languages: list[str]) -> Markdown:
    files = [f"{folder_of(name)}/{language}/output.jsonl" for language in languages]
    files = [file for file in files if (folder / file).is_file()]
    if not files:
        return code(FILE)
    if len(files) > LISTED:
        return Markdown("{}; the answers: {}").format(code(FILE), code(f"{folder_of(name)}/LANGUAGE/output.jsonl"))
    return Markdown("{}; the answers: {}").format(code(FILE), joined(map(code, files)))


def file_name(name: str) -> str:
    return "".join(char if char.isalnum() else "_" for char in name)


def _panels(rows: Mapping[str, Measures]) -> list[Panel]:
    panels: list[Panel] = []
    for metric, title in (("accuracy", "accuracy, 95 % interval"), ("fidelity", "language fidelity, 95 % interval")):
        values = [finite(getattr(measures, metric)) for measures in rows.values()]
        if any(known is not None for known in values):
            spread = [edges(getattr(measures, metric)) for measures in rows.values()]
            panels.append(Rows(title, list(rows), [Values("", values, spread)], SHARE))
    curve = fidelity_lines(rows)
    return panels + (
        [Lines("fidelity by threshold", curve, "threshold: share of the response", SHARE)] if curve else []
    )


def fidelity_lines(rows: Mapping[str, Measures]) -> list[Line]:
    """The mean of the languages in front where it is known, a line a language behind."""
    lines = []
    for language, measures in rows.items():
        points = []
        for threshold, share in measures.fidelity_curve.items():
            try:
                points.append((float(threshold), finite(share)))
            except ValueError:
                continue
        points = sorted((x, y) for x, y in points if y is not None)
        if points and language == MEAN:
            lines.append(Line(language, points, 0, thick=True))
        elif points:
            many = len(rows) > 6
            label, colour = ("a language", 4) if many else (language, 1 + len(lines) % 5)
            lines.append(Line(label, points, colour, faint=many, name=language))
    return lines


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


def samples(row: Mapping[str, Any], metric: str, threshold: float) -> list[float]:
    """The values of one problem: accuracy as it is, fidelity by the threshold. Undefined ones are left out."""
    entry = row.get("lang" if metric == "fidelity" else metric)
    entries = entry if isinstance(entry, list) else [entry]
    values = [float(one) for one in entries if isinstance(one, int | float) and not isinstance(one, bool)]
    return [float(share >= threshold) for share in values] if metric == "fidelity" else values


def problem_of(row: Mapping[str, Any], ident: str) -> str:
    """Rows of one problem, its translations and variants, share it."""
    return str(row.get("problem", ident))
