"""The report of a preference or self-play run, as a document. docs/diagnostics.md."""

from sp3f_verl.report.document.inline import plain
from sp3f_verl.report.document.model import Block, Document, Items, Section, Text, paragraphs
from sp3f_verl.report.preference_plots import pictures
from sp3f_verl.report.preference_reading import READ
from sp3f_verl.report.preference_signs import THRESHOLDS, signs
from sp3f_verl.report.preference_tables import contingency_tables, held_out_table, training_table
from sp3f_verl.report.run_metrics import RunMetrics, where
from sp3f_verl.report.selfplay_tables import generated_table, learned_table, orders_by_iteration


def preference_document(run: RunMetrics) -> Document:
    sections = [_signs(run), _numbers(run), *_iterations(run), _orders(run), _pictures(run)]
    return Document(_title(run), [*_head(run), *sections], run.folder)


def _title(run: RunMetrics) -> str:
    return f"{'Self-play' if run.starts else 'Preference'} run: {plain(run.loss)}"


def _head(run: RunMetrics) -> list[Block]:
    steps = [point.step for name in ("loss", "margin", "lr") for point in run[f"train/{name}"]]
    span = f"Training steps {min(steps)} to {max(steps)}" if steps else "No training step yet"
    iterations = f", iterations {run.iterations[0]} to {run.iterations[-1]}" if run.starts else ""
    proto = ", y0 `proto`" if "proto" in run.roles else ""
    return paragraphs(f"""{span}{iterations}; {run.attempts}.

L is the log-likelihood of a response under the policy in training, in nats.
y is `{run.roles[0]}`, y' `{run.roles[1]}`{proto}.
What each metric means: docs/diagnostics.md of sp3f_verl.""")


def _signs(run: RunMetrics) -> Section:
    blocks: list[Block] = [Text(f"Looked for, with thresholds that are rules of thumb: {THRESHOLDS}.")]
    if not _has_held_out(run):
        blocks.append(Text("No held-out metrics (`data.val_files`): most of it could not be looked for."))
    return Section("Signs to look at", [*blocks, Items(signs(run) or ["None was found."])])


def _numbers(run: RunMetrics) -> Section:
    blocks: list[Block] = []
    if _has_held_out(run):
        of = f"Of the last iteration, {run.iterations[-1]}. " if run.starts else ""
        blocks.append(
            Text(f"""{of}`gap/*` and `drift` are worked out from `logp*`:
y minus y', and y minus its value before the run.""")
        )
        blocks.append(held_out_table(run))
    return Section("In numbers", blocks + training_table(run))


def _iterations(run: RunMetrics) -> list[Section]:
    if not run.starts:
        return []
    generated = (
        "Iteration t trains policy t into policy t + 1. What policy t generated (shares, but for counts and mean "
    )
    learned = """Held-out, `a → b`: policy t on its own fresh responses, and policy t + 1 on the same. One number:
policy t + 1. The responses change between iterations, so that b of one and a of the next differ."""
    blocks = [Text(generated + "`tokens`):"), generated_table(run), Text(learned), learned_table(run)]
    return [Section("By iteration", blocks)]


def _orders(run: RunMetrics) -> Section:
    first, second = run.roles[:2]
    scale = run.reward_scale()
    own = "This run's rewards are log-ratios to a reference or opponent: neither table is a tautology."
    if scale and scale[0] == "raw":
        own = f"This run is such a case: its rewards are {scale[1]:.4g} times the sums ({where([scale[2]])})."
    elif scale:
        own = f"""In this run rewards are {scale[1]:.4g} times the log-likelihood per token ({where([scale[2]])}):
here the table per token is the tautology; read the raw one, beside the length gap."""
    elif not run.has_reference:
        own = ""
    blocks = paragraphs(f"""Shares of pairs. Off the diagonal the loss thinks that `{first}` won and the policy still
finds `{second}` likelier, or the other way round.

**For T-SPIN the raw table is a tautology**: its reward is r = alpha L with L the summed log-likelihood, so both orders
are one, and the cells off the diagonal are 0 whatever was learned. Read the table per token, on held-out pairs.
{own}""")
    if run.starts:
        blocks += [Text("Held-out at the end of each iteration:"), *orders_by_iteration(run)]
    return Section("Reward order against log-likelihood order", blocks + contingency_tables(run))


def _pictures(run: RunMetrics) -> Section:
    text = f"""Drawn from {", ".join(f"`{file}`" for file in run.files)}.
Thin: means over a training batch. Thick, with dots: means over the held-out pairs."""
    if run.starts:
        text += "\nDotted verticals: iteration t begins; a thick line that begins there is policy t before training."
    blocks: list[Block] = [Text(text)]
    drawn = pictures(run)
    for name, picture in drawn.items():
        title, shows, bad = READ[name]
        blocks.append(Section(title, [picture, Text(shows), Text(f"A bad sign: {bad}")]))
    missing = [title for name, (title, *_) in READ.items() if name not in drawn]
    blocks += [Text(f"Not drawn, as nothing of it was logged: {', '.join(missing)}.")] * bool(missing)
    return Section("Pictures", blocks)


def _has_held_out(run: RunMetrics) -> bool:
    return any(name.startswith(("val/", "start/")) for name in run.series)
