"""What the first checkpoint would meet after hours is met before the run starts."""

import json
import shutil
from collections import namedtuple

import pytest

from helpers.recipes import compose_recipe
from sp3f_verl.errors import BadInput
from sp3f_verl.verl_bridge.preflight import saving as preflight_saving

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def model(tmp_path, tiny_model):
    shutil.copytree(tiny_model, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture(params=["dpo", "sft"])
def run(request, tmp_path, model):
    def composed(*overrides: str):
        key = "model.path" if request.param == "sft" else "actor_rollout_ref.model.path"
        home = f"trainer.default_local_dir={tmp_path / 'run'}"
        return compose_recipe(request.param, "device=cpu", f"{key}={model}", home, *overrides)

    return composed


def change(file, **values):
    settings = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps({**settings, **values}))


def test_a_good_run_can_be_saved_and_leaves_nothing(run, tmp_path):
    preflight_saving.saving(run())
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.parametrize(
    "broken", [{"temperature": 0.2, "top_p": 0.5, "do_sample": False}, {"num_return_sequences": 4, "do_sample": False}]
)
def test_a_generation_config_that_cannot_be_written_again(run, model, broken):
    change(model / "generation_config.json", **broken)
    with pytest.raises(BadInput, match=r"no checkpoint could be saved: generation_config.json of"):
        preflight_saving.saving(run())
    never = run("trainer.save_freq=-1")
    if never.sp3f.trainer == "sft_trainer":  # verl's SFT trainer saves its last step all the same
        with pytest.raises(BadInput, match=r"generation_config\.json"):
            preflight_saving.saving(never)
    else:
        preflight_saving.saving(never)


def test_a_folder_that_cannot_be_made(run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match=r"cannot be written \(Not a directory\); set it to another folder"):
        preflight_saving.saving(run(f"trainer.default_local_dir={tmp_path / 'file' / 'run'}"))


def test_a_disk_that_gives_back_something_else(run, monkeypatch):
    import safetensors.torch

    monkeypatch.setattr(safetensors.torch, "load_file", lambda file: {})
    with pytest.raises(BadInput, match="is another weight once it is saved to"):
        preflight_saving.saving(run())


def test_a_class_that_verl_does_not_export(run, model):
    """Its manager looks for ForCausalLM in the name, and raises at the first checkpoint."""
    from transformers import GPT2Config

    GPT2Config(n_embd=32, n_layer=1, n_head=2, vocab_size=300, architectures=["GPT2LMHeadModel"]).save_pretrained(model)
    with pytest.raises(BadInput, match=r"exports no GPT2LMHeadModel of .*checkpoint.save_contents=\[model,"):
        preflight_saving.saving(run())
    config = run()
    key = "checkpoint" if "checkpoint" in config else "actor_rollout_ref.actor.checkpoint"
    preflight_saving.saving(run(f"{key}.save_contents=[model,optimizer,extra]"))


def test_a_disk_without_room(run, tmp_path, monkeypatch, capsys):
    config = run()
    monkeypatch.setattr(preflight_saving, "bytes_of", lambda *_: 5_000_000_000)
    for free, said in ((20e9, ""), (12e9, "takes 5.0 GB, and"), (4e9, None)):
        monkeypatch.setattr(preflight_saving.shutil, "disk_usage", lambda _, free=free: Usage(0, 0, free))
        if said is None:
            with pytest.raises(BadInput, match=r"takes 5.0 GB, and .* has 4.0 GB free; make room, set"):
                preflight_saving.saving(config)
        else:
            preflight_saving.saving(config)
            told = capsys.readouterr().err
            assert said in told and bool(said) == bool(told)
    (tmp_path / "run" / preflight_saving.TRACKER).write_text("3")
    preflight_saving.saving(config)  # older checkpoints are removed first
    assert "5.0 GB" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("recipe", "numbers"),
    [
        ("grpo", 4),  # shards, export, and Adam's two
        ("tspin", 3),  # RMSprop keeps one
        ("croco", 2),  # of an adapter next to nothing, but the whole model in the shards and merged
        ("croco_sft", 1),  # shards of the adapter alone
    ],
)
def test_what_a_checkpoint_takes(recipe, numbers):
    assert preflight_saving.bytes_of(compose_recipe(recipe, "device=cpu"), 1000) == 4000 * numbers
