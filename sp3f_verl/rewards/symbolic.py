"""Equality of two LaTeX expressions by math-verify, in a worker process that is killed at a deadline.

Sympy can be made to compute for hours (`9^{9^{9^9}}`) and cannot be interrupted from inside a thread, so every
comparison runs in one spawned process; a comparison that overruns costs one deadline and counts as unequal.
"""

import asyncio
import atexit
import functools
import logging
import os
import threading
from collections import Counter

DEADLINE_SECONDS = 5.0
START_SECONDS = 120.0
MEMORY_BYTES = 4 * 2**30  # address space of the worker: a tower of powers fills memory faster than the deadline ends it
counts: Counter[str] = Counter()  # of this process: calls, timeouts, crashes (worker died), errors (worker raised)

_LOCK = threading.Lock()


def _start_worker() -> None:
    """Runs once in each worker: the slow import, outside any deadline."""
    import math_verify  # noqa: F401

    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns of disabled timeouts; the deadline is ours
    try:
        import resource
    except ImportError:  # not a Unix: the deadline alone bounds the worker
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _compare(gold: str, answer: str) -> bool:
    """In the worker: do both sides parse as a whole, and are they equal?"""
    from latex2sympy2_extended import NormalizationConfig
    from math_verify import LatexExtractionConfig, parse, verify

    # Units and small fixes stay off: they drop parts of the expression, and a partial parse must never be equal.
    config = LatexExtractionConfig(
        boxed_match_priority=-1,
        normalization_config=NormalizationConfig(malformed_operators=True, boxed="none"),
    )
    sides = [
        parse(f"${side}$", extraction_config=[config], fallback_mode="no_fallback", parsing_timeout=None)
        for side in (gold, answer)
    ]
    return all(sides) and bool(verify(*sides, timeout_seconds=None))


@functools.cache
def _pool(pid: int):
    """The pool of process `pid` (a forked child cannot use its parent's), its worker up and imported."""
    from multiprocessing import get_context

    from pebble import ProcessPool

    pool = ProcessPool(max_workers=1, initializer=_start_worker, context=get_context("spawn"))
    atexit.register(_close, pool, pid)
    try:
        pool.schedule(os.getpid).result(timeout=START_SECONDS)
    except Exception as error:
        pool.stop()
        raise RuntimeError(
            f"the answer checker's worker process did not start within {START_SECONDS:.0f} s; a script that scores "
            "answers needs its entry point under `if __name__ == '__main__':`"
        ) from error
    return pool


def _close(pool, pid: int) -> None:
    if os.getpid() == pid:
        pool.stop()
        pool.join()


def _started_pool():
    with _LOCK:
        return _pool(os.getpid())


def _submit(pool, gold: str, answer: str):
    counts["calls"] += 1
    return pool.schedule(_compare, args=(gold, answer), timeout=DEADLINE_SECONDS)


def _failed(error: Exception) -> bool:
    """Counts why a comparison gave no verdict; unequal is the safe answer."""
    from pebble import ProcessExpired

    kind = {TimeoutError: "timeouts", ProcessExpired: "crashes"}.get(type(error), "errors")
    counts[kind] += 1
    return False


def equal(gold: str, answer: str) -> bool:
    """Are the two bare LaTeX expressions equal? False where either does not parse or the deadline passes."""
    future = _submit(_started_pool(), gold, answer)
    try:
        return future.result()
    except Exception as error:
        return _failed(error)


async def equal_async(gold: str, answer: str) -> bool:
    """`equal` without blocking the event loop; cancelling it kills the comparison."""
    future = _submit(await asyncio.to_thread(_started_pool), gold, answer)
    try:
        return await asyncio.wrap_future(future)
    except Exception as error:
        return _failed(error)
