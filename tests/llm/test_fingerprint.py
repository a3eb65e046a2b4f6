"""One name for a model: it changes with weights, config, tokenizer and chat template, and with nothing else."""

import os
import shutil
from pathlib import Path

import pytest

from sp3f_verl.errors import BadInput
from sp3f_verl.llm.fingerprint import earlier_version, fingerprint, model_digest


@pytest.fixture
def copy(tiny_model, tmp_path):
    return shutil.copytree(tiny_model, tmp_path / "elsewhere")


def test_a_copy_under_another_name_is_the_same_model(tiny_model, copy):
    assert model_digest(copy) == model_digest(tiny_model) == fingerprint(tiny_model).partition("@")[2]
    assert fingerprint(copy) == f"elsewhere@{model_digest(copy)}"
    (copy / "README.md").write_text("of no account")
    (copy / "training_log.csv").write_text("of no account")
    assert model_digest(copy) == model_digest(tiny_model)


@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja", "additional_chat_templates/a.jinja"],
)
def test_each_part_of_a_model_has_a_part_in_its_name(tiny_model, copy, name):
    file = copy / name
    file.parent.mkdir(exist_ok=True)
    content = bytearray(file.read_bytes() if file.is_file() else b" ")
    content[-1] ^= 1  # of the same size
    file.write_bytes(content)
    assert model_digest(copy) != model_digest(tiny_model)


def test_a_folder_is_read_once_until_it_changes(copy, monkeypatch):
    opened = []
    read = Path.open
    monkeypatch.setattr(Path, "open", lambda path, *rest: opened.append(path) or read(path, *rest))
    assert len({model_digest(copy) for _ in range(100)}) == 1
    files = len(opened)
    assert 0 < files <= len(list(copy.iterdir()))
    os.utime(copy / "config.json", ns=(1, 1))
    model_digest(copy)
    assert len(opened) == 2 * files


def test_adapters_shards_and_names_of_the_hub(copy, tmp_path):
    shards = tmp_path / "actor"
    shards.mkdir()
    (shards / "model_world_size_1_rank_0.pt").write_bytes(b"weights")
    names = {model_digest("org/a"), model_digest("org/b"), model_digest("org/b", copy), model_digest(shards)}
    assert len(names) == 4 and model_digest("org/a") == "org/a" == fingerprint("org/a")
    assert fingerprint("org/b", copy) == f"org/b+{fingerprint(copy)}"
    with pytest.raises(BadInput, match=r"neither a config\.json"):
        fingerprint(shards)


def test_what_an_earlier_version_kept_is_known(copy):
    assert earlier_version("0" * 64) and not earlier_version(model_digest(copy)) and not earlier_version("org/a")
