"""The report of a folder of `sp3f evaluate --arena`: win rates against a baseline, by language and category."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sp3f_verl.evaluation.document.inline import code, plain
from sp3f_verl.evaluation.document.model import Block, Document, Picture, Rows, Section, Table, Text, Values
from sp3f_verl.evaluation.summary_file import FILE, cell, edges, finite, not_numbers, part, value

GROUPS = {"languages": "By language", "categories": "By category"}
FIRST = ("n", "prompts", "win_rate", "lc_win_rate", "wins", "losses", "ties", "wrong_language", "unparseable", "failed")


def name_of(entry: Any) -> str:
    """Of a candidate, baseline or judge: a text, or an object with one under name or model."""
    if isinstance(entry, Mapping):
        entry = entry.get("name") or entry.get("model") or "?"
    return str(entry if entry is not None else "?")


def groups_of(summary: Mapping[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """Title -> row -> its numbers: all prompts together, by language, by category, as far as they are told."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    overall = part(summary, "overall") or part(summary, "all") or part(summary, "mean")
    if overall:
        found["All prompts"] = {"all": overall}
    elif value(summary.get("win_rate")) is not None:
        found["All prompts"] = {"all": {name: each for name, each in summary.items() if name not in GROUPS}}
    for key, title in GROUPS.items():
        rows = part(summary, key) or part(summary, f"by_{key[:-1].replace('categorie', 'category')}")
        if rows := {str(name): each for name, each in rows.items() if isinstance(each, dict)}:
            found[title] = rows
    return found


def arena_document(folder: Path, summary: dict[str, Any]) -> Document:
    candidate, baseline, judge = (name_of(summary.get(key)) for key in ("candidate", "baseline", "judge"))
    lead = [
        Text(f"{code(candidate)} against {code(baseline)}, judged by {code(judge)}; all numbers from `{FILE}`."),
        Text(
            "A win rate is over the prompts that got a verdict; unparseable and failed ones are counted beside it, in "
            "no denominator. In brackets: the 95 % interval, by resampling prompts."
        ),
        *(Text(sentence) for sentence in not_numbers(summary)),
    ]
    sections = [_group(title, rows) for title, rows in groups_of(summary).items()]
    return Document(f"Arena: {plain(candidate)} against {plain(baseline)}", [*lead, *sections, *_bias(summary)], folder)


def _group(title: str, rows: dict[str, dict[str, Any]]) -> Section:
    names = {
        name for each in rows.values() for name, entry in each.items() if value(entry) is not None or entry is None
    }
    columns = [name for name in FIRST if name in names] + sorted(names - set(FIRST))
    table = [[plain(row), *(_shown(each.get(name)) for name in columns), f"`{FILE}`"] for row, each in rows.items()]
    blocks: list[Block] = [
        Table([title.removeprefix("By "), *(plain(name.replace("_", " ")) for name in columns), "from"], table)
    ]
    values = [
        Values(
            label,
            [finite(each.get(name)) for each in rows.values()],
            [edges(each.get(name)) for each in rows.values()],
            colour,
        )
        for colour, (name, label) in enumerate({"win_rate": "win rate", "lc_win_rate": "length-controlled"}.items())
        if any(finite(each.get(name)) is not None for each in rows.values())
    ]
    if values and len(rows) > 1:
        panel = Rows(f"win rate {title.lower()}, 95 % interval", list(rows), values)
        file = f"arena_{title.split()[-1]}.png"
        blocks.insert(0, Picture(file, f"Win rates {title.lower()}", [panel]))
    return Section(title, blocks)


def _shown(entry: Any) -> str:
    return str(entry) if isinstance(entry, int) and not isinstance(entry, bool) else cell(entry)


def _bias(summary: Mapping[str, Any]) -> list[Section]:
    bias = part(summary, "position_bias") or part(summary, "position")
    rows = [
        [plain(name.replace("_", " ")), _shown(entry), f"`{FILE}`"]
        for name, entry in bias.items()
        if value(entry) is not None
    ]
    if not rows and value(summary.get("position_bias")) is not None:
        rows = [["position bias", cell(summary["position_bias"]), f"`{FILE}`"]]
    return [Section("Position bias of the judge", [Table(["measure", "value", "from"], rows)])] if rows else []
