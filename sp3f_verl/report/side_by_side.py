"""What comparisons of several folders share: their labels, differences to the first, settings, and sources."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from sp3f_verl.evaluation.results import FILE
from sp3f_verl.report.document.blocks import Section, Text, paragraph
from sp3f_verl.report.document.escape import Markdown, code, joined

C = TypeVar("C")
Named = Mapping[str, tuple[Path, C]]  # label -> (folder, what it holds)


def labels(folders: Sequence[Path]) -> list[str]:
    """The last parts of the paths, as many as tell them apart."""
    parts = [folder.resolve().parts for folder in folders]
    for depth in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]


def sources(named: Iterable[tuple[str, Path, Markdown]]) -> Section:
    """(label, folder, its files). Where each column comes from: a section a run, since links are relative to it."""
    sections = [Section(label, [paragraph("{}: {}", folder, files)], folder) for label, folder, files in named]
    return Section("Where the numbers come from", sections)


def sources_of(named: Named, file: str = FILE) -> Section:
    return sources((label, folder, code(file)) for label, (folder, _) in named.items())


def contents(named: Named[C]) -> dict[str, C]:
    return {label: content for label, (_, content) in named.items()}


def minus(others: Iterable[str], first: str) -> list[str]:
    return [f"{label} minus {first}" for label in others]


def unlike(settings: Mapping[str, Mapping[str, Any]]) -> list[Text]:
    """settings: label -> setting -> value. At most one sentence: those in which the runs differ."""
    differ = []
    for name in dict.fromkeys(name for of_run in settings.values() for name in of_run):
        values = {
            label: json.dumps(of_run.get(name), ensure_ascii=False).strip('"') for label, of_run in settings.items()
        }
        if len(set(values.values())) > 1:
            shown = (f"{label} {'–' if value == 'null' else value}" for label, value in values.items())
            differ.append(Markdown("{} ({})").format(name, joined(shown)))
    return [paragraph("**Not the same settings**: {}.", joined(differ))] if differ else []
