"""What verl's checkpoint manager does not know: what earlier processes saved, and whose code a model is of.

`trainer.max_actor_ckpt_to_keep` counts what is on disk. And where a config.json names code for a class that
transformers has itself (`auto_map`, as many published ones do), verl takes the code that is running for the model's
own: it copies files of torch into the checkpoint, and fails on the names that this leaves when weights are exported.
"""

import functools
import os
import re
from pathlib import Path

from sp3f_verl.verl_bridge.cpu.platform import DEVICE_VARIABLE

REMOTE = "transformers_modules"  # where transformers loads a model folder's code
STEP = re.compile(r"global_step_(\d+)")


def install() -> None:
    """After `verl.utils.checkpoint.fsdp_checkpoint_manager`: what is on disk counts once a checkpoint is loaded."""
    from verl.utils.checkpoint.fsdp_checkpoint_manager import FSDPCheckpointManager

    original = FSDPCheckpointManager.load_checkpoint

    @functools.wraps(original)
    def load_checkpoint(self, local_path, *args, **kwargs):
        original(self, local_path, *args, **kwargs)
        if local_path is not None and DEVICE_VARIABLE in os.environ:
            self.previous_saved_paths = saved_until(local_path)

    FSDPCheckpointManager.load_checkpoint = load_checkpoint
    save = FSDPCheckpointManager.save_checkpoint

    @functools.wraps(save)
    def save_checkpoint(self, *args, **kwargs):
        if DEVICE_VARIABLE in os.environ:
            without_code_of_others(self.model)
        save(self, *args, **kwargs)

    FSDPCheckpointManager.save_checkpoint = save_checkpoint


def without_code_of_others(model) -> None:
    """A model whose class is transformers' own needs no code to be loaded again."""
    model = getattr(model, "_fsdp_wrapped_module", model)  # FSDP1's
    base = model.get_base_model() if hasattr(model, "get_base_model") else model  # peft's
    own = any(kind.__module__.startswith(REMOTE) for kind in type(base).__mro__)
    if not own and hasattr(base.config, "auto_map"):
        del base.config.auto_map


def step_of(path: str) -> int | None:
    """Of the last folder global_step_<n> in a path."""
    steps = STEP.findall(str(path))
    return int(steps[-1]) if steps else None


def saved_until(path: str) -> list[str]:
    """The folders of weights beside this one, `global_step_<n>` or a folder in it, in order and up to this one, which
    is resumed from and hence removed last."""
    last = step_of(path)
    if last is None:
        return []
    home, _, inside = str(path).rpartition(f"global_step_{last}")
    folders = [Path(home) / f"global_step_{step}" / inside.strip("/") for step in _steps(Path(home or "."), last)]
    return [str(folder) for folder in folders if list(folder.glob("model_world_size_*"))]


def _steps(home: Path, last: int) -> list[int]:
    steps = {step_of(folder.name) for folder in home.glob("global_step_*")}
    return sorted(step for step in steps if step is not None and step <= last)
