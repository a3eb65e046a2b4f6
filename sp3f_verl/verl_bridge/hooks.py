"""Run our registrations when, and only when, verl imports the module that they belong to (contract.HOOKS).

Importing verl's trainer registry in the entry point would make `import verl` 2 s slower and load vLLM in every process
(measured on verl 0.9.1), so a meta path finder waits for it instead. `benchmarks/import_time.py` shows what is left.
"""

import importlib
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterable

from sp3f_verl.verl_bridge.contract import HOOKS, Hook


def function_of(hook: Hook) -> Callable[[], None]:
    """The function of ours that a hook calls. Raises ImportError, AttributeError."""
    module, _, function = hook.target.partition(":")
    return getattr(importlib.import_module(module), function)


class ImportHooks:
    """A meta path finder that finds nothing itself: it wraps the spec that the other finders give.

    A hook is spent when its module is executed, not when somebody merely asks for a spec (`importlib.util.find_spec`).
    """

    def __init__(self, hooks: Iterable[Hook]):
        self._waiting: dict[str, list[Hook]] = {}
        for hook in hooks:
            self._waiting.setdefault(hook.module, []).append(hook)
        self._asking = threading.local()

    def find_spec(self, fullname: str, path=None, target=None):
        if fullname not in self._waiting or getattr(self._asking, "now", False):
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
            hooks = self._waiting.get(fullname, ())
            for hook in hooks:
                if hook.when == "before":
                    function_of(hook)()
            exec_module(module)
            for hook in hooks:
                if hook.when == "after":
                    function_of(hook)()
            self._waiting.pop(fullname, None)  # spent only now: what fails is tried again with its hook

        return run


def install() -> None:
    """Register the cpu platform with verl and hook the rest. Safe to call twice."""
    if any(isinstance(finder, ImportHooks) for finder in sys.meta_path):
        return
    from sp3f_verl.verl_bridge.cpu import patches, platform

    platform.register()
    patches.logical_gpus()
    late = [hook for hook in HOOKS if hook.module in sys.modules]
    for hook in late:
        if hook.when == "after":
            function_of(hook)()
    sys.meta_path.insert(0, ImportHooks(hook for hook in HOOKS if hook not in late))


def resolve_all() -> dict[str, str]:
    """Import every hooked module, for `sp3f doctor`: name -> "" or one line that says what broke."""
    outcome = {}
    for hook in HOOKS:
        try:
            importlib.import_module(hook.module)
            function_of(hook)
            outcome[hook.module] = ""
        except Exception as error:  # the doctor reports every kind of failure; that is its purpose
            outcome[hook.module] = f"{type(error).__name__}: {error}"
    return outcome
