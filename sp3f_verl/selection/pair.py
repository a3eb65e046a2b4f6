"""CroCo's choice of a pair from the scored candidates of one prompt: the plain form, one prompt at a time.

The best candidate is chosen; rejected is the one nearest to a target that is bad but, with many candidates, not the
very worst. Statistics are the population's, as in the original. `pairs.py` does the same for many prompts at once.
"""

import math
from collections.abc import Sequence

import numpy as np

from sp3f_verl.errors import BadInput, nearest

RULES = ("mean_minus_2sigma", "q1", "min")
# Why a pool gives no pair.
TOO_SMALL, ALL_EQUAL, MARGIN, LENGTH = "pool_too_small", "all_equal", "margin_too_small", "no_length_match"


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
    found = pair_or_reason(scores, rule, min_margin=min_margin, lengths=lengths, max_length_ratio=max_length_ratio)
    return None if isinstance(found, str) else found


def pair_or_reason(
    scores: Sequence[float],
    rule: str = "mean_minus_2sigma",
    *,
    min_margin: float = 0.0,
    lengths: Sequence[float] | None = None,
    max_length_ratio: float | None = None,
) -> tuple[int, int] | str:
    """As `select_pair`; where there is no pair, why: one of the reasons above."""
    check_rule(rule)
    check_limits(min_margin, max_length_ratio, lengths is not None)
    raw = finite(scores)
    if lengths is not None and len(lengths) != len(raw):
        raise BadInput(f"lengths has {len(lengths)} entries for {len(raw)} scores; give one length a candidate.")
    if len(raw) < 2:
        return TOO_SMALL
    chosen = int(raw.argmax())
    allowed = [i for i in range(len(raw)) if raw[i] < raw[chosen]]
    if not allowed:
        return ALL_EQUAL
    with np.errstate(over="ignore"):
        allowed = [i for i in allowed if raw[chosen] - raw[i] >= min_margin]
    if not allowed:
        return MARGIN
    if max_length_ratio is not None:
        one = lengths[chosen]
        allowed = [i for i in allowed if max(one, lengths[i]) <= max_length_ratio * min(one, lengths[i])]
        if not allowed:
            return LENGTH
    # A power of two changes no digit, and keeps squares of huge or tiny scores within the range of floats.
    values = np.ldexp(raw, -np.frexp(np.abs(raw).max())[1])
    target = _target(np.sort(values), rule)  # sorted: sums then do not depend on the order of the candidates
    return chosen, min(allowed, key=lambda i: abs(values[i] - target))


def _target(values: np.ndarray, rule: str) -> float:
    if rule == "mean_minus_2sigma":
        return values.mean() - 2 * values.std()
    return np.percentile(values, 25) if rule == "q1" else values[0]


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
        at = next((i for i, each in enumerate(scores) if not _is_number(each)), None)
        if at is not None:
            raise BadInput(f"scores[{at}] is {scores[at]!r}, no finite number; leave that candidate out and count it.")
    values = values.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        found = float(values[bad[0]])
        raise BadInput(f"scores[{bad[0]}] is {found}, no finite number; leave that candidate out and count it.")
    return values


def _is_number(value) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)
