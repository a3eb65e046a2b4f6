"""Stages run once, start over when their settings changed, and never delete what is not theirs."""

import pytest

from sp3f_verl.errors import BadInput
from sp3f_verl.quickstart import settings
from sp3f_verl.quickstart.stages import Stages


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def stages(tmp_path, lines) -> Stages:
    return Stages(settings.load("smoke"), tmp_path / "out", lines.append)


def test_a_stage_runs_once_and_again_when_its_settings_changed(stages, lines):
    runs = []
    for inputs in ({"a": 1}, {"a": 1}, {"a": 2}):
        stages.once("data", inputs, lambda: runs.append(1) or {})
    assert len(runs) == 2 and len(lines) == 1 and "data: done before, skipped" in lines[0]


def test_a_stage_that_was_interrupted_keeps_what_it_had(stages):
    """Its checkpoints are what the next try resumes from."""

    def interrupted():
        (stages.output / "sft" / "checkpoint").write_text("step 250")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stages.once("sft", {"a": 1}, interrupted)
    seen = []
    stages.once("sft", {"a": 1}, lambda: seen.append((stages.output / "sft" / "checkpoint").read_text()) or {})
    assert seen == ["step 250"]


def test_a_folder_with_somebody_elses_files_is_not_touched(stages):
    mine = stages.output / "data" / "thesis.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("three years of work")
    with pytest.raises(BadInput, match=r"holds files that are not the quickstart's; give another --output\."):
        stages.once("data", {"a": 1}, dict)
    assert mine.read_text() == "three years of work"
