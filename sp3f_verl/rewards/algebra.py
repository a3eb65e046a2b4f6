"""math-verify's opinion on two single expressions. Runs in a worker process only: sympy may compute for ever."""

import functools
import logging
import re

from sp3f_verl.rewards.readable import relation

_PRODUCT, _TIMES = re.compile(r"(?<=\d) ?\("), r"\\cdot ("  # 2(3) would be read as the mixed number 2 + 3


@functools.cache
def _tools():
    from latex2sympy2_extended import NormalizationConfig
    from math_verify import LatexExtractionConfig, parse, verify

    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns of disabled timeouts; the deadline is ours
    # Units and small fixes stay off: they drop parts of the expression, and a partial parse must never be equal.
    config = LatexExtractionConfig(
        boxed_match_priority=-1,
        normalization_config=NormalizationConfig(malformed_operators=True, boxed="none"),
    )
    return parse, verify, [config]


def equal(gold: str, answer: str) -> bool:
    """Do both sides, each `readable`, parse as a whole, and are they equal? To 14 digits where one is a decimal."""
    parse, verify, config = _tools()
    # math-verify looks for a relation in its first argument only; the order is fixed so that equality is symmetric.
    ordered = sorted((gold, answer), key=lambda side: (not relation(side), side))
    sides = [
        parse(f"${_PRODUCT.sub(_TIMES, side)}$", config, fallback_mode="no_fallback", parsing_timeout=None)
        for side in ordered
    ]
    return all(sides) and bool(verify(*sides, float_rounding=14, timeout_seconds=None))
