"""verl's actor worker, with our loss and head, and an optimiser that begins anew with each iteration of self-play."""

from collections.abc import Collection
from dataclasses import replace

from transformers import get_scheduler
from verl.single_controller.base.decorator import Dispatch, register
from verl.utils.memory_utils import aggressive_empty_cache
from verl.utils.metric import AggregationType, Metric
from verl.workers.config.optimizer import build_optimizer
from verl.workers.engine_workers import ActorRolloutRefWorker

from sp3f_verl.losses.objective import Objective
from sp3f_verl.training.preference import attention, dropout
from sp3f_verl.training.preference.batch_loss import batch_loss
from sp3f_verl.verl_bridge.engine import check as engine_check
from sp3f_verl.verl_bridge.engine.checkpoints import step_of
from sp3f_verl.verl_bridge.preference import head

# our names -> transformers'
LR_SCHEDULERS = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


def group_loss(model_output, data, dp_group=None, *, objective: Objective):
    """verl's loss contract (`TrainingWorker.set_loss_fn`): (scalar loss, metrics) of one micro-batch."""
    loss, values = batch_loss(objective, model_output["log_probs"].values(), data)
    return loss, {name: Metric(value=value, aggregation=AggregationType.SUM) for name, value in values.items()}


class PreferenceWorker(ActorRolloutRefWorker):
    def __init__(self, config, role: str, dropout: bool = False, share_under_flash: bool = False, **settings):
        """dropout: that of the model's config stays on in training. share_under_flash: prompts once a group under
        flash-attention, too."""
        super().__init__(config, role, **settings)
        self.dropout, self.share_under_flash = dropout, share_under_flash

    @register(dispatch_mode=Dispatch.ONE_TO_ALL)
    def init_model(self):
        with engine_check.postponed():
            super().init_model()
        engine = self.actor.engine
        head.install(engine, share=attention.install(engine, self.share_under_flash))
        if not self.dropout:
            dropout.switch_off(engine.module)
        engine_check.check(engine, without_dropout=not self.dropout)

    @register(dispatch_mode=Dispatch.ONE_TO_ALL)
    def start_iteration(self, lr: float, steps: int, lr_scheduler: str):
        """A new optimiser and learning-rate schedule over `steps` steps, for the model as it is (self-play)."""
        engine = self.actor.engine
        settings = replace(engine.optimizer_config, lr=lr, total_training_steps=steps)
        engine.optimizer = build_optimizer(engine.module.parameters(), settings)
        warmup = settings.lr_warmup_steps
        if warmup is None or warmup <= 0:
            warmup = int(settings.lr_warmup_steps_ratio * steps)
        engine.lr_scheduler = get_scheduler(
            LR_SCHEDULERS[lr_scheduler], engine.optimizer, num_warmup_steps=warmup, num_training_steps=steps
        )
        engine.checkpoint_manager.optimizer = engine.optimizer
        engine.checkpoint_manager.lr_scheduler = engine.lr_scheduler

    @register(dispatch_mode=Dispatch.ONE_TO_ALL)
    def forget_optimiser(self):
        """Frees the state of an optimiser whose iteration is over: the rollout servers need the room."""
        self.actor.engine.optimizer.state.clear()
        aggressive_empty_cache(force_sync=True)

    @register(dispatch_mode=Dispatch.ONE_TO_ALL)
    def spare_checkpoints(self, steps: Collection[int]):
        """The checkpoints of these steps are not among those that `trainer.max_actor_ckpt_to_keep` removes."""
        manager = self.actor.engine.checkpoint_manager
        manager.previous_saved_paths = [path for path in manager.previous_saved_paths if step_of(path) not in steps]
