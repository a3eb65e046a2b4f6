"""Run a stage as a process of its own: its noise goes to a log file, its steps to a progress bar."""

import os
import signal
import subprocess
import time
from pathlib import Path

from sp3f_verl.progress import ProgressBar
from sp3f_verl.training.metrics_log import next_file, read_metrics

POLL_SECONDS = 0.5
FIRST = "starting Python, torch and verl"
# What a log says -> what goes on from then on, until the first step; in the order in which it comes
STARTS = {
    "ray init kwargs": "starting Ray",
    "Started a local Ray instance": "Ray is up; starting verl's trainer in it",
    "create worker group": "starting the worker that trains",
    "Loading weights": "loading the model",
    "(vLLMHttpServer": "starting vLLM",
}


class StageFailed(RuntimeError):
    """A stage's process ended with an error or ran out of time."""


def _show(bar: ProgressBar, metrics: Path, shown: dict[str, str]) -> None:
    """The last step in verl's metrics, and the values of `shown` beside it."""
    rows = read_metrics(metrics)
    if rows:
        step, values = max(rows.items())
        bar.update(step, "  ".join(f"{label} {values[name]:.2f}" for name, label in shown.items() if name in values))
    else:
        bar.update(0)


class _Start:
    """How far a start has come, by the log from its end on."""

    def __init__(self, log: Path):
        self._file, self._left = log.open(errors="replace"), list(STARTS)
        self._file.seek(0, os.SEEK_END)

    def reached(self) -> str | None:
        """What goes on since the last call; None where nothing new does."""
        text = self._file.read()
        seen = [at for at, mark in enumerate(self._left) if mark in text]
        if not seen:
            return None
        mark = self._left[seen[-1]]
        del self._left[: seen[-1] + 1]
        return STARTS[mark]


def run(
    name: str, command: list[str], log: Path, metrics: Path, steps: int, shown: dict[str, str], limit: float
) -> None:
    """Run `command` with a progress bar of `steps` steps, which verl's file logger writes into folder `metrics`.

    shown: metric -> label of what stands beside the bar. limit: seconds after which the process and its children are
    ended. Raises StageFailed with the last lines of the log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "VERL_FILE_LOGGER_PATH": str(next_file(metrics)), "PYTHONUNBUFFERED": "1"}
    deadline = time.monotonic() + limit
    print(f"{name}: everything that verl, Ray and vLLM say goes to {log}", flush=True)
    with log.open("a") as sink, ProgressBar(name, steps) as bar:
        start = _Start(log)
        bar.say(FIRST)
        process = subprocess.Popen(
            command, stdout=sink, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
        try:
            while process.poll() is None and time.monotonic() < deadline:
                if not bar.completed and (words := start.reached()):
                    bar.say(words)
                _show(bar, metrics, shown)
                time.sleep(POLL_SECONDS)
        finally:
            timed_out = process.poll() is None
            if timed_out:
                os.killpg(process.pid, signal.SIGTERM)
                _wait_or_kill(process)
        _show(bar, metrics, shown)
    if timed_out or process.returncode:
        reason = f"ran longer than {limit:g} s" if timed_out else f"ended with exit code {process.returncode}"
        tail = "".join(log.read_text(errors="replace").splitlines(keepends=True)[-15:])
        raise StageFailed(f"{name} {reason}; the end of {log}:\n{tail}")


def _wait_or_kill(process: subprocess.Popen) -> None:
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
