"""Start a command that starts many others (Ray, vLLM), and end every one of them by id, however it ended."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

import psutil

from helpers.shared import HELPERS

MARK = "SP3F_TEST_RUN"  # inherited by every process that a started command starts
FOR_ALL = {
    "OMP_NUM_THREADS": "1",  # ten processes share two cores
    "VERL_PLATFORM": "cpu",  # also where a GPU is
    "RAY_prestart_worker_first_driver": "0",  # else as many idle Python processes as there are logical CPUs
    "RAY_USAGE_STATS_ENABLED": "0",
}


def _of(mark: str, root: int) -> list[psutil.Process]:
    """The processes that carry the mark, and all descendants of them and of `root`: vLLM's engine writes its title over
    its environment, so that the mark may be gone."""
    found = {}
    for process in psutil.process_iter():
        try:
            marked = f"{MARK}={mark}".encode() in Path(f"/proc/{process.pid}/environ").read_bytes()
            if marked or process.pid == root:
                found |= {each.pid: each for each in (process, *process.children(recursive=True))}
        except (OSError, psutil.Error):
            continue  # gone meanwhile, or not ours
    return list(found.values())


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Run:
    """A started command. `log` holds what it and its children say."""

    def __init__(self, command: list[str], log: Path, env: dict[str, str]):
        self.mark, self.log, self.command = uuid.uuid4().hex, log, command
        self.env = {**os.environ, **FOR_ALL, **env, MARK: self.mark}
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

    def wait_for(self, condition, seconds: float, what: str, pause: float = 0.1) -> None:
        """Polls every `pause` seconds; AssertionError where it never holds, or the command ends before."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, f"ended before {what}:\n{self.text()[-4000:]}"
            assert time.monotonic() < deadline, f"no {what} within {seconds} s:\n{self.text()[-4000:]}"
            time.sleep(pause)

    def kill(self) -> None:
        """SIGKILL to all of its processes; returns when they are gone."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGSTOP)  # while all others are looked for, it does nothing more
        for _ in range(20):
            root = self.process.pid if self.process.poll() is None else -1
            alive = [process for process in _of(self.mark, root) if _is_alive(process)]
            if not alive:
                break
            for process in alive:
                try:
                    process.send_signal(signal.SIGKILL)
                except psutil.NoSuchProcess:
                    continue
            psutil.wait_procs(alive, timeout=5)
        self.process.wait(20)


@contextlib.contextmanager
def started(command: list[str], log: Path, env: dict[str, str] | None = None):
    """A Run that is over when the block is: nothing that it started outlives it."""
    run = Run(command, log, env or {})
    try:
        yield run
    finally:
        run.kill()


def free_port() -> int:
    """One that is still free when a process has started to bind it: below those that the system hands out to whoever
    asks for any (a Ray run asks for hundreds), above those of Ray's workers."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.socket() as listener:
            listener.bind(("127.0.0.1", port))
            return port


def run_helper(name: str, *arguments: Path | str, workers: int | None = None) -> None:
    """Run a script of this folder to its end; with `workers`, by torchrun."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={workers}"] if workers else []
    command = [sys.executable, *torchrun, str(HELPERS / name), *map(str, arguments)]
    path = os.pathsep.join(filter(None, [str(HELPERS.parent), os.environ.get("PYTHONPATH")]))
    env = {**os.environ, "OMP_NUM_THREADS": "1", "VERL_PLATFORM": "cpu", "PYTHONPATH": path}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=850)
    assert done.returncode == 0, done.stderr[-4000:]
