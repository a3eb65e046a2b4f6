"""Who meets whom: the ordered pairs of a group that a judge is asked about."""


def all_pairs(n: int) -> list[tuple[int, int]]:
    """Every ordered pair (i, j) of n responses, i != j, i shown as A: the paper's schedule, n * (n - 1) comparisons.

    Both orders of each pair are asked, so a judge's preference for a slot cancels. Pairs with the same A stand
    together: their prompts share the longest prefix, which a serving engine's prefix cache can reuse.
    """
    return [(i, j) for i in range(n) for j in range(n) if i != j]
