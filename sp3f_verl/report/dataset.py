"""The report of a data set that a step of data_prep wrote: from manifest.json, rows in, what was left out, rows out."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sp3f_verl.data.manifest import MANIFEST, Manifest
from sp3f_verl.data.notes import ASKED, PAIR_REPORT, SHARES, YIELD, LanguageYield, PairReport, pair_report, yields
from sp3f_verl.evaluation.results import not_finite
from sp3f_verl.report.document import blocks as doc
from sp3f_verl.report.document.blocks import Section, Table, Text, across, listed, paragraph, picture, section
from sp3f_verl.report.document.escape import Markdown, code, joined
from sp3f_verl.report.side_by_side import Named, contents, sources_of
from sp3f_verl.report.values import cell, count, dots, not_numbers

MOST = 200  # notes in the table
SOURCE = code(MANIFEST)


def _counts(manifest: Manifest) -> dict[str, int]:
    """What was left out by reason, the most first, and the rows of each file."""
    drops = sorted(manifest.drops.items(), key=lambda drop: -drop[1])
    kept = {code(f"{name}.parquet"): sum(counts.values()) for name, counts in manifest.rows.items()}
    return {**{f"left out: {reason}": n for reason, n in drops if n}, **kept}


def document(folder: Path, manifest: Manifest) -> doc.Document:
    asking = Markdown(", asking {}").format(joined(map(code, manifest.models))) if manifest.models else ""
    pairs, by_language = pair_report(manifest), yields(manifest)
    blocks = [
        paragraph("Step {}{}.", code(f"data_prep.{manifest.step}"), asking),
        *not_numbers(not_finite(_priced(manifest.notes), "notes"), MANIFEST),
        _funnel(manifest),
        *_languages(manifest),
        *(_yields(by_language) if by_language else []),
        *(_pairs(pairs) if pairs else []),
        *_notes(manifest, {YIELD: by_language, PAIR_REPORT: pairs}),
        _making(manifest),
    ]
    return doc.Document(f"Data set {folder.resolve().name}", blocks, folder)


def _priced(notes: Any) -> Any:
    """The notes without prices that nobody gave: their null is no fault."""
    if not isinstance(notes, dict):
        return notes
    return {name: _priced(entry) for name, entry in notes.items() if (name, entry) != ("usd", None)}


def _funnel(manifest: Manifest) -> Section:
    counts = _counts(manifest)
    panel = dots("rows", [name.replace("`", "") for name in counts], {"": counts.values()}, bars=True)
    text = "A row may stand in several files, and a step may count drops per candidate: the numbers need not add up."
    drawing = picture("funnel.png", "Rows kept and left out", [panel])
    return Section("Rows", [*drawing, Text(text), listed("rows", counts, {"count": str}, SOURCE)])


def _languages(manifest: Manifest) -> list[Section]:
    languages = sorted({language for counts in manifest.rows.values() for language in counts} - {"all"})
    columns = {
        code(f"{name}.parquet"): lambda language, counts=counts: str(counts.get(language, 0))
        for name, counts in manifest.rows.items()
    }
    return section("By language", listed("language", languages, columns, SOURCE))


def _yields(parts: Mapping[str, LanguageYield]) -> list[Section]:
    """Of a translated set: what each language kept and lost, shares, and rows to look at."""
    columns = {
        "rows": lambda part: count(part.rows),
        "of": lambda part: count(part.of),
        "kept": lambda part: cell(part.rows / part.of if part.of else None),
        **{name.replace("_", " "): lambda part, name=name: cell(getattr(part, name)) for name in SHARES},
        "rows with words left in English": lambda part: count(part.left_in_english.rows),
        "such words": lambda part: ", ".join(f"{word} {n}" for word, n in _most(part.left_in_english.words)),
    }
    reasons = {language: part.left_out for language, part in parts.items()}
    names = dict.fromkeys(name for part in reasons.values() for name in part)
    beside = [[language, *pair] for language, part in parts.items() for pair in part.side_by_side]
    lead = "Words left in English: of the source, in small letters, spelt like English and not like the language."
    return [
        *section("Yield by language", Text(lead), listed("language", parts, columns, SOURCE, sparse=True)),
        *section("Left out by language", across("reason", reasons, names, lambda part, name: str(part.get(name, "–")))),
        *section("Side by side", Table(["language", "source", "translation"], beside, SOURCE)),
    ]


def _most(words: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(words.items(), key=lambda entry: -entry[1])  # a manifest's keys are in the order of their names


def _pairs(report: PairReport) -> list[Section]:
    """What the pairs of a preference set teach beside quality."""
    groups = {"all": report.overall}
    for kind, named in (("language", report.by_language), ("source", report.by_source)):
        groups |= {f"{kind} {name}": group for name, group in named.items()}
    columns = {
        name.replace("_", " "): lambda group, name=name: _number(group.get(name))
        for name in report.overall
        if any(group.get(name) is not None for group in groups.values())
    }
    lead = f"{report.overall.get('pairs')} usable of {report.rows} rows, {report.prompts} prompts."
    warnings = [f"Warning: {warning}" for warning in report.warnings]
    table = listed("pairs of", groups, columns, SOURCE)
    return [Section("Pairs", [Text(lead), table, *([doc.Items(warnings)] if warnings else [])])]


def _number(value: Any) -> str:
    return cell(value) if isinstance(value, float) or value is None else count(value)


def _notes(manifest: Manifest, shown: Mapping[str, Any]) -> list[Section]:
    """What asking models cost, and all other notes that are not shown above."""
    costs = (manifest.notes.get(ASKED) or {}).items()
    cost = [[name, _number(amount)] for name, amount in costs if isinstance(amount, int | float)]
    above = {ASKED, *(name for name, note in shown.items() if note)}
    notes = {name: note for name, note in manifest.notes.items() if name not in above}
    rows = [[code(name), entry] for name, entry in _flat(notes, "")] if notes else []
    more = [paragraph(f"{len(rows) - MOST} more stand in {{}}.", SOURCE)] if len(rows) > MOST else []
    return [
        *section("Cost of asking models", Table(["what", "how much"], cost, SOURCE)),
        *section("Notes of the step", Table(["note", "value"], rows[:MOST], SOURCE), *more),
    ]


def _flat(entry: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(entry, Mapping) and entry:
        for name, inner in entry.items():
            yield from _flat(inner, f"{place}.{name}" if place else str(name))
    else:
        yield place, cell(entry) if isinstance(entry, float) else _json(entry)


def _making(manifest: Manifest) -> Section:
    settings = [[code(name), _json(value)] for name, value in manifest.settings.items()]
    inputs = [[code(name), code(digest[:16])] for name, digest in manifest.inputs.items()]
    tables = [Table(["setting", "value"], settings, SOURCE)]
    tables += [Table(["input", "SHA-256, first 16 digits"], inputs, SOURCE)]
    versions = joined(f"{name} {version}" for name, version in manifest.versions.items())
    written = [table for table in tables if table.rows]
    return Section("How it was made", [*written, paragraph("Versions: {}.", versions or "not known")])


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def compare(named: Named[Manifest]) -> list[doc.Block]:
    """The step, what was left out, and the rows of each file."""
    cells = {
        label: {"step": code(one.step), **{name: str(n) for name, n in _counts(one).items()}}
        for label, one in contents(named).items()
    }
    names = [name for counts in cells.values() for name in counts]
    return [across("rows", cells, names, lambda counts, name: counts.get(name, "–")), sources_of(named, MANIFEST)]
