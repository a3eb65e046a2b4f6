"""`sp3f report`: which report a folder gets is decided by what it holds."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sp3f_verl.errors import BadInput
from sp3f_verl.report import quickstart
from sp3f_verl.report.arena import arena_document
from sp3f_verl.report.benchmarks import evaluate_document
from sp3f_verl.report.dataset import dataset_document
from sp3f_verl.report.document.blocks import Block, Document, Section
from sp3f_verl.report.document.markdown import markdown
from sp3f_verl.report.document.terminal import shown
from sp3f_verl.report.document.write import write
from sp3f_verl.report.folders import Folder, look
from sp3f_verl.report.harness import harness_document
from sp3f_verl.report.papers.compare import paper_document
from sp3f_verl.report.preference.compare import compare as compare_preferences
from sp3f_verl.report.preference.report import preference_document
from sp3f_verl.report.rl_and_sft import trainer_document
from sp3f_verl.report.run_metrics import RunMetrics
from sp3f_verl.report.side_by_side import (
    compare_arenas,
    compare_datasets,
    compare_evaluations,
    compare_harnesses,
    compare_trainers,
    compare_translations,
    labels,
)
from sp3f_verl.report.translation import translation_document


@dataclass(frozen=True)
class Kind:
    """`document`: the report of one folder; `compared`: of several, by their labels."""

    title: str
    document: Callable[[Path, Any], Document]
    compared: Callable[[Mapping[str, tuple[Path, Any]]], list[Block]]


def _runs(compare: Callable[[Sequence[RunMetrics]], list[Block]]) -> Callable:
    return lambda named: compare([run for _, run in named.values()])


KINDS = {
    "quickstart": Kind(
        "Quickstarts",
        lambda path, _: quickstart.quickstart_document(path),
        lambda named: quickstart.compare_seeds([path for path, _ in named.values()]),
    ),
    "preference": Kind(
        "Preference and self-play runs", lambda _, run: preference_document(run), _runs(compare_preferences)
    ),
    "trainer": Kind("RL and SFT runs", lambda _, run: trainer_document(run), _runs(compare_trainers)),
    "dataset": Kind("Data sets", dataset_document, compare_datasets),
    "evaluate": Kind("Evaluations", evaluate_document, compare_evaluations),
    "arena": Kind("Arenas", arena_document, compare_arenas),
    "harness": Kind("Harnesses", harness_document, compare_harnesses),
    "translation": Kind("Comparisons of translators", translation_document, compare_translations),
}


def report(paths: Sequence[Path], output: Path | None = None, paper: str | None = None) -> str:
    """What to print. One folder: the path of the report.md written into it, or to `output`. Several: them side by side
    in Markdown, or where `output` is given its path. Beside each report.md lies the same as report.html. `output`: a
    file, or a folder that is there.

    `paper`: the folders, or none, beside the numbers that a paper published (one: paper_<name>.md in it). BadInput for
    a folder of which there is nothing to report (folders.READS).
    """
    folders = [look(path) for path in {os.path.realpath(path): path for path in paths}.values()]
    name = "report.md"
    if paper:
        document, name = paper_document(paper, folders), f"paper_{paper}.md"
    else:
        document = document_of(folders[0]) if len(folders) == 1 else side_by_side(folders)
    if output is None and len(folders) == 1:
        output = folders[0].path
    if output is None:
        return markdown(document)
    if output.is_dir():
        output = output / name
    named = output if output.suffix in (".md", ".html") else output.with_name(f"{output.name}.md")
    for path in (named.with_suffix(".md"), named.with_suffix(".html")):
        if path.is_dir():
            raise BadInput(f"{path} is a folder, and the report's place; move it, or give another --output.")
    return str(write(document, named.with_suffix(".md")))


def tables(path: Path) -> str:
    """The tables of a folder's report, for a terminal."""
    return shown(document_of(look(path)).blocks)


def document_of(folder: Folder) -> Document:
    return KINDS[folder.kind].document(folder.path, folder.content)


def side_by_side(folders: Sequence[Folder]) -> Document:
    """A section a kind: the comparison of its folders, or the report of the only one."""
    parts = {
        kind: _part([folder for folder in folders if folder.kind == kind])
        for kind in KINDS
        if any(folder.kind == kind for folder in folders)
    }
    if len(parts) == 1:
        ((kind, part),) = parts.items()
        return Document(f"{KINDS[kind].title}: {len(folders)} side by side", part.blocks, part.base)
    return Document(f"{len(folders)} folders", list(parts.values()))


def _part(folders: Sequence[Folder]) -> Section:
    if len(folders) == 1:
        document = document_of(folders[0])
        return Section(document.title, document.blocks, document.base)
    kind = KINDS[folders[0].kind]
    names = labels([folder.path for folder in folders])
    named = {name: (folder.path, folder.content) for name, folder in zip(names, folders, strict=True)}
    return Section(kind.title, kind.compared(named), Path(".").resolve())
