"""Plots as PNG files, for the Markdown report: the same panels by matplotlib."""

from pathlib import Path

from sp3f_verl.report.document.model import Lines, Picture, Rows

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#6b6b6b", "#8a6d00")  # Okabe and Ito's first
MARKERS = "os^Dv_"


def panels_of(count: int, size: tuple[float, float]):
    """(figure, its axes side by side); `save` ends it."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, count, figsize=size, layout="constrained", squeeze=False)
    return figure, axes[0]


def save(figure, path: Path) -> None:
    import matplotlib.pyplot as plt

    partial = path.with_name("partial-" + path.name)
    figure.savefig(partial, dpi=120)
    plt.close(figure)
    partial.replace(path)


def literal(text: str) -> str:
    return text.replace("$", r"\$")  # a label is no formula, and a broken one would end the report


def write_png(picture: Picture, path: Path) -> None:
    count = len(picture.panels)
    most = max(
        (len(panel.categories) * len(panel.values) for panel in picture.panels if isinstance(panel, Rows)), default=0
    )
    size = (max(4.4 * count, 6.0), max(3.6, 0.22 * most + 1.2))
    figure, axes = panels_of(count, size)
    for axis, panel in zip(axes, picture.panels, strict=True):
        (_lines if isinstance(panel, Lines) else _rows)(axis, panel)
        axis.set_title(literal(panel.title), pad=12)
        axis.grid(alpha=0.3)
        if axis.get_legend_handles_labels()[1]:
            axis.legend(fontsize=8)
    save(figure, path)


def _lines(axis, panel: Lines) -> None:
    for line in panel.lines:
        xs, ys = zip(*line.points, strict=True) if line.points else ((), ())
        style = (
            {"linewidth": 2, "marker": MARKERS[line.colour % 6], "markersize": 4} if line.thick else {"linewidth": 1.3}
        )
        style |= {"alpha": 0.35, "linewidth": 1} if line.faint else {}
        axis.plot(xs, ys, color=COLOURS[line.colour % 6], label=literal(line.label) or None, **style)
    for x, name in panel.marks:
        axis.axvline(x, color="0.45", linewidth=0.9, linestyle=":")
        axis.text(x, 1.02, name, transform=axis.get_xaxis_transform(), fontsize=7, color="0.3")
    if panel.limits:
        axis.set_ylim(*panel.limits)
    elif axis.get_ylim()[0] < 0 < axis.get_ylim()[1]:
        axis.axhline(0, color="0.4", linewidth=0.8)
    if panel.whole:
        axis.set_xticks(sorted({x for line in panel.lines for x, _ in line.points}))
    axis.set_xlabel(literal(panel.x_label))


def _rows(axis, panel: Rows) -> None:
    count = len(panel.values)
    for place, each in enumerate(panel.values):
        shift, colour = 0.7 * ((place + 0.5) / count - 0.5), COLOURS[each.colour % 6]
        kept = [(row + shift, value, row) for row, value in enumerate(each.values) if value is not None]
        ys, xs = [y for y, *_ in kept], [value for _, value, _ in kept]
        if panel.bars:
            axis.barh(ys, xs, 0.7 / count, color=colour, label=literal(each.label) or None)
        else:
            axis.plot(xs, ys, MARKERS[each.colour % 6], color=colour, label=literal(each.label) or None)
        for y, _, row in kept:
            if each.spread and each.spread[row]:
                axis.plot(each.spread[row], (y, y), color=colour, linewidth=1.4)
    axis.set_yticks(range(len(panel.categories)), [literal(name[:24]) for name in panel.categories])
    axis.invert_yaxis()
    if panel.limits:
        axis.set_xlim(*panel.limits)
