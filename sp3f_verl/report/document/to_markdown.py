"""A document as GitHub-flavoured Markdown; its pictures are PNG files beside it."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from sp3f_verl.report.document.inline import Link, to_markdown
from sp3f_verl.report.document.links import links
from sp3f_verl.report.document.model import Block, Document, Items, Picture, Section, Table, Text


def markdown(document: Document, folder: Path | None = None) -> str:
    """`folder`: where the file will be, to which links are relative; no links where None."""
    head = f"# {_inline(document.title, _none)}"
    return "\n".join([head, "", blocks(document.blocks, folder, document.base)])


def blocks(parts: Iterable[Block], folder: Path | None = None, base: Path | None = None, level: int = 2) -> str:
    return "\n".join(block(part, folder, base, level) for part in parts)


def block(part: Block, folder: Path | None = None, base: Path | None = None, level: int = 2) -> str:
    """One block; ends with one end of line."""
    link = links(folder, base)
    match part:
        case Text(markup):
            return _inline(markup, link) + "\n"
        case Items(entries):
            return "\n".join(f"- {_inline(entry, link)}" for entry in entries) + "\n"
        case Table(header, rows, _, source):
            return _table(header, rows, link) + (f"\nFrom {_inline(source, link)}.\n" if source else "")
        case Picture(file, title):
            return f"![{_inline(title, _none)}]({file})\n"
        case Section(title, parts, own):
            return f"{'#' * level} {_inline(title, _none)}\n\n{blocks(parts, folder, own or base, level + 1)}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], link: Link) -> str:
    lines = [[to_markdown(cell, link, cell=True) for cell in line] for line in (header, *rows)]
    lines.insert(1, ["---"] * len(header))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _inline(text: str, link: Link) -> str:
    return to_markdown(text, link)


def _none(span: str) -> None:
    return None
