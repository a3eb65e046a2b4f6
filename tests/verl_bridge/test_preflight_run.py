"""What would end or spoil a run late is met before it starts: loggers, attention, vocabulary, other data."""

import json
import shutil
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from helpers.recipes import compose_recipe
from sp3f_verl.data.files import write_parquet
from sp3f_verl.errors import BadInput
from sp3f_verl.verl_bridge.engine import checkpoints, weight_sync
from sp3f_verl.verl_bridge.preflight import run as preflight_run

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


def test_a_good_run_passes(run):
    for name in ("loggers", "attention", "adapter", "longest_row", "vocabulary"):
        getattr(preflight_run, name)(run())


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
    key = "actor_rollout_ref.model" if "actor_rollout_ref" in run() else "model"
    with pytest.raises(
        BadInput, match=r"attn_implementation=flash_attention \(did you mean 'flash_attention_.'\?\); use"
    ):
        preflight_run.attention(run(f"{key}.override_config.attn_implementation=flash_attention"))


def test_a_target_of_lora_that_the_model_has_not(run):
    key = "actor_rollout_ref.model" if "actor_rollout_ref" in run() else "model"
    for good in ("all-linear", "[q_proj,v_proj]", "'.*layers.0.*'", "[model.layers.0.mlp.up_proj]"):
        preflight_run.adapter(run(f"{key}.lora_rank=4", f"{key}.target_modules={good}"))
    preflight_run.adapter(run(f"{key}.target_modules=[qproj]"))  # without LoRA, nothing reads them
    for bad, words in (
        ("[q_proj,vproj]", r"has no 'vproj' \(did you mean 'v_proj'\?\); give all-linear, or a list of"),
        ("all_linear", r"has no 'all_linear' \(did you mean 'all-linear'\?\)"),
    ):
        with pytest.raises(BadInput, match=words):
            preflight_run.adapter(run(f"{key}.lora_rank=4", f"{key}.target_modules={bad}"))


@pytest.mark.usefixtures("unchanged_environment")
def test_vllms_cache_on_a_cpu_holds_a_whole_sequence(tmp_path, monkeypatch):
    from transformers import LlamaConfig

    LlamaConfig(  # Llama 3.2 1B: 64 KiB a token in fp32, 8 GiB for its whole context
        hidden_size=2048, num_hidden_layers=16, num_attention_heads=32, num_key_value_heads=8, head_dim=64,
        max_position_embeddings=131_072,
    ).save_pretrained(tmp_path)  # fmt: skip
    monkeypatch.setattr(preflight_run.os, "sysconf", lambda name: 2**30 if name == "SC_PAGE_SIZE" else 15)
    node, lengths = "actor_rollout_ref", ["data.max_prompt_length=256", "data.max_response_length=128"]

    def cache(*overrides: str) -> str:
        monkeypatch.delenv(preflight_run.KV_VARIABLE, raising=False)
        preflight_run.kv_cache(
            compose_recipe("grpo", "device=cpu", f"{node}.model.path={tmp_path}", *lengths, *overrides)
        )
        return preflight_run.os.environ[preflight_run.KV_VARIABLE]

    with pytest.raises(BadInput, match=r"131072 tokens.* takes 8 GiB .* has 15 GiB; set .*max_model_len=384, or VLLM"):
        cache()
    assert [cache(f"{node}.rollout.max_model_len={tokens}") for tokens in (384, 40_000)] == ["1", "3"]
    monkeypatch.setenv(preflight_run.KV_VARIABLE, "12")
    preflight_run.kv_cache(compose_recipe("grpo", "device=cpu", f"{node}.model.path={tmp_path}"))
    assert preflight_run.os.environ[preflight_run.KV_VARIABLE] == "12"


def test_only_learned_positions_come_to_an_end(run, model):
    from transformers import OPTConfig

    config = run()
    node, _ = preflight_run.model_of(config)
    assert preflight_run.positions(node) is None  # rotary ones go on
    OPTConfig(max_position_embeddings=96).save_pretrained(model)
    assert preflight_run.positions(node) == 96


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
        preflight_run.longest_row(run())
        return
    with pytest.raises(BadInput, match=rf"beside one of more than {first} tokens, and .*; set that to at most {first}"):
        preflight_run.longest_row(run())
    preflight_run.longest_row(run("sp3f.check.engine=warn"))
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
    config.data.train_batch_size -= 1
    rates = config.optim if "optim" in config else config.actor_rollout_ref.actor.optim
    rates.lr *= 2  # the checkpoint's own would be put back in silence
    with pytest.raises(BadInput, match=r"goes on with .*optim.lr of [\d.e-]+, not"):
        preflight_run.same_data(config)
    rates.lr /= 2
    preference = "preference" in config.sp3f
    key = "sp3f.preference.max_length" if preference else "data.max_prompt_length"
    if preference or "max_prompt_length" in config.data:  # what is left out by length shifts what comes after it
        OmegaConf.update(config, key, 2 * OmegaConf.select(config, key))
        with pytest.raises(BadInput, match=rf"{key} of \d+, not \d+; set that back"):
            preflight_run.same_data(config)
        kept = json.loads((tmp_path / "run" / preflight_run.RECORD).read_text())
        del kept[key.removeprefix("data.")]  # as an earlier version recorded
        (tmp_path / "run" / preflight_run.RECORD).write_text(json.dumps(kept))
        preflight_run.same_data(config)
    (tmp_path / "run" / preflight_run.RECORD).unlink()  # begun by an earlier version
    preflight_run.same_data(config)
    assert not (tmp_path / "run" / preflight_run.RECORD).exists()


