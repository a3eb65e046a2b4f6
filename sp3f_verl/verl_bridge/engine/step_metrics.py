"""What verl 0.9.1 logs of a step, made what its name says, in runs of our recipes.

`train/lr` is read after the schedule went on, so that a step shows the rate of the next one. `val/loss` of the SFT
trainers is the mean of batch means: a batch of short answers counts as much as one of long ones.
"""

import functools
import math
import os

from sp3f_verl.errors import BadInput
from sp3f_verl.verl_bridge.cpu.platform import DEVICE_VARIABLE

TOLERATED = 2  # updates in a row without a finite gradient: in 16 bits one may overflow


def rate_of_the_step() -> None:
    """After `verl.workers.engine.fsdp`: the learning rate that is logged is that of the step that was made."""
    from verl.workers.engine.fsdp.transformer_impl import FSDPEngine

    original = FSDPEngine.lr_scheduler_step

    @functools.wraps(original)
    def lr_scheduler_step(self):
        made = self.lr_scheduler.get_last_lr()[0]
        following = original(self)
        return made if DEVICE_VARIABLE in os.environ else following

    FSDPEngine.lr_scheduler_step = lr_scheduler_step


def loss_over_tokens() -> None:
    """After `verl.workers.engine_workers`: the losses of a validation's batches have the mean over tokens as mean.
    And training that has come to nothing ends the run, unsaved: verl leaves updates out and goes on, to a green end.

    A validation is what is inferred with a loss between two training batches. The trainer, SPMD or on Ray, takes the
    plain mean of what its batches give, so each gives what moves that mean to the one over all tokens so far.
    """
    from verl.utils import tensordict_utils as tu
    from verl.workers.engine_workers import TrainingWorker

    train, infer = TrainingWorker.train_batch, TrainingWorker.infer_batch

    @functools.wraps(train)
    def train_batch(self, data):
        self._validated = None
        output = train(self, data)
        if output is not None and DEVICE_VARIABLE in os.environ:
            metrics = tu.get(output, "metrics")
            self._left_out = left_out(metrics["loss"], metrics.get("grad_norm", 0.0), getattr(self, "_left_out", 0))
        return output

    @functools.wraps(infer)
    def infer_batch(self, data):
        with_loss = tu.get(data, key="compute_loss", default=True)
        output = infer(self, data)
        if output is not None and with_loss and DEVICE_VARIABLE in os.environ:
            mean = getattr(self, "_validated", None) or RunningMean()
            self._validated = mean
            metrics = tu.get(output, "metrics")
            metrics["loss"] = mean.add(metrics["loss"], tu.get(data, key="batch_num_tokens"))
        return output

    TrainingWorker.train_batch, TrainingWorker.infer_batch = train_batch, infer_batch


def left_out(loss: float, norm: float, before: int) -> int:
    """How many updates in a row verl left out for their gradient's norm, `before` of them before this one. BadInput
    where that is no accident any more, or the loss is none."""
    mend = "lower the learning rate, or look for broken rows."
    if not math.isfinite(loss):
        raise BadInput(f"the loss of a step is {loss}; {mend}")
    count = 0 if math.isfinite(norm) else before + 1
    if count > TOLERATED:
        raise BadInput(f"the gradient of {count} updates in a row has the norm {norm}, so that none was made; {mend}")
    return count


class RunningMean:
    """Batch means in, numbers out whose plain mean is the mean over all tokens."""

    def __init__(self):
        self.total, self.tokens, self.batches = 0.0, 0, 0

    @property
    def value(self) -> float:
        return self.total / self.tokens if self.tokens else 0.0

    def add(self, mean: float, tokens: int) -> float:
        before = self.batches * self.value
        if tokens:  # of a batch without a label the mean is none
            self.total += mean * tokens
        self.tokens, self.batches = self.tokens + tokens, self.batches + 1
        return self.batches * self.value - before
