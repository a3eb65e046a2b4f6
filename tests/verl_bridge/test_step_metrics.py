"""What a step's metrics say: the loss of a validation is over tokens, the rate that of the step, a nan the end."""

import math
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from sp3f_verl.errors import BadInput
from sp3f_verl.verl_bridge.engine import step_metrics


def test_plain_means_of_what_is_given_are_means_over_tokens():
    mean, given, total, count = step_metrics.RunningMean(), [], 0.0, 0
    for loss, tokens in ((2.0, 10), (5.0, 300), (math.nan, 0), (0.5, 1)):
        given.append(mean.add(loss, tokens))
        total, count = total + (loss * tokens if tokens else 0), count + tokens
        assert math.isclose(sum(given) / len(given), total / count)


def test_a_validation_without_any_label_has_no_loss_that_is_not_a_number():
    assert step_metrics.RunningMean().add(math.nan, 0) == 0


@pytest.mark.parametrize(
    ("ours", "steps", "words"),
    [  # (loss, norm of the gradient) of each step
        (True, [(0.5, 1.0), (math.nan, 1.0)], "the loss of a step is nan; lower"),
        (True, [(math.inf, 1.0)], "the loss of a step is inf; lower"),
        (
            True,
            [(0.5, math.nan)] * 3,
            "the gradient of 3 updates in a row has the norm nan, so that none was made; lower",
        ),
        (True, [(0.5, math.inf), (0.5, math.nan), (0.5, 1.0)] * 2, None),
        (False, [(math.nan, math.nan)] * 4, None),  # stock verl's own run
    ],
)
def test_training_that_has_come_to_nothing_ends_the_run(monkeypatch, ours, steps, words):
    """In SFT, preference training and RL alike: all train through this worker."""
    from verl.utils import tensordict_utils as tu
    from verl.workers.engine_workers import TrainingWorker

    outputs = [tu.get_tensordict({}, {"metrics": {"loss": loss, "grad_norm": norm}}) for loss, norm in steps]
    given = iter(outputs)
    monkeypatch.setattr(TrainingWorker, "train_batch", lambda _self, _data: next(given))
    monkeypatch.setattr(TrainingWorker, "infer_batch", lambda _self, _data: None)
    step_metrics.loss_over_tokens()
    monkeypatch.setenv("SP3F_DEVICE", "cpu") if ours else monkeypatch.delenv("SP3F_DEVICE", raising=False)
    worker = SimpleNamespace()
    with pytest.raises(BadInput, match=words) if words else nullcontext():
        assert [TrainingWorker.train_batch(worker, None) for _ in steps] == outputs


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
