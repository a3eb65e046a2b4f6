"""What the settings of self-play mean in iteration t, and what they refuse."""

import pytest

from sp3f_verl.errors import BadInput
from sp3f_verl.losses.objective import Objective
from sp3f_verl.training.selfplay.settings import SelfPlay

TSPIN = Objective(loss="tspin", loss_type="logistic")


def test_the_last_value_of_a_schedule_goes_on_and_beta_zero_needs_no_proto():
    settings = SelfPlay.read({"schedule": {"beta": [0.0, 0.1], "lr": [5e-7, 5e-7, 1e-7], "alpha": None}})
    assert [settings.objective(TSPIN, t).settings.beta for t in range(4)] == [0.0, 0.1, 0.1, 0.1]
    assert [settings.scheduled("lr", t, 1.0) for t in range(4)] == [5e-7, 5e-7, 1e-7, 1e-7]
    assert [settings.scheduled("alpha", t, 0.3) for t in range(2)] == [0.3, 0.3]
    assert settings.objective(TSPIN, 0).roles == ("real", "generated")
    assert settings.objective(TSPIN, 1).roles == ("real", "generated", "proto")


def test_a_number_is_a_schedule_and_other_fields_stay():
    settings = SelfPlay.read({"schedule": {"alpha": 0.3}})
    base = Objective(loss="tspin_ref", loss_type="exponential", beta=0.5, nll_anchor=0.2)
    scheduled = settings.objective(base, 7)
    changed = scheduled.settings
    assert (changed.alpha, changed.beta, scheduled.loss, changed.nll_anchor) == (0.3, 0.5, "tspin_ref", 0.2)
    assert changed.loss_type == "exponential"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"iteration": 3}, "did you mean 'iterations'"),
        ({"iterations": 0}, "sp3f.selfplay.iterations=0"),
        ({"iterations": 2.5}, "iterations=2.5"),
        ({"epochs": True}, "epochs=True"),
        ({"previous_iterations": -1}, "previous_iterations=-1"),
        ({"lr_scheduler": "polynomial"}, "lr_scheduler=polynomial"),
        ({"stop_below_margin": "no"}, "stop_below_margin='no'"),
        ({"schedule": {"betas": [1]}}, "did you mean 'beta'"),
        ({"schedule": {"beta": []}}, "schedule.beta=[]"),
        ({"schedule": {"lr": ["fast"]}}, "schedule.lr[0]='fast'"),
        ({"generation": {"max_token": 8}}, "did you mean 'max_tokens'"),
        ({"generation": {"temperature": 0}}, "temperature=0"),
        ({"generation": {"top_p": 1.5}}, "top_p=1.5"),
        ({"generation": {"truncated": "cut"}}, "truncated=cut"),
        ({"generation": {"max_tokens": 0}}, "max_tokens=0"),
        ({"generation": {"at_once": 0}}, "at_once=0"),
        ({"generation": {"timeout_seconds": 0}}, "timeout_seconds=0"),
        ({"schedule": {"lr": [-1.0]}}, "schedule.lr[0]=-1.0"),
        ({"schedule": {"lr": float("nan")}}, "schedule.lr[0]=nan"),
        ({"greedy_validation": "no"}, "greedy_validation='no'"),
    ],
)
def test_settings_at_fault(settings, sentence):
    with pytest.raises(BadInput) as error:
        SelfPlay.read(settings)
    assert sentence in str(error.value) and str(error.value).endswith(".")


def test_a_schedule_value_that_the_loss_does_not_take():
    with pytest.raises(BadInput, match="beta"):
        SelfPlay.read({"schedule": {"beta": [0.1, 0.0]}}).objective(Objective(loss="spin", loss_type="hinge"), 1)


@pytest.mark.parametrize(("temperature", "top_p", "exact"), [(1.0, 1.0, True), (0.7, 1.0, False), (1.0, 0.9, False)])
def test_only_unchanged_sampling_estimates_a_kl(temperature, top_p, exact):
    generation = SelfPlay.read({"generation": {"temperature": temperature, "top_p": top_p}}).generation
    assert generation.exact is exact
