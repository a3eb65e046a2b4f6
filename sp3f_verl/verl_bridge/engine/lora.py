"""What verl 0.9.1 leaves open in LoRA runs (FSDP2): the adapter's seed, and a checkpoint that others can load.

verl exports the PEFT wrapper's state dict as `huggingface/` (utils/checkpoint/fsdp_checkpoint_manager.py), parameter
names and all: it loads with a warning and random weights. Here `huggingface/` gets the adapter merged, and
`lora_adapter/` beside it holds the adapter alone in PEFT's layout. In runs of our recipes only.
"""

import functools
import os
from dataclasses import replace

import torch

from sp3f_verl.errors import BadInput
from sp3f_verl.log import log
from sp3f_verl.verl_bridge.cpu.platform import DEVICE_VARIABLE

ADAPTER = "lora_adapter"


def seeded_start() -> None:
    """After `verl.workers.engine.fsdp`: a fresh adapter is drawn with the engine's seed, which verl does not use."""
    from verl.workers.engine.fsdp.transformer_impl import FSDPEngine

    build = FSDPEngine._build_lora_module

    @functools.wraps(build)
    def build_lora_module(self, module):
        if DEVICE_VARIABLE not in os.environ:
            return build(self, module)
        try:
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(self.engine_config.seed)
                return build(self, module)
        except ValueError as error:  # PEFT's, of layers that are not there or cannot be adapted
            reason = " ".join(str(error).split())[:200]
            raise BadInput(
                f"no adapter fits this model ({reason}); set target_modules to layers that it has."
            ) from None

    FSDPEngine._build_lora_module = build_lora_module


def loadable_checkpoints() -> None:
    """After `verl.utils.checkpoint.fsdp_checkpoint_manager`: wraps its save, and the state dict that it exports."""
    from verl.utils.checkpoint import fsdp_checkpoint_manager as verls

    full_state_dict, save = verls.get_fsdp_full_state_dict, verls.FSDPCheckpointManager.save_checkpoint

    @functools.wraps(full_state_dict)
    def exported(model, *args, **kwargs):
        state = full_state_dict(model, *args, **kwargs)
        return merged(model, state) if _is_ours(model) and state else state  # empty on all ranks but the first

    @functools.wraps(save)
    def save_checkpoint(self, local_path, *args, **kwargs):
        if not _is_ours(self.model) or local_path is None:
            return save(self, local_path, *args, **kwargs)
        contents = self.checkpoint_save_contents
        if self.should_save_hf_model and not mergeable(self.model):
            self.checkpoint_save_contents = [kind for kind in contents if kind != "hf_model"]
            if self.rank == 0:
                log.warning(f"this adapter is not of plain LoRA and is not merged; {local_path} holds it alone.")
        save(self, local_path, *args, **kwargs)
        self.checkpoint_save_contents = contents
        save_adapter(self.model, os.path.join(local_path, ADAPTER))

    verls.get_fsdp_full_state_dict = exported
    verls.FSDPCheckpointManager.save_checkpoint = save_checkpoint


def _is_ours(model) -> bool:
    from verl.utils.fsdp_utils import fsdp_version

    return DEVICE_VARIABLE in os.environ and hasattr(model, "peft_config") and fsdp_version(model) == 2


def _layers(model):
    from peft.tuners.lora import LoraLayer

    return {name: layer for name, layer in model.named_modules() if isinstance(layer, LoraLayer)}


def mergeable(model) -> bool:
    """Is every adapted module a linear layer with W + scaling B A, and nothing else?"""
    from peft.tuners.lora import Linear

    plain = (
        type(layer) is Linear and not layer.lora_variant and not any(layer.lora_bias.values())
        for layer in _layers(model).values()
    )
    return all(plain)


def merged(model, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The base model's full state dict with the adapter's part added, from that of the PEFT model."""
    from verl.utils.fsdp_utils import normalize_peft_param_name

    added = {}
    for name, layer in _layers(model).items():
        weight = state[f"{name}.base_layer.weight"]
        low, high = (state[f"{name}.lora_{side}.default.weight"].float() for side in "AB")
        delta = high @ low * layer.scaling["default"]
        added[f"{name}.base_layer.weight"] = (weight.float() + (delta.T if layer.fan_in_fan_out else delta)).to(
            weight.dtype
        )
    return normalize_peft_param_name({**state, **added})


def save_adapter(model, folder: str) -> None:
    """Gathers the adapter's parameters on all ranks (a collective call); rank 0 writes them."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file
    from torch.distributed.tensor import DTensor

    # only the adapter's: the base model's need not fit into one place
    named = {name: value for name, value in model.state_dict().items() if "lora_" in name}
    full = {name: value.full_tensor() if isinstance(value, DTensor) else value for name, value in named.items()}
    if torch.distributed.get_rank() == 0:
        os.makedirs(folder, exist_ok=True)
        kept = get_peft_model_state_dict(model, state_dict=full)
        tensors = {name: value.detach().cpu().contiguous() for name, value in kept.items()}
        save_file(tensors, os.path.join(folder, "adapter_model.safetensors"), metadata={"format": "pt"})
        replace(model.peft_config["default"], inference_mode=True).save_pretrained(folder)
    torch.distributed.barrier()
