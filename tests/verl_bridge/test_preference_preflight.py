"""A preference run that cannot work is refused in one sentence before Ray starts; recipes carry the papers' values."""

import math

import pytest

from helpers.recipes import compose_recipe
from sp3f_verl.data.files import write_json, write_parquet
from sp3f_verl.errors import BadInput
from sp3f_verl.llm.fingerprint import model_digest
from sp3f_verl.losses.objective import Objective
from sp3f_verl.training.objective_record import ObjectiveRecord
from sp3f_verl.verl_bridge.preflight import callback as preflight
from sp3f_verl.verl_bridge.preflight import preference as preflight_preference

pytestmark = pytest.mark.usefixtures("unchanged_environment")
ROW = {"prompt": "2+2?", "chosen": "4", "rejected": "5"}


@pytest.fixture
def run(tmp_path, tiny_model):
    """Overrides that pass every check; a test breaks one."""
    write_parquet([{**ROW, "prompt": f"{i}+2?"} for i in range(16)], tmp_path / "rows.parquet")
    return [
        "device=cpu",
        f"data.train_files={tmp_path / 'rows.parquet'}",
        f"data.val_files={tmp_path / 'rows.parquet'}",
        f"actor_rollout_ref.model.path={tiny_model}",
        f"trainer.default_local_dir={tmp_path / 'run'}",
    ]


def check(*overrides: str, recipe: str = "dpo") -> None:
    preflight.Preflight().on_job_start(compose_recipe(recipe, *overrides))


@pytest.mark.parametrize("recipe", ["dpo", "croco"])
def test_a_good_run_passes_with_and_without_validation(run, recipe):
    check(*run, recipe=recipe)
    check(*run, "data.val_files=null", recipe=recipe)


OBJECTIVE = "sp3f.preference.objective"
ACTOR, ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["data.train_files=missing.parquet"], "data.train_files: missing.parquet does not exist"),
        (["data.train_files=null"], "data.train_files is empty"),
        (
            ["data.train_batch_size=32"],
            "data.train_files has 16 usable rows, less than a batch of data.train_batch_size=32",
        ),
        ([f"{OBJECTIVE}.loss_type=sigmoyd"], "did you mean 'sigmoid'"),
        ([f"{OBJECTIVE}.beta=0"], "beta=0"),
        ([f"+{OBJECTIVE}.gamma=1"], f"{OBJECTIVE}.gamma is unknown"),
        ([f"{OBJECTIVE}.loss=tspin", f"{OBJECTIVE}.loss_type=logistic"], "no column 'real'"),
        (["sp3f.preference.max_length=1"], "max_length=1"),
        (["sp3f.guard.chosen_logp_drop=-1"], "sp3f.guard.chosen_logp_drop=-1; set it to nats a token above 0"),
        (["trainer.v1.trainer_mode=sync"], "trainer_mode=sync"),
        (["trainer.n_gpus_per_node=3"], "not a multiple of the 3 workers"),
        ([f"{ACTOR}.ppo_micro_batch_size_per_gpu=5"], "does not divide the 16 prompts of a worker"),
        ([f"{ROLLOUT}.log_prob_use_dynamic_bsz=true"], "use_dynamic_bsz differ"),
        ([f"{ACTOR}.use_dynamic_bsz=true", f"{ACTOR}.ppo_max_token_len_per_gpu=1000"], "at least 1024"),
        (["actor_rollout_ref.model.path=/nowhere"], "does not exist"),
    ],
)
def test_settings_at_fault(run, overrides, sentence, capsys):
    with pytest.raises(SystemExit) as stop:
        check(*run, *overrides)
    error = capsys.readouterr().err
    assert stop.value.code == 1 and sentence in error
    assert error.startswith("sp3f_verl: ") and error.count("\n") == 1 and error.rstrip().endswith("."), error


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([{"prompt": "2+2?", "chosen": "4"}], "no column 'rejected'"),
        ([{**ROW, "rejected": "4"}], "1 sides_identical"),
        ([{**ROW, "chosen": ""}], "1 side_empty"),
        ([{**ROW, "chosen_score": math.nan}], "1 score_not_finite"),
    ],
)
def test_data_at_fault(run, rows, sentence, tmp_path, capsys):
    write_parquet(rows, tmp_path / "bad.parquet")
    with pytest.raises(SystemExit):
        check(*run, f"data.val_files={tmp_path / 'bad.parquet'}")
    error = capsys.readouterr().err
    assert sentence in error and "data.val_files" in error and error.count("\n") == 1


