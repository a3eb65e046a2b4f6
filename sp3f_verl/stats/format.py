"""How numbers are written in every table."""

import math
import statistics
from collections.abc import Sequence


def mean_and_spread(values: Sequence[float | None]) -> str:
    """Mean ± sample standard deviation; one value alone, or the first that is none or not finite, as it is."""
    for value in values:
        if value is None or not math.isfinite(value) or len(values) == 1:
            return number(value)
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"


def number(value: float | None) -> str:
    """Three decimals, or four significant digits where those would hide it; `–` where there is none.

    Below 1e-6 all is noise of fp32 sums here, and shown as 0. NaN and infinity are shown as such.
    """
    if value is None:
        return "–"
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "-∞"
    if abs(value) < 1e-6:
        return "0.000"
    return f"{value:.3f}" if 0.001 <= abs(value) < 1000 else f"{value:.4g}"
