"""Plots as SVG for the page: colours are classes of its style sheet, so that light and dark both fit, and every mark
carries its values (`data-points`), which the page's script shows beside the pointer."""

from collections.abc import Iterable, Sequence
from html import escape
from urllib.parse import quote

from sp3f_verl.report.document.model import Line, Lines, Rows, Values
from sp3f_verl.report.document.scale import Scale, label, limits_of, ticks, whole_ticks
from sp3f_verl.stats.format import number

WIDTH, HEIGHT = 440, 260
MOST = 500  # points of a line that are drawn; a phone shows fewer
COLOURS = 6
_MARKS = (  # shapes too, so that colour is not all that tells series apart
    "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0",
    "M-3.6,-3.6h7.2v7.2h-7.2z",
    "M0,-4.8L4.5,3.6h-9z",
    "M0,-5L5,0L0,5L-5,0z",
    "M0,4.8L4.5,-3.6h-9z",
    "M-4.5,-1.5h9v3h-9z",
)


def panel(shown: Lines | Rows) -> str:
    """A `<div class="panel">` with title, legend and plot."""
    plot = _lines(shown) if isinstance(shown, Lines) else _rows(shown)
    told = [(each.label, each.colour) for each in (shown.lines if isinstance(shown, Lines) else shown.values)]
    legend = "".join(
        f'<li><svg viewBox="0 0 22 12" aria-hidden="true"><path class="curve s{colour % COLOURS}" d="M0,6H22"/>'
        f"{_mark(11, 6, colour)}</svg>{escape(text)}</li>"
        for text, colour in dict.fromkeys(told)
        if text
    )
    legend = f'<ul class="legend">{legend}</ul>' if legend else ""
    return f'<div class="panel"><p>{escape(shown.title)}</p>{legend}{plot}</div>'


def _svg(shown: Lines | Rows, height: float, parts: Iterable[str]) -> str:
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(told(shown))}">'
        f"{''.join(parts)}</svg>"
    )


def told(shown: Lines | Rows) -> str:
    """The plot in words, for who does not see it."""
    parts = []
    if isinstance(shown, Lines):
        for line in shown.lines:
            if line.points:
                (x, y), (last_x, last_y) = line.points[0], line.points[-1]
                span = f"{number(y)} at {label(x)}" + (
                    f" to {number(last_y)} at {label(last_x)}" if len(line.points) > 1 else ""
                )
                parts.append(f"{line.name or line.label}: {span}".removeprefix(": "))
    else:
        for each in shown.values:
            pairs = zip(shown.categories, each.values, strict=True)
            parts.append(f"{each.label}: " + ", ".join(f"{name} {number(value)}" for name, value in pairs))
    return f"{shown.title}. {'; '.join(parts)}."


def _mark(x: float, y: float, colour: int) -> str:
    return (
        f'<path class="f{colour % COLOURS}" transform="translate({x:.1f},{y:.1f})" d="{_MARKS[colour % len(_MARKS)]}"/>'
    )


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{kind}>{escape(text)}</text>'


# ---- lines over steps ----------------------------------------------------------------------------------------------


def _lines(shown: Lines) -> str:
    xs = [x for line in shown.lines for x, _ in line.points]
    limits = shown.limits or limits_of(y for line in shown.lines for _, y in line.points)
    named = ticks(*limits)
    left = 14 + 7 * max((len(label(tick)) for tick in named), default=1)
    low, high = (min(xs), max(xs)) if xs else (0, 1)
    x = Scale(low, high if high > low else low + 1, left + 6, WIDTH - 16)
    y = Scale(*limits, HEIGHT - 40, 14)
    parts = []
    for tick in named:
        parts.append(f'<path class="grid" d="M{left},{y(tick):.1f}H{WIDTH - 4}"/>')
        parts.append(_text(left - 6, y(tick) + 4, label(tick), "end"))
    for tick in whole_ticks(xs) if shown.whole else ticks(x.low, x.high, 6):
        parts.append(f'<path class="axis" d="M{x(tick):.1f},{y.start:.1f}v5"/>')
        parts.append(_text(x(tick), y.start + 19, label(tick), "middle"))
    parts.append(f'<path class="axis" d="M{left},{y.start:.1f}H{WIDTH - 4}"/>')
    if y.low < 0 < y.high and shown.limits is None:
        parts.append(f'<path class="axis" d="M{left},{y(0):.1f}H{WIDTH - 4}"/>')
    parts.append(_text((left + WIDTH) / 2, HEIGHT - 4, shown.x_label, "middle"))
    for at, name in shown.marks:
        if x.holds(at):
            parts.append(f'<path class="mark" d="M{x(at):.1f},{y.start:.1f}V{y.end}"/>')
            parts.append(_text(x(at) + 3, y.end - 2, name, "start"))
    parts += [_line(line, x, y, shown.x_label) for line in shown.lines if line.points]
    return _svg(shown, HEIGHT, parts)


