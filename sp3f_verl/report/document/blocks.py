"""What a report is: the typed model that every builder returns and that `markdown.py` turns into text.

A text is `Markdown` (ours, escape.py) or a plain str, which is escaped on its way into the template. Labels of plots
are plain str.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sp3f_verl.report.document.escape import Markdown

SHARE = (-0.03, 1.03)  # the y axis of a share in [0, 1]
T = TypeVar("T")


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Items:
    """A list with a bullet each."""

    items: Sequence[str]


@dataclass(frozen=True)
class Table:
    """Cells of a row stand under the header's. `source`: where all of it comes from, said once below it."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    source: str = ""


@dataclass(frozen=True)
class Line:
    """Values over steps. Thick lines have dots: few values that count; faint ones stand behind."""

    label: str  # empty: no entry in the legend
    points: Sequence[tuple[float, float]]
    colour: int = 0
    thick: bool = False
    faint: bool = False
    name: str = ""  # beside the pointer, where several lines share an entry of the legend


@dataclass(frozen=True)
class Lines:
    """A panel of lines. marks: (x, label) of dotted verticals. stacked: each line is the upper edge of an area that
    begins at the line before it; all have the same steps."""

    title: str
    lines: Sequence[Line]
    x_label: str = "step"
    limits: tuple[float, float] | None = None  # of the y axis; by the values where None
    marks: Sequence[tuple[float, str]] = ()
    whole: bool = False  # a tick at each x
    stacked: bool = False


@dataclass(frozen=True)
class Values:
    """One value a category, None where there is none; `spread` holds (low, high) where an interval is known."""

    label: str
    values: Sequence[float | None]
    spread: Sequence[tuple[float, float] | None] = ()
    colour: int = 0


@dataclass(frozen=True)
class Rows:
    """A panel with a row a category: dots with intervals, or bars from 0."""

    title: str
    categories: Sequence[str]
    values: Sequence[Values]
    limits: tuple[float, float] | None = None  # of the x axis
    bars: bool = False


@dataclass(frozen=True)
class Grid:
    """A panel of coloured cells with their values: rows by columns, None where there is none."""

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: Sequence[Sequence[float | None]]


Panel = Lines | Rows | Grid


@dataclass(frozen=True)
class Picture:
    """Panels side by side. `file`: of its PNG, beside the Markdown."""

    file: str
    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Section:
    """`base`: the folder that paths in code spans are relative to; the one of what it stands in where None."""

    title: str
    blocks: "Sequence[Block]"
    base: Path | None = None


Block = Text | Items | Table | Picture | Section


@dataclass(frozen=True)
class Document:
    title: str
    blocks: Sequence[Block]
    base: Path | None = None


def paragraph(template: str, *values: object, **named: object) -> Text:
    """A paragraph of our own Markdown; what is put in for `{}` is escaped unless it is Markdown, too."""
    return Text(Markdown(template).format(*values, **named))


def listed(
    head: str,
    things: Mapping[str, T] | Iterable[str],
    columns: Mapping[str, Callable[[T], str]],
    source: str = "",
    sparse: bool = False,
) -> Table:
    """A row a thing (name -> thing, or names), a column for each title, by what makes a cell of a thing. `sparse`:
    without the columns in which no row has anything."""
    things = things if isinstance(things, Mapping) else {name: name for name in things}
    rows = [[name, *(cell_of(thing) for cell_of in columns.values())] for name, thing in things.items()]
    kept = [at for at in range(len(columns) + 1) if not (sparse and at) or any(row[at] != "–" for row in rows)]
    header = [head, *columns]
    return Table([header[at] for at in kept], [[row[at] for at in kept] for row in rows], source)


def across(head: str, columns: Mapping[str, T], names: Iterable[str], show: Callable[[T, str], str]) -> Table:
    """A column for each of several things, a row a name; rows without any value are left out."""
    rows = [[name, *(show(column, name) for column in columns.values())] for name in dict.fromkeys(names)]
    return Table([head, *columns], [row for row in rows if any(cell != "–" for cell in row[1:])])


def picture(file: str, title: str, panels: Iterable[Panel | None]) -> list[Picture]:
    """One picture of the panels that are there; none where none is."""
    kept = [panel for panel in panels if panel is not None]
    return [Picture(file, title, kept)] if kept else []


def section(title: str, *blocks: "Block") -> list[Section]:
    """None where neither a row of a table nor a picture is in it."""
    shows = any(isinstance(block, Picture) or (isinstance(block, Table) and block.rows) for block in blocks)
    return [Section(title, blocks)] if shows else []


def every(kind: type, blocks: Sequence[Block]) -> Iterator:
    """The blocks of a kind, in their order, those in sections among them."""
    for block in blocks:
        if isinstance(block, kind):
            yield block
        if isinstance(block, Section):
            yield from every(kind, block.blocks)
