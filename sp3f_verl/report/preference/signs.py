"""Signs that a preference or self-play run goes wrong, in sentences. The thresholds are rules of thumb of ours."""

from collections.abc import Callable, Iterator

from sp3f_verl.report.document.escape import Markdown, code
from sp3f_verl.report.preference.run import PreferenceRun
from sp3f_verl.report.preference.tables import contingency
from sp3f_verl.report.run_metrics import where
from sp3f_verl.stats.format import number
from sp3f_verl.training.metrics_log import Point

SATURATED = 0.9  # share of pairs
OVERFIT = 0.15  # accuracy in training minus held-out
LENGTHS = 0.5  # length gap as a share of the longer side
DISAGREE = 0.25  # share of pairs
BAD_GENERATION = 0.1  # share of responses
OTHER_WEIGHTS = 0.1  # nats a token between rollout server and trainer
MATCH_LOST = 0.02  # fall of the exact match

Sign = tuple[object, ...]  # a template of Markdown, and what stands in it
SIGNS: dict[str, Callable[[PreferenceRun], Iterator[Sign]]] = {}  # what is looked for -> where it is looked for


def looks_for(what: str):
    def register(check: Callable[[PreferenceRun], Iterator[Sign]]):
        SIGNS[what] = check
        return check

    return register


def signs(run: PreferenceRun) -> list[Markdown]:
    """One item each, with its numbers and where they stand."""
    return [Markdown(text).format(*values) for check in SIGNS.values() for text, *values in check(run)]


def _change(first: Point, last: Point) -> str:
    return f"{number(first.value)} to {number(last.value)}"


@looks_for("the preferred side less likely while the margin grows")
def _falling(run: PreferenceRun) -> Iterator[Sign]:
    first = run.roles[0]
    for t in run.iterations:
        series = [run.held_out(name, t) for name in ("margin", f"logp_per_token/{first}")]
        ends = [point for points in series if len(points) > 1 for point in (points[0], points[-1])]
        if len(ends) == 4 and ends[1].value > ends[0].value and ends[3].value < ends[2].value:
            yield (
                "{} held-out margin grew ({}) while {} became less likely ({} nats a token): the margin is made by "
                "making both sides unlikely ({}). Mend: `nll_anchor`, a lower learning rate, fewer steps.",
                *(f"Iteration {t}: the" if run.starts else "The", _change(*ends[:2]), code(first)),
                *(_change(*ends[2:]), where(ends)),
            )


@looks_for(f"a saturated share of {SATURATED:.0%} or more")
def _saturated(run: PreferenceRun) -> Iterator[Sign]:
    for name, accuracy in (("saturated", "accuracy"), ("saturated_history", "history_accuracy")):
        point, order = _last(run, name), _last(run, accuracy)
        if point and point.value >= SATURATED:
            right = f" {number(order.value)} of all pairs are ordered rightly." if order else ""
            yield (
                "{} is {} ({}). A saturated pair that is ordered rightly teaches no more, one ordered wrongly pulls "
                "with all its weight however wrong it is.{} Mend: a lower `alpha` or `beta`, "
                "`length_normalised: true`, fewer steps.",
                *(code(name), number(point.value), where([point, order]), Markdown(right)),
            )


def _last(run: PreferenceRun, name: str) -> Point | None:
    """Held-out, else in training."""
    return run.last_held_out(name) or (run[f"train/{name}"] or [None])[-1]


@looks_for(f"mean lengths that differ by {LENGTHS:.0%} or more")
def _lengths(run: PreferenceRun) -> Iterator[Sign]:
    for pair in zip(run.roles, run.roles[1:], strict=False):
        tokens = [run.last_held_out(f"tokens/{role}") for role in pair]
        if all(tokens) and abs(tokens[0].value - tokens[1].value) >= LENGTHS * max(point.value for point in tokens):
            counts = [
                part for role, point in zip(pair, tokens, strict=True) for part in (code(role), number(point.value))
            ]
            yield (
                "{} has {} tokens and {} {} ({}): sums of log-probs tell lengths apart before quality. Read what is "
                "per token; mend: `length_normalised: true`.",
                *(*counts, where(tokens)),
            )