def test_a_checkpoint_that_is_not_all_that_the_run_takes(run, tmp_path):
    config = run()
    preflight_run.goes_on(config)  # nothing is saved yet
    inside = "actor" if "actor_rollout_ref" in config else ""
    place = tmp_path / "run" / "global_step_3" / inside
    place.mkdir(parents=True)
    (tmp_path / "run" / "latest_checkpointed_iteration.txt").write_text("3")
    for name in ("model", "optim", "extra_state"):
        (place / f"{name}_world_size_1_rank_0.pt").write_text("")
    preflight_run.goes_on(config)
    key = "actor_rollout_ref.actor.checkpoint" if inside else "checkpoint"
    only = run(f"{key}.save_contents=[hf_model,optimizer]")
    with pytest.raises(BadInput, match=r"checkpoint.load_contents leaves out model and extra, without which"):
        preflight_run.goes_on(only)
    with pytest.raises(BadInput, match=r"saved by 1 workers, and there are 2; start as many, or begin anew"):
        preflight_run.goes_on(run("trainer.n_gpus_per_node=2"))
    elsewhere = ["trainer.resume_mode=resume_path", f"trainer.resume_from_path={tmp_path / 'gone' / 'global_step_2'}"]
    with pytest.raises(BadInput, match=r"resume_from_path=.*gone/global_step_2 does not exist"):
        preflight_run.goes_on(run(*elsewhere))
    (place / "optim_world_size_1_rank_0.pt").unlink()
    with pytest.raises(BadInput, match=r"has no optimizer \(optim_world_size_1_rank_\*.pt\); put it back"):
        preflight_run.goes_on(config)
    shutil.rmtree(tmp_path / "run" / "global_step_3")
    with pytest.raises(BadInput, match=r"names step 3, and global_step_3 is gone; write a step that is there"):
        preflight_run.goes_on(config)
    preflight_run.goes_on(run("trainer.resume_mode=disable"))


@pytest.mark.parametrize("inside", ["", "actor", "critic"])
def test_a_run_that_goes_on_keeps_as_many_checkpoints_as_one_that_never_stopped(tmp_path, monkeypatch, inside):
    """verl's own manager, of an actor, a critic or an SFT model, without a model."""
    from verl.utils.checkpoint.fsdp_checkpoint_manager import FSDPCheckpointManager

    monkeypatch.setenv("SP3F_DEVICE", "cpu")
    monkeypatch.setattr(FSDPCheckpointManager, "load_checkpoint", lambda self, local_path: None)
    checkpoints.install()

    def saved(step: int):
        place = tmp_path / f"global_step_{step}" / inside
        place.mkdir(parents=True)
        (place / "model_world_size_1_rank_0.pt").write_text("")
        return str(place)

    for attempt in range(3):
        manager = object.__new__(FSDPCheckpointManager)
        manager.previous_saved_paths = []
        if attempt:
            manager.load_checkpoint(str(tmp_path / f"global_step_{2 * attempt}" / inside))
        for step in (2 * attempt + 1, 2 * attempt + 2):
            manager.ensure_checkpoint_capacity(2)
            manager.register_checkpoint(saved(step), 2)
    left = {int(checkpoints.step_of(str(file))) for file in tmp_path.rglob("model_world_size_*")}
    assert left == {5, 6}


@pytest.mark.parametrize("module", ["transformers.models.qwen3", "transformers_modules.folder.modeling"])
def test_a_class_of_transformers_is_saved_without_the_names_of_code(module):
    """FSDP2 and peft put classes of their own around it."""
    own = type("Own", (), {"__module__": module, "config": SimpleNamespace(auto_map={"AutoConfig": "a.B"})})
    model = type("FSDPOwn", (own,), {"__module__": "torch.distributed.fsdp"})()
    checkpoints.without_code_of_others(SimpleNamespace(get_base_model=lambda: model))
    assert hasattr(own.config, "auto_map") == module.startswith("transformers_modules")


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
