"""A self-play run that cannot work is refused in one sentence before Ray starts; recipes carry the papers' values."""

import json
import shutil

import pytest
from omegaconf import OmegaConf

from helpers.recipes import compose_recipe
from sp3f_verl.data.files import write_parquet
from sp3f_verl.errors import BadInput
from sp3f_verl.training.selfplay import rows
from sp3f_verl.training.selfplay.settings import SelfPlay
from sp3f_verl.verl_bridge.preflight import callback as preflight

pytestmark = pytest.mark.usefixtures("unchanged_environment")
ROW = {"prompt": "2+2?", "real": "4"}
SELFPLAY = "sp3f.selfplay"


@pytest.fixture
def run(tmp_path, tiny_model):
    """Overrides that pass every check; a test breaks one."""
    write_parquet([{**ROW, "prompt": f"{i}+2?"} for i in range(16)], tmp_path / "rows.parquet")
    return [
        "device=cpu",
        f"data.train_files={tmp_path / 'rows.parquet'}",
        f"data.val_files={tmp_path / 'rows.parquet'}",
        "sp3f.preference.max_length=64",
        "sp3f.selfplay.generation.max_tokens=32",
        f"actor_rollout_ref.model.path={tiny_model}",
        f"trainer.default_local_dir={tmp_path / 'run'}",
    ]


def check(*overrides: str, recipe: str = "tspin") -> None:
    preflight.Preflight().on_job_start(compose_recipe(recipe, *overrides))


def refused(capsys, *overrides: str, recipe: str = "tspin") -> str:
    with pytest.raises(SystemExit) as stop:
        check(*overrides, recipe=recipe)
    error = capsys.readouterr().err
    assert stop.value.code == 1 and error.startswith("sp3f_verl: ") and error.count("\n") == 1, error
    assert error.rstrip().endswith("."), error
    return error


@pytest.mark.parametrize("recipe", ["tspin", "spin"])
def test_a_good_run_passes_with_and_without_validation(run, recipe):
    check(*run, recipe=recipe)
    check(*run, "data.val_files=null", recipe=recipe)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["data.train_files=missing.parquet"], "data.train_files: missing.parquet does not exist"),
        (["data.train_files=null"], "data.train_files is empty"),
        (
            ["data.train_batch_size=32"],
            "data.train_files has 16 usable rows, less than a batch of data.train_batch_size=32",
        ),
        (["trainer.v1.trainer_mode=dpo"], "trainer_mode=dpo, but the recipe generates; set it to selfplay"),
        (
            ["sp3f.preference.objective.loss=dpo", "sp3f.preference.objective.loss_type=sigmoid"],
            "not a self-play loss",
        ),
        ([f"{SELFPLAY}.iterations=0"], f"{SELFPLAY}.iterations=0"),
        ([f"{SELFPLAY}.schedule.alpha=[1,0]"], "iteration 1 of sp3f.selfplay.schedule"),
        ([f"{SELFPLAY}.schedule.beta=[-0.1]"], "beta=-0.1"),
        ([f"{SELFPLAY}.generation.max_tokens=64"], "leaves no room for a prompt"),
        (["actor_rollout_ref.rollout.max_model_len=48"], "max_model_len=48 is less than"),
        (["sp3f.preference.max_length=65"], "has 64 positions"),
        (["trainer.total_training_steps=3"], "total_training_steps=3 has no part"),
        (["trainer.max_actor_ckpt_to_keep=1"], "max_actor_ckpt_to_keep=1"),
        (["trainer.resume_mode=resume_path", "trainer.resume_from_path=/a/b"], "global_step_<n>"),
        (["trainer.resume_mode=later"], "resume_mode=later"),
        (["trainer.n_gpus_per_node=2", "actor_rollout_ref.rollout.tensor_model_parallel_size=3"], "does not divide 2"),
        (["actor_rollout_ref.model.path=/nowhere"], "does not exist"),
    ],
)
def test_settings_at_fault(run, overrides, sentence, capsys):
    assert sentence in refused(capsys, *run, *overrides)


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        ([{"prompt": "2+2?", "answer": "4"}], "no column 'real'"),
        ([{**ROW, "real": " "}], "1 side_empty"),
        ([{"messages": [{"role": "user", "content": "2+2?"}]}], "1 side_does_not_end_with_the_assistant"),
    ],
)
def test_data_at_fault(run, bad, sentence, tmp_path, capsys):
    write_parquet(bad, tmp_path / "bad.parquet")
    error = refused(capsys, *run, f"data.val_files={tmp_path / 'bad.parquet'}")
    assert sentence in error and "data.val_files" in error


