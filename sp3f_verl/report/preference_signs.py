"""Signs that a preference or self-play run goes wrong, in sentences. The thresholds are rules of thumb of ours."""

from collections.abc import Iterator

from sp3f_verl.report.preference_tables import contingency
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


def signs(run: RunMetrics) -> list[str]:
    """One item each, with its numbers and where they stand."""
    checks = (_falling, _saturated, _lengths, _overfit, _disagreement, _advantages, _generation, _weights, _not_finite)
    return [sentence for check in checks for sentence in check(run)]


def _change(first: Point, last: Point) -> str:
    return f"{number(first.value)} to {number(last.value)}"


def _falling(run: RunMetrics) -> Iterator[str]:
    first = run.roles[0]
    for t in run.iterations:
        margins, logps = run.held_out("margin", t), run.held_out(f"logp_per_token/{first}", t)
        if len(margins) < 2 or len(logps) < 2:
            continue
        ends = (margins[0], margins[-1], logps[0], logps[-1])
        if margins[-1].value > margins[0].value and logps[-1].value < logps[0].value:
            yield (
                f"{f'Iteration {t}: the' if run.starts else 'The'} held-out margin grew ({_change(*ends[:2])}) while "
                f"`{first}` became less likely ({_change(*ends[2:])} nats a token): the margin is made by making both "
                f"sides unlikely ({where(ends)}). Mend: `nll_anchor`, a lower learning rate, fewer steps."
            )


def _saturated(run: RunMetrics) -> Iterator[str]:
    for which, accuracy in (("", "accuracy"), ("_history", "history_accuracy")):
        name = f"saturated{which}"
        point = run.last_held_out(name) or (run[f"train/{name}"] or [None])[-1]
        if point is None or point.value < SATURATED:
            continue
        order = run.last_held_out(accuracy) or (run[f"train/{accuracy}"] or [None])[-1]
        right = f" {number(order.value)} of all pairs are ordered rightly." if order else ""
        yield (
            f"`{name}` is {number(point.value)} ({where([point, order])}). A saturated pair that is ordered rightly "
            f"teaches no more, one ordered wrongly pulls with all its weight however wrong it is.{right} "
            "Mend: a lower `alpha` or `beta`, `length_normalised: true`, fewer steps."
        )


def _lengths(run: RunMetrics) -> Iterator[str]:
    for pair in zip(run.roles, run.roles[1:], strict=False):
        tokens = [run.last_held_out(f"tokens/{role}") for role in pair]
        if all(tokens) and abs(tokens[0].value - tokens[1].value) >= LENGTHS * max(point.value for point in tokens):
            yield (
                f"`{pair[0]}` has {number(tokens[0].value)} tokens and `{pair[1]}` {number(tokens[1].value)} "
                f"({where(tokens)}): sums of log-probs tell lengths apart before quality. Read what is per token; "
                "mend: `length_normalised: true`."
            )


def _overfit(run: RunMetrics) -> Iterator[str]:
    held_out = run.last_held_out("accuracy")
    if held_out is None:
        return
    own = run.within("train/accuracy", run.iteration_of(held_out.step))
    train = [point for point in own if point.step <= held_out.step][-10:]
    mean = sum(point.value for point in train) / max(len(train), 1)
    if mean - held_out.value >= OVERFIT:
        yield (
            f"Accuracy is {number(mean)} in the last {len(train)} training steps and {number(held_out.value)} held-out "
            f"({where([train[0], train[-1], held_out])}): the pairs are learned by heart."
        )


def _disagreement(run: RunMetrics) -> Iterator[str]:
    scale = run.reward_scale()
    of_means = scale is not None and scale[0] == "per_token"
    order, how = ("raw", "summed log-likelihood") if of_means else ("per_token", "log-likelihood per token")
    found = contingency(run, "val", order)
    if found and (share := found[0]["reward_only"] + found[0]["logp_only"]) >= DISAGREE:
        yield f"Reward and {how} disagree on {number(share)} of the held-out pairs ({where(found[1])}; tables below)."


def _advantages(run: RunMetrics) -> Iterator[str]:
    first, second = run.roles[:2]
    point = run.last_held_out("gap/per_token")
    if point and point.value < 0:
        yield (
            f"Per token `{second}` is likelier than `{first}` at the end, by {number(-point.value)} nats "
            f"({where([point])})."
        )
    point = run.last_held_out("history_margin")
    if point and point.value < 0:
        yield (
            f"The historical advantage is negative at the end, {number(point.value)} ({where([point])}): the policy "
            "prefers the initial policy's responses to its own later ones."
        )


def _generation(run: RunMetrics) -> Iterator[str]:
    for name, meaning in (("truncated", "did not end within the limit"), ("identical", "equal the annotated one")):
        bad = {t: p for t, p in run.of_policy(f"generation/{name}").items() if p.value >= BAD_GENERATION}
        if bad:
            told = ", ".join(f"{number(point.value)} in iteration {t}" for t, point in bad.items())
            yield f"Share of responses that {meaning}: {told} ({where(bad.values())})."
    exact = list(run.of_policy("generation/exact_match").values())
    if len(exact) > 1 and exact[-1].value < exact[0].value - MATCH_LOST:
        ends = (exact[0], exact[-1])
        yield f"The exact match of greedy responses fell: {_change(*ends)} ({where(ends)})."


def _weights(run: RunMetrics) -> Iterator[str]:
    bad = [p for p in run["start/rollout_logp_diff_max"] if p.value >= OTHER_WEIGHTS]
    if bad:
        worst = max(bad, key=lambda point: point.value)
        yield (
            f"Rollout server and trainer differ by up to {number(worst.value)} nats a token on the same response "
            f"({where([worst])}): they may not have the same weights."
        )


def _not_finite(run: RunMetrics) -> Iterator[str]:
    for name, points in sorted(run.not_finite.items()):
        every, first = len(points) + len(run[name]), points[0]
        yield f"`{name}` is NaN or infinite {len(points)} times of {every} (first: {where([first])})."
