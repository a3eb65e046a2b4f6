"""The buffer through which rollout servers get their weights holds the largest of them, whatever the recipe says.

verl 0.9.1 sends no weight in parts to colocated servers (bucketed_weight_transfer.py:140): an embedding of 49,152 x 576
in fp32 takes 113 MB, and a smaller buffer ends the run at its first sync.
"""

import functools
import os

from sp3f_verl.log import log
from sp3f_verl.verl_bridge.cpu.platform import DEVICE_VARIABLE


def install() -> None:
    """After `verl.workers.engine_workers`: the setting grows where the model asks for it."""
    from verl.workers.engine_workers import ActorRolloutRefWorker

    original = ActorRolloutRefWorker.init_model

    @functools.wraps(original)
    def init_model(self):
        original(self)
        if DEVICE_VARIABLE in os.environ and getattr(self, "rollout", None) is not None:
            widen(self.rollout.config.checkpoint_engine, largest(self.actor.engine.module))

    ActorRolloutRefWorker.init_model = init_model


def largest(module) -> int:
    """Bytes of the largest parameter, whole, in the dtype in which it is held."""
    return max((value.numel() * value.element_size() for value in module.parameters()), default=0)


def widen(settings, size: int) -> None:
    """settings: verl's CheckpointEngineConfig; size in bytes."""
    needed = -(-size // 2**20)
    if settings.update_weights_bucket_megabytes < needed:
        log.info(f"the buffer of a weight sync is {needed} MB: the model's largest weight.")
        object.__setattr__(settings, "update_weights_bucket_megabytes", needed)  # a frozen field of verl's
