"""Run a stage as a process of its own: its noise goes to a log file, its steps to a progress bar."""

import os
import signal
import subprocess
import time
from contextlib import nullcontext
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from sp3f_verl.report.metrics import read_metrics

POLL_SECONDS = 0.5
LINE_SECONDS = 15.0  # where the output is not a terminal: a line that often instead of a moving bar


class StageFailed(RuntimeError):
    """A stage's process ended with an error or ran out of time."""


class _Bar:
    """A rich progress bar of verl's steps, or plain lines where there is no terminal."""

    def __init__(self, name: str, steps: int, metrics: Path, shown: dict[str, str]):
        self.name, self.steps, self.metrics, self.shown = name, steps, metrics, shown
        self.start = self.said = time.monotonic()
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self.progress = Progress(*columns, TimeElapsedColumn(), TextColumn("{task.fields[values]}"))
        self.lines = not self.progress.console.is_terminal
        self.task = self.progress.add_task(name, total=steps, values="starting Ray, vLLM or torch: about a minute")

    def show(self, last: bool = False) -> None:
        rows = read_metrics(self.metrics)
        step, values = max(rows.items()) if rows else (0, {})
        text = "  ".join(f"{label} {values[name]:.2f}" for name, label in self.shown.items() if name in values)
        if step:
            self.progress.update(self.task, completed=step, values=text)
        now = time.monotonic()
        if self.lines and (last or now - self.said >= LINE_SECONDS):
            self.said = now
            print(f"{self.name}: step {step}/{self.steps}, {now - self.start:.0f} s  {text}", flush=True)


def run(
    name: str, command: list[str], log: Path, metrics: Path, steps: int, shown: dict[str, str], limit: float
) -> None:
    """Run `command` with a progress bar of `steps` steps, told by verl's file logger in folder `metrics`.

    shown: metric -> label of what stands beside the bar. limit: seconds after which the process and its children are
    ended. Raises StageFailed with the last lines of the log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    metrics.mkdir(parents=True, exist_ok=True)
    attempt = metrics / f"{len(list(metrics.iterdir())):03d}.jsonl"  # verl truncates the file that it opens
    environment = {**os.environ, "VERL_FILE_LOGGER_PATH": str(attempt), "PYTHONUNBUFFERED": "1"}
    deadline = time.monotonic() + limit
    bar = _Bar(name, steps, metrics, shown)
    print(f"{name}: everything that verl, Ray and vLLM say goes to {log}", flush=True)
    with log.open("a") as sink, nullcontext() if bar.lines else bar.progress:
        process = subprocess.Popen(
            command, stdout=sink, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
        try:
            while process.poll() is None and time.monotonic() < deadline:
                bar.show()
                time.sleep(POLL_SECONDS)
        finally:
            timed_out = process.poll() is None
            if timed_out:
                os.killpg(process.pid, signal.SIGTERM)
                _wait_or_kill(process)
        bar.show(last=True)
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
