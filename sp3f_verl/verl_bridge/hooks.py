"""Run our registrations when, and only when, verl imports the module that they belong to.

Importing verl's trainer registry in the entry point would make `import verl` 2 s slower and load vLLM in every process
(measured on verl 0.9.1), so a meta path finder waits for it instead. `benchmarks/import_time.py` shows what is left.
"""

import importlib
import importlib.util
import sys
import threading
from collections.abc import Callable

# verl module -> (our module, function), called once, right after verl's module has been executed.
AFTER_IMPORT: dict[str, tuple[str, str]] = {
    "verl.experimental.reward_loop.reward_manager": ("sp3f_verl.verl_bridge.reward_manager", "register"),
    "verl.experimental.reward_loop.reward_loop": ("sp3f_verl.verl_bridge.reward_worker", "ask_the_manager"),
    "verl.trainer.ppo.v1": ("sp3f_verl.verl_bridge.trainer", "install"),
    "verl.utils.fsdp_utils": ("sp3f_verl.verl_bridge.fused_head", "install"),
    "verl.utils.checkpoint.fsdp_checkpoint_manager": ("sp3f_verl.verl_bridge.lora", "loadable_checkpoints"),
    "verl.utils.distributed": ("sp3f_verl.verl_bridge.cpu.patches", "one_backend_per_device"),
    "verl.workers.engine.base": ("sp3f_verl.verl_bridge.cpu.patches", "engine_registry_key"),
    "verl.workers.engine.fsdp": ("sp3f_verl.verl_bridge.lora", "seeded_start"),
    "verl.workers.engine.fsdp.transformer_impl": ("sp3f_verl.verl_bridge.cpu.patches", "unpinned_offload"),
}
# verl module -> (our module, function), called once, right before.
BEFORE_IMPORT: dict[str, tuple[str, str]] = {
    "vllm": ("sp3f_verl.verl_bridge.cpu.patches", "vllm_version_alias"),
    "verl.third_party.vllm": ("sp3f_verl.verl_bridge.cpu.patches", "vllm_version_alias"),
    "verl.workers.rollout.vllm_rollout": ("sp3f_verl.verl_bridge.cpu.patches", "vllm_version_alias"),
}


def _call(target: tuple[str, str]) -> None:
    module, function = target
    getattr(importlib.import_module(module), function)()


class _ImportHooks:
    """A meta path finder that finds nothing itself: it wraps the spec that the other finders give.

    A hook is spent when its module is executed, not when somebody merely asks for a spec (`importlib.util.find_spec`).
    """

    def __init__(self, before: dict[str, tuple[str, str]], after: dict[str, tuple[str, str]]):
        self._before, self._after = before, after
        self._asking = threading.local()

    def find_spec(self, fullname: str, path=None, target=None):
        if (fullname not in self._before and fullname not in self._after) or getattr(self._asking, "now", False):
            return None
        self._asking.now = True  # this finder answers None while the others are asked
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._asking.now = False
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = self._around(spec.loader.exec_module, fullname)
        return spec

    def _around(self, exec_module: Callable, fullname: str) -> Callable:
        def run(module) -> None:
            if fullname in self._before:
                _call(self._before[fullname])
            exec_module(module)
            if fullname in self._after:
                _call(self._after[fullname])
            self._before.pop(fullname, None)  # spent only now: what fails is tried again with its hook
            self._after.pop(fullname, None)

        return run


def install() -> None:
    """Register the cpu platform with verl and hook the rest. Safe to call twice."""
    if any(isinstance(finder, _ImportHooks) for finder in sys.meta_path):
        return
    from sp3f_verl.verl_bridge.cpu import patches, platform

    platform.register()
    patches.logical_gpus()
    waiting_before = {name: target for name, target in BEFORE_IMPORT.items() if name not in sys.modules}
    waiting_after = {}
    for name, target in AFTER_IMPORT.items():
        if name in sys.modules:
            _call(target)
        else:
            waiting_after[name] = target
    sys.meta_path.insert(0, _ImportHooks(waiting_before, waiting_after))


def resolve_all() -> dict[str, str]:
    """Import every hooked module, for `sp3f doctor`: name -> "" or one line that says what broke."""
    outcome = {}
    for name, (module, function) in {**BEFORE_IMPORT, **AFTER_IMPORT}.items():
        try:
            importlib.import_module(name)
            getattr(importlib.import_module(module), function)
            outcome[name] = ""
        except Exception as error:  # the doctor reports every kind of failure; that is its purpose
            outcome[name] = f"{type(error).__name__}: {error}"
    return outcome
