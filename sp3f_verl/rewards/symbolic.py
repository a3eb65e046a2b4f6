"""Comparisons that need computer algebra, in a small pool of worker processes that are killed at a deadline.

Sympy can be made to compute for hours (`9^{9^{9^9}}`) and cannot be interrupted from inside a thread, so every
comparison runs in a process of its own; one that overruns costs one deadline of one worker and counts as unequal.
"""

import asyncio
import atexit
import functools
import importlib
import os
import threading
from collections import Counter

from sp3f_verl.rewards import algebra
from sp3f_verl.rewards.compare import compare

DEADLINE_SECONDS = 3.0
KILL_SECONDS = 0.3  # before the deadline a comparison is killed: pebble looks every 0.1 s, and its successor must start
START_SECONDS = 120.0
WORKERS = 2  # while one is lost in an answer, the other goes on
MEMORY_BYTES = 4 * 2**30  # address space of a worker: a tower of powers fills memory faster than the deadline ends it
counts: Counter[str] = Counter()  # of this process: calls, timeouts, crashes (worker died), errors (worker raised)

WARM = "sp3f_verl.rewards.algebra_warm"
_LOCK = threading.Lock()


def _start_worker() -> None:
    """Runs once in each worker, outside any deadline."""
    importlib.import_module(WARM)  # at once where the fork server has it
    try:
        import resource
    except ImportError:  # not a Unix: the deadline alone bounds the worker
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _compare(answer: str, gold: str, comma: bool | None) -> bool:
    """In the worker."""
    return bool(compare(answer, gold, comma, algebra.equal))


@functools.cache
def _pool(pid: int):
    """The pool of process `pid` (a forked child cannot use its parent's), a worker of it up and imported."""
    import multiprocessing

    from pebble import ProcessPool

    # Not "fork": this process has threads and perhaps a GPU. The fork server has neither, and has math-verify loaded.
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload([WARM])
    pool = ProcessPool(max_workers=WORKERS, initializer=_start_worker, context=context)
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


def _submit(pool, answer: str, gold: str, comma: bool | None):
    counts["calls"] += 1
    return pool.schedule(_compare, args=(answer, gold, comma), timeout=DEADLINE_SECONDS - KILL_SECONDS)


def _failed(error: Exception) -> bool:
    """Counts why a comparison gave no verdict; unequal is the safe answer."""
    from pebble import ProcessExpired

    kind = {TimeoutError: "timeouts", ProcessExpired: "crashes"}.get(type(error), "errors")
    counts[kind] += 1
    return False


def equal(answer: str, gold: str, comma: bool | None = None) -> bool:
    """`compare` with computer algebra; False where either side does not parse or the deadline passes."""
    future = _submit(_started_pool(), answer, gold, comma)
    try:
        return future.result()
    except Exception as error:
        return _failed(error)


async def equal_async(answer: str, gold: str, comma: bool | None = None) -> bool:
    """`equal` without blocking the event loop; cancelling it kills the comparison."""
    future = _submit(await asyncio.to_thread(_started_pool), answer, gold, comma)
    try:
        return await asyncio.wrap_future(future)
    except Exception as error:
        return _failed(error)
