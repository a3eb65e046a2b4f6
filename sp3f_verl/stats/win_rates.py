"""Win rates of a model against another, from a judge's preferences: as they are, and controlled for length.

Both results are numbers in percent (0 to 100) that also tell how they came about: `win_rate(...)` can be compared,
rounded and written to JSON as a float, and has `.standard_error` and `.n`.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from sp3f_verl.errors import BadInput, nearest

TIES = {"half": 0.5, "win": 1.0, "loss": 0.0}
EQUAL = 1e-8  # standard deviation of length gaps below which there is nothing to control for
PENALTY = 1.0  # of phi squared
_STEPS, _FARTHEST = 50, 40.0  # of Newton's method; sigmoid(40) is 1


class WinRate(float):
    """Percent of `n` preferences won. standard_error: 100 sd(p, ddof 1) / sqrt(n), NaN for one. failed: preferences
    that are None or NaN, for which the judge gave no verdict: they are in no denominator."""

    standard_error: float
    n: int
    failed: int


class LengthControlledWinRate(float):
    """Percent won at equal length. `theta`: log-odds of a win there; `phi`: what a longer answer adds to them, both
    0-centred; phi is 0 where all length gaps are equal, or nothing but wins (losses) is there: theta is then infinite.
    """

    theta: float
    phi: float
    n: int
    failed: int


def win_rate(preferences: Iterable[float | None], ties: str = "half") -> WinRate:
    """100 * mean preference. NaN where there is none.

    preferences: 1 a win, 0 a loss, 0.5 a tie, None or NaN no verdict; anything between is soft credit and stays as it
    is. ties: what 0.5 counts as: "half", "win" or "loss". BadInput for another value.
    """
    values, failed = _preferences(preferences, ties)
    rate = WinRate(100 * values.mean() if len(values) else math.nan)
    rate.n, rate.failed = len(values), failed
    rate.standard_error = 100 * float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return rate


def length_controlled_win_rate(
    preferences: Iterable[float | None],
    lengths: Sequence[float],
    reference_lengths: Sequence[float],
    ties: str = "half",
) -> LengthControlledWinRate:
    """100 * sigmoid(theta) of the fit logit P(win) = theta + phi * tanh(d / std(d)), d = length - reference length.

    The fit minimises the summed negative log-likelihood (preferences are soft labels) + phi^2; std is the population's
    (the judge script of CroCo, after AlpacaEval 2's length control). Lengths in any one unit, characters there.
    Where all gaps are equal, within 1e-8, it is the raw mean. As `win_rate` otherwise; BadInput for unequal numbers.
    """
    preferences, lengths, reference_lengths = list(preferences), list(lengths), list(reference_lengths)
    if not len(preferences) == len(lengths) == len(reference_lengths):
        raise BadInput(
            f"there are {len(preferences)} preferences, {len(lengths)} lengths and {len(reference_lengths)} reference "
            "lengths; give one of each for every pair."
        )
    values, failed = _preferences(preferences, ties)
    kept = [index for index, preference in enumerate(preferences) if not _is_missing(preference)]
    gaps = np.array([float(lengths[index]) - float(reference_lengths[index]) for index in kept])
    if len(gaps) and not np.isfinite(gaps).all():
        raise BadInput("a length is not a finite number; give lengths in characters or tokens.")
    theta, phi = fit(values, gaps, np.ones((1, len(values)))) if len(values) else (np.array([math.nan]),) * 2
    rate = LengthControlledWinRate(100 * _sigmoid(theta[0]))
    rate.theta, rate.phi, rate.n, rate.failed = float(theta[0]), float(phi[0]), len(values), failed
    if abs(rate.theta) >= _FARTHEST:
        rate.theta = math.copysign(math.inf, rate.theta)
    return rate


def fit(preferences: np.ndarray, gaps: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(theta, phi), each (r,), of the length-controlled fit to r weighted versions of the same n pairs.

    weights: (r, n), how often each pair counts: ones, or how often a resample drew it. |theta| ends at 40.
    """
    total = weights.sum(axis=1)
    mean = weights @ gaps / total
    std = np.sqrt(np.maximum(weights @ gaps**2 / total - mean**2, 0.0))
    shares = weights @ preferences / total
    with np.errstate(divide="ignore"):
        raw = np.clip(np.log(shares) - np.log1p(-shares), -_FARTHEST, _FARTHEST)
    theta, phi = raw.copy(), np.zeros(len(weights))
    open_ = (std >= EQUAL) & (np.abs(raw) < _FARTHEST)  # where the fit is more than the raw mean
    if not open_.any():
        return theta, phi
    weights, x = weights[open_], np.tanh(gaps / std[open_][:, None])
    t, f = theta[open_], phi[open_]
    for _ in range(_STEPS):
        chance = _sigmoid(t[:, None] + f[:, None] * x)
        miss, slope = weights * (chance - preferences), weights * chance * (1 - chance)
        gradient = miss.sum(1), (miss * x).sum(1) + 2 * PENALTY * f
        a, b, c = slope.sum(1) + 1e-12, (slope * x).sum(1), (slope * x * x).sum(1) + 2 * PENALTY
        det = a * c - b * b
        step_t, step_f = (c * gradient[0] - b * gradient[1]) / det, (a * gradient[1] - b * gradient[0]) / det
        scale = 1 / np.maximum(1.0, np.maximum(np.abs(step_t), np.abs(step_f)) / 2)  # far from the end, Newton leaps
        t, f = np.clip(t - scale * step_t, -_FARTHEST, _FARTHEST), f - scale * step_f
        if max(np.abs(scale * step_t).max(), np.abs(scale * step_f).max()) < 1e-10:
            break
    theta[open_], phi[open_] = t, f
    return theta, phi


def margin(wins: float, losses: float) -> tuple[float, float]:
    """(delta W-L, what neither won: ties and errors) of a win and a loss rate in percent, as MDPO's table has them."""
    if not (0 <= wins <= 100 and 0 <= losses <= 100 and wins + losses <= 100 + 1e-6):
        raise BadInput(
            f"wins={wins:g} and losses={losses:g} are no percentages of one total; their sum is at most 100."
        )
    return wins - losses, max(0.0, 100 - wins - losses)


def _preferences(preferences: Iterable[float | None], ties: str) -> tuple[np.ndarray, int]:
    if ties not in TIES:
        raise BadInput(f"ties={ties!r}{nearest(ties, TIES)} is none of {', '.join(TIES)}; give one of them.")
    given = list(preferences)
    values = [float(preference) for preference in given if not _is_missing(preference)]
    for value in values:
        if not 0 <= value <= 1:
            raise BadInput(f"the preference {value!r} is not between 0 (a loss) and 1 (a win); 0.5 is a tie.")
    return np.array([TIES[ties] if value == 0.5 else value for value in values]), len(given) - len(values)


def _is_missing(value: float | None) -> bool:
    return value is None or value != value


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))
