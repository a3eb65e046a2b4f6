"""What `sp3f judge-check` prints."""

from collections.abc import Iterator

from sp3f_verl.judge.check import Check, interval
from sp3f_verl.judge.metrics import MALFORMED, quantile


def report(check: Check, usd: tuple[float, float, float] | None = None, run: str = "") -> str:
    """A plain-text table. `usd`: (mean, low, high) of the run that `run` describes."""
    return "\n".join(_lines(check, usd, run))


def _lines(check: Check, usd: tuple[float, float, float] | None, run: str) -> Iterator[str]:
    yield f"{check.questions} questions, {check.calls} answers"
    if not check.questions:
        return
    yield ""
    yield "prefers the better response (95 % interval)"
    for kind, values in sorted(check.agreement.items()):
        mean, low, high = interval(values)
        yield f"  {kind:<12} {mean:6.1%}  [{low:.1%}, {high:.1%}]  n={len(values)}"
    if not check.agreement:
        yield "  no labelled pair got a verdict"
    yield ""
    if check.slot_a:
        mean, low, high = interval(check.slot_a)
        yield f"position bias: slot A wins {mean:.1%} [{low:.1%}, {high:.1%}]; 50 % is none"
    if check.swapped:
        mean, low, high = interval([float(same) for same in check.swapped])
        yield f"same outcome in both orders: {mean:.1%} [{low:.1%}, {high:.1%}]  n={len(check.swapped)}"
    failed = sum(check.failures.values())
    answered = [1.0] * len(check.slot_a) + [0.0] * check.failures.get(MALFORMED, 0)
    if answered:
        mean, low, high = interval(answered)
        yield f"parsed: {mean:.1%} [{low:.1%}, {high:.1%}] of the questions that were answered"
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(check.failures.items())) or "none"
    yield f"failed: {failed} ({kinds})"
    if check.seconds:
        ordered = sorted(check.seconds)
        yield f"latency: median {quantile(ordered, 0.5):.2f} s, 95 % below {quantile(ordered, 0.95):.2f} s"
    tokens_in, tokens_out = (sum(side) / len(check.tokens) for side in zip(*check.tokens, strict=True))
    yield f"tokens a question: {tokens_in:.0f} in, {tokens_out:.0f} out"
    if usd is not None:
        yield f"cost of the run ({run}): {usd[0]:.2f} USD [{usd[1]:.2f}, {usd[2]:.2f}]"
    elif run:
        yield f"cost of the run ({run}): unknown, set sp3f.judge.price"
