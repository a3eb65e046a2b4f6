"""When a self-play run is over, and what it must not change half-way: the trainer's decisions on a real record."""

from collections import Counter
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from sp3f_verl.errors import BadInput
from sp3f_verl.losses.objective import Objective
from sp3f_verl.training.preference.resume import workers_folder
from sp3f_verl.training.selfplay.record import Record
from sp3f_verl.training.selfplay.settings import SelfPlay
from sp3f_verl.training.selfplay.triplets import Triplets


@pytest.fixture
def trainer(tmp_path):
    """A trainer before iteration 2 of 3, without workers."""
    from verl.trainer.ppo.v1 import get_trainer_cls

    made = get_trainer_cls("selfplay").__new__(get_trainer_cls("selfplay"))
    made.config = OmegaConf.create(
        {
            "data": {"train_batch_size": 16, "seed": 1},
            "actor_rollout_ref": {"actor": {"optim": {"lr": 1e-5}}},
            "trainer": {"default_local_dir": str(tmp_path), "resume_mode": "auto"},
        }
    )
    made.settings, made.base = SelfPlay(iterations=3), Objective(loss="tspin", loss_type="logistic")
    made.record = Record(tmp_path / "selfplay", {})
    made.iteration, made.inside, made.global_steps = 2, False, 20
    for t in range(2):
        made.record.write(t, start_step=10 * t, steps=10, policy=f"p{t}", margin=0.5 - 0.4 * t)
    made._names = {}
    return made


def test_it_goes_on_until_all_iterations_are_done_and_more_may_be_asked_for(trainer):
    assert trainer._end() is None
    trainer.iteration = 3
    assert "all 3 iterations are done" in trainer._end()
    trainer.settings = SelfPlay(iterations=4)
    assert trainer._end() is None


def test_a_vanished_advantage_ends_it(trainer):
    trainer.settings = SelfPlay(iterations=3, stop_below_margin=0.2)
    assert "iteration 1 ended with a current advantage of 0.1, below 0.2" in trainer._end()
    trainer.settings = SelfPlay(iterations=3, stop_below_margin=0.05)
    assert trainer._end() is None


def triplets(**dropped: int) -> Triplets:
    return Triplets([None] * 5, [], [], [], [], Counter(dropped))


@pytest.mark.parametrize("iteration", [0, 2])
def test_too_many_cut_responses_are_the_settings_fault(trainer, iteration):
    trainer.iteration = iteration
    with pytest.raises(BadInput, match=r"5 usable groups \(3 identical, 9 truncated\).*max_tokens"):
        trainer._too_few(triplets(truncated=9, identical=3), 16)


def test_too_few_left_because_the_policy_answers_as_the_data_does_ends_it_for_good(trainer):
    trainer._too_few(triplets(identical=9), 16)
    assert "iteration 2: the policy answers as the data does" in trainer._end()
    trainer.config.data.train_batch_size = 4
    assert trainer._end() is None, "a smaller batch goes on"
    trainer.iteration = 0
    with pytest.raises(BadInput, match="nothing to train on"):
        trainer._too_few(triplets(identical=9), 16)


def test_a_half_trained_iteration_keeps_its_settings(trainer):
    manifest = {"settings": trainer._trained_with(2)}
    trainer._same_settings(manifest)
    trainer.config.data.train_batch_size = 8
    with pytest.raises(BadInput, match="iteration 2 is half trained with train_batch_size=16, not 8"):
        trainer._same_settings(manifest)
    trainer.config.data.train_batch_size = 16
    trainer.settings = SelfPlay(iterations=3, schedule={"beta": (0.0, 0.1, 0.3)})
    with pytest.raises(BadInput, match=r"beta=0.1, not 0.3"):
        trainer._same_settings(manifest)


def test_policies_are_named_by_their_weights(trainer, tmp_path):
    assert trainer._policy(1) == "p1"
    with pytest.raises(BadInput, match="no checkpoint that the driver sees"):
        trainer._policy(2)
    place = tmp_path / "global_step_20" / "actor"
    place.mkdir(parents=True)
    (place / "model_world_size_1_rank_0.pt").write_bytes(b"weights")
    first = trainer._policy(2)
    (place / "model_world_size_1_rank_0.pt").write_bytes(b"others!")
    assert trainer._policy(2) == first, "read once: the name is asked for with every row"
    trainer._names.clear()
    assert trainer._policy(2) != first


def test_the_checkpoint_of_a_given_path_is_read_there(tmp_path):
    place = tmp_path / "elsewhere" / "global_step_7"
    (place / "actor").mkdir(parents=True)
    (place / "actor" / "model_world_size_1_rank_0.pt").touch()
    given = SimpleNamespace(resume_mode="resume_path", resume_from_path=str(place), default_local_dir=str(tmp_path))
    assert workers_folder(given, 7) == place / "actor"
    with pytest.raises(BadInput, match="global_step_8"):
        workers_folder(given, 8)
