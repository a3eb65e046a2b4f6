"""Signs that a preference or self-play run goes wrong, in sentences. The thresholds are rules of thumb of ours."""

from collections.abc import Iterator

from sp3f_verl.report.document.escape import Markdown, code
from sp3f_verl.report.preference.tables import contingency
from sp3f_verl.report.run_metrics import Point, RunMetrics, where
from sp3f_verl.stats.format import number

SATURATED = 0.9  # share of pairs
OVERFIT = 0.15  # accuracy in training minus held-out
LENGTHS = 0.5  # length gap as a share of the longer side
DISAGREE = 0.25  # share of pairs
BAD_GENERATION = 0.1  # share of responses
OTHER_WEIGHTS = 0.1  # nats a token between rollout server and trainer
MATCH_LOST = 0.02  # fall of the exact match

THRESHOLDS = (
    "the preferred side less likely while the margin grows; "
    f"a saturated share of {SATURATED:.0%} or more; "
    f"mean lengths that differ by {LENGTHS:.0%} or more; "
    f"training accuracy {OVERFIT} or more above held-out; "
    f"reward and likelihood that disagree on {DISAGREE:.0%} of pairs or more; "
    "a negative advantage; "
    f"{BAD_GENERATION:.0%} or more of truncated or identical responses; "
    f"responses whose log-probs differ by {OTHER_WEIGHTS} nats a token or more between server and trainer; "
    f"an exact match that falls by more than {MATCH_LOST}; "
    "values that are not finite"
)


def signs(run: RunMetrics) -> list[Markdown]:
    """One item each, with its numbers and where they stand."""
    checks = (_falling, _saturated, _lengths, _overfit, _disagreement, _advantages, _generation, _weights, _not_finite)
    return [sentence for check in checks for sentence in check(run)]


def _sentence(template: str, *values: object) -> Markdown:
    return Markdown(template).format(*values)


def _change(first: Point, last: Point) -> str:
    return f"{number(first.value)} to {number(last.value)}"


def _falling(run: RunMetrics) -> Iterator[Markdown]:
    first = run.roles[0]
    for t in run.iterations:
        margins, logps = run.held_out("margin", t), run.held_out(f"logp_per_token/{first}", t)
        if len(margins) < 2 or len(logps) < 2:
            continue
        if margins[-1].value > margins[0].value and logps[-1].value < logps[0].value:
            yield _sentence(
                "{} held-out margin grew ({}) while {} became less likely ({} nats a token): the margin is made by "
                "making both sides unlikely ({}). Mend: `nll_anchor`, a lower learning rate, fewer steps.",
                f"Iteration {t}: the" if run.starts else "The",
                _change(margins[0], margins[-1]),
                code(first),
                _change(logps[0], logps[-1]),
                where([margins[0], margins[-1], logps[0], logps[-1]]),
            )


def _saturated(run: RunMetrics) -> Iterator[Markdown]:
    for which, accuracy in (("", "accuracy"), ("_history", "history_accuracy")):
        name = f"saturated{which}"
        point = _last(run, name)
        if point is None or point.value < SATURATED:
            continue
        order = _last(run, accuracy)
        right = f" {number(order.value)} of all pairs are ordered rightly." if order else ""
        yield _sentence(
            "{} is {} ({}). A saturated pair that is ordered rightly teaches no more, one ordered wrongly pulls with "
            "all its weight however wrong it is.{} Mend: a lower `alpha` or `beta`, `length_normalised: true`, fewer "
            "steps.",
            code(name),
            number(point.value),
            where([point, order]),
            Markdown(right),
        )


def _last(run: RunMetrics, name: str) -> Point | None:
    """Held-out, else in training."""
    return run.last_held_out(name) or (run[f"train/{name}"] or [None])[-1]


