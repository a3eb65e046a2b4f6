"""verl's own keys: what a run would end in a stack for is one sentence with the key."""

import pytest
from omegaconf import OmegaConf

from helpers.recipes import compose_recipe
from sp3f_verl.errors import BadInput
from sp3f_verl.verl_bridge.preflight import keys as keys_module
from sp3f_verl.verl_bridge.preflight.keys import built, keys, never_learns
from sp3f_verl.verl_bridge.preflight.unread import unread

ACTOR, ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"


def config(**values):
    return OmegaConf.from_dotlist([f"{key}={value}" for key, value in values.items()])


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        (f"{ACTOR}.optim.lr", "tiny", "a number of at least 0"),
        (f"{ACTOR}.optim.lr", "-1e-6", "a number of at least 0"),
        (f"{ACTOR}.optim.lr", ".nan", "a number of at least 0"),
        (f"{ACTOR}.optim.lr_warmup_steps_ratio", "5", "at most 1"),
        (f"{ACTOR}.ppo_mini_batch_size", "0", "a whole number of at least 1"),
        (f"{ROLLOUT}.n", "2.5", "a whole number of at least 1"),
        (f"{ROLLOUT}.n", "true", "a whole number of at least 1"),
        (f"{ROLLOUT}.top_p", "0", "above 0 and at most 1"),
        (f"{ROLLOUT}.gpu_memory_utilization", "90", "above 0 and at most 1"),
        ("model.lora_alpha", "0", "a number above 0"),
        ("data.max_response_length", "-1", "a whole number of at least 1"),
        ("optim.lr_scheduler_type", "linear", "use one of constant, cosine"),
        (f"{ACTOR}.optim.lr_scheduler_type", "cosin", "did you mean 'cosine'"),
        (f"{ACTOR}.fsdp_config.mixed_precision.param_dtype", "fp8", "use one of 32, fp32"),
        (f"{ACTOR}.strategy", "fdsp2", "did you mean 'fsdp2'"),
        ("trainer.device", "tpu", "use one of cuda, npu, xpu, cpu"),
        ("trainer.total_epochs", "many", "a whole number of at least 1"),
        ("trainer.val_before_train", "perhaps", "is neither true nor false"),
        ("data.seed", "abc", "a whole number of at least 0"),
        (f"{ACTOR}.optim.lr", "1" + "0" * 400, "a number of at least 0"),
        ("data.train_max_samples", "two", "a whole number of at least 1, or -1 for all"),
        ("data.train_max_samples", "0", "a whole number of at least 1, or -1 for all"),
        ("data.val_max_samples", "null", "a whole number of at least 1, or -1 for all"),
        ("optim.betas", "[0.9]", "two numbers of at least 0 and below 1"),
        (f"{ACTOR}.optim.betas", "[0.9,2]", "two numbers of at least 0 and below 1"),
        ("model.lora_rank", "2.5", "a whole number of at least 0"),
        (f"{ACTOR}.kl_loss_type", "kll", "did you mean 'kl"),
        ("data.filter_overlong_prompts", "maybe", "is neither true nor false"),
        ("data.truncation", "middle", "use one of error, left, right"),
        ("engine.dtype", "bf17", "did you mean 'bf16'"),
        ("algorithm.adv_estimator", "GRPO", "use one of gae, grpo"),
        (f"{ACTOR}.loss_agg_mode", "mean", "use one of token-mean"),
        (f"{ROLLOUT}.name", "vlm", "did you mean 'vllm'"),
        (f"{ROLLOUT}.dtype", "fp8x", "use one of auto, half"),
        (f"{ROLLOUT}.load_format", "dumy", "did you mean 'dummy'"),
        ("data.num_workers", "-2", "a whole number of at least 0"),
        ("data.dataloader_num_workers", "two", "a whole number of at least 0"),
        ("trainer.max_ckpt_to_keep", "abc", "a whole number of at least 1, or -1 for all"),
        ("trainer.max_actor_ckpt_to_keep", "0", "a whole number of at least 1, or -1 for all"),
        ("optim.clip_grad", "0", "with which verl learns nothing; give a number above 0, or inf"),
        (f"{ACTOR}.optim.clip_grad", "null", "with which verl ends; give a number above 0, or inf"),
        ("data.enable_thinking_default", "none", "is neither true nor false"),
        ("data.apply_chat_template_kwargs", "abc", "is no mapping; write"),
        ("engine.forward_only", "true", "use one of False"),
        ("trainer.use_v1", "false", "use one of True"),
        ("trainer.save_freq", "0", "by which verl's SFT trainer divides; give -1 for never"),
    ],
)
def test_a_value_that_verl_cannot_use(key, value, words):
    with pytest.raises(BadInput) as failure:
        keys(config(**{key: value}))
    assert str(failure.value).startswith(f"{key}={OmegaConf.select(config(**{key: value}), key)}")
    assert words in str(failure.value)


