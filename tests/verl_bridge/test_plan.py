"""`sp3f plan` and the preflight's `fits`, by one arithmetic, over recipes, models and devices."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import transformers
from omegaconf import OmegaConf

from helpers.recipes import compose_recipe
from sp3f_verl.cost.devices import GIB, find_device
from sp3f_verl.cost.step import Machine
from sp3f_verl.errors import BadInput
from sp3f_verl.verl_bridge import sizes
from sp3f_verl.verl_bridge.plan import lines, plan
from sp3f_verl.verl_bridge.preflight.rl import rollout
from sp3f_verl.verl_bridge.recipes import shipped
from sp3f_verl.verl_bridge.rl.old_log_probs import checked_now_and_then

MODELS = {  # hidden, intermediate, layers, heads, key heads, vocabulary, tied
    "1.7B": (2048, 6144, 28, 16, 8, 151_936, True),
    "7B": (3584, 18_944, 28, 28, 4, 152_064, False),
    "32B": (5120, 27_648, 64, 40, 8, 152_064, False),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Model folders that hold a config only."""
    home = tmp_path_factory.mktemp("models")
    names = "hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads vocab_size".split()
    for name, (*numbers, tied) in MODELS.items():
        settings = dict(zip(names, numbers, strict=True))
        transformers.Qwen2Config(**settings, tie_word_embeddings=tied).save_pretrained(home / name)
    return home


def on_gpu(folders, recipe: str, model: str, gib: float, *more: str):
    key = "model.path" if recipe in ("sft", "croco_sft") else "actor_rollout_ref.model.path"
    device = ["device=gpu", "sp3f.machine.gpu=H100", f"sp3f.machine.memory_gib={gib}"]
    return compose_recipe(recipe, *device, f"{key}={folders / model}", *more)


@pytest.mark.parametrize("recipe", shipped())
def test_a_recipe_fits_or_a_sentence_says_what_does_not(folders, recipe):
    """More memory never makes a run that fitted not fit, and micro-batches grow with it."""
    config = on_gpu(folders, recipe, "7B", 24)
    sft = config.sp3f.trainer == "sft_trainer"
    node, actor = sizes.model_node(config), config.actor_rollout_ref.actor if not sft else None
    for model in MODELS:
        fitted, tokens = [], []
        for gib in (24, 48, 80, 141):
            node.path, config.sp3f.machine.memory_gib = str(folders / model), gib
            tokens.append(config.data.max_token_len_per_gpu if sft else actor.ppo_max_token_len_per_gpu)
            try:
                sizes.fits(config)
                fitted.append(True)
            except BadInput as error:
                assert "GiB on each" in str(error)
                fitted.append(False)
            assert tokens[-1] >= sizes.longest(config)
            made = plan(config, Machine(find_device("H100", gib), 8))
            assert made.step_seconds > 0 and all(seconds >= 0 for seconds in made.seconds.values())
            assert not fitted[-1] or sum(made.memory.values()) <= gib * GIB
        assert tokens == sorted(tokens) and fitted == sorted(fitted)
        assert all(fitted) or model != "1.7B"


def test_what_does_not_fit_is_named(folders):
    for recipe, model, gib, says in [
        ("dpo", "32B", 48, "a training step takes 7. GiB on each of 8 devices"),
        ("sp3f", "7B", 24, "tensor_model_parallel_size"),
        ("sp3f", "7B", 26, "while rollouts run, weights and optimizer wait with 11 GiB"),
    ]:
        with pytest.raises(BadInput, match=says):
            sizes.fits(on_gpu(folders, recipe, model, gib))
    sizes.fits(on_gpu(folders, "sp3f", "7B", 24, "actor_rollout_ref.rollout.tensor_model_parallel_size=2",
                      "actor_rollout_ref.rollout.gpu_memory_utilization=0.35"))  # fmt: skip


def test_the_judge_costs_time_and_money(folders):
    judge = ["judge=openai", "sp3f.judge.base_url=http://localhost/v1", "sp3f.judge.price={input: 1.0, output: 4.0}"]
    config = on_gpu(folders, "sp3f", "7B", 80, *judge)
    machine = Machine(find_device("H100"), 8)
    slow, fast = plan(config, machine, latency=5.0), plan(config, machine, latency=0.1)
    assert slow.questions == 32 * 8 * 7 and slow.usd == fast.usd and slow.usd > 0
    assert slow.seconds["judge wait"] > fast.seconds["judge wait"]
    without = plan(on_gpu(folders, "sp3f", "7B", 80), machine)
    assert without.questions == 0 and "judge wait" not in without.seconds


def test_a_trusted_rollout_saves_the_pass_and_plan_sees_it(folders):
    trusting = on_gpu(folders, "sp3f", "7B", 80, "sp3f.rollout.trust_rollout_log_probs=true")
    made = plan(trusting, Machine(find_device("H100"), 8))
    assert "old log-probs" not in made.seconds and trusting.algorithm.rollout_correction.bypass_mode is True


def test_the_pass_is_made_now_and_then():
    """verl reads bypass_mode in the step: it is off in the first of every three, and as it was after it."""
    algorithm, sp3f = {"rollout_correction": {"bypass_mode": True}}, {"trust_rollout_log_probs": True, "check_every": 3}
    config = OmegaConf.create({"algorithm": algorithm, "sp3f": {"rollout": sp3f}})
    trainer, seen = SimpleNamespace(config=config, global_steps=0), []
    compute = checked_now_and_then(lambda self, batch, metrics: seen.append(algorithm_of(self)) or batch)
    for trainer.global_steps in range(1, 8):
        assert compute(trainer, "batch", {}) == "batch" and algorithm_of(trainer) is True
    assert seen == [False, True, True, False, True, True, False]


def algorithm_of(trainer) -> bool:
    return trainer.config.algorithm.rollout_correction.bypass_mode


@pytest.mark.parametrize(
    "override, says",
    [
        ("sp3f.rollout.trust_rollout_log_probs=maybe", "neither true nor false"),
        ("sp3f.rollout.check_every=0", "whole number from 1"),
    ],
)
def test_bad_settings_of_the_rollout(folders, override, says):
    with pytest.raises(BadInput, match=says):
        rollout(on_gpu(folders, "grpo", "7B", 80, override))


def test_the_command_prints_parts_memory_and_what_it_assumed(folders):
    words = ["+recipe=dpo", "device=gpu", f"actor_rollout_ref.model.path={folders / '7B'}", "--gpu", "H200"]
    done = subprocess.run([sys.executable, "-m", "sp3f_verl.cli", "plan", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for part in ("8 x H200, 141 GiB", "update", "reference", "gathered layers", "tokens of a micro-batch", "assumed"):
        assert part in done.stdout
    refused = subprocess.run([sys.executable, "-m", "sp3f_verl.cli", "plan"], capture_output=True, text=True)
    assert refused.returncode == 1 and "+recipe=" in refused.stderr and "Traceback" not in refused.stderr


def test_an_unknown_price_is_said(folders):
    config = on_gpu(folders, "sp3f", "7B", 80, "judge=openai", "sp3f.judge.model=ours")
    made = plan(config, Machine(find_device("H100"), 8))
    assert made.usd is None and any("price is not known" in line for line in lines(made))
