"""From the recorded iterations and the step of a checkpoint: which iteration goes on, and what is refused."""

import json

import pytest

from sp3f_verl.errors import BadInput
from sp3f_verl.training.selfplay.record import IterationManifest, Record

IDENTITY = {"model": "m", "rows": {"train": "r"}, "seed": 42}


@pytest.fixture
def record(tmp_path) -> Record:
    """Iterations 0 (steps 1 to 10), 1 (11 to 18) and 2 (19 to 24) were begun."""
    record = Record(tmp_path / "selfplay", IDENTITY)
    record.open()
    for iteration, start, steps in ((0, 0, 10), (1, 10, 8), (2, 18, 6)):
        record.write(iteration, start_step=start, steps=steps, policy=f"p{iteration}")
    return record


@pytest.mark.parametrize(
    ("step", "iteration"), [(0, 0), (1, 0), (9, 0), (10, 1), (11, 1), (17, 1), (18, 2), (23, 2), (24, 3)]
)
def test_the_iteration_of_a_checkpoint(record, step, iteration):
    assert record.resume(step) == iteration
    kept = [number for number in range(4) if record.manifest(number)]
    assert kept == list(range(min(iteration, 2) + 1)), "what came after that checkpoint is another run's now"
    aside = sorted(place.name for place in record.folder.glob("*.old-*"))
    assert aside == [f"iteration_{number}.old-0" for number in range(iteration + 1, 3)], "and nothing is deleted"


def test_a_step_without_a_record_is_refused(record):
    with pytest.raises(BadInput, match="step 25 belongs to no iteration"):
        record.resume(25)


def test_writing_adds_and_keeps(record):
    record.write(1, margin=0.5)
    assert record.manifest(1) == IterationManifest(iteration=1, start_step=10, steps=8, policy="p1", margin=0.5)
    assert record.final_step() is None
    record.finish(24)
    record.resume(24)
    assert record.final_step() == 24
    record.resume(0)
    assert record.final_step() is None, "a run that begins again is not over"


def test_the_folder_of_another_run_is_refused(record):
    Record(record.folder, dict(IDENTITY))
    with pytest.raises(BadInput, match=r"seed=42, not 43.*default_local_dir"):
        Record(record.folder, {**IDENTITY, "seed": 43})
    assert json.loads((record.folder / "run.json").read_text()) == IDENTITY
    (record.folder / "run.json").write_text(json.dumps({**IDENTITY, "model": "0" * 64}))
    with pytest.raises(BadInput, match=r"that an earlier version began.*end it with that version"):
        Record(record.folder, IDENTITY)
