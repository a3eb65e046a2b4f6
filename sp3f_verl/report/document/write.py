"""A report into its files: Markdown with pictures beside it, and the same as one HTML page."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sp3f_verl.data.files import atomic_write, write_text
from sp3f_verl.report.document.blocks import Block, Document, Picture, Section, every
from sp3f_verl.report.document.markdown import markdown
from sp3f_verl.report.document.page import html
from sp3f_verl.report.document.plots import draw


def write(document: Document, path: Path) -> Path:
    """Writes `path` (Markdown), its pictures and `path` with .html; answers `path`, which comes last.

    Pictures of a file that is not called report.md have its name before theirs: a folder may hold several.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = "" if path.stem == "report" else f"{path.stem}_"
    document = replace(document, blocks=_named(document.blocks, prefix, set()))
    drawings = {picture.file: draw(picture, f"p{n}") for n, picture in enumerate(every(Picture, document.blocks))}
    for file, drawing in drawings.items():
        with atomic_write(path.parent / file) as partial:
            partial.write_bytes(drawing.png)
    write_text(html(document, path.parent, drawings), path.with_suffix(".html"))
    write_text(markdown(document, path.parent), path)
    return path


def _named(blocks: Sequence[Block], prefix: str, taken: set[str]) -> Sequence[Block]:
    """Each picture with a file of its own, where parts of several reports stand in one."""
    named: list[Block] = []
    for block in blocks:
        if isinstance(block, Section):
            block = replace(block, blocks=_named(block.blocks, prefix, taken))
        elif isinstance(block, Picture):
            stem, suffix = f"{prefix}{Path(block.file).stem}", Path(block.file).suffix
            names = (f"{stem}{suffix}" if n == 1 else f"{stem}_{n}{suffix}" for n in range(1, len(taken) + 2))
            block = replace(block, file=next(name for name in names if name not in taken))
            taken.add(block.file)
        named.append(block)
    return named
