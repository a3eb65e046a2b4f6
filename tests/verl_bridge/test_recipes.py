"""Every shipped recipe and group composes, resolves, and carries the paper's values."""

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from helpers.recipes import CONFIG_OF, CONFIGS, resolved
from helpers.recipes import compose_recipe as composed
from sp3f_verl import RECIPES


@pytest.mark.parametrize("device", ["cpu", "gpu", "auto"])
@pytest.mark.parametrize("recipe", sorted(file.stem for file in (RECIPES / "recipe").glob("*.yaml")))
def test_every_recipe_resolves_on_every_device(recipe, device, monkeypatch):
    monkeypatch.setenv("LLM_API_KEY", "sk-very-secret")
    cfg = composed(recipe, f"device={device}")
    text = yaml.safe_dump(resolved(cfg))
    assert cfg.sp3f.device == ("cpu" if device == "auto" else device)
    assert "${" not in text and "very-secret" not in text


def test_both_devices_have_the_same_keys():
    cpu, gpu = (yaml.safe_load((RECIPES / "device" / f"{name}.yaml").read_text())["machine"] for name in ("cpu", "gpu"))
    assert list(cpu) == list(gpu)


def test_groups_override_what_the_recipe_chose():
    assert composed("sp3f").sp3f.judge.name == "reference" and composed("grpo").sp3f.judge.name == "none"
    assert composed("sp3f").sp3f.reward.weights.judge == 1.0
    assert composed("sp3f", "judge=none").sp3f.reward.weights.judge == 0.0
    assert composed("sp3f", "sp3f.reward.weights.judge=0.5").sp3f.reward.weights.judge == 0.5


def test_the_papers_values_of_sp3f():
    """SPEC 1e, GRPO column."""
    cfg = composed("sp3f", "device=gpu")
    actor, rollout = cfg.actor_rollout_ref.actor, cfg.actor_rollout_ref.rollout
    assert cfg.data.train_batch_size == 32 and actor.ppo_mini_batch_size == 32 and rollout.n == 8
    assert (cfg.data.max_prompt_length, cfg.data.max_response_length, cfg.data.truncation) == (4096, 2048, "left")
    assert cfg.data.filter_overlong_prompts is True
    assert (actor.optim.lr, actor.optim.lr_scheduler_type) == (5e-7, "constant")
    assert (actor.clip_ratio_low, actor.clip_ratio_high, actor.loss_agg_mode) == (0.2, 0.28, "seq-mean-token-sum-norm")
    assert (actor.use_kl_loss, cfg.algorithm.use_kl_in_reward, actor.entropy_coeff) == (False, False, 0)
    assert (cfg.algorithm.adv_estimator, cfg.algorithm.norm_adv_by_std_in_grpo) == ("grpo", False)
    assert (actor.ppo_micro_batch_size_per_gpu, rollout.log_prob_micro_batch_size_per_gpu) == (8, 32)
    assert (rollout.temperature, rollout.top_p, rollout.gpu_memory_utilization) == (1.0, 1.0, 0.6)
    assert (rollout.tensor_model_parallel_size, actor.strategy) == (1, "fsdp2")
    assert (cfg.trainer.total_training_steps, cfg.trainer.total_epochs) == (505, 20)
    assert (cfg.trainer.save_freq, cfg.trainer.test_freq, cfg.trainer.n_gpus_per_node) == (250, 500, 8)
    assert dict(cfg.sp3f.reward.weights) == {"accuracy": 1, "parseable": 1, "language": 1, "judge": 1}
    assert cfg.sp3f.reward.language_threshold == 0.7


def test_the_papers_values_of_sft():
    """SPEC 1e, SFT column."""
    cfg = composed("sft", "device=gpu")
    assert (cfg.optim.lr, cfg.data.train_batch_size, cfg.data.micro_batch_size_per_gpu) == (1e-4, 16, 1)
    assert (cfg.data.max_length, cfg.data.truncation) == (4192, "left")
    assert (cfg.trainer.total_training_steps, cfg.trainer.total_epochs, cfg.trainer.save_freq) == (1000, 1, 500)
    assert (cfg.engine.strategy, cfg.engine.param_offload, cfg.engine.mixed_precision.param_dtype) == (
        "fsdp2",
        True,
        "bf16",
    )


def test_the_papers_values_of_croco_sft():
    """SPEC 2e; the rest is recipe/sft.yaml."""
    cfg = composed("croco_sft", "device=gpu")
    assert (cfg.model.lora_rank, cfg.model.lora_alpha) == (16, 32)
    assert set(cfg.model.target_modules) == {f"{each}_proj" for each in ("q", "k", "v", "o", "gate", "up", "down")}
    assert (cfg.optim.lr, cfg.optim.lr_scheduler_type) == (2e-4, "cosine")
    assert (cfg.optim.lr_warmup_steps_ratio, cfg.optim.weight_decay) == (0.05, 0.01)
    assert (cfg.data.train_batch_size, cfg.data.micro_batch_size_per_gpu, cfg.data.max_length) == (64, 1, 4096)
    assert (cfg.trainer.total_epochs, cfg.trainer.total_training_steps, cfg.trainer.n_gpus_per_node) == (1, None, 8)
    assert cfg.model.enable_gradient_checkpointing and cfg.engine.mixed_precision.param_dtype == "bf16"
    assert cfg.data.custom_cls.name == "AssistantTurnsDataset" == composed("sft").data.custom_cls.name


@pytest.mark.parametrize("recipe", CONFIG_OF)
def test_what_the_tests_compose_faster_is_what_hydra_composes(recipe):
    overrides = ["device=cpu", "trainer.save_freq=7", "+sp3f.a_test=1"]
    composed(recipe, "device=cpu")  # merged once, and taken again below
    with initialize_config_dir(version_base=None, config_dir=CONFIGS):
        cfg = compose(CONFIG_OF[recipe], [f"+recipe={recipe}", *overrides], return_hydra_config=True)
    assert OmegaConf.to_yaml(composed(recipe, *overrides)) == OmegaConf.to_yaml(cfg)  # `${now:}` as it is written
