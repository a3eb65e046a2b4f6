"""A document into its files: Markdown with pictures beside it, and the same as one HTML page."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from sp3f_verl.data.files import write_text
from sp3f_verl.evaluation.document.model import Block, Document, Picture, Section
from sp3f_verl.evaluation.document.png import write_png
from sp3f_verl.evaluation.document.to_html import html
from sp3f_verl.evaluation.document.to_markdown import markdown


def write(document: Document, path: Path) -> Path:
    """Writes `path` (Markdown), its pictures and `path` with .html; answers `path`, which comes last."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for picture in pictures(document.blocks):
        write_png(picture, path.parent / picture.file)
    write_text(html(document, path.parent), path.with_suffix(".html"))
    write_text(markdown(document, path.parent), path)
    return path


def pictures(blocks: Iterable[Block]) -> Iterator[Picture]:
    for block in blocks:
        if isinstance(block, Section):
            yield from pictures(block.blocks)
        elif isinstance(block, Picture):
            yield block
