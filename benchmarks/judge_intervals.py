"""How often the 95 % intervals of `sp3f judge-check` hold the truth, by the number of pairs: a simulation.

A judge is right about a pair with a probability that varies between pairs (Beta, mean `right`) or not at all; the two
orders of a pair are answered independently, or alike in a share of the pairs, or always the slot A in a share of them.
Fails where the coverage, averaged over the shares that are right, leaves 93 to 97 %.
"""

import random
import sys

from sp3f_verl.judge.check.measure import interval

DRAWS, SEED = 2000, 1
PAIRS, RIGHT = (20, 50, 100), (0.5, 0.6, 0.7, 0.8, 0.9)
LOW, HIGH = 0.93, 0.97


def independent(right, rng):
    return [rng.random() < right, rng.random() < right]


def varied(right, rng):
    chance = rng.betavariate(4 * right, 4 * (1 - right))
    return [rng.random() < chance, rng.random() < chance]


def alike(right, rng):
    return [rng.random() < right] * 2


def half_alike(right, rng):
    return alike(right, rng) if rng.random() < 0.5 else independent(right, rng)


JUDGES = {"orders independent": independent, "pairs differ": varied, "half alike": half_alike, "orders alike": alike}


def coverage(judge, pairs, right, each_answer=False):
    rng, held = random.Random(f"{SEED} {judge.__name__} {pairs} {right}"), 0
    for _ in range(DRAWS):
        answers = [judge(right, rng) for _ in range(pairs)]
        values = [float(x) for pair in answers for x in pair] if each_answer else [sum(pair) / 2 for pair in answers]
        _, low, high = interval(values)
        held += low <= right <= high
    return held / DRAWS


def main():
    print(f"coverage of the 95 % interval, mean over judges that are right in {RIGHT}, {DRAWS} draws each")
    print(f"{'':<22}" + "".join(f"{pairs:>6} pairs" for pairs in PAIRS) + "    40 answers taken as 40 observations")
    worst = []
    for name, judge in JUDGES.items():
        by_pairs = [sum(coverage(judge, pairs, right) for right in RIGHT) / len(RIGHT) for pairs in PAIRS]
        before = sum(coverage(judge, 20, right, each_answer=True) for right in RIGHT) / len(RIGHT)
        print(f"{name:<22}" + "".join(f"{100 * share:10.1f} %" for share in by_pairs) + f"{100 * before:12.1f} %")
        worst += by_pairs
    if not all(LOW <= share <= HIGH for share in worst):
        sys.exit(f"coverage from {min(worst):.3f} to {max(worst):.3f} leaves {LOW:g} to {HIGH:g}.")


if __name__ == "__main__":
    main()
