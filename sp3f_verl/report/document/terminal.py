"""Tables of a report on a terminal: the same objects as on the page, their columns aligned."""

from collections.abc import Sequence

from rich.cells import cell_len  # two for a character of CJK

from sp3f_verl.report.document.blocks import Block, Section, Table, every
from sp3f_verl.report.document.escape import Markdown, one_line
from sp3f_verl.report.document.page import plain_text


def shown(blocks: Sequence[Block]) -> str:
    """Every table under the title of the section that it stands in."""
    parts = []
    for block in blocks:
        if isinstance(block, Table):
            parts.append(_aligned(block))
        elif isinstance(block, Section) and any(every(Table, block.blocks)):
            parts.append(f"{one_line(block.title)}\n{shown(block.blocks)}")
    return "\n\n".join(parts)


def _aligned(table: Table) -> str:
    rows = [[plain_text(Markdown.escape(text)) for text in row] for row in (table.header, *table.rows)]
    widths = [max(cell_len(row[at]) for row in rows) for at in range(len(table.header))]
    lines = (
        "  ".join(text + " " * (width - cell_len(text)) for text, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
