"""Training steps of verl's engine on preference groups, with its own heads or ours; run by preference_step.py.

A step is the forward and backward of all micro-batches, clipping and AdamW. The reference is precomputed, unless the
case says `live`: then a second engine computes it within the step, as verl's reference worker would.

    python benchmarks/preference_verl.py GROUPS.json MODEL CASE

CASE: JSON of head (logits, fused, ours), loss (dpo, tspin), micro (groups), checkpointing, live.
"""

import functools
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from memory import peak_mib, resident_mib
from verl.trainer.config import CheckpointConfig
from verl.utils import tensordict_utils as tu
from verl.workers.config import FSDPEngineConfig, FSDPOptimizerConfig, HFModelConfig
from verl.workers.engine_workers import TrainingWorker, TrainingWorkerConfig

from sp3f_verl.losses.objective import Objective
from sp3f_verl.training.preference import attention
from sp3f_verl.training.preference.tokens import Group, batch_of, total_weight
from sp3f_verl.verl_bridge.preference import head as response_head
from sp3f_verl.verl_bridge.preference.worker import group_loss

STEPS = 2  # after one that warms up


def engine_of(folder: str, head: str, checkpointing: bool, forward_only: bool = False):
    config = HFModelConfig(
        path=folder,
        use_remove_padding=True,
        use_fused_kernels=head != "logits",
        fused_kernel_options={"impl_backend": "torch"},
        override_config={"attn_implementation": "sdpa"},
        enable_gradient_checkpointing=checkpointing,
    )
    fsdp = {"strategy": "fsdp2", "use_torch_compile": False, "mixed_precision": {"param_dtype": "fp32"}}
    worker = TrainingWorker(
        TrainingWorkerConfig(
            model_type="language_model",
            model_config=config,
            engine_config=FSDPEngineConfig(**fsdp, forward_only=forward_only),
            optimizer_config=FSDPOptimizerConfig(lr=1e-6, total_training_steps=1 + STEPS),
            checkpoint_config=CheckpointConfig(),
        )
    )
    worker.reset()
    if head == "ours":
        response_head.install(worker.engine, share=attention.install(worker.engine))
    return worker.engine


def measure(groups: list[dict], folder: str, head: str, loss: str, micro: int, checkpointing: bool, live: bool) -> dict:
    torch.set_num_threads(1)
    objective = Objective(loss=loss, loss_type="sigmoid" if loss == "dpo" else "logistic")
    size = len(objective.roles)
    groups = [
        Group(np.array(each["prompt"]), tuple(np.array(ids) for ids in each["responses"][:size])) for each in groups
    ]
    references = [tuple(np.full(len(each), -10.0, np.float32) for each in group.responses) for group in groups]
    batch = batch_of(groups, range(len(groups)), [1.0] * len(groups), references)
    settings = {
        **{"temperature": 1.0, "force_group_size": size, "calculate_entropy": False, "tied": objective.tied},
        **{"use_dynamic_bsz": False, "micro_batch_size_per_gpu": micro, "use_remove_padding": True},
        **{"use_fused_kernels": head != "logits", "total_weight": total_weight(batch["weight"], size)},
    }
    engine = engine_of(folder, head, checkpointing)
    reference = engine_of(folder, head, False, forward_only=True) if live else None
    loaded, seconds = resident_mib(), []
    for _ in range(1 + STEPS):
        start = time.process_time()
        if reference:
            with reference.eval_mode():
                told = reference.forward_backward_batch(tu.get_tensordict(batch, settings), None, forward_only=True)
            batch["reference"] = told["model_output"]["log_probs"]
        with engine.train_mode():
            engine.optimizer_zero_grad()
            engine.forward_backward_batch(
                tu.get_tensordict(batch, settings), functools.partial(group_loss, objective=objective)
            )
            engine.optimizer_step()
        seconds.append(time.process_time() - start)
    tokens = sum(group.tokens for group in groups)
    return {"tokens": tokens, "seconds": seconds[1:], "loaded_mib": loaded, "peak_mib": peak_mib()}


if __name__ == "__main__":
    groups, folder, case = sys.argv[1:]
    print(json.dumps(measure(json.loads(Path(groups).read_text()), folder, **json.loads(case))))
