"""CroCo's choice of a pair from the scored candidates of a prompt, for one pool or for many at once.

The best candidate is chosen; rejected is the one nearest to a target that is bad but, with many candidates, not the
very worst. Statistics are the population's, as in the original.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from sp3f_verl.errors import BadInput, nearest

# Rule -> the target score of each pool. values: (pools, candidates), ascending in each pool.
RULES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean_minus_2sigma": lambda values: values.mean(axis=1) - 2 * values.std(axis=1),
    "q1": lambda values: np.percentile(values, 25, axis=1),
    "min": lambda values: values[:, 0],
}
# Why a pool gives no pair; REASONS is what the codes of `select_pairs` mean.
TOO_SMALL, ALL_EQUAL, MARGIN, LENGTH = "pool_too_small", "all_equal", "margin_too_small", "no_length_match"
REASONS = ("", TOO_SMALL, ALL_EQUAL, MARGIN, LENGTH)
CELLS = 1 << 18  # candidates that are looked at together: some 20 MB of temporary arrays


def select_pair(
    scores: Sequence[float],
    rule: str = "mean_minus_2sigma",
    *,
    min_margin: float = 0.0,
    lengths: Sequence[float] | None = None,
    max_length_ratio: float | None = None,
) -> tuple[int, int] | None:
    """(index of the chosen, index of the rejected) in `scores`, or None where there is no pair.

    Chosen is the first of the highest. Rejected is the candidate nearest to the rule's target, the first of those at
    the same distance, among all that are strictly lower, at least `min_margin` (in units of the scores) lower, and of
    a length (any unit) such that the longer of the two is at most `max_length_ratio` times the shorter. The target is
    mean - 2 standard deviations, the lower quartile (linear), or the minimum, of all scores.
    Raises BadInput: a score that is no finite number, an unknown rule, lengths that do not fit.
    """
    values = finite(scores)
    if lengths is not None and len(lengths) != len(values):
        raise BadInput(f"lengths has {len(lengths)} entries for {len(values)} scores; give one length a candidate.")
    limits = {
        "min_margin": min_margin,
        "lengths": None if lengths is None else np.asarray(lengths),
        "max_length_ratio": max_length_ratio,
    }
    chosen, rejected, reason = select_pairs(np.zeros(len(values), int), values, 1, rule, **limits)
    return None if reason[0] else (int(chosen[0]), int(rejected[0]))


def select_pairs(
    pool: np.ndarray,
    scores: np.ndarray,
    pools: int,
    rule: str = "mean_minus_2sigma",
    *,
    min_margin: float = 0.0,
    lengths: np.ndarray | None = None,
    max_length_ratio: float | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(chosen, rejected, reason), each (pools,): indexes into `scores`, -1 where the pool gives no pair.

    pool: (n,) the pool of each candidate, 0 to pools - 1, ascending; a pool may be empty.
    reason: 0 where there is a pair, else an index into REASONS.
    Raises BadInput as `select_pair`, and for pools that are out of order or range.
    """
    check_rule(rule)
    check_limits(min_margin, max_length_ratio, lengths is not None)
    scores, pool = finite(scores), np.asarray(pool)
    if pool.shape != scores.shape or (lengths is not None and len(lengths) != len(scores)):
        raise BadInput(f"pool or lengths does not fit the {len(scores)} scores; give one entry a candidate.")
    if len(pool) and (pool[0] < 0 or pool[-1] >= pools or (pool[1:] < pool[:-1]).any()):
        raise BadInput(f"pool is not ascending from 0 to {pools - 1}; sort the candidates by pool.")
    chosen, rejected = np.full(pools, -1), np.full(pools, -1)
    reason = np.full(pools, REASONS.index(TOO_SMALL), np.uint8)
    for which, rows in _blocks(pool, pools):
        raw = scores[rows]
        top, low, why = _block(raw, rule, min_margin, None if lengths is None else lengths[rows], max_length_ratio)
        is_pair = why == 0
        reason[which], at = why, np.flatnonzero(is_pair)
        chosen[which[is_pair]], rejected[which[is_pair]] = rows[at, top[is_pair]], rows[at, low[is_pair]]
    return chosen, rejected, reason


