"""The program that compares answers by computer algebra: one JSON line in, one out. `symbolic` starts and speaks to it.

It is a program of its own, so that no script needs a guard around its entry point: nothing imports the caller's main
module. What is costly to import is imported once; the comparing is done in a fork, and when one ends before its answer
is out (its time or its memory was up) the next fork takes over in milliseconds.
"""

import json
import os
import resource
import signal
import sys

from sp3f_verl.rewards.answers import algebra
from sp3f_verl.rewards.answers.compare import compare

MEMORY_BYTES = 4 * 2**30  # address space: a tower of powers fills memory faster than its time ends it
LOST = {signal.SIGPROF: "timeout"}  # how a fork died -> what the caller is told; anything else is a crash


def _line(source: int) -> bytes:
    """The next line, byte by byte: nothing of the one after it may be taken along by a fork that dies."""
    line = b""
    while (byte := os.read(source, 1)) not in (b"", b"\n"):
        line += byte
    return line if byte else b""


def _serve(source: int, answers: int) -> None:
    """In the fork: compares until the caller is gone."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    while line := _line(source):
        job = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, job["seconds"])  # of this process's own work, not of the clock
        try:
            verdict = bool(compare(job["answer"], job["gold"], job["language"], algebra.equal, job["reduced"]))
        except Exception as error:
            verdict = f"error: {type(error).__name__}"
        signal.setitimer(signal.ITIMER_PROF, 0)
        os.write(answers, json.dumps(verdict).encode() + b"\n")


def main() -> None:
    source, answers = os.dup(0), os.dup(1)
    os.dup2(2, 1)  # whatever a library prints is no answer
    algebra.equal("x+1", "1+x")
    os.write(answers, b'"ready"\n')
    while True:
        child = os.fork()
        if child == 0:
            try:
                resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
                _serve(source, answers)
                os._exit(0)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
            return
        died_of = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        os.write(answers, json.dumps(LOST.get(died_of, "crash")).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
