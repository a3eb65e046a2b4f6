"""What would end or spoil a run late is met before it starts: saving, loggers, attention, vocabulary, other data."""

import json
import shutil
from types import SimpleNamespace

import pytest

from helpers.recipes import compose_recipe
from sp3f_verl.data.files import write_parquet
from sp3f_verl.errors import BadInput
from sp3f_verl.verl_bridge import checkpoints, preflight_run, weight_sync

ROW = {"prompt": "2+2?", "chosen": "4", "rejected": "5"}


@pytest.fixture
def model(tmp_path, tiny_model):
    shutil.copytree(tiny_model, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture(params=["dpo", "sft", "grpo"])
def run(request, tmp_path, model):
    def composed(*overrides: str):
        write_parquet([ROW] * 8, tmp_path / "rows.parquet")
        key = "model.path" if request.param == "sft" else "actor_rollout_ref.model.path"
        names = ("train_files", "val_files")
        rows = [f"data.{name}={tmp_path / 'rows.parquet'}" for name in names]
        home = f"trainer.default_local_dir={tmp_path / 'run'}"
        return compose_recipe(request.param, "device=cpu", f"{key}={model}", home, *rows, *overrides)

    return composed


def change(file, **values):
    settings = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps({**settings, **values}))


def test_a_good_run_can_be_saved(run):
    for name in ("saving", "loggers", "attention", "positions", "vocabulary"):
        getattr(preflight_run, name)(run())


@pytest.mark.parametrize(
    "broken", [{"top_k": 5, "do_sample": False}, {"temperature": 0.2, "top_p": 0.5, "do_sample": False}]
)
def test_a_generation_config_that_cannot_be_written_again(run, model, broken):
    change(model / "generation_config.json", **broken)
    with pytest.raises(BadInput, match=r"no checkpoint could be saved: generation_config.json of"):
        preflight_run.saving(run())
    preflight_run.saving(run("trainer.save_freq=-1"))


def test_a_folder_that_cannot_be_made(run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be written; set it to another folder"):
        preflight_run.saving(run(f"trainer.default_local_dir={tmp_path / 'file' / 'run'}"))


def test_loggers(run):
    with pytest.raises(BadInput, match=r"trainer.logger=vemlp_wandb needs the package volcengine_ml_platform"):
        preflight_run.loggers(run("trainer.logger=[console,vemlp_wandb]"))
    with pytest.raises(BadInput, match="did you mean 'tensorboard'"):
        preflight_run.loggers(run("trainer.logger=[tensorbord]"))


def test_an_attention_that_the_class_does_not_take(run, model):
    from transformers import GPTJConfig

    GPTJConfig(n_embd=32, n_layer=1, n_head=2, vocab_size=300).save_pretrained(model)
    with pytest.raises(BadInput, match=r"config.json of .* names no architectures"):
        preflight_run.attention(run())
    change(model / "config.json", architectures=["GPTJForCausalLM"])
    with pytest.raises(BadInput, match=r"override_config.attn_implementation=sdpa; set it to eager"):
        preflight_run.attention(run())


def test_a_class_that_verl_cannot_load_or_shard(run, model):
    from transformers import BioGptConfig, GPT2Config

    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 300}
    GPT2Config(**sizes, architectures=["GPT2LMHeadModel"]).save_pretrained(model)
    with pytest.raises(BadInput, match=r"the architecture GPT2LMHeadModel, of which verl loads no head; write a name"):
        preflight_run.attention(run())
    BioGptConfig(**sizes, intermediate_size=32, architectures=["BioGptForCausalLM"]).save_pretrained(model)
    with pytest.raises(BadInput, match=r"BioGptForCausalLM does not name its layers.*transformer_layer_cls_to_wrap"):
        preflight_run.attention(run())