def test_a_checkpoint_without_its_record_is_refused(run, tmp_path, capsys):
    folder = tmp_path / "run"
    (folder / "global_step_8").mkdir(parents=True)
    (folder / "latest_checkpointed_iteration.txt").write_text("8")
    assert "checkpoint of step 8" in refused(capsys, *run)
    check(*run, "trainer.resume_mode=disable")


def test_the_template_must_end_as_generation_does(run, tmp_path, tiny_model):
    from transformers import AutoTokenizer

    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    cfg = compose_recipe("tspin", *run[:-2], f"actor_rollout_ref.model.path={model}", run[-1])
    sentence = []
    splits = rows.annotated(cfg, AutoTokenizer.from_pretrained(model), sentence.append)
    assert len(splits["train"]) == 16 and "16 annotated prompts; left out or cut: none" in sentence[0]
    settings = json.loads((model / "tokenizer_config.json").read_text())
    (model / "tokenizer_config.json").write_text(json.dumps({**settings, "eos_token": "<|endoftext|>"}))
    generation_config = json.loads((model / "generation_config.json").read_text())
    end = AutoTokenizer.from_pretrained(model).eos_token_id
    (model / "generation_config.json").write_text(json.dumps({**generation_config, "eos_token_id": end}))
    with pytest.raises(BadInput, match=r"ends a response with .* but generation ends with '<.endoftext.>'"):
        rows.annotated(cfg, AutoTokenizer.from_pretrained(model), sentence.append)


def test_the_papers_values():
    """SPEC 3e: T-SPIN, and SPIN's repository."""
    tspin, spin = (compose_recipe(recipe, "device=gpu") for recipe in ("tspin", "spin"))
    for cfg in (tspin, spin):
        optim = cfg.actor_rollout_ref.actor.optim
        assert (optim.optimizer, optim.weight_decay, optim.lr_warmup_steps_ratio) == ("RMSprop", 0.0, 0.1)
        assert cfg.data.train_batch_size == 64
        generation = cfg.sp3f.selfplay.generation
        assert (generation.temperature, generation.top_p) == (1.0, 1.0)
    settings = SelfPlay.read(OmegaConf.to_container(tspin.sp3f.selfplay, resolve=True))
    objective = tspin.sp3f.preference.objective
    assert (objective.loss, objective.loss_type, objective.alpha) == ("tspin", "logistic", 1.0)
    assert tspin.sp3f.preference.max_length == 2048 and objective.beta == 0.1
    assert objective.length_normalised is False and settings.iterations == 5 and settings.previous_iterations == 0
    assert [settings.scheduled("beta", t, 9) for t in range(5)] == [0.0, 0.1, 0.1, 0.1, 0.1]
    settings = SelfPlay.read(OmegaConf.to_container(spin.sp3f.selfplay, resolve=True))
    assert (settings.iterations, settings.epochs, settings.previous_iterations) == (4, 3, 1)
    assert [settings.scheduled("beta", t, 9) for t in range(4)] == [0.1, 0.1, 0.1, 5.0]
    changed = compose_recipe("tspin", "sp3f.preference.objective.beta=0.5", "actor_rollout_ref.actor.optim.lr=1e-5")
    settings = SelfPlay.read(OmegaConf.to_container(changed.sp3f.selfplay, resolve=True))
    assert [settings.scheduled("beta", t, 9) for t in range(3)] == [0.0, 0.5, 0.5], "the objective's own key works"
    assert settings.scheduled("lr", 0, 1e-5) == 1e-5, "and so does verl's"
    settings = SelfPlay.read(OmegaConf.to_container(spin.sp3f.selfplay, resolve=True))
    assert [settings.scheduled("lr", t, 9) for t in range(4)] == [5e-7, 5e-7, 1e-7, 1e-7]
    assert spin.sp3f.selfplay.generation.max_tokens == 256
