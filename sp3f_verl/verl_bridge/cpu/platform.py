"""The `cpu` platform, registered through verl's own PlatformRegistry and probed after every accelerator."""

import os
import resource
import types
from contextlib import contextmanager

DEVICE_VARIABLE = "SP3F_DEVICE"  # `gpu` in a run's environment: this process must not take itself for a CPU run
CHECK_VARIABLE = "SP3F_CHECK_ENGINE"  # sp3f.check.engine, for the workers: see engine/check.py

KV_VARIABLE = "VLLM_CPU_KVCACHE_SPACE"  # vLLM's, in GiB; set from the model by preflight/run.py


def is_cpu() -> bool:
    """True when verl's platform in this process is the one below."""
    from verl.plugin.platform import get_platform

    return get_platform().device_name == "cpu"


def _device_module() -> types.ModuleType:
    """torch.cpu and, beside it, the calls of torch.cuda that verl makes on its device module (memory in bytes)."""
    import torch

    def peak_memory(*_args, **_kwargs) -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def nothing(*_args, **_kwargs) -> None:
        return None

    module = types.ModuleType("sp3f_verl.cpu_device")
    for name in (
        "empty_cache",
        "ipc_collect",
        "set_device",
        "reset_peak_memory_stats",
        "reset_accumulated_memory_stats",
        "set_per_process_memory_fraction",
    ):
        setattr(module, name, nothing)
    for name in ("memory_allocated", "memory_reserved", "max_memory_allocated", "max_memory_reserved"):
        setattr(module, name, peak_memory)
    page = os.sysconf("SC_PAGE_SIZE")
    module.mem_get_info = lambda *_: (page * os.sysconf("SC_AVPHYS_PAGES"), page * os.sysconf("SC_PHYS_PAGES"))
    module.get_rng_state = lambda *_: torch.get_rng_state()
    module.set_rng_state = lambda state, *_: torch.set_rng_state(state)
    module.get_device_name = lambda *_: "cpu"
    module.is_available = lambda: True
    module.current_device = lambda: "cpu"
    module.device_count = lambda: 1
    module.__getattr__ = lambda name: getattr(torch.cpu, name)
    return module


def register() -> None:
    """Add `cpu` to verl's registry. verl resolves its platform later, on first use."""
    from verl.plugin.platform import PlatformBase, PlatformRegistry

    @PlatformRegistry.register(platform="cpu")
    class PlatformCPU(PlatformBase):
        device_name = "cpu"
        vendor_name = "cpu"
        _module: types.ModuleType | None = None

        @property
        def device_module(self) -> types.ModuleType:
            if PlatformCPU._module is None:
                PlatformCPU._module = _device_module()
            return PlatformCPU._module

        def is_available(self) -> bool:
            return True

        def is_platform_available(self, use_smi_check: bool = False) -> bool:
            # verl asks in order of registration: to be asked at all means that no accelerator was found. A worker of a
            # GPU run on a node without one (`device=gpu`) must fall back to what stock verl falls back to.
            return os.environ.get(DEVICE_VARIABLE) != "gpu"

        def current_device(self) -> str:
            return "cpu"  # a number would mean cuda:0 to `tensor.to`

        def device_count(self) -> int:
            return 1

        def set_device(self, device_index: int) -> None:
            pass

        def synchronize(self, device_index: int | None = None) -> None:
            pass

        def manual_seed(self, seed: int) -> None:
            import torch

            torch.manual_seed(seed)

        manual_seed_all = manual_seed

        def set_allocator_settings(self, settings: str) -> None:
            pass

        def empty_cache(self) -> None:
            pass

        def get_device_capability(self, device_index: int = 0) -> tuple[None, None]:
            return None, None

        def communication_backend_name(self) -> str:
            return "gloo"

        def visible_devices_envvar(self) -> str:
            return "CUDA_VISIBLE_DEVICES"

        @contextmanager
        def nvtx_range(self, msg: str):
            yield

        def profiler_start(self) -> None:
            pass

        def profiler_stop(self) -> None:
            pass

        def ray_resource_name(self) -> str:
            return "GPU"  # a logical resource, one for each FSDP worker: see patches.logical_gpus

        def ray_noset_envvars(self) -> list[str]:
            return []

        def is_ipc_supported(self) -> bool:
            return False

        def rollout_env_vars(self) -> dict[str, str]:
            defaults = {KV_VARIABLE: "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
            return {name: os.environ.get(name, value) for name, value in defaults.items()}

        def cudart(self) -> None:
            return None
