"""How colocated rollout servers get their weights: through a buffer that holds the largest, and a socket of this run's.

verl 0.9.1 sends no weight in parts to colocated servers (bucketed_weight_transfer.py:140): an embedding of 49,152 x 576
in fp32 takes 113 MB, and a smaller buffer ends the run at its first sync.

The socket is a file in /tmp named after Ray's job id (vllm_rollout.py:140; verl #6233, #6246). The first job of every
Ray has the same id, so that two runs on a machine, each with a Ray of its own, share it: where their syncs meet, one's
weights go to the other's server, or both wait for ever.
"""

import functools
import hashlib
import os

from sp3f_verl.log import log
from sp3f_verl.verl_bridge.cpu.platform import DEVICE_VARIABLE

JOB_VARIABLE = "VERL_RAY_JOB_ID"  # verl's, for vLLM's workers


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


def own_socket() -> None:
    """After `verl.workers.rollout.vllm_rollout.vllm_rollout`: the sender's socket is named after the Ray, too."""
    from verl.workers.rollout.vllm_rollout.vllm_rollout import ServerAdapter

    original = ServerAdapter.__init__

    @functools.wraps(original)
    def __init__(self, *args, **kwargs):
        original(self, *args, **kwargs)
        if DEVICE_VARIABLE in os.environ:
            self.zmq_handle = of_this_run(self.zmq_handle)

    ServerAdapter.__init__ = __init__


def own_socket_of_the_server() -> None:
    """After `verl.workers.rollout.vllm_rollout.vllm_async_server`: and the receiver's, which its processes take from
    the environment."""
    from verl.workers.rollout.vllm_rollout.vllm_async_server import vLLMHttpServer

    original = vLLMHttpServer.__init__

    @functools.wraps(original)
    def __init__(self, *args, **kwargs):
        original(self, *args, **kwargs)
        if DEVICE_VARIABLE in os.environ:
            os.environ[JOB_VARIABLE] += f"-{of_this_ray()}"

    vLLMHttpServer.__init__ = __init__


def of_this_run(handle: str) -> str:
    before, there, after = handle.partition("-replica-")
    if not there:
        raise RuntimeError(f"verl names the socket of a weight sync {handle}, which sp3f_verl does not know.")
    return f"{before}-{of_this_ray()}{there}{after}"


def of_this_ray() -> str:
    """The same in every process of a Ray, and another one beside it."""
    import ray

    return hashlib.sha256(ray.get_runtime_context().gcs_address.encode()).hexdigest()[:8]


def largest(module) -> int:
    """Bytes of the largest parameter, whole, in the dtype in which it is held."""
    return max((value.numel() * value.element_size() for value in module.parameters()), default=0)


def widen(settings, size: int) -> None:
    """settings: verl's CheckpointEngineConfig; size in bytes."""
    needed = -(-size // 2**20)
    if settings.update_weights_bucket_megabytes < needed:
        log.info(f"the buffer of a weight sync is {needed} MB: the model's largest weight.")
        object.__setattr__(settings, "update_weights_bucket_megabytes", needed)  # a frozen field of verl's
