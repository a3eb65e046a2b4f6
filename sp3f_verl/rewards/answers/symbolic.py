"""Comparisons that need computer algebra, in a few worker processes that are killed at a deadline.

Sympy can be made to compute for hours (`9^{9^{9^9}}`) and cannot be interrupted from inside a thread, so every
comparison runs in a process of its own (`worker`); one that overruns costs one deadline of one worker and counts
as unequal. The deadline is of the worker's own computing, so that a busy machine makes no right answer wrong.
"""

import asyncio
import contextlib
import functools
import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import Future
from pathlib import Path

DEADLINE_SECONDS = 3.0  # of computing, for one comparison
CEILING_SECONDS = 60.0  # on the clock: beyond it a worker that answers nothing is killed, however little it computed
START_SECONDS = 120.0
WORKERS = 2  # while one is lost in an answer, the other goes on
KINDS = {"timeout": "timeouts", "crash": "crashes"}
counts: Counter[str] = Counter()  # of this process: calls, timeouts, crashes (worker died), errors (worker raised)

_LOCK = threading.Lock()


class _Worker:
    """One `worker` process, started when the first comparison comes."""

    def __init__(self) -> None:
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        package = str(Path(__file__).resolve().parents[3])
        path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "sp3f_verl.rewards.answers.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C is for the caller; and the worker's forks end with it
        )
        if self._answer(START_SECONDS) != "ready":
            self.stop()
            raise RuntimeError(
                f"the answer checker's worker process did not start within {START_SECONDS:.0f} s; run "
                f"`{sys.executable} -m sp3f_verl.rewards.answers.worker` to see why"
            )

    def compare(self, answer: str, gold: str, language: str | None, reduced: bool = False) -> bool:
        self.start()
        job = {"answer": answer, "gold": gold, "language": language, "reduced": reduced, "seconds": DEADLINE_SECONDS}
        try:
            self._process.stdin.write(json.dumps(job).encode() + b"\n")
            self._process.stdin.flush()
            verdict = self._answer(CEILING_SECONDS)
        except OSError:
            verdict = "crash"
        if verdict is None:
            self.stop()
            verdict = "timeout"
        if isinstance(verdict, bool):
            return verdict
        counts[KINDS.get(verdict, "errors")] += 1
        return False  # unequal is the safe answer

    def _answer(self, seconds: float) -> bool | str | None:
        """The next line that the worker writes; None where none comes in time, "crash" where the worker is gone."""
        line, source, until = b"", self._process.stdout.fileno(), time.monotonic() + seconds
        while not line.endswith(b"\n"):
            if not select.select([source], [], [], max(0.0, until - time.monotonic()))[0]:
                return None
            part = os.read(source, 4096)
            if not part:
                self.stop()
                return "crash"
            line += part
        return json.loads(line)

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # the session that `start` opened: the worker and its fork
            process.stdin.close()
            process.stdout.close()
            process.wait()


class _Pool:
    """`WORKERS` threads, each with its worker, and one queue."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue = queue.SimpleQueue()
        for _ in range(WORKERS):
            threading.Thread(target=self._run, daemon=True, name="answer-checker").start()

    def submit(self, *job: str | bool | None) -> "Future[bool]":
        future: Future[bool] = Future()
        self._jobs.put((future, job))
        return future

    def _run(self) -> None:
        worker = _Worker()
        while True:
            future, job = self._jobs.get()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(worker.compare(*job))
                except Exception as error:
                    future.set_exception(error)


@functools.cache
def _pool(pid: int) -> _Pool:
    """The pool of process `pid`: a forked child cannot use its parent's."""
    return _Pool()


def _submit(answer: str, gold: str, language: str | None, reduced: bool) -> "Future[bool]":
    counts["calls"] += 1
    with _LOCK:
        pool = _pool(os.getpid())
    return pool.submit(answer, gold, language, reduced)


def equal(answer: str, gold: str, language: str | None = None, reduced: bool = False) -> bool:
    """`compare` with computer algebra; False where either side does not parse or the deadline passes.

    Raises RuntimeError where no worker can be started: a broken installation is no wrong answer.
    """
    return _submit(answer, gold, language, reduced).result()


async def equal_async(answer: str, gold: str, language: str | None = None, reduced: bool = False) -> bool:
    """`equal` without blocking the event loop; cancelled before its turn, nothing is compared."""
    return await asyncio.wrap_future(_submit(answer, gold, language, reduced))
