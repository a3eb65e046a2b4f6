"""The report of a folder of `sp3f evaluate`: per benchmark and language, with intervals, and the fidelity curve."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sp3f_verl.evaluation.problems import folder_of
from sp3f_verl.evaluation.summary_file import FILE, cell, count, edges, finite, listed, not_numbers, part, value
from sp3f_verl.report.document.inline import code, plain
from sp3f_verl.report.document.model import (
    SHARE,
    Block,
    Document,
    Line,
    Lines,
    Picture,
    Rows,
    Section,
    Table,
    Text,
    Values,
)

MEAN = "mean of languages"
DENOMINATOR = """In brackets: the 95 % interval, by resampling problems. It says how far the sample of problems could
lead astray, and nothing about another prompt, another seed of training or contamination. Requests that failed are in no
denominator; they are counted under *failed* and *refused*, and problems without any answer under *unscored*."""


def rows_of(benchmark: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """language -> its numbers, and the mean of the languages at the end where it is told."""
    rows = {name: each for name, each in part(benchmark, "languages").items() if isinstance(each, dict)}
    mean = part(benchmark, "mean")
    return rows | ({MEAN: mean} if mean else {})


def evaluate_document(folder: Path, summary: dict[str, Any]) -> Document:
    model, decoding = plain(summary.get("model", "?")), part(summary, "decoding")
    told = ", ".join(f"{plain(name)} {plain(json.dumps(each))}" for name, each in decoding.items())
    threshold = summary.get("threshold")
    lead = [
        Text(
            f"Model {code(summary.get('model', '?'))}; {told}. All numbers from `{FILE}`, those of a row from its file."
        ),
        Text(
            DENOMINATOR
            + (f" Fidelity: at least {plain(threshold)} of a response in the language." if threshold else "")
        ),
        *(Text(sentence) for sentence in not_numbers({"benchmarks": part(summary, "benchmarks")})),
        *(
            Text(f"Not evaluated, as {plain(name)} is not there in them: {', '.join(map(plain, codes))}.")
            for name, codes in part(summary, "skipped").items()
            if listed(codes)
        ),
    ]
    sections = [
        _benchmark(folder, str(name), each)
        for name, each in part(summary, "benchmarks").items()
        if isinstance(each, dict)
    ]
    return Document(f"Evaluation of {model}", [*lead, *sections], folder)


def _benchmark(folder: Path, name: str, benchmark: dict[str, Any]) -> Section:
    rows = rows_of(benchmark)
    passes = sorted({k for each in rows.values() for k in part(each, "pass_at_k")}, key=lambda k: (len(k), k))
    columns = {
        "problems": lambda each: count(each.get("problems")),
        "samples": lambda each: count(each.get("samples")),
        "accuracy": lambda each: cell(each.get("accuracy")),
        **{f"pass@{plain(k)}": lambda each, k=k: cell(part(each, "pass_at_k").get(k)) for k in passes},
        "majority": lambda each: cell(each.get("majority")),
        "fidelity": lambda each: cell(each.get("fidelity")),
        "parseable": lambda each: cell(each.get("parseable")),
        "tokens": lambda each: cell(each.get("tokens")),
        "truncated": lambda each: cell(each.get("truncated")),
        **{name: lambda each, name=name: count(each.get(name)) for name in ("failed", "refused", "unscored")},
    }
    table = []
    for language, each in rows.items():
        file = f"{folder_of(name)}/{language}/output.jsonl"
        source = code(file) if (folder / file).is_file() else f"`{FILE}`"
        table.append([plain(language), *(show(each) for show in columns.values()), source])
    file = "".join(c if c.isalnum() else "_" for c in name)
    panels = _panels(rows)
    blocks: list[Block] = [Picture(f"evaluate_{file}.png", f"{plain(name)}: per language", panels)] if panels else []
    return Section(plain(name), [*blocks, Table(["language", *columns, "from"], table)])


def _panels(rows: dict[str, dict[str, Any]]) -> list[Rows | Lines]:
    panels: list[Rows | Lines] = []
    for metric, title in (("accuracy", "accuracy, 95 % interval"), ("fidelity", "language fidelity, 95 % interval")):
        values = [finite(each.get(metric)) for each in rows.values()]
        if any(each is not None for each in values):
            spread = [edges(each.get(metric)) for each in rows.values()]
            panels.append(Rows(title, list(rows), [Values("", values, spread)], SHARE))
    curve = fidelity_lines(rows)
    return panels + (
        [Lines("fidelity by threshold", curve, "threshold: share of the response", SHARE)] if curve else []
    )


def fidelity_lines(rows: Mapping[str, Mapping[str, Any]]) -> list[Line]:
    """The mean of the languages in front where it is known, a line a language behind."""
    lines = []
    for language, each in rows.items():
        points = []
        for threshold, share in part(each, "fidelity_curve").items():
            try:
                points.append((float(threshold), finite(share)))
            except ValueError:
                continue
        points = sorted((x, y) for x, y in points if y is not None)
        if points:
            mean, many = language == MEAN, len(rows) > 6
            if mean:
                lines.append(Line(language, points, 0, thick=True))
            else:
                label, colour = ("a language", 4) if many else (language, 1 + len(lines) % 5)
                lines.append(Line(label, points, colour, faint=many, name=language))
    return lines


def output_rows(folder: Path, benchmark: str, language: str) -> dict[str, dict[str, Any]]:
    """id -> line of the language's output.jsonl; empty where there is none. Lines that cannot be read are left out."""
    path = folder / folder_of(benchmark) / language / "output.jsonl"
    if not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
        return {}
    found = {}
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):  # texts hold other ends of lines
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and "id" in row:
            found[str(row["id"])] = row
    return found


def samples(row: Mapping[str, Any], metric: str, threshold: float) -> list[float]:
    """The values of one problem: accuracy as it is, fidelity by the threshold. Undefined ones are left out."""
    told = row.get("lang" if metric == "fidelity" else metric)
    values = [found for each in (told if isinstance(told, list) else [told]) if (found := value(each)) is not None]
    return [float(found >= threshold) for found in values] if metric == "fidelity" else values


def problem_of(row: Mapping[str, Any], ident: str) -> str:
    """Rows of one problem, its translations and variants, share it."""
    return str(row.get("problem", ident))
