"""Axes: where ticks stand and what they say."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Values low..high onto pixels start..end."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high


def limits_of(values: Iterable[float]) -> tuple[float, float]:
    """All values and 5 % around them; never empty."""
    kept = list(values)
    low, high = (min(kept), max(kept)) if kept else (0.0, 1.0)
    room = (high - low) * 0.05 or abs(high) * 0.05 or 0.5
    return low - room, high + room


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) within low..high."""
    rough = (high - low) / max(about, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step for step in (power, 2 * power, 5 * power, 10 * power) if step >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(step * n, 12) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def whole_ticks(values: Sequence[float], about: int = 8) -> list[float]:
    """Each of some whole numbers, or every k-th where they are many."""
    kept = sorted(set(values))
    return kept[:: max(1, math.ceil(len(kept) / about))]


def label(value: float) -> str:
    """Short: `12000`, `0.25`, `2e6`, `2e-5`."""
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value)}"
    if 1e-3 <= abs(value) < 1e4:
        return f"{value:.4g}"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"
