"""A self-play run that is killed with SIGKILL anywhere, and started again, is the run that was never killed.

With the real record, store, triplets and tracker, and without workers: a run takes a second. tests/e2e/test_selfplay.py
kills a whole one while it saves.
"""

import json
import sqlite3
from pathlib import Path

import pytest

from helpers.selfplay_without_workers import noted, run
from sp3f_verl.data.files import read_parquet
from sp3f_verl.quickstart.habits import make
from sp3f_verl.training.objective_record import ObjectiveRecord

ROWS, HELD_OUT, ITERATIONS = 24, 6, 3


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("habits"), rows=ROWS, held_out=HELD_OUT, steps=1)


@pytest.fixture(scope="module")
def unbroken(data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("unbroken")
    assert run(data, folder) == 0
    return folder


def left_behind(folder: Path) -> dict:
    """Everything that a later run or a reader finds."""
    place = folder / "checkpoints" / "selfplay"
    with sqlite3.connect(place / "responses.sqlite") as connection:
        responses = dict(connection.execute("SELECT key, value FROM answers"))
    iterations = {}
    for t in range(ITERATIONS):
        home = place / f"iteration_{t}"
        tables = [read_parquet(home / f"{split}.parquet") for split in ("train", "validation")]
        iterations[t] = (json.loads((home / "manifest.json").read_text()), tables)
    return {
        "responses": responses,
        "iterations": iterations,
        "final": json.loads((place / "final.json").read_text()),
        "tracker": (folder / "checkpoints" / "latest_checkpointed_iteration.txt").read_text(),
    }


def trained(folder: Path) -> dict[int, list]:
    """step -> (iteration, batch); of a step that was trained again after a kill, the last time."""
    return {step: rest for step, *rest in noted(folder, "trained")}


def test_the_run_itself(unbroken):
    """What the kills below are compared with has all that they could lose."""
    state, steps = left_behind(unbroken), trained(unbroken)
    assert len(state["responses"]) == len(noted(unbroken, "asked"))
    assert len(state["responses"]) == ITERATIONS * (ROWS + HELD_OUT) + (ITERATIONS + 1) * HELD_OUT
    dropped = [manifest["dropped"]["train"].get("truncated", 0) for manifest, _ in state["iterations"].values()]
    assert sum(dropped) > 0 and sorted(steps) == list(range(1, state["final"]["step"] + 1))
    assert {iteration for iteration, _ in steps.values()} == {0, 1, 2}
    record = ObjectiveRecord.read(unbroken / "checkpoints")
    assert (record.loss, record.roles, record.settings["beta"]) == ("tspin", ("real", "generated", "proto"), 0.1)


@pytest.mark.parametrize(
    "kills",
    [
        [("response", 1)],
        [("response", 20)],  # training rows of iteration 0
        [("response", ROWS + 2)],  # its validation rows
        [("response", ROWS + 2 * HELD_OUT + 5)],  # of iteration 1
        [("step", 1)],  # before any checkpoint
        [("step", 3)],
        [("step", 4)],  # after a checkpoint inside an iteration
        [("step", 6)],
        [("save", 2)],  # the folder is there and empty
        [("tracker", 2)],  # everything is there, and the tracker empty
        [("save", 6)],
        [("tracker", 6)],
        [("response", 7), ("response", 9), ("step", 3), ("save", 4), ("step", 1), ("tracker", 6), ("response", 3)],
    ],
    ids=lambda kills: ", ".join(f"{event} {number}" for event, number in kills),
)
def test_killed_and_started_again_it_ends_as_the_unbroken_run(kills, data, unbroken, tmp_path):
    for kill in kills:
        assert run(data, tmp_path, kill) == -9, f"it was over before {kill}"
    assert run(data, tmp_path) == 0
    assert left_behind(tmp_path) == left_behind(unbroken)
    assert trained(tmp_path) == trained(unbroken), "batches of the unbroken run, each once, in its order"
    assert noted(tmp_path, "asked") == noted(unbroken, "asked"), "nothing that was finished is asked again"


def test_a_finished_run_starts_nothing(data, unbroken, tmp_path):
    import shutil

    folder = shutil.copytree(unbroken, tmp_path / "copy")
    started = len(noted(folder, "started"))
    # the paths in run.json and the settings are the copy's: the folder may be moved with its checkpoints
    assert run(data, folder) == 0
    assert len(noted(folder, "started")) == started == 1, "no worker, and no server"
    assert noted(folder, "asked") == noted(unbroken, "asked") and trained(folder) == trained(unbroken)


def test_the_guard_ends_a_run_that_unlearns_the_annotated_responses_before_it_is_saved(data, tmp_path):
    """Of half a nat a step, the limit of 1 is passed in step 4, which is also to be saved."""
    assert run(data, tmp_path, falls=0.5) == 1
    assert sorted(trained(tmp_path)) == [1, 2, 3, 4]
    home = tmp_path / "checkpoints"
    assert (home / "latest_checkpointed_iteration.txt").read_text() == "2"
    logged = [json.loads(line)["data"] for line in (home / "metrics" / "000.jsonl").read_text().splitlines()]
    assert [entry["guard/real_logp_drop"] for entry in logged if "guard/real_logp_drop" in entry] == [0, 0.5, 1, 1.5]
    assert run(data, tmp_path, falls=0.01) == 0, "begun again at a lower rate, from the last good checkpoint"