@pytest.mark.parametrize("key", keys_module.NEEDED)
def test_what_verl_has_no_default_for_is_not_null(key):
    with pytest.raises(BadInput, match=rf"^{key} is null, for which verl has no default; give a .*number"):
        keys(config(**{key: "null"}))


def test_the_sft_trainer_may_save_after_each_epoch():
    keys(config(**{"trainer.save_freq": "after_each_epoch"}))
    with pytest.raises(BadInput, match=r"save_freq=often; give a whole number of at least -1, or after_each_epoch\."):
        keys(config(**{"trainer.save_freq": "often"}))
    with pytest.raises(BadInput, match=r"save_freq=after_each_epoch; give a whole number of at least -1\."):
        keys(config(**{"trainer.save_freq": "after_each_epoch", f"{ROLLOUT}.n": 2}))


def test_parts_of_a_checkpoint_and_optimisers_are_there():
    with pytest.raises(
        BadInput, match=r"^checkpoint.save_contents=optimiser \(did you mean 'optimizer'\?\); use one of"
    ):
        keys(OmegaConf.create({"checkpoint": {"save_contents": ["model", "optimiser", "extra"]}, "optim": {}}))
    optimiser = {"optimizer": "AdamZ", "optimizer_impl": "torch.optim"}
    with pytest.raises(BadInput, match=r"^optim.optimizer=AdamZ \(did you mean 'Adam.?'\?\); use one of"):
        keys(OmegaConf.create({"optim": optimiser}))
    keys(OmegaConf.create({"optim": {**optimiser, "optimizer_impl": "bitsandbytes.optim"}}))


@pytest.mark.parametrize(
    ("recipe", "override", "words"),
    [
        ("grpo", "+actor_rollout_ref.actor.clip_ration=0.1", "unexpected keyword argument 'clip_ration'"),
        ("grpo", "actor_rollout_ref.rollout.mode=sync", "Rollout mode 'sync' has been removed"),
        ("grpo", "actor_rollout_ref.rollout.enforce_eager=maybe", "neither true nor false"),
        ("dpo", "actor_rollout_ref.actor.fsdp_config.fsdp_size=abc", "give a number"),
        ("sft", "+optim.warmup=1", "unexpected keyword argument 'warmup'"),
        ("sft", "model.enable_gradient_checkpointing=often", "neither true nor false"),
        ("dpo", "actor_rollout_ref.model.use_remove_padding=nope", "neither true nor false"),
        ("sft", "optim.optimizer=LBFGS", "the optimiser LBFGS cannot be made (LBFGS.__init__() got an unexpected"),
        (
            "dpo",
            "actor_rollout_ref.actor.optim.override_optimizer_config={foo: 1}",
            "unexpected keyword argument 'foo'",
        ),
        ("grpo", "actor_rollout_ref.actor.optim.betas=[0,0]", "betas must be either both floats"),
    ],
)
def test_what_verls_own_config_objects_refuse_is_told_before_ray(recipe, override, words):
    with pytest.raises(BadInput) as failure:
        built(compose_recipe(recipe, override))
    part = override.lstrip("+").partition("=")[0].rpartition(".")[0]
    assert str(failure.value).startswith(part) and words in str(failure.value)


@pytest.mark.parametrize("mode", keys_module.AGGREGATES)
def test_the_ways_to_sum_a_loss_are_verls(mode):
    built(compose_recipe("grpo", f"{ACTOR}.loss_agg_mode={mode}"))


def test_what_verl_takes():
    good = {f"{ACTOR}.optim.lr": "1e-6", f"{ROLLOUT}.n": "8", f"{ROLLOUT}.top_k": "-1", "trainer.save_freq": "-1"}
    keys(config(**good, **{"trainer.total_training_steps": "null"}))
    keys(config(**{"trainer.save_freq": "after_each_epoch", "optim.lr": "0.1"}))  # the SFT trainer's


