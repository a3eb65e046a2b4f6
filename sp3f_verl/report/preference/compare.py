"""Several preference or self-play runs side by side: final held-out metrics, and by iteration what counts there."""

from collections.abc import Mapping, Sequence

from sp3f_verl.report.document.blocks import Block, Table, across, paragraph
from sp3f_verl.report.document.escape import code
from sp3f_verl.report.preference.run import PreferenceRun
from sp3f_verl.report.preference.tables import held_out_metrics, shown
from sp3f_verl.report.run_metrics import where
from sp3f_verl.report.side_by_side import Named, contents, sources

ORDERS = [f"order_{order}/{cell}" for order in ("raw", "per_token") for cell in ("reward_only", "logp_only")]
SYMBOLS = ("y", "y'", "y0")  # of the roles, in their order
Runs = Mapping[str, PreferenceRun]


def compare(named: Named[PreferenceRun]) -> list[Block]:
    runs = {f"{label} ({run.loss})" if run.loss else label: run for label, run in contents(named).items()}
    blocks: list[Block] = [
        paragraph("""Final held-out metrics. y: chosen or real, y': rejected or generated, y0: proto. Losses, rewards
and margins of different objectives are not on one scale; the log-likelihoods (L, nats) and their gaps are. `order_raw`
is a tautology for T-SPIN."""),
        _final(runs),
    ]
    if any(run.starts for run in runs.values()):
        blocks += [
            paragraph("""By iteration: greedy exact match of policy t on held-out prompts,
and the held-out gap L(y) - L(y') per token at the end of iteration t."""),
            _by_iteration(runs),
        ]
    return [*blocks, sources((label, run.folder, where(_used(run))) for label, run in runs.items())]


def _final(runs: Runs) -> Table:
    """Roles are matched by their place: chosen and real are both y."""
    names = max(map(held_out_metrics, runs.values()), key=len)
    roles = max((run.roles for run in runs.values()), key=len)

    def of_place(name: str, names: Sequence[str]) -> str:
        """The metric of a role under what the role at that place is called elsewhere; empty where there is none."""
        metric, _, role = name.partition("/")
        if role not in roles:
            return name
        return f"{metric}/{names[place]}" if (place := roles.index(role)) < len(names) else ""

    rows = {code(of_place(name, SYMBOLS)): name for name in (*names, *ORDERS)}
    return across(
        "last held-out", runs, rows, lambda run, row: shown(run.last_held_out(of_place(rows[row], run.roles)))
    )


def _by_iteration(runs: Runs) -> Table:
    kinds = {
        "exact match": lambda run, t: run.of_policy("generation/exact_match").get(t),
        "gap": lambda run, t: (run.after("gap/per_token", t) or [None])[-1] if t in run.starts else None,
    }
    runs = {label: run for label, run in runs.items() if run.starts}
    columns = {f"{kind}: {label}": (run, of) for kind, of in kinds.items() for label, run in runs.items()}
    last = max(run.iterations[-1] for run in runs.values())
    return across("t", columns, map(str, range(last + 2)), lambda column, t: shown(column[1](column[0], int(t))))


def _used(run: PreferenceRun) -> list:
    """The points of both tables."""
    points = [run.last_held_out(name) for name in (*held_out_metrics(run), *ORDERS)]
    points += run.of_policy("generation/exact_match").values()
    return points + [point for t in run.starts for point in run.after("gap/per_token", t)[-1:]]
