"""What is put down in the config before a run starts: values that Ray's processes could not compute, and steps that
the rows have."""

import pytest
from omegaconf import OmegaConf

from helpers.recipes import compose_recipe, resolved
from sp3f_verl.data.files import write_parquet
from sp3f_verl.errors import BadInput
from sp3f_verl.verl_bridge.preflight.callback import Preflight
from sp3f_verl.verl_bridge.preflight.computed import computed

GPU = {"sp3f": ("judge=reference",), "grpo": (), "copsd": (), "dpo": (), "croco": (), "tspin": (), "spin": ()}


@pytest.mark.parametrize("recipe", GPU)
def test_a_gpu_run_can_be_read_by_rays_processes(recipe, tiny_model):
    config = compose_recipe(recipe, "device=gpu", *GPU[recipe], f"actor_rollout_ref.model.path={tiny_model}")
    with pytest.raises(
        BadInput, match=r"sp3f\.machine\.micro_tokens is computed, which --multirun cannot do; set .*=\d+"
    ):
        computed(config)
    tokens = config.actor_rollout_ref.actor.ppo_max_token_len_per_gpu
    Preflight().on_run_start(config)
    computed(config)
    for name in ("sp3f_tokens", "sp3f_device"):  # verl's task runner is a process in which Hydra composes nothing
        OmegaConf.clear_resolver(name)
    assert resolved(config)["actor_rollout_ref"]["actor"]["ppo_max_token_len_per_gpu"] == tokens > 0


def rows(folder, count):
    write_parquet([{"n": number} for number in range(count)], folder / f"{count}.parquet")
    return folder / f"{count}.parquet"


@pytest.mark.parametrize(
    ("recipe", "count", "more", "steps"),
    [
        ("sft", 50, ("data.train_batch_size=16",), 3),  # of 1000: the last two rows fill no batch
        ("sft", 50, ("data.train_batch_size=16", "trainer.total_epochs=4"), 12),
        ("sft", 50, ("data.train_batch_size=16", "trainer.total_epochs=4", "trainer.total_training_steps=5"), 5),
        ("sft", 50, ("data.train_batch_size=16", "data.train_max_samples=32"), 2),
        ("sft", 50, ("data.train_batch_size=16", "trainer.total_training_steps=null"), None),
        ("sft", 8, ("data.train_batch_size=16",), 1000),  # not one batch: a check says so
        ("grpo", 50, ("data.train_batch_size=8",), 6 * 20),
        ("grpo", 5000, ("data.train_batch_size=8",), 505),
        ("copsd", 50, ("data.train_batch_size=8", "trainer.total_epochs=2"), 12),
    ],
)
def test_a_run_has_the_steps_of_its_rows_at_most(recipe, count, more, steps, tmp_path):
    config = compose_recipe(recipe, "device=cpu", f"data.train_files={rows(tmp_path, count)}", *more)
    Preflight().on_run_start(config)
    assert config.trainer.total_training_steps == steps


def test_rows_of_several_files_count_together_and_missing_ones_stay_for_the_checks(tmp_path):
    files = f"data.train_files=[{rows(tmp_path, 20)},{rows(tmp_path, 12)}]"
    config = compose_recipe("sft", "device=cpu", files, "data.train_batch_size=16")
    Preflight().on_run_start(config)
    assert config.trainer.total_training_steps == 2
    there = f"data.train_files={rows(tmp_path, 40)}"
    for wrong in (f"data.train_files={tmp_path / 'none.parquet'}", "data.train_files='???'", "data.train_batch_size=0"):
        config = compose_recipe("sft", "device=cpu", there, wrong)
        Preflight().on_run_start(config)
        assert config.trainer.total_training_steps == 1000
    config = compose_recipe("sft", "device=cpu", there, "trainer.total_training_steps=many")
    Preflight().on_run_start(config)
    assert config.trainer.total_training_steps == "many"
