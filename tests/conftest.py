"""Fixtures shared by the tests."""

import gc
import os
from pathlib import Path

import hypothesis
import pytest

# The start of all processes (helpers/startup): by PYTHONPATH in those that tests start, and in this one.
_startup = str(Path(__file__).parent / "helpers" / "startup")
if _startup not in os.environ.get("PYTHONPATH", "").split(os.pathsep):
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [_startup, os.environ.get("PYTHONPATH")]))
gc.set_threshold(50_000, 20, 20)
# A deadline is a timed assert: on a busy machine it fails tests that are right.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

# Files of end-to-end runs from the longest to the shortest. xdist gives a process its next file while two tests of its
# last are still to run, so files of one test go out in pairs, and what is given late would run alone.
LONGEST_FIRST = ("selfplay", "sp3f", "judge", "preference", "cluster", "vllm_backend", "sft")


def pytest_collection_modifyitems(items):
    """The end-to-end runs, then the room with the longest of the other files, then what is short and ends together."""
    long = {item.path for item in items if item.get_closest_marker("e2e")}  # other rooms have files of the same names
    places = {path: LONGEST_FIRST.index(path.stem.removeprefix("test_")) for path in long}
    items.sort(key=lambda item: (places.get(item.path, len(LONGEST_FIRST)), item.path.parent.name != "verl_bridge"))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    """A model folder in Hugging Face layout, with a chat template; 15 k parameters and no training."""
    from sp3f_verl.quickstart.model import build_model

    folder = tmp_path_factory.mktemp("tiny") / "model"
    size = {"vocabulary": 300, "hidden": 32, "intermediate": 32, "layers": 1, "heads": 1, "kv_heads": 1}
    build_model(["What is 7+5?", "7+5=12"] * 3, {**size, "positions": 64}, 1, folder)
    return folder


@pytest.fixture(autouse=True)
def one_environment():
    """`datasets` with more than one process leaves a copy in os.environ's place; whoever kept the mapping, as rich
    does, would not see what a later test sets."""
    kept = os.environ
    yield
    os.environ = kept  # noqa: B003


@pytest.fixture
def unchanged_environment(monkeypatch):
    """The preflight tells Ray's workers what it found through these; they must not leak into other tests."""
    names = ("SP3F_DEVICE", "SP3F_LOGICAL_GPUS", "SP3F_CHECK_ENGINE", "VLLM_CPU_KVCACHE_SPACE")
    for name in names:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    yield
    for name in names:
        os.environ.pop(name, None)
