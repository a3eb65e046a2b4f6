"""The pictures of the quickstart's report, and what all pictures share."""

from pathlib import Path
from statistics import mean


def axes_of(columns: int, width: float):
    """(pyplot, figure, axes) of panels side by side; `save` ends it."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, columns, figsize=(width, 3.6), layout="constrained")
    return plt, figure, axes


def save(plt, figure, path: Path) -> None:
    partial = path.with_name("partial-" + path.name)
    figure.savefig(partial, dpi=120)
    plt.close(figure)
    partial.replace(path)


def reward_curves(steps: dict[int, dict[str, float]], terms: dict[str, str], path: Path, window: int = 10) -> None:
    """Each term's training mean over steps, as a moving average over `window` steps. terms: metric -> label."""
    plt, figure, axis = axes_of(1, 7.0)
    for metric, label in terms.items():
        points = [(step, values[metric]) for step, values in sorted(steps.items()) if metric in values]
        if not points:
            continue
        xs = [step for step, _ in points]
        ys = [value for _, value in points]
        smooth = [mean(ys[max(0, i - window + 1) : i + 1]) for i in range(len(ys))]
        axis.plot(xs, smooth, label=label)
    axis.set_xlabel("step")
    axis.set_ylabel(f"mean over rollouts ({window}-step average)")
    axis.set_ylim(0, 1.05)
    axis.grid(alpha=0.3)
    axis.legend()
    save(plt, figure, path)


def before_after(before: dict, after: dict, measures: dict[str, str], path: Path) -> None:
    """Bars per language, before and after. before, after: language -> measure -> mean; measures: measure -> title."""
    plt, figure, axes = axes_of(len(measures), 4.5 * len(measures))
    languages = [language for language in before if language != "all"]
    places = range(len(languages))
    for axis, (measure, title) in zip(axes, measures.items(), strict=True):
        axis.bar([x - 0.2 for x in places], [before[language][measure] for language in languages], 0.4, label="SFT")
        axis.bar([x + 0.2 for x in places], [after[language][measure] for language in languages], 0.4, label="SP3F")
        axis.set_xticks(list(places), languages)
        axis.set_ylim(0, 1.05)
        axis.set_title(title)
        axis.grid(axis="y", alpha=0.3)
    axes[0].legend()
    save(plt, figure, path)
