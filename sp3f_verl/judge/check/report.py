"""What `sp3f judge-check` prints of a judge: each figure with its interval, what others reach, and in how many pairs a
difference of five points would be seen."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence

from sp3f_verl.judge.check.measure import DECISIVE, GAME, Check, Pairs, game_outcome, interval, means, pairs_for
from sp3f_verl.judge.metrics import CUT_OFF, MALFORMED, quantile

CHANCE = "chance 50%"
YARDSTICKS = {  # of GPT-4 and GPT-3.5: MT-Bench, arXiv 2306.05685, tables 2 to 4; of non-answers: arXiv 2507.08794
    "answer": "GPT-4 85% with a reference solution, 30% without",
    "accuracy": "GPT-4 85% with a reference solution, 30% without",
    "language": "50% prefers no language",
    "game padding": "GPT-4 91%, GPT-3.5 9%",
    "game non-answer": "judges that fall for it 10% to 20%",
    "orders": "GPT-4 65%",
}


def report(check: Check, usd: tuple[float, float, float] | None = None, run: str = "") -> str:
    """A plain-text table. `usd`: (mean, low, high) of the run that `run` describes."""
    return "\n".join(_lines(check, usd, run))


def _lines(check: Check, usd: tuple[float, float, float] | None, run: str) -> Iterator[str]:
    yield f"{check.questions} questions, {check.calls} answers"
    if not check.questions:
        return
    yield ""
    yield "prefers the better response (95 % interval; n pairs, and in how many 5 points would be seen; yardsticks)"
    yield from _table(check.agreement)
    if not check.agreement:
        yield "  no labelled pair got a verdict"
    if check.languages:
        yield f"by language, of the pairs {', '.join(DECISIVE)}"
        yield from _table(check.languages)
    yield ""
    if check.slot_a:
        yield f"position bias: slot A wins {_figure(means(check.slot_a))}  50% is none"
    if check.swapped:
        yield f"same outcome in both orders: {_figure(list(map(float, check.swapped)))}  {_yardstick('orders')}"
    yield from _failures(check)
    if check.seconds:
        ordered = sorted(check.seconds)
        yield f"latency: median {quantile(ordered, 0.5):.2f} s, 95 % below {quantile(ordered, 0.95):.2f} s"
    if check.tokens:
        tokens_in, tokens_out = (sum(side) / len(check.tokens) for side in zip(*check.tokens, strict=True))
        yield f"tokens a question: {tokens_in:.0f} in, {tokens_out:.0f} out"
    if usd is not None:
        yield f"cost of the run ({run}): {usd[0]:.2f} USD [{usd[1]:.2f}, {usd[2]:.2f}]"
    elif run:
        yield f"cost of the run ({run}): unknown, set sp3f.judge.price"


def _failures(check: Check) -> Iterator[str]:
    answered = [1.0] * check.verdicts + [0.0] * (check.failures.get(MALFORMED, 0) + check.failures.get(CUT_OFF, 0))
    if answered:
        yield f"parsed: {_figure(answered)}  questions that were answered; 100% is right"
    yield f"failed: {sum(check.failures.values())} ({_counts(check.failures)})"
    if reason := check.reasons.commonest():
        yield f"  most often: {reason}"
    yield f"sent again: {check.retries.total()} ({_counts(check.retries)})"
    yield f"asked again for a verdict: {check.asked_again}"


def _counts(kinds: Mapping[str, int]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items())) or "none"


def _table(rows: Mapping[str, Pairs]) -> Iterator[str]:
    for name, pairs in sorted(rows.items()):
        values = means(pairs)
        outcome = f"{game_outcome(values)}; " if name.startswith(GAME) else ""
        yield f"  {name:<15} {_figure(values):<40}  {outcome}{_yardstick(name)}"


def _figure(values: Sequence[float]) -> str:
    mean, low, high = interval(values)
    return f"{mean:.1%} [{low:.1%}, {high:.1%}]  n={len(values)} of {pairs_for(values)}"


def _yardstick(name: str) -> str:
    return "; ".join(filter(None, (CHANCE, YARDSTICKS.get(name))))


def waits(check: Check, questions: int, concurrency: int, steps: int) -> str:
    """How long the questions of a step, and of the run, wait for the judge: rounds of so many at once."""
    if not check.seconds:
        return ""
    latency = statistics.fmean(check.seconds)
    per_step = math.ceil(questions / concurrency) * latency
    more = math.ceil(questions / (4 * concurrency)) * latency
    faster = f"; with {4 * concurrency} at once {more:.1f} s a step" if questions > concurrency else ""
    return (
        f"wait for the judge: {questions} questions a step, {concurrency} at once (sp3f.judge.concurrency), "
        f"{latency:.2f} s each: {per_step:.1f} s a step, {steps * per_step / 3600:.1f} h for the run{faster}"
    )
