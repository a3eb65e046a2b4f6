"""How well win rates of each schedule follow the truth, and what they cost in questions: a simulation without a model.

Assumed: qualities s ~ N(0, 1) in a group of 8; a Bradley-Terry judge that says A with probability
sigmoid(scale * (s_a - s_b) + bias), a larger scale being less noise; bias, in logits, favours the slot A. 3 % of the
verdicts fail. A soft verdict is that probability itself: a calibrated one, which real judges are not. The true win rate
is against the other seven, by this judge without its bias.
Value: Pearson correlation of rewards with true win rates within a group (0 where all rewards are equal), mean of all
groups; a group's mean does not matter to it, nor to an advantage. Every row sees the same groups.

Fails where the default (all_pairs, credit both, failures dropped) is below TARGET with scale 1.5 and bias 0.4.
"""

import math
import random
import sys

from sp3f_verl.judge.questions.schedule import Pairs, all_pairs, one_order, opponents, ring
from sp3f_verl.judge.verdicts.verdict import Verdict
from sp3f_verl.judge.verdicts.win_rates import Comparison, win_rates

GROUPS, N, FAILED, SEED = 4000, 8, 0.03, 1
SETTINGS = [(1.5, 0.4), (1.5, 1.5), (3.0, 0.4), (3.0, 1.5)]  # (scale, bias)
TARGET = 0.90
ORIGINAL = {"credit": "a_only", "failed_as_loss": True}
DEFAULT, OLD, RING = "all_pairs", "opponents 7, original", "ring 3"
ROWS = {  # name -> (pairs of a generator, how they are credited, whether verdicts are soft)
    DEFAULT: (lambda rng: all_pairs(N), {}, False),
    OLD: (lambda rng: opponents(N, 7, rng), ORIGINAL, False),
    "one_order": (lambda rng: one_order(N, rng), {}, False),
    RING: (lambda rng: ring(N, 3, rng), {}, False),
    "ring 2": (lambda rng: ring(N, 2, rng), {}, False),
    "ring 1": (lambda rng: ring(N, 1, rng), {}, False),
    "opponents 3, original": (lambda rng: opponents(N, 3, rng), ORIGINAL, False),
    "all_pairs, soft": (lambda rng: all_pairs(N), {}, True),
    "ring 3, soft": (lambda rng: ring(N, 3, rng), {}, True),
}


def main() -> None:
    print(f"correlation with the true win rate, {GROUPS} groups of {N}; columns: scale and bias of the judge")
    print(f"{'':<24}calls" + "".join(f"{f'{scale:g}, {bias:g}':>10}" for scale, bias in SETTINGS))
    values = {}
    for name, (schedule, _, _) in ROWS.items():
        values[name] = [value(name, *setting) for setting in SETTINGS]
        calls = len(schedule(random.Random(SEED)))
        print(f"{name:<24}{calls:5}" + "".join(f"{correlation:10.3f}" for correlation in values[name]))
    differences = "".join(f"{new - old:+10.3f}" for new, old in zip(values[RING], values[OLD], strict=True))
    print(f"{'ring 3 less the original':<29}{differences}")
    if values[DEFAULT][0] < TARGET:
        sys.exit(f"all_pairs reaches {values[DEFAULT][0]:.3f}, below the target of {TARGET}.")


def value(name: str, scale: float, bias: float) -> float:
    """Mean correlation of a row under a judge."""
    schedule, crediting, soft = ROWS[name]
    qualities, rng = random.Random(SEED), random.Random(f"{SEED} {name}")
    total = 0.0
    for _ in range(GROUPS):
        s = [qualities.gauss(0, 1) for _ in range(N)]
        truth = [sum(sigmoid(scale * (s[i] - s[j])) for j in range(N) if j != i) / (N - 1) for i in range(N)]
        total += pearson(win_rates(N, verdicts(s, schedule(rng), scale, bias, soft, rng), **crediting), truth)
    return total / GROUPS


def verdicts(s: list[float], pairs: Pairs, scale: float, bias: float, soft: bool, rng: random.Random):
    """What the judge says of the pairs."""
    comparisons: list[Comparison] = []
    for i, j in pairs:
        p = sigmoid(scale * (s[i] - s[j]) + bias)
        if rng.random() < FAILED:
            comparisons.append((i, j, Verdict.FAILED))
        elif soft:
            comparisons.append((i, j, p))
        else:
            comparisons.append((i, j, Verdict.A if rng.random() < p else Verdict.B))
    return comparisons


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def pearson(x: list[float], y: list[float]) -> float:
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    covariance = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    spread = math.sqrt(sum((a - mean_x) ** 2 for a in x) * sum((b - mean_y) ** 2 for b in y))
    return covariance / spread if spread > 1e-12 else 0.0


if __name__ == "__main__":
    main()
