"""The report of a data set that a step of data_prep wrote: from manifest.json, rows in, what was left out, rows out."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sp3f_verl.data.manifest import MANIFEST, Manifest
from sp3f_verl.report.document.blocks import (
    Block,
    Document,
    Items,
    Rows,
    Section,
    Table,
    Text,
    Values,
    paragraph,
    picture,
)
from sp3f_verl.report.document.escape import Markdown, code, joined
from sp3f_verl.report.values import cell, count, in_json, places_sentence

ASKED = ("asked", "asking")  # notes that hold what asking models cost
PAIRS = ("pairs", "report")  # notes that hold selection.report of a preference set
MOST = 200  # notes in the table
SOURCE = code(MANIFEST)


def drops_of(manifest: Manifest) -> dict[str, int]:
    """reason -> what was left out, the most first."""
    return {reason: n for reason, n in sorted(manifest.drops.items(), key=lambda drop: -drop[1]) if n}


def dataset_document(folder: Path, manifest: Manifest) -> Document:
    asking = Markdown(", asking {}").format(joined(map(code, manifest.models))) if manifest.models else ""
    notes = _priced(manifest.notes)
    return Document(
        f"Data set {folder.resolve().name}",
        [
            paragraph("Step {}{}.", code(f"data_prep.{manifest.step}"), asking),
            *places_sentence(in_json(notes, "notes"), MANIFEST),
            _funnel(manifest),
            *_languages(manifest),
            *_pairs(manifest),
            *_cost(manifest),
            *_notes(manifest),
            _making(manifest),
        ],
        folder,
    )


def _priced(notes: Any) -> Any:
    """The notes without prices that nobody gave: their null is no fault."""
    if not isinstance(notes, dict):
        return notes
    return {name: _priced(entry) for name, entry in notes.items() if (name, entry) != ("usd", None)}


def _funnel(manifest: Manifest) -> Section:
    drops = drops_of(manifest)
    kept = {f"{name}.parquet": sum(counts.values()) for name, counts in manifest.rows.items()}
    names = [*(f"left out: {reason}" for reason in drops), *kept]
    values = [float(n) for n in (*drops.values(), *kept.values())]
    rows = [[f"left out: {reason}", str(n)] for reason, n in drops.items()]
    rows += [[code(name), str(n)] for name, n in kept.items()]
    panel = Rows("rows", names, [Values("", values)], bars=True) if values else None
    text = "A row may stand in several files, and a step may count drops per candidate: the numbers need not add up."
    drawing = picture("funnel.png", "Rows kept and left out", [panel])
    return Section("Rows", [*drawing, Text(text), Table(["rows", "count"], rows, SOURCE)])


def _languages(manifest: Manifest) -> list[Section]:
    files = manifest.rows
    languages = sorted({language for counts in files.values() for language in counts} - {"all"})
    if not languages:
        return []
    rows = [[language, *(str(counts.get(language, 0)) for counts in files.values())] for language in languages]
    header = ["language", *(code(f"{name}.parquet") for name in files)]
    return [Section("By language", [Table(header, rows, SOURCE)])]


def _pairs(manifest: Manifest) -> list[Section]:
    """What the pairs of a preference set teach beside quality: `selection.report.PreferenceReport`."""
    report = _pair_report(manifest)
    if report is None:
        return []
    groups = {"all": report["overall"]}
    for kind in ("language", "source"):
        groups |= {f"{kind} {name}": group for name, group in report[f"by_{kind}"].items()}
    columns = [name for name in report["overall"] if any(group.get(name) is not None for group in groups.values())]
    rows = [[name, *(_number(group.get(column)) for column in columns)] for name, group in groups.items()]
    usable = report["overall"].get("pairs")
    lead = f"{usable} usable of {report.get('rows')} rows, {report.get('prompts')} prompts."
    warnings = [f"Warning: {warning}" for warning in report.get("warnings", [])]
    table = Table(["pairs of", *(name.replace("_", " ") for name in columns)], rows, SOURCE)
    return [Section("Pairs", [Text(lead), table, *([Items(warnings)] if warnings else [])])]


def _pair_report(manifest: Manifest) -> dict[str, Any] | None:
    for name in PAIRS:
        note = manifest.notes.get(name)
        parts = [note.get(part) for part in ("overall", "by_language", "by_source")] if isinstance(note, dict) else []
        if parts and all(isinstance(part, dict) for part in parts):
            return note
    return None


def _cost(manifest: Manifest) -> list[Section]:
    rows = [
        [name, _number(amount)]
        for note in ASKED
        for name, amount in (manifest.notes.get(note) or {}).items()
        if isinstance(amount, int | float)
    ]
    return [Section("Cost of asking models", [Table(["what", "how much"], rows, SOURCE)])] if rows else []


def _number(value: Any) -> str:
    return cell(value) if isinstance(value, float) or value is None else count(value)


def _notes(manifest: Manifest) -> list[Section]:
    pairs = _pair_report(manifest)
    notes = {name: note for name, note in manifest.notes.items() if name not in ASKED and note is not pairs}
    rows = list(_flat(notes, "")) if notes else []
    if not rows:
        return []
    more: list[Block] = [paragraph(f"{len(rows) - MOST} more stand in {{}}.", SOURCE)] if len(rows) > MOST else []
    table = Table(["note", "value"], [[code(name), entry] for name, entry in rows[:MOST]], SOURCE)
    return [Section("Notes of the step", [table, *more])]


def _flat(entry: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(entry, Mapping) and entry:
        for name, inner in entry.items():
            yield from _flat(inner, f"{place}.{name}" if place else str(name))
    else:
        yield place, cell(entry) if isinstance(entry, float) else _json(entry)


def _making(manifest: Manifest) -> Section:
    settings = [[code(name), _json(value)] for name, value in manifest.settings.items()]
    inputs = [[code(name), code(digest[:16])] for name, digest in manifest.inputs.items()]
    blocks: list[Block] = [Table(["setting", "value"], settings, SOURCE)] if settings else []
    blocks += [Table(["input", "SHA-256, first 16 digits"], inputs, SOURCE)] if inputs else []
    versions = joined(f"{name} {version}" for name, version in manifest.versions.items())
    return Section("How it was made", [*blocks, paragraph("Versions: {}.", versions or "not known")])


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
