"""The report of a preference or self-play run, as a document. docs/diagnostics.md."""

from pathlib import Path

from sp3f_verl.report.document.blocks import Block, Document, Items, Section, Text, paragraph
from sp3f_verl.report.document.escape import Markdown, code, joined
from sp3f_verl.report.preference import tables
from sp3f_verl.report.preference.compare import compare
from sp3f_verl.report.preference.pictures import READ, pictures
from sp3f_verl.report.preference.run import PreferenceRun
from sp3f_verl.report.preference.signs import SIGNS, signs
from sp3f_verl.training.objective_record import FILE

__all__ = ["compare", "document"]  # what a kind of folder has (command.KINDS)

ROLES = """L is the log-likelihood of a response under the policy in training, in nats.
y is {}, y' {}{}.
What each metric means: docs/diagnostics.md of sp3f_verl."""
NOT_RECORDED = """The objective is not recorded ({} is not there: the run began before it was written), so that its loss
is not named here, and what depends on it is left out."""
GENERATED = (
    "Iteration t trains policy t into policy t + 1. What policy t generated (shares, but for counts and mean `tokens`):"
)
LEARNED = """Held-out, `a → b`: policy t on its own fresh responses, and policy t + 1 on the same. One number:
policy t + 1. The responses change between iterations, so that b of one and a of the next differ."""
ORDERS = """Shares of pairs. Off the diagonal the loss thinks that {} won and the policy still
finds {} likelier, or the other way round."""
TAUTOLOGY = """**For T-SPIN the raw table is a tautology**: its reward is r = alpha L with L the summed log-likelihood,
so both orders are one, and the cells off the diagonal are 0 whatever was learned. Read the table per token, on held-out
pairs. {}"""


def document(folder: Path, run: PreferenceRun) -> Document:
    title = f"{'Self-play' if run.starts else 'Preference'} run" + (f": {run.loss}" if run.loss else "")
    sections = [_signs(run), _pictures(run), _numbers(run)]
    if run.starts:
        blocks = [paragraph(GENERATED), tables.generated_table(run), paragraph(LEARNED), tables.learned_table(run)]
        sections.append(Section("By iteration", blocks))
    return Document(title, [*_head(run), *sections, _orders(run)], folder)


def _head(run: PreferenceRun) -> list[Block]:
    steps = [point.step for name in ("loss", "margin", "lr") for point in run[f"train/{name}"]]
    steps_text = f"Training steps {min(steps)} to {max(steps)}" if steps else "No training step yet"
    iterations = f", iterations {run.iterations[0]} to {run.iterations[-1]}" if run.starts else ""
    proto = Markdown(", y0 {}").format(code("proto")) if "proto" in run.roles else ""
    return [
        paragraph("{}{}; {}.", steps_text, iterations, run.attempts),
        *([] if run.loss else [paragraph(NOT_RECORDED, code(FILE))]),
        paragraph(ROLES, *map(code, run.roles[:2]), proto),
    ]


def _signs(run: PreferenceRun) -> Section:
    blocks: list[Block] = [paragraph("Looked for, with thresholds that are rules of thumb: {}.", joined(SIGNS, "; "))]
    if not _has_held_out(run):
        blocks.append(paragraph("No held-out metrics (`data.val_files`): most of it could not be looked for."))
    return Section("Signs to look at", [*blocks, Items(signs(run) or ["None was found."])])


def _pictures(run: PreferenceRun) -> Section:
    text = "Drawn from {}.\nThin: means over a training batch. Thick, with dots: means over the held-out pairs."
    if run.starts:
        text += "\nDotted verticals: iteration t begins; a thick line that begins there is policy t before training."
    drawn = pictures(run)
    blocks: list[Block] = [paragraph(text, joined(map(code, run.files)))]
    for name, drawing in drawn.items():
        title, shows, bad = READ[name]
        blocks.append(Section(title, [drawing, paragraph(shows), paragraph(f"A bad sign: {bad}")]))
    missing = [title for name, (title, *_) in READ.items() if name not in drawn]
    if missing:
        blocks.append(paragraph("Not drawn, as nothing of it was logged: {}.", joined(missing)))
    return Section("Pictures", blocks)


def _numbers(run: PreferenceRun) -> Section:
    blocks: list[Block] = []
    if _has_held_out(run):
        of = f"Of the last iteration, {run.iterations[-1]}. " if run.starts else ""
        text = "`gap/*` and `drift` are worked out from `logp*`:\ny minus y', and y minus its value before the run."
        blocks += [paragraph(of + text), tables.held_out_table(run)]
    return Section("In numbers", blocks + tables.training_table(run))


def _orders(run: PreferenceRun) -> Section:
    """Which table is a tautology is worked out of the objective that the run recorded."""
    objective, of_this = run.objective, Markdown("")
    if objective and objective.needs_reference:
        of_this = Markdown(
            "This run's rewards are log-ratios to a reference or opponent: neither table is a tautology."
        )
    elif objective and objective.means:
        of_this = Markdown("""In this run rewards are {:.4g} times the log-likelihood per token:
here the table per token is the tautology; read the raw one, beside the length gap.""").format(objective.reward_scale)
    elif objective:
        of_this = Markdown("This run is such a case: its rewards are {:.4g} times the sums.").format(
            objective.reward_scale
        )
    blocks: list[Block] = [paragraph(ORDERS, *map(code, run.roles[:2])), paragraph(TAUTOLOGY, of_this)]
    if run.starts:
        blocks += [Text("Held-out at the end of each iteration:"), *tables.orders_by_iteration(run)]
    return Section("Reward order against log-likelihood order", blocks + tables.contingency_tables(run))


def _has_held_out(run: PreferenceRun) -> bool:
    return any(name.startswith(("val/", "start/")) for name in run.series)
