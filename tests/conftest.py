"""Fixtures shared by the tests."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    """A model folder in Hugging Face layout, with a chat template; 15 k parameters and no training."""
    from sp3f_verl.quickstart.model import build_model

    folder = tmp_path_factory.mktemp("tiny") / "model"
    size = {"vocabulary": 300, "hidden": 32, "intermediate": 32, "layers": 1, "heads": 1, "kv_heads": 1}
    build_model(["What is 7+5?", "7+5=12"] * 3, {**size, "positions": 64}, 1, folder)
    return folder
