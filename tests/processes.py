"""Start a command that starts many others (Ray, vLLM), and end every one of them by id, however it ended."""

import os
import signal
import subprocess
import time
import uuid
from contextlib import contextmanager
from pathlib import Path

import psutil

MARK = "SP3F_TEST_RUN"  # inherited by every process that a started command starts


def _marked(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark:
                found.append(process)
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue  # gone meanwhile, or not ours
    return found


class Run:
    """A started command. `log` holds what it and its children say."""

    def __init__(self, command: list[str], log: Path, env: dict[str, str]):
        self.mark, self.log, self.command = uuid.uuid4().hex, log, command
        self.env = {**os.environ, "OMP_NUM_THREADS": "1", "VERL_PLATFORM": "cpu", **env, MARK: self.mark}
        with log.open("ab") as sink:
            self.process = subprocess.Popen(
                command, stdout=sink, stderr=subprocess.STDOUT, env=self.env, start_new_session=True
            )

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def wait(self, seconds: float) -> str:
        """The log once the command has ended well; AssertionError with its end otherwise."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = f"none within {seconds} s"
        assert code == 0, f"{' '.join(self.command[:6])} ... ended with {code}:\n{self.text()[-4000:]}"
        return self.text()

    def wait_for(self, condition, seconds: float, what: str) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, f"ended before {what}:\n{self.text()[-4000:]}"
            assert time.monotonic() < deadline, f"no {what} within {seconds} s:\n{self.text()[-4000:]}"
            time.sleep(0.1)

    def kill(self) -> None:
        """SIGKILL to all of its processes; returns when they are gone."""
        for _ in range(20):
            alive = [process for process in _marked(self.mark) if process.status() != psutil.STATUS_ZOMBIE]
            if not alive:
                break
            for process in alive:
                try:
                    process.send_signal(signal.SIGKILL)
                except psutil.NoSuchProcess:
                    continue
            psutil.wait_procs(alive, timeout=5)
        self.process.wait(20)


@contextmanager
def started(command: list[str], log: Path, env: dict[str, str] | None = None):
    """A Run that is over when the block is: nothing that it started outlives it."""
    run = Run(command, log, env or {})
    try:
        yield run
    finally:
        run.kill()
