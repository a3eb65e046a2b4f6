"""`sp3f report` of a preference or self-play run: report.md and pictures in its folder. docs/diagnostics.md."""

from pathlib import Path

from sp3f_verl.data.files import write_text
from sp3f_verl.evaluation.preference_plots import write_pictures
from sp3f_verl.evaluation.preference_reading import READ
from sp3f_verl.evaluation.preference_signs import THRESHOLDS, signs
from sp3f_verl.evaluation.preference_tables import contingency_tables, held_out_table, training_table
from sp3f_verl.evaluation.run_metrics import RunMetrics, where
from sp3f_verl.evaluation.selfplay_tables import generated_table, learned_table, orders_by_iteration


def write_preference_report(run: RunMetrics) -> Path:
    """Write report.md and pictures into the run's folder; answers the path of the report."""
    path = run.folder / "report.md"
    write_text(report_text(run, write_pictures(run, run.folder)), path)
    return path


def report_text(run: RunMetrics, pictures: list[str]) -> str:
    """The report in markdown. pictures: file names, in its folder."""
    sections = [_head(run), _signs(run), _numbers(run), _iterations(run), _orders(run), _pictures(run, pictures)]
    return "\n".join(filter(None, sections))


def _head(run: RunMetrics) -> str:
    steps = [point.step for name in ("loss", "margin", "lr") for point in run[f"train/{name}"]]
    span = f"Training steps {min(steps)} to {max(steps)}" if steps else "No training step yet"
    iterations = f", iterations {run.iterations[0]} to {run.iterations[-1]}" if run.starts else ""
    attempts = "1 attempt" if len(run.files) == 1 else f"{len(run.files)} attempts, each up to where the next goes on"
    files = ", ".join(f"`{file}`" for file in run.files)
    proto = ", y0 `proto`" if "proto" in run.roles else ""
    return f"""# {"Self-play" if run.starts else "Preference"} run: {run.loss}

{span}{iterations}; {attempts} ({files}).

L is the log-likelihood of a response under the policy in training, in nats.
y is `{run.roles[0]}`, y' `{run.roles[1]}`{proto}.
What each metric means: docs/diagnostics.md of sp3f_verl.
"""


def _signs(run: RunMetrics) -> str:
    found = signs(run) or ["None was found."]
    note = (
        "" if _has_held_out(run) else "\nNo held-out metrics (`data.val_files`): most of it could not be looked for.\n"
    )
    return f"""## Signs to look at

Looked for, with thresholds that are rules of thumb: {THRESHOLDS}.
{note}
{chr(10).join(f"- {sentence}" for sentence in found)}
"""


def _numbers(run: RunMetrics) -> str:
    text = "## In numbers\n\n"
    if _has_held_out(run):
        of = f"Of the last iteration, {run.iterations[-1]}. " if run.starts else ""
        text += f"""{of}`gap/*` and `drift` are worked out from `logp*`:
y minus y', and y minus its value before the run.

{held_out_table(run)}
"""
    return text + training_table(run)


def _iterations(run: RunMetrics) -> str:
    if not run.starts:
        return ""
    return f"""## By iteration

Iteration t trains policy t into policy t + 1. What policy t generated (shares, but for counts and mean `tokens`):

{generated_table(run)}
Held-out, `a → b`: policy t on its own fresh responses, and policy t + 1 on the same. One number: policy t + 1. The
responses change between iterations, so that b of one and a of the next differ.

{learned_table(run)}"""


def _orders(run: RunMetrics) -> str:
    first, second = run.roles[:2]
    scale = run.reward_scale()
    own = "This run's rewards are log-ratios to a reference or opponent: neither table is a tautology.\n"
    if scale and scale[0] == "raw":
        own = f"This run is such a case: its rewards are {scale[1]:.4g} times the sums ({where([scale[2]])}).\n"
    elif scale:
        own = f"""In this run rewards are {scale[1]:.4g} times the log-likelihood per token ({where([scale[2]])}):
here the table per token is the tautology; read the raw one, beside the length gap.
"""
    elif not run.has_reference:
        own = ""
    by_iteration = f"Held-out at the end of each iteration:\n\n{orders_by_iteration(run)}\n" if run.starts else ""
    return f"""## Reward order against log-likelihood order

Shares of pairs. Off the diagonal the loss thinks that `{first}` won and the policy still finds `{second}` likelier, or
the other way round.

**For T-SPIN the raw table is a tautology**: its reward is r = alpha L with L the summed log-likelihood, so both orders
are one, and the cells off the diagonal are 0 whatever was learned. Read the table per token, on held-out pairs.
{own}
{by_iteration}{contingency_tables(run)}"""


def _pictures(run: RunMetrics, pictures: list[str]) -> str:
    text = f"""## Pictures

Drawn from {", ".join(f"`{file}`" for file in run.files)}.
Thin: means over a training batch. Thick, with dots: means over the held-out pairs.
"""
    if run.starts:
        text += "Dotted verticals: iteration t begins; a thick line that begins there is policy t before training.\n"
    for name in pictures:
        title, shows, bad = READ[name]
        text += f"\n### {title}\n\n![{title}]({name})\n\n{shows}\n\nA bad sign: {bad}\n"
    missing = [title for name, (title, *_) in READ.items() if name not in pictures]
    return text + (f"\nNot drawn, as nothing of it was logged: {', '.join(missing)}.\n" if missing else "")


def _has_held_out(run: RunMetrics) -> bool:
    return any(name.startswith(("val/", "start/")) for name in run.series)