def firsts_of_best(pool: np.ndarray, scores: np.ndarray, pools: int) -> np.ndarray:
    """(pools,): index of the first of the highest scores of each pool, -1 where it is empty; `pool` ascending."""
    best = np.full(pools, -1)
    starts = np.flatnonzero(np.diff(pool, prepend=-1))
    if len(starts):
        sizes = np.diff(starts, append=len(pool))
        ties = np.flatnonzero(scores == np.repeat(np.maximum.reduceat(scores, starts), sizes))
        best[pool[ties[::-1]]] = ties[::-1]  # of several values for one place, numpy keeps the last
    return best


def _blocks(pool: np.ndarray, pools: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(pools, candidates of each): the pools of one size together, as a matrix without gaps."""
    sizes = np.bincount(pool, minlength=pools)
    starts = np.cumsum(sizes) - sizes
    for size in np.unique(sizes[sizes >= 2]):
        which, step = np.flatnonzero(sizes == size), max(1, CELLS // size)
        for begin in range(0, len(which), step):
            some = which[begin : begin + step]
            yield some, starts[some, None] + np.arange(size)


def _block(raw, rule, min_margin, lengths, ratio) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(chosen column, rejected column, reason) of each row of a matrix of scores."""
    top = raw.argmax(axis=1)[:, None]
    reason = np.zeros(len(raw), np.uint8)
    allowed = raw < np.take_along_axis(raw, top, 1)
    _note(reason, allowed, ALL_EQUAL)
    if min_margin:
        with np.errstate(over="ignore"):
            allowed &= np.take_along_axis(raw, top, 1) - raw >= min_margin
        _note(reason, allowed, MARGIN)
    if ratio is not None:
        one = np.take_along_axis(lengths, top, 1)
        allowed &= np.maximum(one, lengths) <= ratio * np.minimum(one, lengths)
        _note(reason, allowed, LENGTH)
    # A power of two changes no digit, and keeps squares of huge or tiny scores within the range of floats.
    values = np.ldexp(raw, -np.frexp(np.abs(raw).max(axis=1))[1][:, None])
    # Sorted: sums then do not depend on the order of the candidates.
    distance = np.where(allowed, np.abs(values - RULES[rule](np.sort(values, axis=1))[:, None]), np.inf)
    return top[:, 0], distance.argmin(axis=1), reason


def _note(reason: np.ndarray, allowed: np.ndarray, why: str) -> None:
    reason[(reason == 0) & ~allowed.any(axis=1)] = REASONS.index(why)


def check_rule(rule: str) -> None:
    if rule not in RULES:
        raise BadInput(f"rule is {rule!r}{nearest(rule, RULES)}; give one of {', '.join(RULES)}.")


def check_limits(min_margin: float, max_length_ratio: float | None, has_lengths: bool) -> None:
    if not (math.isfinite(min_margin) and min_margin >= 0):
        raise BadInput(f"min_margin is {min_margin!r}; give a number of 0 or more.")
    if max_length_ratio is None:
        return
    if not max_length_ratio >= 1:
        raise BadInput(f"max_length_ratio is {max_length_ratio!r}; give 1 or more (longer side / shorter side).")
    if not has_lengths:
        raise BadInput("max_length_ratio needs the lengths of the candidates; give them, or leave it out.")


def finite(scores: Sequence[float]) -> np.ndarray:
    """(n,) float64; BadInput with the first one that is no finite number."""
    try:
        values = np.asarray(scores)
    except ValueError:
        raise BadInput("scores is not a flat list of numbers; give one number a candidate.") from None
    if values.ndim != 1:
        raise BadInput(f"scores has shape {values.shape}; give a flat list of numbers, one a candidate.")
    if values.dtype.kind not in "iuf" and len(values):
        at = next((i for i, score in enumerate(scores) if not _is_number(score)), None)
        if at is not None:
            raise BadInput(f"scores[{at}] is {scores[at]!r}, no finite number; leave that candidate out and count it.")
    values = values.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise BadInput(
            f"scores[{bad[0]}] is {float(values[bad[0]])}, no finite number; leave that candidate out and count it."
        )
    return values


def _is_number(value) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)
