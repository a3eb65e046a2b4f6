"""verl's actor worker, with our head, which also writes a LoRA adapter as others load it.

verl's own `hf_model` export writes the PEFT wrapper's parameter names into a folder whose weights no one
recognises.
"""

import os
from dataclasses import replace

import torch
from torch.distributed.tensor import DTensor
from transformers import get_scheduler
from verl.single_controller.base.decorator import Dispatch, register
from verl.utils.memory_utils import aggressive_empty_cache
from verl.workers.config.optimizer import build_optimizer
from verl.workers.engine_workers import ActorRolloutRefWorker

from sp3f_verl.verl_bridge.preference import attention, head

ADAPTER = "lora_adapter"
# our names -> transformers'
LR_SCHEDULERS = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


class PreferenceWorker(ActorRolloutRefWorker):
    @register(dispatch_mode=Dispatch.ONE_TO_ALL)
    def init_model(self):
        super().init_model()
        engine = self.actor.engine
        head.install(engine, share=attention.install(engine))

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
    def spare_last_checkpoint(self):
        """The checkpoint saved last is not among those that `trainer.max_actor_ckpt_to_keep` removes."""
        manager = self.actor.engine.checkpoint_manager
        manager.previous_saved_paths = manager.previous_saved_paths[:-1]

    @register(dispatch_mode=Dispatch.ONE_TO_ALL)
    def save_checkpoint(self, local_path, hdfs_path=None, global_step=0, max_ckpt_to_keep=None):
        """verl's checkpoint, and `lora_adapter/` in PEFT's layout where there is an adapter."""
        self.actor.save_checkpoint(local_path, hdfs_path, global_step, max_ckpt_to_keep)
        model = self.actor.engine.module
        if hasattr(model, "peft_config"):
            save_adapter(model, os.path.join(local_path, ADAPTER))


def save_adapter(model, folder: str) -> None:
    """Gathers the adapter's parameters on all ranks (a collective call); rank 0 writes them."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

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
