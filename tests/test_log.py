"""The logger: one line on stderr for each, also from Ray's workers, whatever frameworks do to the root logger."""

import os
import subprocess
import sys
import time

import pytest

# verl configures the root logger in the driver and in its workers, and so does Ray.
SCRIPT = """
import logging, sys
logging.basicConfig()
import ray
from sp3f_verl.log import log

@ray.remote
class Worker:
    def speak(self, *lines):
        logging.basicConfig(stream=sys.stderr, force=True)
        from sp3f_verl.log import log
        for line in lines:
            log.info(line)
            log.debug("a detail")

ray.init(address="local", num_cpus=1, include_dashboard=False)
log.info("a line of the driver")
worker = Worker.remote()
ray.get(worker.speak.remote("a line of the worker", "the last line"))
sys.stdin.read()
"""


def test_a_line_of_a_ray_worker_arrives_once_at_the_driver(tmp_path):
    screen = tmp_path / "screen.txt"
    environment = {name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "SP3F_LOG_LEVEL")}
    with (
        screen.open("w") as output,
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT], stdin=subprocess.PIPE, stdout=output, stderr=output, env=environment
        ) as driver,
    ):
        try:
            until = time.monotonic() + 240
            # a worker's lines arrive in their order: with the last one, every copy of the others is there
            while "the last line" not in screen.read_text() and driver.poll() is None and time.monotonic() < until:
                time.sleep(0.2)
            driver.communicate(timeout=240)
        finally:
            driver.kill()
    text = screen.read_text()
    lines = [line for line in text.splitlines() if "a line of the" in line]
    assert len(lines) == 2, text
    assert lines[0] == "sp3f_verl: a line of the driver"
    assert lines[1].endswith("sp3f_verl: a line of the worker") and "pid=" in lines[1], "Ray says whose line it is"
    assert "a detail" not in text


@pytest.mark.parametrize(
    ("level", "lines"),
    [
        (None, ["sp3f_verl: some news", "sp3f_verl: a fault"]),
        ("error", ["sp3f_verl: a fault"]),
        ("DEBUG", ["sp3f_verl: a detail", "sp3f_verl: some news", "sp3f_verl: a fault"]),
        (
            "loud",
            [
                "sp3f_verl: SP3F_LOG_LEVEL=LOUD is no level; it is one of DEBUG, INFO, WARNING, ERROR.",
                "sp3f_verl: some news",
                "sp3f_verl: a fault",
            ],
        ),
    ],
)
def test_the_level_comes_from_the_environment(level, lines):
    code = "from sp3f_verl.log import log; log.debug('a detail'); log.info('some news'); log.error('a fault')"
    environment = {name: value for name, value in os.environ.items() if name != "SP3F_LOG_LEVEL"}
    environment |= {"SP3F_LOG_LEVEL": level} if level else {}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment)
    assert result.stderr.splitlines() == lines and result.stdout == ""
