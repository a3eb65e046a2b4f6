"""Which report `sp3f report` writes: decided by what the folders hold."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sp3f_verl.errors import BadInput
from sp3f_verl.evaluation.summary_file import kind_of, part, read_summary
from sp3f_verl.report import quickstart as quickstart
from sp3f_verl.report.arena import arena_document
from sp3f_verl.report.benchmarks import evaluate_document
from sp3f_verl.report.dataset import dataset_document, read_manifest
from sp3f_verl.report.document.model import Block, Document, Section
from sp3f_verl.report.document.to_markdown import markdown
from sp3f_verl.report.document.write import write
from sp3f_verl.report.harness import harness_document
from sp3f_verl.report.preference import preference_document
from sp3f_verl.report.preference_compare import compare
from sp3f_verl.report.rl_and_sft import is_rl, is_sft, trainer_document
from sp3f_verl.report.run_metrics import RunMetrics
from sp3f_verl.report.side_by_side import (
    compare_arenas,
    compare_datasets,
    compare_evaluations,
    compare_harnesses,
    compare_trainers,
    labels,
)

TITLES = {
    "quickstart": "Quickstarts",
    "preference": "Preference and self-play runs",
    "trainer": "RL and SFT runs",
    "dataset": "Data sets",
    "evaluate": "Evaluations",
    "arena": "Arenas",
    "harness": "Harnesses",
}
READS = (
    "metrics/*.jsonl of a run (its trainer.default_local_dir, or where VERL_FILE_LOGGER_PATH pointed), "
    "evaluation/*.json of a finished quickstart, manifest.json of a data step, or summary.json of `sp3f evaluate`"
)


@dataclass(frozen=True)
class Found:
    """A folder and what it holds: RunMetrics, a manifest, a summary, or None for a quickstart."""

    folder: Path
    kind: str
    held: Any

    def document(self) -> Document:
        match self.kind:
            case "quickstart":
                return quickstart.quickstart_document(self.folder)
            case "preference":
                return preference_document(self.held)
            case "trainer":
                return trainer_document(self.held)
        documents = {"dataset": dataset_document, "evaluate": evaluate_document, "arena": arena_document}
        return (documents | {"harness": harness_document})[self.kind](self.folder, self.held)


def report(folders: Sequence[Path], output: Path | None = None, paper: str | None = None) -> str:
    """What to print. One folder: the path of the report.md written into it, or to `output`. Several: them side by side
    in Markdown, or where `output` is given its path. Beside each report.md lies the same as report.html. `output`: a
    file, or a folder that is there.

    `paper`: the folders, or none, beside the numbers that a paper published (one: paper_<name>.md in it). BadInput for
    a folder that holds none of `READS`.
    """
    found = [look(folder) for folder in {os.path.realpath(each): each for each in folders}.values()]
    if paper:
        from sp3f_verl.report.papers.compare import paper_document

        document = paper_document(paper, found)
        output, name = output or (found[0].folder if len(found) == 1 else None), f"paper_{paper}.md"
    elif len(found) == 1:
        document, output = found[0].document(), output or found[0].folder
        name = name_in(output)
    else:
        document, name = side_by_side(found), "report.md"
    if output is None:
        return markdown(document)
    if output.is_dir():
        output = output / name
    named = output if output.suffix in (".md", ".html") else output.with_name(f"{output.name}.md")
    for path in (named.with_suffix(".md"), named.with_suffix(".html")):
        if path.is_dir():
            raise BadInput(f"{path} is a folder, and the report's place; move it, or give another --output.")
    return str(write(document, named.with_suffix(".md")))


def name_in(folder: Path) -> str:
    """report.md; overview.md where the step that wrote the folder put a report.md of its own there."""
    return "overview.md" if "report.md" in part(read_manifest(folder), "outputs") else "report.md"


def look(folder: Path) -> Found:
    """What a folder holds. BadInput where that is nothing to report on."""
    if not folder.is_dir():
        raise BadInput(f"{folder} is no folder; give one with {READS}.")
    if not any(folder.iterdir()):
        raise BadInput(f"{folder} is empty, nothing was written there yet; give a folder with {READS}.")
    summary = read_summary(folder)
    if summary is not None and (kind := kind_of(summary)):
        return Found(folder, kind, summary)
    if quickstart.is_finished(folder):
        return Found(folder, "quickstart", None)
    run = RunMetrics(folder)
    if run.roles:
        return Found(folder, "preference", run)
    if is_rl(run) or is_sft(run):
        return Found(folder, "trainer", run)
    if (manifest := read_manifest(folder)) is not None:
        return Found(folder, "dataset", manifest)
    raise BadInput(f"{folder} holds nothing to report on; give a folder with {READS}.")


def side_by_side(found: Sequence[Found]) -> Document:
    """A section a kind: the comparison of its folders, or the report of the only one."""
    kinds = [kind for kind in TITLES if any(each.kind == kind for each in found)]
    parts = {kind: _part([each for each in found if each.kind == kind]) for kind in kinds}
    if len(kinds) == 1:
        return Document(f"{TITLES[kinds[0]]}: {len(found)} side by side", parts[kinds[0]].blocks, parts[kinds[0]].base)
    return Document(f"{len(found)} folders", list(parts.values()))


def _part(found: Sequence[Found]) -> Section:
    if len(found) == 1:
        document = found[0].document()
        return Section(document.title, document.blocks, document.base)
    return Section(TITLES[found[0].kind], _compared(found), Path(".").resolve())


def _compared(found: Sequence[Found]) -> list[Block]:
    folders = [each.folder for each in found]
    match found[0].kind:
        case "quickstart":
            return quickstart.seeds_table(folders)
        case "preference":
            return compare([each.held for each in found])
        case "trainer":
            return compare_trainers([each.held for each in found])
    named = dict(zip(labels(folders), ((each.folder, each.held) for each in found), strict=True))
    functions = {"dataset": compare_datasets, "evaluate": compare_evaluations}
    return (functions | {"arena": compare_arenas, "harness": compare_harnesses})[found[0].kind](named)
