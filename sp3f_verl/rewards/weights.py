"""The named terms of a reward and their weights: numbers, or schedules over the training steps.

A term is a number in [0, 1] (`custom` is what the user's function says); a penalty is a term with a negative weight.

A schedule is a mapping of step to weight, or a list of such mappings: `{0: 0.0, 100: 1.0}`. The weight is the first
one up to its step, the last one from its step on, and goes straight from one to the next between them; with
`shape: step` among them each holds until the next.
"""

import difflib
import math
from collections.abc import Mapping, Sequence
from numbers import Real

Weight = float | Mapping | Sequence
SHAPES = ("linear", "step")

TERMS: dict[str, str] = {
    "accuracy": "1 where the last box equals the gold answer",
    "parseable": "1 where there is a last box and it is not empty",
    "language": "1 where at least the threshold share of the letters is in the language asked for",
    "judge": "share of comparisons within its group that the response wins",
    "thinking_language": "1 where the thoughts, up to one </think>, and the answer are each in the language asked for",
    "accuracy_in_language": "accuracy where thinking_language is 1, else 0",
    "consistency": "a judge's score: do the thoughts agree with the English ones? 0 where accuracy_in_language is 0",
    "soft_language": "share of the letters in the language asked for; 0 where that is English, or the share undefined",
    "english": "share of the letters in English; 0 where English is asked for (a penalty: negative weight)",
    "length": "0 up to the first of the length limits, 1 from the second on (a penalty)",
    "repetition": "share of the text that repeats what stood before (a penalty)",
    "random": "0 or 1 by a coin that hangs on response and gold answer alone (a control)",
    "custom": "what verl's reward.custom_reward_function answers",
}


def check_weights(weights: Mapping[str, Weight]) -> None:
    """Raises `ValueError` for a weight of an unknown term, or one that is neither a finite number nor a schedule."""
    for name, weight in weights.items():
        if name not in TERMS:
            nearest = difflib.get_close_matches(name, TERMS, n=1, cutoff=0.0)[0]
            raise ValueError(
                f"unknown reward term {name!r} (the nearest is {nearest!r}); rename it or remove it, "
                f"the terms are {', '.join(TERMS)}."
            )
        try:
            points(weight)
        except ValueError as error:
            raise ValueError(f"the weight of reward term {name!r} is {weight!r}: {error}") from None


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
    """The weight of every term at a training step (>= 0). Raises `ValueError` as `check_weights` does."""
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