def _line(line: Line, x: Scale, y: Scale, x_label: str) -> str:
    points = thinned(line.points)
    # a value beyond fixed limits is drawn at the edge and still told as it is
    placed = [(x(a), min(max(y(b), y.end - 6), y.start + 4), a, b) for a, b in points]
    kind = " thick" if line.thick else " faint" if line.faint else ""
    path = "M" + "L".join(f"{a:.1f},{b:.1f}" for a, b, *_ in placed)
    data = " ".join(f"{px:.1f},{py:.1f},{quote(f'{x_label} {label(a)}')},{number(b)}" for px, py, a, b in placed)
    marks = "".join(_mark(a, b, line.colour) for a, b, *_ in placed) if line.thick or len(placed) == 1 else ""
    return (
        f'<path class="curve s{line.colour % COLOURS}{kind}" d="{path}" data-label="{escape(line.name or line.label)}" '
        f'data-points="{data}"/>{marks}'
    )


def thinned(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """Every k-th point and the last, at most about 500."""
    every = -(-len(points) // MOST)
    return points if every <= 1 else [*points[:-1:every], points[-1]]


# ---- a row a category ----------------------------------------------------------------------------------------------


def _rows(shown: Rows) -> str:
    spread = [edge for each in shown.values for pair in each.spread if pair for edge in pair]
    known = [value for each in shown.values for value in each.values if value is not None]
    limits = shown.limits or limits_of([*known, *spread, *([0.0] if shown.bars else [])])
    names = [_short(name) for name in shown.categories]
    left = min(18 + 7 * max(map(len, names), default=1), 190)
    each_high = max(14 * len(shown.values) + 8, 22)
    bottom = 10 + each_high * len(names)
    x = Scale(*limits, left + 4, WIDTH - 16)
    parts = []
    for tick in ticks(*limits, 5):
        parts.append(f'<path class="grid" d="M{x(tick):.1f},6V{bottom}"/>')
        parts.append(_text(x(tick), bottom + 17, label(tick), "middle"))
    parts.append(f'<path class="axis" d="M{left},{bottom}H{WIDTH - 4}"/>')
    for row, name in enumerate(names):
        middle = 8 + each_high * (row + 0.5)
        parts.append(_text(left - 6, middle + 4, name, "end", ' class="category"'))
        if row:
            parts.append(f'<path class="grid" d="M{left},{middle - each_high / 2:.1f}H{WIDTH - 4}"/>')
        for place, each in enumerate(shown.values):
            y = middle + 14 * (place - (len(shown.values) - 1) / 2)
            parts.append(_value(shown, each, row, x, y))
    return _svg(shown, bottom + 26, parts)


def _value(shown: Rows, each: Values, row: int, x: Scale, y: float) -> str:
    value = each.values[row]
    if value is None:
        return ""
    edges = each.spread[row] if each.spread else None
    colour, at = each.colour % COLOURS, x(value)
    span = f" [{number(edges[0])}; {number(edges[1])}]" if edges else ""
    data = f"{at:.1f},{y:.1f},{quote(shown.categories[row], safe='')},{quote(number(value) + span)}"
    if shown.bars:
        start, end = sorted((x(max(x.low, 0)), at))
        drawn = f'<path class="f{colour}" d="M{start:.1f},{y - 5:.1f}H{end:.1f}V{y + 5:.1f}H{start:.1f}z"/>'
    else:
        drawn = _mark(at, y, each.colour)
    if edges:
        drawn = f'<path class="whisker s{colour}" d="M{x(edges[0]):.1f},{y:.1f}H{x(edges[1]):.1f}"/>' + drawn
    return f'<g data-label="{escape(each.label)}" data-points="{data}">{drawn}</g>'


def _short(name: str) -> str:
    return name if len(name) <= 24 else name[:23] + "…"