def test_a_checkpoint_folder_that_cannot_be_one(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(BadInput, match="is a file"):
            keys(config(**{"trainer.default_local_dir": folder}))
    keys(config(**{"trainer.default_local_dir": tmp_path / "new" / "run"}))
    keys(config(**{"trainer.default_local_dir": "hdfs://place/run"}))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"optim.lr": 1e-5}, None),
        ({"optim.lr": 0}, "optim.lr=0 throughout; set it above 0"),
        ({f"{ACTOR}.optim.lr": 0}, f"{ACTOR}.optim.lr=0 throughout"),
        ({f"{ACTOR}.optim.lr": 0, "sp3f.selfplay.schedule.lr": "[0,1e-6]"}, None),
        (
            {f"{ACTOR}.optim.lr": 1e-6, "sp3f.selfplay.schedule.lr": "[0,0]"},
            "sp3f.selfplay.schedule.lr=[0, 0] throughout",
        ),
        ({"optim.lr": 1e-5, "optim.lr_warmup_steps": 1, "trainer.total_training_steps": 1}, "a warm-up begins at 0"),
        ({"optim.lr": 1e-5, "optim.lr_warmup_steps": 1, "trainer.total_training_steps": 2}, None),
        (
            {"optim.lr": 1e-5, "optim.lr_warmup_steps_ratio": 0.5, "trainer.total_training_steps": 1},
            None,
        ),  # rounded down
    ],
)
def test_a_run_whose_every_step_has_the_rate_0(values, words):
    said = never_learns(config(**{"trainer.total_training_steps": "null", **values}))
    assert (said is None) if words is None else (words in said)


@pytest.mark.parametrize(
    ("recipe", "override", "mend"),
    [
        ("grpo", "actor_rollout_ref.actor.grad_clip=0.5", "set actor_rollout_ref.actor.optim.clip_grad in its place"),
        ("grpo", "actor_rollout_ref.actor.entropy_coeff=0.1", None),
        ("grpo", "data.max_prompt_length=64", None),
        ("dpo", "data.max_prompt_length=64", "set sp3f.preference.max_length in its place"),
        ("dpo", "data.prompt_key=question", "leave it out"),
        ("dpo", "data.custom_cls.path=rows.py", "leave it out"),
        ("dpo", "++actor_rollout_ref.actor.ppo_epochs=2", "set trainer.total_epochs in its place"),
        ("dpo", "algorithm.use_kl_in_reward=true", "leave it out"),
        ("croco", "+data.apply_chat_template_kwargs.enable_thinking=false", None),
        ("tspin", "data.max_response_length=64", None),
        ("tspin", "data.filter_overlong_prompts=true", "leave it out"),
        ("sft", "data.max_length=64", None),
        ("sft", "optim.total_training_steps=5", "set trainer.total_training_steps in its place"),
        ("sft", "trainer.seed=7", "leave it out"),
        ("sft", "+data.shuffle=false", "verl's SFT trainer always shuffles"),
        ("sft", "+data.shufle=true", r"nothing reads it \(did you mean 'shuffle'\?\): leave it out"),
        ("sft", "+data.image_key=pictures", None),
        ("sft", "+data.apply_chat_template_kwargs.enable_thinking=false", None),
        ("dpo", "+trainer.save_frq=3", r"nothing reads it \(did you mean 'save_freq'\?\): leave it out"),
        ("dpo", "trainer.val_only=true", "leave it out"),
        ("dpo", "distillation.enabled=true", "leave it out"),
        ("dpo", "actor_rollout_ref.rollout.temperature=0.5", "leave it out"),
        ("dpo", "actor_rollout_ref.rollout.log_prob_use_dynamic_bsz=true", None),
        ("tspin", "actor_rollout_ref.rollout.temperature=0.5", None),
        ("grpo", "actor_rollout_ref.model.lora.rank=8", "set actor_rollout_ref.model.lora_rank in its place"),
    ],
)
def test_a_key_that_has_no_part_in_the_run_is_refused_by_name(recipe, override, mend):
    parts = {"grpo": {}, "sft": {}, "tspin": {"preference": {}, "selfplay": {}}}
    given = OmegaConf.create(
        {
            "sp3f": {
                **parts.get(recipe, {"preference": {}}),
                "trainer": "sft_trainer" if recipe == "sft" else "main_ppo",
            },
            "hydra": {"overrides": {"task": [override]}},
            "data": {"custom_cls": {"path": "pkg://sp3f_verl.verl_bridge.sft.dataset"}},
        }
    )
    if mend is None:
        unread(given)
    else:
        key = override.lstrip("+").partition("=")[0]
        with pytest.raises(BadInput, match=f"^{key} has no part in this run; {mend}"):
            unread(given)


def test_settings_of_lora_have_no_part_without_it():
    """Switched off by lora_rank=0 beside them, they may stay."""
    for recipe, node in (("sft", "model"), ("grpo", "actor_rollout_ref.model")):
        given = [f"{node}.lora_alpha=64", f"{node}.lora_adapter_path=/adapter"]
        with pytest.raises(
            BadInput, match=rf"^{node}.lora_alpha has no part in a run without LoRA; set {node}.lora_rank"
        ):
            unread(compose_recipe(recipe, *given))
        unread(compose_recipe(recipe, *given, f"{node}.lora_rank=4"))
        unread(compose_recipe(recipe, *given, f"{node}.lora_rank=0"))


def test_a_gradient_may_stay_as_it_is():
    keys(OmegaConf.create({"optim": {"clip_grad": float("inf")}}))
