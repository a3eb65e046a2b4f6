"""`sp3f report`: which report a folder gets is decided by what it holds."""

import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from sp3f_verl.errors import BadInput
from sp3f_verl.report import arena, benchmarks, dataset, gate, harness, quickstart, rl_and_sft, translation
from sp3f_verl.report.document.blocks import Document, Section
from sp3f_verl.report.document.markdown import markdown
from sp3f_verl.report.document.terminal import shown
from sp3f_verl.report.document.write import write
from sp3f_verl.report.folders import Folder, look
from sp3f_verl.report.papers.compare import paper_document
from sp3f_verl.report.preference import report as preference
from sp3f_verl.report.side_by_side import labels

# kind of a folder -> (title of several side by side, module): document(path, content) is the report of one folder,
# compare(label -> (path, content)) the blocks of several
KINDS: dict[str, tuple[str, ModuleType]] = {
    "quickstart": ("Quickstarts", quickstart),
    "preference": ("Preference and self-play runs", preference),
    "trainer": ("RL and SFT runs", rl_and_sft),
    "dataset": ("Data sets", dataset),
    "evaluate": ("Evaluations", benchmarks),
    "arena": ("Arenas", arena),
    "harness": ("Harnesses", harness),
    "translation": ("Comparisons of translators", translation),
}


def report(
    paths: Sequence[Path], output: Path | None = None, paper: str | None = None, fail_if: Sequence[str] = ()
) -> str:
    """What to print. One folder: the path of the report.md written into it, or to `output`. Several: them side by side
    in Markdown, or where `output` is given its path. Beside each report.md lies the same as report.html. `output`: a
    file, or a folder that is there.

    `paper`: the folders, or none, beside the numbers that a paper published (one: paper_<name>.md in it). BadInput for
    a folder of which there is nothing to report (folders.READS). `fail_if`: rules (report/gate.py); BadInput where one
    holds.
    """
    rules = [gate.Rule.of(text) for text in fail_if]
    folders = [look(path) for path in {os.path.realpath(path): path for path in paths}.values()]
    name = "report.md"
    if paper:
        document, name = paper_document(paper, folders), f"paper_{paper}.md"
    else:
        document = document_of(folders[0]) if len(folders) == 1 else side_by_side(folders)
    if output is None and len(folders) == 1:
        output = folders[0].path
    told = markdown(document) if output is None else _written(document, output, name)
    gate.check(rules, folders)
    return told


def _written(document: Document, output: Path, name: str) -> str:
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
    return KINDS[folder.kind][1].document(folder.path, folder.content)


def side_by_side(folders: Sequence[Folder]) -> Document:
    """A section a kind: the comparison of its folders, or the report of the only one."""
    parts = {
        kind: _part([folder for folder in folders if folder.kind == kind])
        for kind in KINDS
        if any(folder.kind == kind for folder in folders)
    }
    if len(parts) == 1:
        ((kind, part),) = parts.items()
        return Document(f"{KINDS[kind][0]}: {len(folders)} side by side", part.blocks, part.base)
    return Document(f"{len(folders)} folders", list(parts.values()))


def _part(folders: Sequence[Folder]) -> Section:
    if len(folders) == 1:
        document = document_of(folders[0])
        return Section(document.title, document.blocks, document.base)
    title, module = KINDS[folders[0].kind]
    names = labels([folder.path for folder in folders])
    named = {name: (folder.path, folder.content) for name, folder in zip(names, folders, strict=True)}
    return Section(title, module.compare(named), Path(".").resolve())