@looks_for(f"training accuracy {OVERFIT} or more above held-out")
def _overfit(run: PreferenceRun) -> Iterator[Sign]:
    if held_out := run.last_held_out("accuracy"):
        logged = run.within("train/accuracy", run.iteration_of(held_out.step))
        train = [point for point in logged if point.step <= held_out.step][-10:]
        mean = sum(point.value for point in train) / max(len(train), 1)
        if mean - held_out.value >= OVERFIT:
            yield (
                "Accuracy is {} in the last {} training steps and {} held-out ({}): the pairs are learned by heart.",
                *(number(mean), len(train), number(held_out.value), where([train[0], train[-1], held_out])),
            )


@looks_for(f"reward and likelihood that disagree on {DISAGREE:.0%} of pairs or more")
def _disagreement(run: PreferenceRun) -> Iterator[Sign]:
    of_means = run.objective is not None and run.objective.means and not run.objective.needs_reference
    order, how = ("raw", "summed log-likelihood") if of_means else ("per_token", "log-likelihood per token")
    cells = contingency(run, "val", order)
    if cells and (share := cells[0]["reward_only"] + cells[0]["logp_only"]) >= DISAGREE:
        text = "Reward and {} disagree on {} of the held-out pairs ({}; tables below)."
        yield text, how, number(share), where(cells[1])


@looks_for("a negative advantage")
def _advantages(run: PreferenceRun) -> Iterator[Sign]:
    first, second = map(code, run.roles[:2])
    if (point := run.last_held_out("gap/per_token")) and point.value < 0:
        text = "Per token {} is likelier than {} at the end, by {} nats ({})."
        yield text, second, first, number(-point.value), where([point])
    if (point := run.last_held_out("history_margin")) and point.value < 0:
        text = (
            "The historical advantage is negative at the end, {} ({}): the policy prefers the initial policy's "
            "responses to its own later ones."
        )
        yield text, number(point.value), where([point])


@looks_for(f"{BAD_GENERATION:.0%} or more of truncated or identical responses")
def _generation(run: PreferenceRun) -> Iterator[Sign]:
    for name, meaning in (("truncated", "did not end within the limit"), ("identical", "equal the annotated one")):
        bad = {t: point for t, point in run.of_policy(f"generation/{name}").items() if point.value >= BAD_GENERATION}
        if bad:
            shares = ", ".join(f"{number(point.value)} in iteration {t}" for t, point in bad.items())
            yield "Share of responses that {}: {} ({}).", meaning, shares, where(bad.values())


@looks_for(f"responses whose log-probs differ by {OTHER_WEIGHTS} nats a token or more between server and trainer")
def _weights(run: PreferenceRun) -> Iterator[Sign]:
    bad = [point for point in run["start/rollout_logp_diff_max"] if point.value >= OTHER_WEIGHTS]
    if bad:
        worst = max(bad, key=lambda point: point.value)
        text = (
            "Rollout server and trainer differ by up to {} nats a token on the same response ({}): they may not have "
            "the same weights."
        )
        yield text, number(worst.value), where([worst])


@looks_for(f"an exact match that falls by more than {MATCH_LOST}")
def _match(run: PreferenceRun) -> Iterator[Sign]:
    exact = list(run.of_policy("generation/exact_match").values())
    if len(exact) > 1 and exact[-1].value < exact[0].value - MATCH_LOST:
        ends = (exact[0], exact[-1])
        yield "The exact match of greedy responses fell: {} ({}).", _change(*ends), where(ends)


@looks_for("values that are not finite")
def _not_finite(run: PreferenceRun) -> Iterator[Sign]:
    for name, points in sorted(run.not_finite.items()):
        values = (len(points), len(points) + len(run[name]), where(points[:1]))
        yield "{} is NaN or infinite {} times of {} (first: {}).", code(name), *values