@pytest.mark.parametrize(
    ("scaling", "first"),
    [
        ({"rope_type": "dynamic", "factor": 2.0}, 64),
        ({"rope_type": "longrope", "original_max_position_embeddings": 32}, 32),
        ({"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 32}, None),  # the same for all
    ],
)
def test_positions_that_depend_on_the_longest_row(run, model, scaling, first, capsys):
    factors = {"short_factor": [1.0] * 4, "long_factor": [2.0] * 4} if scaling["rope_type"] == "longrope" else {}
    rope = {"rope_theta": 1e4, **scaling, **factors}
    change(model / "config.json", rope_parameters=rope, max_position_embeddings=64, head_dim=8, layer_types=None)
    if first is None:
        preflight_run.positions(run())
        return
    with pytest.raises(BadInput, match=rf"beside one of more than {first} tokens, and .*; set that to at most {first}"):
        preflight_run.positions(run())
    preflight_run.positions(run("sp3f.check.engine=warn"))
    assert f"set that to at most {first}." in capsys.readouterr().err


def test_tokens_beyond_the_embedding(run, model, capsys):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    change(model / "config.json", vocab_size=len(tokenizer))
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|late|>"]})
    tokenizer.save_pretrained(model)
    preflight_run.vocabulary(run())
    assert "a text that gives a token beyond them ends the run" in capsys.readouterr().err
    tokenizer.chat_template = tokenizer.chat_template.replace("<|im_start|>", "<|late|>")
    tokenizer.save_pretrained(model)
    with pytest.raises(BadInput, match=f"has {len(tokenizer)} tokens, the embedding of .* {len(tokenizer) - 1} rows"):
        preflight_run.vocabulary(run())


def checkpoint(folder, step):
    for name in ("", "actor"):
        (folder / f"global_step_{step}" / name).mkdir(parents=True, exist_ok=True)
        (folder / f"global_step_{step}" / name / "model_world_size_1_rank_0.pt").write_text("")
    (folder / "latest_checkpointed_iteration.txt").write_text(str(step))


def test_a_checkpoint_goes_on_in_the_data_that_it_was_begun_with(run, tmp_path):
    config = run()
    preflight_run.same_data(config)
    write_parquet([ROW] * 9, tmp_path / "rows.parquet")
    preflight_run.same_data(config)  # nothing is saved yet: the run begins anew
    checkpoint(tmp_path / "run", 3)
    preflight_run.same_data(config)
    with pytest.raises(BadInput, match=r"checkpoint of step 3 in .* data.train_files of other rows; set that back"):
        preflight_run.same_data(run())
    write_parquet([ROW] * 9, tmp_path / "rows.parquet")
    preflight_run.same_data(config)
    config.data.train_batch_size += 1
    with pytest.raises(BadInput, match=r"data.train_batch_size of \d+, not \d+"):
        preflight_run.same_data(config)
    (tmp_path / "run" / preflight_run.RECORD).unlink()  # begun by an earlier version
    preflight_run.same_data(config)
    assert not (tmp_path / "run" / preflight_run.RECORD).exists()


@pytest.mark.parametrize("inside", ["", "actor"])
def test_checkpoints_on_disk_are_those_until_the_one_resumed_from(tmp_path, inside):
    for step in (9, 10, 2, 11):
        checkpoint(tmp_path, step)
    (tmp_path / "global_step_5").mkdir()  # without weights: removed before
    saved = checkpoints.saved_until(str(tmp_path / "global_step_10" / inside))
    assert saved == [str(tmp_path / f"global_step_{step}" / inside) for step in (2, 9, 10)]
    assert checkpoints.saved_until(str(tmp_path / "elsewhere")) == []


def test_the_buffer_of_a_weight_sync_holds_the_largest_weight():
    import torch
    from verl.workers.config.rollout import CheckpointEngineConfig

    module = torch.nn.ModuleList([torch.nn.Embedding(49_152, 576, device="meta"), torch.nn.Linear(8, 8)])
    settings = CheckpointEngineConfig(update_weights_bucket_megabytes=64)
    weight_sync.widen(settings, weight_sync.largest(module))
    assert settings.update_weights_bucket_megabytes == 108  # 49,152 x 576 x 4 bytes
    weight_sync.widen(settings, 5)
    assert settings.update_weights_bucket_megabytes == 108
    assert weight_sync.largest(SimpleNamespace(parameters=list)) == 0