def _lengths(run: RunMetrics) -> Iterator[Markdown]:
    for pair in zip(run.roles, run.roles[1:], strict=False):
        tokens = [run.last_held_out(f"tokens/{role}") for role in pair]
        if all(tokens) and abs(tokens[0].value - tokens[1].value) >= LENGTHS * max(point.value for point in tokens):
            yield _sentence(
                "{} has {} tokens and {} {} ({}): sums of log-probs tell lengths apart before quality. Read what is "
                "per token; mend: `length_normalised: true`.",
                code(pair[0]),
                number(tokens[0].value),
                code(pair[1]),
                number(tokens[1].value),
                where(tokens),
            )


def _overfit(run: RunMetrics) -> Iterator[Markdown]:
    held_out = run.last_held_out("accuracy")
    if held_out is None:
        return
    own = run.within("train/accuracy", run.iteration_of(held_out.step))
    train = [point for point in own if point.step <= held_out.step][-10:]
    mean = sum(point.value for point in train) / max(len(train), 1)
    if mean - held_out.value >= OVERFIT:
        yield _sentence(
            "Accuracy is {} in the last {} training steps and {} held-out ({}): the pairs are learned by heart.",
            number(mean),
            len(train),
            number(held_out.value),
            where([train[0], train[-1], held_out]),
        )


def _disagreement(run: RunMetrics) -> Iterator[Markdown]:
    of_means = run.objective is not None and run.objective.means and not run.objective.needs_reference
    order, how = ("raw", "summed log-likelihood") if of_means else ("per_token", "log-likelihood per token")
    cells = contingency(run, "val", order)
    if cells and (share := cells[0]["reward_only"] + cells[0]["logp_only"]) >= DISAGREE:
        text = "Reward and {} disagree on {} of the held-out pairs ({}; tables below)."
        yield _sentence(text, how, number(share), where(cells[1]))


def _advantages(run: RunMetrics) -> Iterator[Markdown]:
    first, second = run.roles[:2]
    point = run.last_held_out("gap/per_token")
    if point and point.value < 0:
        text = "Per token {} is likelier than {} at the end, by {} nats ({})."
        yield _sentence(text, code(second), code(first), number(-point.value), where([point]))
    point = run.last_held_out("history_margin")
    if point and point.value < 0:
        yield _sentence(
            "The historical advantage is negative at the end, {} ({}): the policy prefers the initial policy's "
            "responses to its own later ones.",
            number(point.value),
            where([point]),
        )


def _generation(run: RunMetrics) -> Iterator[Markdown]:
    for name, meaning in (("truncated", "did not end within the limit"), ("identical", "equal the annotated one")):
        bad = {t: point for t, point in run.of_policy(f"generation/{name}").items() if point.value >= BAD_GENERATION}
        if bad:
            shares = ", ".join(f"{number(point.value)} in iteration {t}" for t, point in bad.items())
            yield _sentence("Share of responses that {}: {} ({}).", meaning, Markdown(shares), where(bad.values()))
    exact = list(run.of_policy("generation/exact_match").values())
    if len(exact) > 1 and exact[-1].value < exact[0].value - MATCH_LOST:
        ends = (exact[0], exact[-1])
        yield _sentence("The exact match of greedy responses fell: {} ({}).", _change(*ends), where(ends))


def _weights(run: RunMetrics) -> Iterator[Markdown]:
    bad = [point for point in run["start/rollout_logp_diff_max"] if point.value >= OTHER_WEIGHTS]
    if bad:
        worst = max(bad, key=lambda point: point.value)
        text = (
            "Rollout server and trainer differ by up to {} nats a token on the same response ({}): they may not have "
            "the same weights."
        )
        yield _sentence(text, number(worst.value), where([worst]))


def _not_finite(run: RunMetrics) -> Iterator[Markdown]:
    for name, points in sorted(run.not_finite.items()):
        how_many, first = len(points) + len(run[name]), where(points[:1])
        yield _sentence("{} is NaN or infinite {} times of {} (first: {}).", code(name), len(points), how_many, first)
