"""verl's own keys: what a run would end in a stack for is one sentence with the key."""

import pytest
from omegaconf import OmegaConf

from sp3f_verl.errors import BadInput
from sp3f_verl.verl_bridge.preflight_keys import keys

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
        ("data.max_response_length", "-1", "a whole number of at least 1"),
        ("trainer.total_epochs", "many", "a whole number of at least 1"),
        ("trainer.val_before_train", "perhaps", "is neither true nor false"),
    ],
)
def test_a_value_that_verl_cannot_use(key, value, words):
    with pytest.raises(BadInput) as failure:
        keys(config(**{key: value}))
    assert str(failure.value).startswith(f"{key}={OmegaConf.select(config(**{key: value}), key)}")
    assert words in str(failure.value)


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
