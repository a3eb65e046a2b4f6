"""A stage's start is told while it goes on, by what its log says."""

import sys

import pytest

from sp3f_verl.quickstart import progress


@pytest.fixture
def fast(monkeypatch):
    monkeypatch.setattr(progress, "POLL_SECONDS", 0.02)


def test_a_start_is_told_step_by_step(fast, tmp_path, capsys):
    """In the order of the log, each once; what an earlier attempt left in the log says nothing."""
    (tmp_path / "log").write_text("(vLLMHttpServer of an earlier attempt\n")
    log = ["ray init kwargs: {}", "Started a local Ray instance.", "Loading weights: 1", "ray init kwargs"]
    program = f"import time\nfor line in {log}:\n    print(line, flush=True)\n    time.sleep(1)\n"
    progress.run("sp3f", [sys.executable, "-c", program], tmp_path / "log", tmp_path / "metrics", 5, {}, 60)
    said = [line.rpartition(" s, ")[2] for line in capsys.readouterr().err.splitlines()]
    told = [progress.FIRST, *(progress.STARTS[mark] for mark in list(progress.STARTS)[:2]), "loading the model"]
    assert list(dict.fromkeys(said)) == told


def test_a_stage_that_fails_shows_the_end_of_its_log(fast, tmp_path):
    with pytest.raises(progress.StageFailed, match=r"(?s)sft ended with exit code 3; the end of .*log:\nwhat is wrong"):
        command = [sys.executable, "-c", "print('what is wrong'); raise SystemExit(3)"]
        progress.run("sft", command, tmp_path / "log", tmp_path / "metrics", 5, {}, 60)
