"""`select_pair` for many pools at once: the same choices, bit for bit, without a Python loop over prompts."""

from collections.abc import Iterator

import numpy as np

from sp3f_verl.errors import BadInput
from sp3f_verl.selection.pair import ALL_EQUAL, LENGTH, MARGIN, TOO_SMALL, check_limits, check_rule, finite

REASONS = ("", TOO_SMALL, ALL_EQUAL, MARGIN, LENGTH)  # what the codes of `select_pairs` mean
CELLS = 1 << 18  # candidates that are looked at together: some 20 MB of temporary arrays


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
        found = why == 0
        reason[which], at = why, np.flatnonzero(found)
        chosen[which[found]], rejected[which[found]] = rows[at, top[found]], rows[at, low[found]]
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
    values = np.ldexp(raw, -np.frexp(np.abs(raw).max(axis=1))[1][:, None])  # as in pair.py
    distance = np.where(allowed, np.abs(values - _targets(np.sort(values, axis=1), rule)[:, None]), np.inf)
    return top[:, 0], distance.argmin(axis=1), reason


def _note(reason: np.ndarray, allowed: np.ndarray, why: str) -> None:
    reason[(reason == 0) & ~allowed.any(axis=1)] = REASONS.index(why)


def _targets(values: np.ndarray, rule: str) -> np.ndarray:
    if rule == "mean_minus_2sigma":
        return values.mean(axis=1) - 2 * values.std(axis=1)
    return np.percentile(values, 25, axis=1) if rule == "q1" else values[:, 0]
