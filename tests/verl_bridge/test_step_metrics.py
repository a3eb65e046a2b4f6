"""What a step's metrics say: the loss of a validation is over tokens, the rate that of the step, a nan the end."""

import math
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from sp3f_verl.errors import BadInput
from sp3f_verl.verl_bridge import step_metrics


def test_plain_means_of_what_is_given_are_means_over_tokens():
    mean, given, total, count = step_metrics.RunningMean(), [], 0.0, 0
    for loss, tokens in ((2.0, 10), (5.0, 300), (math.nan, 0), (0.5, 1)):
        given.append(mean.add(loss, tokens))
        total, count = total + (loss * tokens if tokens else 0), count + tokens
        assert math.isclose(sum(given) / len(given), total / count)


def test_a_validation_without_any_label_has_no_loss_that_is_not_a_number():
    assert step_metrics.RunningMean().add(math.nan, 0) == 0


@pytest.mark.parametrize(("loss", "ours"), [(math.nan, True), (math.inf, True), (0.5, True), (math.nan, False)])
def test_a_loss_that_is_not_finite_ends_the_run(monkeypatch, loss, ours):
    """In SFT, preference training and RL alike: all train through this worker."""
    from verl.utils import tensordict_utils as tu
    from verl.workers.engine_workers import TrainingWorker

    output = tu.get_tensordict({}, {"metrics": {"loss": loss}})
    for name in ("train_batch", "infer_batch"):
        monkeypatch.setattr(TrainingWorker, name, lambda _self, _data: output)
    step_metrics.loss_over_tokens()
    monkeypatch.setenv("SP3F_DEVICE", "cpu") if ours else monkeypatch.delenv("SP3F_DEVICE", raising=False)
    ends = ours and not math.isfinite(loss)
    with pytest.raises(BadInput, match=f"the loss of a step is {loss}; lower") if ends else nullcontext():
        assert TrainingWorker.train_batch(SimpleNamespace(), None) is output


def test_the_rate_is_that_of_the_step_that_was_made(monkeypatch):
    from verl.workers.engine.fsdp.transformer_impl import FSDPEngine

    monkeypatch.setattr(
        FSDPEngine,
        "lr_scheduler_step",
        getattr(FSDPEngine.lr_scheduler_step, "__wrapped__", FSDPEngine.lr_scheduler_step),
    )
    step_metrics.rate_of_the_step()
    rates = [0.1, 0.2]
    schedule = SimpleNamespace(step=lambda: rates.pop(0), get_last_lr=lambda: [rates[0]])
    monkeypatch.setenv("SP3F_DEVICE", "cpu")
    assert FSDPEngine.lr_scheduler_step(SimpleNamespace(lr_scheduler=schedule)) == 0.1
    assert rates == [0.2]
