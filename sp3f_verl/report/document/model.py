"""What a report is made of. Texts, cells and captions are in the light markup of `inline`; labels are plain."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

SHARE = (-0.03, 1.03)  # the y axis of a share in [0, 1]


@dataclass(frozen=True)
class Text:
    markup: str


@dataclass(frozen=True)
class Items:
    """A list with a bullet each."""

    markup: Sequence[str]


@dataclass(frozen=True)
class Table:
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    name: str = ""  # what a screen reader calls it; the title of its section where empty
    source: str = ""  # where all of it comes from, told below it

    def __str__(self) -> str:
        from sp3f_verl.report.document.to_markdown import block

        return block(self)


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
    """A panel of lines. marks: (x, label) of dotted verticals."""

    title: str
    lines: Sequence[Line]
    x_label: str = "step"
    limits: tuple[float, float] | None = None  # of the y axis; by the values where None
    marks: Sequence[tuple[float, str]] = ()
    whole: bool = False  # a tick at each x


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
class Picture:
    """Panels side by side. `file`: of its PNG, beside the Markdown."""

    file: str
    title: str
    panels: Sequence[Lines | Rows]


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
    base: Path | None = field(default=None)


def paragraphs(markup: str) -> list[Text | Items]:
    """Texts and lists from paragraphs with an empty line between them; a list's lines begin with `- `."""
    blocks: list[Text | Items] = []
    for paragraph in filter(None, (each.strip("\n") for each in markup.split("\n\n"))):
        if paragraph.startswith("- "):
            blocks.append(Items(tuple(("\n" + paragraph).split("\n- ")[1:])))
        else:
            blocks.append(Text(paragraph))
    return blocks
