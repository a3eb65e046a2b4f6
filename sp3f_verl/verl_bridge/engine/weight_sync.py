"""How colocated rollout servers get their weights: through a buffer that holds the largest, and a socket of this run's.

verl 0.9.1 sends no weight in parts to colocated servers (bucketed_weight_transfer.py:140): an embedding of 49,152 x 576
in fp32 takes 113 MB, and a smaller buffer ends the run at its first sync.

The socket is a file in /tmp named after Ray's job id (vllm_rollout.py:140; verl #6233, #6246). The first job of every
Ray has the same id, so that two runs on a machine, each with a Ray of its own, share it: where their syncs meet, one's
weights go to the other's server, or both wait for ever. The sender also waits for ever for a server that is gone, as
Ray kills one where memory runs out.
"""

import functools
import hashlib
import os

from sp3f_verl.errors import one_line
from sp3f_verl.log import log
from sp3f_verl.verl_bridge.cpu.platform import DEVICE_VARIABLE

JOB_VARIABLE = "VERL_RAY_JOB_ID"  # verl's, for vLLM's workers
LOOK_MILLISECONDS = 1000  # between two looks at a server that does not answer


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


def no_wait_for_the_dead() -> None:
    """After `verl.workers.rollout.vllm_rollout.vllm_rollout`: a sync ends with an error once the server's side has."""
    from verl.workers.rollout.vllm_rollout.bucketed_weight_transfer import BucketedWeightSender
    from verl.workers.rollout.vllm_rollout.vllm_rollout import ServerAdapter

    execute, init_socket = ServerAdapter._execute_method, BucketedWeightSender._init_socket
    taking = {}  # socket -> what the server's call that takes the weights will answer

    @functools.wraps(execute)
    async def _execute_method(self, method, non_block=False, **kwargs):
        answer = await execute(self, method, non_block=non_block, **kwargs)
        if non_block and answer is not None:
            taking[self.zmq_handle] = answer
        return answer

    @functools.wraps(init_socket)
    def _init_socket(self):
        init_socket(self)
        if (answer := taking.pop(self.zmq_handle, None)) is not None:
            self.socket = WatchedSocket(self.socket, answer)

    ServerAdapter._execute_method, BucketedWeightSender._init_socket = _execute_method, _init_socket


class WatchedSocket:
    """verl's ZMQ socket of one sync, which waits as long as `answer`, a Ray reference, is to come.

    RuntimeError where it fails instead: the server, or vLLM in it, is gone.
    """

    def __init__(self, socket, answer):
        self._socket, self._answer, self.close = socket, answer, socket.close

    def send_pyobj(self, content) -> None:
        import zmq

        self._wait_for(zmq.POLLOUT)
        self._socket.send_pyobj(content)

    def recv(self) -> bytes:
        import zmq

        self._wait_for(zmq.POLLIN)
        return self._socket.recv()

    def _wait_for(self, event: int) -> None:
        import ray

        while not self._socket.poll(LOOK_MILLISECONDS, event):
            try:
                ray.get(ray.wait([self._answer], timeout=0)[0])
            except Exception as error:
                raise RuntimeError(
                    f"sp3f_verl: a rollout server is gone while it takes weights ({one_line(str(error))[:200]}); mend "
                    "that, and the same command goes on at the last checkpoint."
                ) from error


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