def test_the_reference_of_another_model_is_refused(run, tmp_path, tiny_model, capsys):
    manifest = tmp_path / "run" / "reference" / "train.json"
    write_json({"model": model_digest(str(tiny_model)), "rows": "r", "dtype": "fp32"}, manifest)
    check(*run)
    write_json({"model": "another", "rows": "r", "dtype": "fp32"}, manifest)
    with pytest.raises(SystemExit):
        check(*run)
    assert "keeps reference log-probs of another model" in capsys.readouterr().err
    check(*run, f"sp3f.preference.reference_dir={tmp_path / 'elsewhere'}")


def test_triplets_need_a_proto_where_history_counts(run, tmp_path, capsys):
    row = {"prompt": "2+2?", "real": "4", "generated": "5"}
    write_parquet([row] * 16, tmp_path / "real.parquet")
    files = [f"data.{name}={tmp_path / 'real.parquet'}" for name in ("train_files", "val_files")]
    tspin = [*run, *files, f"{OBJECTIVE}.loss=tspin", f"{OBJECTIVE}.loss_type=logistic"]
    check(*tspin, f"{OBJECTIVE}.beta=0")
    with pytest.raises(SystemExit):
        check(*tspin, f"{OBJECTIVE}.beta=0.1")
    assert "no column 'proto'" in capsys.readouterr().err


def test_the_papers_values():
    """SPEC 2e (CroCo) and 4e (multilingual DPO)."""
    croco, mdpo = (compose_recipe(recipe, "device=gpu") for recipe in ("croco", "mdpo"))
    for cfg in (croco, mdpo):
        objective = cfg.sp3f.preference.objective
        assert (objective.loss, objective.loss_type, objective.beta, objective.label_smoothing) == (
            "dpo",
            "sigmoid",
            0.1,
            0,
        )
        assert (cfg.sp3f.preference.max_length, cfg.trainer.total_epochs) == (4096, 1)
        assert cfg.actor_rollout_ref.actor.optim.lr == 5e-6
        assert cfg.actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu == 1
    model, optim = croco.actor_rollout_ref.model, croco.actor_rollout_ref.actor.optim
    assert (model.lora_rank, model.lora_alpha, len(model.target_modules)) == (16, 32, 7)
    assert (optim.lr_scheduler_type, optim.lr_warmup_steps_ratio, optim.weight_decay) == ("cosine", 0.05, 0.01)
    assert (croco.data.train_batch_size, croco.data.seed) == (64, 42)
    assert (mdpo.data.train_batch_size, mdpo.actor_rollout_ref.model.lora_rank) == (128, 0)


def test_a_checkpoint_goes_on_with_its_objective(run, tmp_path):
    ObjectiveRecord.of(Objective(beta=0.2)).write(tmp_path / "run")
    config = [*run, "trainer.val_before_train=false"]
    preflight_preference.same_objective(compose_recipe("dpo", *config))  # nothing is saved yet
    step = tmp_path / "run" / "global_step_3"
    (step / "actor").mkdir(parents=True)
    (step / "actor" / "model_world_size_1_rank_0.pt").write_text("")
    (tmp_path / "run" / "latest_checkpointed_iteration.txt").write_text("3")
    with pytest.raises(
        BadInput, match=r"step 3 in .* was trained with sp3f.preference.objective.beta=0.2, not 0.1; set"
    ):
        preflight_preference.same_objective(compose_recipe("dpo", *config))
    preflight_preference.same_objective(compose_recipe("dpo", *config, f"{OBJECTIVE}.beta=0.2"))
    with pytest.raises(BadInput, match=r"objective.loss=dpo, not simpo_ref"):
        preflight_preference.same_objective(compose_recipe("dpo", *config, f"{OBJECTIVE}.loss=simpo_ref"))
    with pytest.raises(BadInput, match=r"objective.mix=None, not {'dpo'"):
        preflight_preference.same_objective(
            compose_recipe("dpo", *config, f"{OBJECTIVE}.beta=0.2", f"{OBJECTIVE}.mix={{dpo: 1, nll: 0.2}}")
        )
