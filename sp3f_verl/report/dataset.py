"""The report of a data set that a step of data_prep wrote: from manifest.json, rows in, what was left out, rows out."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sp3f_verl.errors import BadInput
from sp3f_verl.evaluation.summary_file import cell, count, finite, listed, not_numbers, part, value
from sp3f_verl.report.document.inline import code, plain
from sp3f_verl.report.document.model import Block, Document, Picture, Rows, Section, Table, Text, Values

FILE = "manifest.json"
ASKED = ("asked", "asking")  # notes that hold what asking models cost


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """None where the folder has none, or one of another kind. BadInput where it cannot be read."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read ({str(error)[:80]}); run the data step again.") from None
    return found if isinstance(found, dict) and "step" in found and isinstance(found.get("rows"), dict) else None


def counts_of(manifest: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """file -> language -> rows."""
    return {
        name: {code_: int(rows) for code_, rows in each.items() if finite(rows) is not None}
        for name, each in part(manifest, "rows").items()
        if isinstance(each, dict)
    }


def drops_of(manifest: Mapping[str, Any]) -> dict[str, int]:
    found = {reason: finite(rows) for reason, rows in part(manifest, "drops").items()}
    return {reason: int(rows) for reason, rows in sorted(found.items(), key=lambda each: -(each[1] or 0)) if rows}


def dataset_document(folder: Path, manifest: dict[str, Any]) -> Document:
    step = f"data_prep.{manifest['step']}"
    models = ", ".join(code(each) for each in listed(manifest.get("models")))
    lead = [Text(f"Step {code(step)}{f', asking {models}' if models else ''}; from `{FILE}`.")]
    sections = [_funnel(manifest), *_languages(manifest), *_cost(manifest), *_notes(manifest), _making(manifest)]
    if "report.md" in part(manifest, "outputs"):
        lead.append(Text("What the step itself reports: `report.md`."))
    told = [Text(sentence) for sentence in not_numbers(_priced(part(manifest, "notes")), FILE)]
    return Document(f"Data set {plain(folder.resolve().name)}", [*lead, *told, *sections], folder)


def _priced(notes: Any) -> Any:
    """The notes without prices that nobody gave: their null is no fault."""
    if not isinstance(notes, dict):
        return notes
    return {name: _priced(each) for name, each in notes.items() if (name, each) != ("usd", None)}


def _funnel(manifest: dict[str, Any]) -> Section:
    files, drops = counts_of(manifest), drops_of(manifest)
    kept = {name: sum(counts.values()) for name, counts in files.items()}
    names = [*(f"left out: {reason}" for reason in drops), *(f"{name}.parquet" for name in kept)]
    values = [*map(float, drops.values()), *map(float, kept.values())]
    rows = [[f"left out: {plain(reason)}", str(n)] for reason, n in drops.items()]
    rows += [[code(f"{name}.parquet"), str(n)] for name, n in kept.items()]
    said = "A row may stand in several files, and a step may count drops per candidate: the numbers need not add up."
    blocks: list[Block] = [Text(said)]
    if values:
        blocks.append(
            Picture("funnel.png", "Rows kept and left out", [Rows("rows", names, [Values("", values)], bars=True)])
        )
    return Section("Rows", [*blocks, Table(["rows", "count"], rows, source=f"`{FILE}`")])


def _languages(manifest: dict[str, Any]) -> list[Section]:
    files = counts_of(manifest)
    languages = sorted({language for counts in files.values() for language in counts} - {"all"})
    if not languages:
        return []
    rows = [[plain(each), *(str(counts.get(each, 0)) for counts in files.values())] for each in languages]
    return [
        Section(
            "By language", [Table(["language", *(code(f"{name}.parquet") for name in files)], rows, source=f"`{FILE}`")]
        )
    ]


def _cost(manifest: dict[str, Any]) -> list[Section]:
    rows = [
        [plain(name), cell(entry) if isinstance(entry, float) else count(entry)]
        for note in ASKED
        for name, entry in part(manifest, "notes", note).items()
        if value(entry) is not None
    ]
    return [Section("Cost of asking models", [Table(["what", "how much"], rows, source=f"`{FILE}`")])] if rows else []


def _notes(manifest: dict[str, Any]) -> list[Section]:
    told = {name: each for name, each in part(manifest, "notes").items() if name not in ASKED}
    if not told:
        return []
    rows = list(_flat(told, ""))
    shown = [[code(name), entry] for name, entry in rows[:MOST]]
    more = [Text(f"{len(rows) - MOST} more stand in `{FILE}`.")] if len(rows) > MOST else []
    return [Section("Notes of the step", [Table(["note", "value"], shown, source=f"`{FILE}`"), *more])]


MOST = 200  # notes in the table


def _flat(entry: Any, place: str):
    if isinstance(entry, dict) and entry:
        for name, each in entry.items():
            yield from _flat(each, f"{place}.{name}" if place else str(name))
    else:
        yield place, cell(entry) if isinstance(entry, float) else plain(json.dumps(entry, ensure_ascii=False))


def _making(manifest: dict[str, Any]) -> Section:
    settings = [
        [code(name), plain(json.dumps(each, ensure_ascii=False))] for name, each in part(manifest, "settings").items()
    ]
    inputs = [[code(name), code(str(digest)[:16])] for name, digest in part(manifest, "inputs").items()]
    blocks: list[Block] = [Table(["setting", "value"], settings)] if settings else []
    blocks += [Table(["input", "SHA-256, first 16 digits"], inputs, "inputs")] if inputs else []
    versions = ", ".join(f"{plain(name)} {plain(each)}" for name, each in part(manifest, "versions").items())
    return Section("How it was made", [*blocks, Text(f"Versions: {versions or 'not told'}.")])
