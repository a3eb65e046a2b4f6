"""Translators by language pair, as a picture."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sp3f_verl.report.document.png import literal, panels_of, save


def heatmap(scores: Iterable[Mapping[str, Any]], kinds: Mapping[str, str], path: Path) -> None:
    """One panel a kind of score (column -> title); a translator without anything in a pair has an empty cell."""
    rows = list(scores)
    names, pairs = (sorted({row[key] for row in rows}) for key in ("translator", "lp"))
    place = {(row["translator"], row["lp"]): row for row in rows}
    size = ((1.5 + 0.7 * len(pairs)) * len(kinds), 1.4 + 0.45 * len(names))
    figure, axes = panels_of(len(kinds), size)
    for axis, (kind, title) in zip(axes, kinds.items(), strict=True):
        values = [[place[name, lp][kind] for lp in pairs] for name in names]
        known = [value for line in values for value in line if value is not None]
        filled = [[float("nan") if value is None else value for value in line] for line in values]
        axis.imshow(filled, aspect="auto", cmap="viridis")
        middle = (min(known) + max(known)) / 2 if known else 0
        for y, line in enumerate(values):
            for x, value in enumerate(line):
                dark = value is not None and value < middle
                told = "none" if value is None else f"{value:.1f}"
                axis.text(x, y, told, ha="center", va="center", fontsize=8, color="white" if dark else "black")
        axis.set_xticks(range(len(pairs)), [lp.partition("-")[2] for lp in pairs], rotation=45, ha="right")
        axis.set_yticks(range(len(names)), map(literal, names))
        axis.set_title(title)
    save(figure, path)
