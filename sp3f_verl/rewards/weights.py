"""The weights of a reward's terms: numbers, or schedules over the training steps.

A schedule is a mapping of step to weight, or a list of such mappings: `{0: 0.0, 100: 1.0}`. The weight is the first
one up to its step, the last one from its step on, and goes straight from one to the next between them; with
`shape: step` among them each holds until the next.
"""

import math
from collections.abc import Mapping, Sequence
from numbers import Real

Weight = float | Mapping | Sequence
SHAPES = ("linear", "step")


def points(weight: Weight) -> tuple[str, list[tuple[int, float]]]:
    """(shape, [(step, weight), ...] in order of the steps); a number is one point. ValueError where it is neither."""
    if _finite(weight):
        return "step", [(0, float(weight))]
    entries, shape, points = [], "linear", {}
    if isinstance(weight, Mapping):
        entries = [*weight.items()]
    elif isinstance(weight, Sequence) and not isinstance(weight, str) and all(isinstance(e, Mapping) for e in weight):
        entries = [item for entry in weight for item in entry.items()]
    for key, value in entries:
        if key == "shape":
            shape = value
        elif isinstance(key, int) and not isinstance(key, bool) and key >= 0 and key not in points and _finite(value):
            points[key] = float(value)
        else:
            raise ValueError(f"the entry {key!r}: {value!r} of a schedule is no new step with a finite number")
    if not points or shape not in SHAPES:
        raise ValueError("give a finite number (0: off), or a schedule {step: weight, ...} with shape linear or step")
    return shape, sorted(points.items())


def _finite(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def weights_at(weights: Mapping[str, Weight], step: int) -> dict[str, float]:
    """The weight of every term at a training step (>= 0). Raises `ValueError` as `points` does."""
    return {name: value_at(weight, step) for name, weight in weights.items()}


def value_at(weight: Weight, step: int) -> float:
    """A number's or a schedule's value at a training step."""
    return _at(*points(weight), step)


def _at(shape: str, points: list[tuple[int, float]], step: int) -> float:
    before = [point for point in points if point[0] <= step]
    after = [point for point in points if point[0] > step]
    if not before or not after:
        return (before or after[:1])[-1][1]
    (start, left), (end, right) = before[-1], after[0]
    return left if shape == "step" else left + (right - left) * (step - start) / (end - start)


def active(weights: Mapping[str, Weight]) -> frozenset[str]:
    """The terms that count at some step: what has to be computed, and what the run must be able to."""
    return frozenset(name for name, weight in weights.items() if any(value for _, value in points(weight)[1]))


def total(terms: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """Sum of weight (a number: see `weights_at`) times term; a term of weight 0 need not be there, any other missing
    one is a KeyError."""
    return sum((weight * terms[name] for name, weight in weights.items() if weight), 0.0)
