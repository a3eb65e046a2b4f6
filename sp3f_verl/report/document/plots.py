"""Plots, drawn once by matplotlib: a PNG of a picture's panels for the Markdown, an SVG a panel for the page.

In the SVG colours are classes of the page's style sheet (`c0` ..., `ink`, `soft`, `line`), so that light and dark both
fit, no `style` attribute is left, which the page's policy would refuse, and every mark carries its values
(`data-points`), which the page's script shows beside the pointer.
"""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from typing import Any

from sp3f_verl.report.document.blocks import Grid, Line, Lines, Panel, Picture, Rows
from sp3f_verl.report.document.escape import one_line
from sp3f_verl.report.document.svg import Mark, for_page
from sp3f_verl.stats.format import number

COLOURS = ("#0072b2", "#c24e00", "#007f5c", "#a3478a", "#6b6b6b", "#8a6d00")  # after Okabe and Ito
INK, SOFT, LINE = "#1b1f24", "#57606a", "#d0d7de"
MARKERS = "os^Dv_"  # shapes too, so that colour is not all that tells series apart
MOST = 500  # points of a line that are drawn; a screen shows fewer
WIDTH, HEIGHT = 4.6, 3.0  # inches of a panel
STYLE = {
    "svg.fonttype": "none",  # texts stay texts
    "svg.hashsalt": "sp3f",  # the same report gives the same bytes
    "text.parse_math": False,  # a label is no formula, and a broken one would end the report
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": SOFT,
    "axes.titlecolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "legend.labelcolor": SOFT,
    "axes.unicode_minus": False,
}


@dataclass
class Drawing:
    """A picture's PNG, and an SVG with its description for each panel."""

    png: bytes
    panels: list[str] = field(default_factory=list)


def draw(picture: Picture, prefix: str = "p") -> Drawing:
    """`prefix`: of the ids in its SVGs, which stand in one page."""
    import matplotlib
    from matplotlib.figure import Figure

    with warnings.catch_warnings(), matplotlib.rc_context(STYLE):
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a language that the font has not
        panels = [_clean(panel) for panel in picture.panels]
        count = len(panels)
        figure = Figure((WIDTH * count, max(map(_height, panels))), layout="constrained")
        axes = figure.subplots(1, count, squeeze=False)[0]
        marks = [_panel(axis, panel) for axis, panel in zip(axes, panels, strict=True)]
        drawing = Drawing(_saved(figure, "png", dpi=150, facecolor="white", bbox_inches="tight", pad_inches=0.06))
        figure.set_layout_engine("none")
        for place_, (axis, panel) in enumerate(zip(axes, panels, strict=True)):
            for other in axes:
                other.set_visible(other is axis)
            box = axis.get_tightbbox().transformed(figure.dpi_scale_trans.inverted()).padded(0.04)
            box.x1 += 0.03 * box.width  # a browser's letters are a little wider than matplotlib's
            svg = _saved(figure, "svg", bbox_inches=box, transparent=True)

            def place(x: float, y: float, axis=axis, box=box) -> tuple[float, float]:
                right, up = axis.transData.transform((x, y)) / figure.dpi
                return 72 * (right - box.x0), 72 * (box.y1 - up)

            drawing.panels.append(for_page(svg, f"{prefix}-{place_}-", described(panel), marks[place_], place))
        return drawing


def _clean(part: Any) -> Any:
    """A panel with every text as one line without control characters, which XML does not know."""
    if isinstance(part, str):
        return one_line(part)
    if isinstance(part, list | tuple):
        return tuple(map(_clean, part))
    return replace(part, **{name: _clean(value) for name, value in vars(part).items()}) if is_dataclass(part) else part


def _saved(figure, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, metadata={"Date": None} if kind == "svg" else {"Software": None}, **options)
    return buffer.getvalue()


