"""When a self-play run is over, what it must not change half-way, and how policies are named: on a real record."""

from collections import Counter
from types import SimpleNamespace

import pytest

from sp3f_verl.errors import BadInput
from sp3f_verl.losses.objective import Objective
from sp3f_verl.training.checkpoints import workers_folder
from sp3f_verl.training.selfplay.plan import Plan
from sp3f_verl.training.selfplay.record import IterationManifest, Record
from sp3f_verl.training.selfplay.settings import SelfPlay
from sp3f_verl.training.selfplay.triplets import Triplets


@pytest.fixture
def plan(tmp_path) -> Plan:
    """Iterations 0 and 1 of 3 are over."""
    plan = Plan(
        settings=SelfPlay(iterations=3),
        base=Objective("tspin"),
        base_lr=1e-5,
        batch_size=16,
        order_seed=1,
        record=Record(tmp_path / "selfplay", {}),
    )
    for t in range(2):
        plan.record.write(t, start_step=10 * t, steps=10, policy=f"p{t}", margin=0.5 - 0.4 * t)
    return plan


def test_it_goes_on_until_all_iterations_are_done_and_more_may_be_asked_for(plan):
    assert plan.end(2) is None
    assert "all 3 iterations are done" in plan.end(3)
    plan.settings = SelfPlay(iterations=4)
    assert plan.end(3) is None


def test_a_vanished_advantage_ends_it(plan):
    plan.settings = SelfPlay(iterations=3, stop_below_margin=0.2)
    assert "iteration 1 ended with a current advantage of 0.1, below 0.2" in plan.end(2)
    plan.settings = SelfPlay(iterations=3, stop_below_margin=0.05)
    assert plan.end(2) is None


def triplets(**dropped: int) -> Triplets:
    return Triplets([None] * 5, [], [], [], [], Counter(dropped))


@pytest.mark.parametrize("iteration", [0, 2])
def test_too_many_cut_responses_are_the_settings_fault(plan, iteration):
    with pytest.raises(BadInput, match=r"5 usable groups \(3 identical, 9 truncated\).*max_tokens"):
        plan.too_few(iteration, 20, triplets(truncated=9, identical=3))


def test_too_few_left_because_the_policy_answers_as_the_data_does_ends_it_for_good(plan):
    plan.too_few(2, 20, triplets(identical=9))
    assert "iteration 2: the policy answers as the data does" in plan.end(2)
    assert plan.record.manifest(2) == IterationManifest(iteration=2, start_step=20, steps=0, too_few=5)
    plan.batch_size = 4
    assert plan.end(2) is None, "a smaller batch goes on"
    with pytest.raises(BadInput, match="nothing to train on"):
        plan.too_few(0, 20, triplets(identical=9))


def test_a_half_trained_iteration_keeps_its_settings(plan):
    plan.record.write(2, settings=plan.trained_with(2))
    plan.check_half_trained(2)
    plan.batch_size = 8
    with pytest.raises(BadInput, match="iteration 2 is half trained with train_batch_size=16, not 8"):
        plan.check_half_trained(2)
    plan.batch_size = 16
    plan.settings = SelfPlay(iterations=3, schedule={"beta": (0.0, 0.1, 0.3)})
    with pytest.raises(BadInput, match=r"beta=0.1, not 0.3"):
        plan.check_half_trained(2)


def test_an_iteration_begun_before_the_losses_had_settings_of_their_own_goes_on(plan):
    """Its manifest holds the settings of all losses."""
    old = {
        **{"loss": "tspin", "loss_type": "logistic", "beta": 0.1, "alpha": 1, "margin": 1.0, "label_smoothing": 0.0},
        **{"length_normalised": None, "nll_anchor": 0.0, "exponent_limit": 30.0, "lr": 1e-5, "lr_scheduler": "linear"},
        **{"epochs": 1, "previous_iterations": 0, "train_batch_size": 16, "order_seed": 1},
    }
    plan.record.write(2, settings=old)
    plan.check_half_trained(2)
    plan.record.write(2, settings={**old, "alpha": 0.5})
    with pytest.raises(BadInput, match=r"alpha=0.5, not 1.0"):
        plan.check_half_trained(2)


def test_policies_are_named_by_their_weights(plan, tmp_path):
    run = SimpleNamespace(default_local_dir=str(tmp_path), resume_mode="auto")

    def name(t: int) -> str:
        return plan.policy(t, t < 2, lambda: workers_folder(run, 20))

    assert name(1) == "p1"
    with pytest.raises(BadInput, match="no checkpoint that the driver sees"):
        name(2)
    place = tmp_path / "global_step_20" / "actor"
    place.mkdir(parents=True)
    (place / "model_world_size_1_rank_0.pt").write_bytes(b"weights")
    first = name(2)
    (place / "model_world_size_1_rank_0.pt").write_bytes(b"others!")
    assert name(2) == first, "read once: the name is asked for with every row"
    plan.policies.clear()
    assert name(2) != first


def test_the_checkpoint_of_a_given_path_is_read_there(tmp_path):
    place = tmp_path / "elsewhere" / "global_step_7"
    (place / "actor").mkdir(parents=True)
    (place / "actor" / "model_world_size_1_rank_0.pt").touch()
    given = SimpleNamespace(resume_mode="resume_path", resume_from_path=str(place), default_local_dir=str(tmp_path))
    assert workers_folder(given, 7) == place / "actor"
    with pytest.raises(BadInput, match="global_step_8"):
        workers_folder(given, 8)
