"""Who meets whom: the ordered pairs (i, j) of a group that a judge is asked about, response i shown as A.

Pairs with the same A stand together: their prompts share the longest prefix, which a serving engine's prefix cache can
reuse. Where chance decides, it is the caller's `rng`.
"""

import random
from collections.abc import Callable
from typing import Any

Pairs = list[tuple[int, int]]


def all_pairs(n: int) -> Pairs:
    """Every ordered pair of n responses, i != j: the paper's schedule, n * (n - 1) comparisons.

    Both orders of each pair are asked, so a judge's preference for a slot cancels.
    """
    return [(i, j) for i in range(n) for j in range(n) if i != j]


def one_order(n: int, rng: random.Random) -> Pairs:
    """Each unordered pair once, in a random order of slots: n * (n - 1) / 2 comparisons.

    Every response is A as often as B where n is odd; where n is even, once more or once less (n - 1 meetings are odd).
    """
    circle = order(n, rng)
    pairs = _around(circle, range(1, (n - 1) // 2 + 1))
    if n % 2 == 0:  # opposite places meet, too
        pairs += [tuple(rng.sample((circle[place], circle[place + n // 2]), 2)) for place in range(n // 2)]
    return sorted(pairs)


def ring(n: int, offsets: int, rng: random.Random) -> Pairs:
    """The responses in random order on a circle, each shown as A against the next `offsets`: n * offsets comparisons.

    Each response is exactly `offsets` times A and as often B. From (n - 1) / 2 on, pairs begin to meet in both orders;
    n - 1 is `all_pairs`, and more is the same. Raises ValueError for offsets < 1.
    """
    if offsets < 1:
        raise ValueError(f"offsets={offsets} compares nothing; it must be 1 or more.")
    return sorted(_around(order(n, rng), range(1, min(offsets, n - 1) + 1)))


def opponents(n: int, k: int, rng: random.Random) -> Pairs:
    """Each response shown as A against k others, drawn without replacement: n * k comparisons, as in the original code.

    k of n - 1 or more is `all_pairs`. How often a response is B is left to chance. Raises ValueError for k < 1.
    """
    if k < 1:
        raise ValueError(f"k={k} compares nothing; it must be 1 or more.")
    others = [[j for j in range(n) if j != i] for i in range(n)]
    return [(i, j) for i in range(n) for j in sorted(rng.sample(others[i], min(k, n - 1)))]


def order(n: int, rng: random.Random) -> list[int]:
    """The n responses in random order: how a listwise judge sees them."""
    return rng.sample(range(n), n)


# name -> pairs of (n, settings, rng); `settings` is anything with the attributes `offsets` and `opponents`.
SCHEDULES: dict[str, Callable[[int, Any, random.Random], Pairs]] = {
    "all_pairs": lambda n, settings, rng: all_pairs(n),
    "one_order": lambda n, settings, rng: one_order(n, rng),
    "ring": lambda n, settings, rng: ring(n, settings.offsets, rng),
    "opponents": lambda n, settings, rng: opponents(n, settings.opponents, rng),
}


def _around(circle: list[int], offsets: range) -> Pairs:
    n = len(circle)
    return [(circle[place], circle[(place + offset) % n]) for offset in offsets for place in range(n)]