def _height(panel: Panel) -> float:
    legend = 0.2 * _legend_rows(panel)
    match panel:
        case Lines():
            return HEIGHT + legend
        case Grid():
            return 1.2 + 0.32 * len(panel.rows)
    return 0.9 + legend + len(panel.categories) * max(0.18 * len(panel.values), 0.26)


def _legend_rows(panel: Panel) -> int:
    labels = {} if isinstance(panel, Grid) else dict.fromkeys(_labels(panel))
    return -(-len(labels) // _columns(labels))


def _labels(panel: Lines | Rows) -> list[str]:
    series = panel.lines if isinstance(panel, Lines) else panel.values
    return [one.label for one in series if one.label]


def _columns(labels) -> int:
    longest = max((len(_short(label)) for label in labels), default=1)
    return max(1, min(4, 72 // (longest + 9)))


def _panel(axis, panel: Panel) -> dict[str, Mark]:
    """Draws it; answers the marks of its values: id in the SVG -> Mark."""
    marks = {Lines: _lines, Rows: _rows, Grid: _grid}[type(panel)](axis, panel)
    rows = _legend_rows(panel)
    if rows:
        handles, labels = axis.get_legend_handles_labels()
        one = dict(zip(labels, handles, strict=True))  # a label once
        names = [_short(label) for label in one]
        legend = axis.legend(one.values(), names, loc="lower left", bbox_to_anchor=(0, 1), ncols=_columns(one))
        legend.set(in_layout=True)
    axis.set_title(_short(panel.title, 60), pad=8 + 14 * rows)
    return marks


# ---- lines over steps ----------------------------------------------------------------------------------------------


def _lines(axis, panel: Lines) -> dict[str, Mark]:
    marks = {}
    for place, line in enumerate(panel.lines):
        points = thinned(line.points)
        dots = line.thick or len(points) == 1
        (drawn,) = axis.plot(
            [x for x, _ in points],
            [y for _, y in points],
            color=COLOURS[line.colour % len(COLOURS)],
            label=line.label or "_",
            linewidth=1 if line.faint else 2 if line.thick else 1.4,
            alpha=0.4 if line.faint else None,
            marker=MARKERS[line.colour % len(MARKERS)] if dots else None,
            markersize=4,
        )
        drawn.set_gid(f"line{place}")
        if panel.stacked:
            below = [y for _, y in thinned(panel.lines[place - 1].points)] if place else 0.0
            xs, edge = zip(*points, strict=True)
            axis.fill_between(xs, below, edge, color=COLOURS[line.colour % len(COLOURS)], alpha=0.35, linewidth=0)
        values = [(x, y, (f"{panel.x_label} {_tick(x)}", number(y))) for x, y in points]
        marks[f"line{place}"] = Mark("curve", line.name or line.label, values)
    for x, name in panel.marks:
        axis.axvline(x, color=SOFT, linewidth=0.9, linestyle=":")
        foot = axis.get_xaxis_transform()  # x in steps, y as a share of the axes
        axis.text(x, 0.01, f" {_short(name)}", transform=foot, fontsize=8, color=SOFT, va="bottom")
    if panel.limits:
        axis.set_ylim(*panel.limits)
    elif axis.get_ylim()[0] < 0 < axis.get_ylim()[1]:
        axis.axhline(0, color=SOFT, linewidth=0.8)
    steps = sorted({x for line in panel.lines for x, _ in line.points})
    if panel.whole:
        axis.set_xticks(steps[:: -(-len(steps) // 8) or 1])
    elif all(float(x).is_integer() for x in steps):
        axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set_xlabel(_short(panel.x_label, 60))
    return marks


def thinned(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """Every k-th point and the last, at most about 500."""
    step = -(-len(points) // MOST)
    return points if step <= 1 else [*points[:-1:step], points[-1]]


# ---- a row a category, a grid --------------------------------------------------------------------------------------


def _rows(axis, panel: Rows) -> dict[str, Mark]:
    count, marks = len(panel.values), {}
    for place, series in enumerate(panel.values):
        shift = 0.7 * ((place + 0.5) / count - 0.5)
        colour = COLOURS[series.colour % len(COLOURS)]
        known = [(row, value) for row, value in enumerate(series.values) if value is not None]
        ys, xs = [row + shift for row, _ in known], [value for _, value in known]
        spread = {row: series.spread[row] for row, _ in known if series.spread and series.spread[row]}
        if panel.bars:
            axis.barh(ys, xs, 0.7 / count, color=colour, label=series.label or "_")
        for row, edges in spread.items():
            (whisker,) = axis.plot(edges, (row + shift,) * 2, color=colour, linewidth=1.5)
            whisker.set_gid(f"whisker{place}-{row}")
            marks[f"whisker{place}-{row}"] = Mark("whisker", series.label, [])
        (dots,) = axis.plot(
            xs,
            ys,
            linestyle="none",
            color=colour,
            label="_" if panel.bars else series.label or "_",
            marker=MARKERS[series.colour % len(MARKERS)],
            markersize=0.01 if panel.bars else 5,
        )
        dots.set_gid(f"values{place}")
        values = []
        for row, value in known:
            interval = f" [{number(spread[row][0])}; {number(spread[row][1])}]" if row in spread else ""
            values.append((value, row + shift, (panel.categories[row], number(value) + interval)))
        marks[f"values{place}"] = Mark("values", series.label, values)
    axis.set_yticks(range(len(panel.categories)), map(_short, panel.categories))
    axis.set_ylim(len(panel.categories) - 0.5, -0.5)
    axis.tick_params("y", length=0, labelcolor=INK)
    axis.grid(False, axis="y")
    if panel.limits:
        axis.set_xlim(*panel.limits)
    return marks


def _grid(axis, panel: Grid) -> dict[str, Mark]:
    known = [value for row in panel.values for value in row if value is not None]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    filled = [[float("nan") if value is None else value for value in row] for row in panel.values]
    axis.pcolormesh(filled, cmap="viridis", vmin=low, vmax=high if high > low else low + 1)
    for y, row in enumerate(panel.values):
        for x, value in enumerate(row):
            dark = value is not None and value < (low + high) / 2
            text = "none" if value is None else f"{value:.1f}"
            colour = SOFT if value is None else "white" if dark else "black"
            axis.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=8, color=colour)
    axis.set_xticks([x + 0.5 for x in range(len(panel.columns))], map(_short, panel.columns), rotation=45, ha="right")
    axis.set_yticks([y + 0.5 for y in range(len(panel.rows))], map(_short, panel.rows))
    axis.invert_yaxis()
    axis.grid(False)
    return {}


# ---- in words ------------------------------------------------------------------------------------------------------


def described(panel: Panel) -> str:
    """The plot in words, for who does not see it."""
    parts = []
    match panel:
        case Lines():
            parts = [_line_in_words(line) for line in panel.lines if line.points]
        case Rows():
            parts = [_row_in_words(series.label, panel.categories, series.values) for series in panel.values]
        case Grid():
            parts = [
                _row_in_words(name, panel.columns, row) for name, row in zip(panel.rows, panel.values, strict=True)
            ]
    return f"{panel.title}. {'; '.join(parts)}."


def _line_in_words(line: Line) -> str:
    (x, y), (last_x, last_y) = line.points[0], line.points[-1]
    end = f" to {number(last_y)} at {_tick(last_x)}" if len(line.points) > 1 else ""
    return f"{line.name or line.label}: {number(y)} at {_tick(x)}{end}".removeprefix(": ")


def _row_in_words(label: str, names: Sequence[str], values: Sequence[float | None]) -> str:
    return f"{label}: " + ", ".join(f"{name} {number(value)}" for name, value in zip(names, values, strict=True))


def _tick(value: float) -> str:
    return f"{int(value)}" if value == int(value) and abs(value) < 1e6 else f"{value:.4g}"


def _short(name: str, longest: int = 24) -> str:
    return name if len(name) <= longest else name[: longest - 1] + "…"
