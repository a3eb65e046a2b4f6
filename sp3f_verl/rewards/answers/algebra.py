"""math-verify's opinion on two single expressions. Runs in a worker process only: sympy may compute for ever."""

import functools
import logging
import re

from sp3f_verl.rewards.answers.readable import relation

RELATIVE = 1e-12  # of a decimal, which is compared to 14 digits before
EXACT_DIGITS = 200  # with which a difference of exact values is computed: 1+e^{-52} is not 1+e^{-51}
_POINTS = (
    "0.7390851",
    "1.3247179",
    "2.2360679",
    "0.5671432",
)  # of variables: no value that sums of small numbers share
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
    if not all(sides) or not verify(*sides, float_rounding=14, timeout_seconds=None):
        return False
    return all(_as_large(one, other) for one, other in zip(*(side[:1] for side in sides), strict=True))


def _as_large(one, other) -> bool:
    """Are two expressions that pass for equal equal in their own size? math-verify compares to places behind the point.

    They differ by nothing in 200 digits (decimals: their ratio is 1), whatever values their variables have; the bounds
    of solved relations, intervals and sets of these have a partner each. What is no expression is left to math-verify.
    """
    import sympy

    if isinstance(one, sympy.Expr) and isinstance(other, sympy.Expr):
        return _same_value(one, other)
    sides = [_bounds(side) for side in (one, other)]
    if None not in sides:
        return all(any(_same_value(a, b) for b in there) for here, there in (sides, sides[::-1]) for a in here)
    parts = [getattr(side, "args", ()) for side in (one, other)]
    if any(isinstance(side, sympy.And) for side in (one, other)):  # 3 < x + 1 < 5 and 2 < x < 4 have other sides
        return len(parts[0]) == len(parts[1]) and all(
            len(a.args) == len(b.args) and all(map(_same_value, a.args, b.args)) for a, b in zip(*parts, strict=True)
        )
    if type(one) is not type(other) or len(parts[0]) != len(parts[1]):
        return True
    pairs = list(zip(*parts, strict=True))
    if isinstance(one, sympy.core.relational.Relational) and not any(side.is_Symbol for pair in pairs for side in pair):
        return True  # 2x = 4 and x = 2 have other sides
    return all(_same_value(*pair) for pair in pairs if all(isinstance(side, sympy.Expr) for side in pair))


def _bounds(side) -> list | None:
    """The finite numbers that say what a solved relation, an interval or a set of these is; None where it is none."""
    import sympy

    if isinstance(side, sympy.core.relational.Relational):
        constants = [part for part in side.args if not part.free_symbols and part.is_finite is not False]
        return constants if sum(part.is_Symbol for part in side.args) == 1 and len(side.free_symbols) == 1 else None
    if isinstance(side, sympy.Interval):
        return [part for part in side.args[:2] if part.is_finite is not False]
    if isinstance(side, sympy.Union | sympy.And | sympy.Or):
        bounds = [_bounds(part) for part in side.args]
        return None if None in bounds else [bound for part in bounds for bound in part]
    return None


def _same_value(one, other) -> bool:
    import sympy

    symbols = sorted(one.free_symbols | other.free_symbols, key=str)
    points = {symbol: sympy.Rational(_POINTS[at % len(_POINTS)]) for at, symbol in enumerate(symbols)}
    if points and (one.has(sympy.Float) or other.has(sympy.Float)):  # near 0 too, where 2e-20 + x is not 3e-20 + x
        exact = [sympy.nsimplify(side, rational=True) for side in (one, other)]
        near = [side.subs({symbol: point / 10**60 for symbol, point in points.items()}) for side in exact]
        return _same_number(*(side.subs(points) for side in exact), True) and _same_number(*near, True)
    return _same_number(one.subs(points), other.subs(points), one.has(sympy.Float) or other.has(sympy.Float))


def _same_number(one, other, decimal: bool) -> bool:
    if one.is_infinite or other.is_infinite or one == other:
        return True
    sizes = [abs(side.evalf(20)) for side in (one, other)]
    if not all(size.is_number and size.is_finite for size in sizes):
        return True
    known = [bool(size.is_comparable and size > 0) for size in sizes]  # else zero, or no digit of it can be told
    if not all(known):
        return not any(known)
    if decimal:
        return bool(abs((one / other).evalf(20) - 1) < RELATIVE)
    return bool(abs((one - other).evalf(20, maxn=EXACT_DIGITS)) <= sizes[0] * 10 ** (-EXACT_DIGITS // 2))
