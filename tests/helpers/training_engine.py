"""verl's own training engine (FSDP2) without a trainer: what a worker of a run computes with."""

import torch
from verl.trainer.config import CheckpointConfig
from verl.workers.config import FSDPEngineConfig, FSDPOptimizerConfig, HFModelConfig
from verl.workers.engine_workers import TrainingWorker, TrainingWorkerConfig


def training_engine(model: HFModelConfig, dtype: str = "fp32"):
    """The engine of a worker in this process, whose weights never move (lr 0). dtype: that it computes with."""
    worker = TrainingWorker(
        TrainingWorkerConfig(
            model_type="language_model",
            model_config=model,
            engine_config=FSDPEngineConfig(
                strategy="fsdp2", use_torch_compile=False, mixed_precision={"param_dtype": dtype}, use_dynamic_bsz=False
            ),
            optimizer_config=FSDPOptimizerConfig(lr=0.0, total_training_steps=1),
            checkpoint_config=CheckpointConfig(),
        )
    )
    worker.reset()
    return worker.engine


def gradient_of(engine) -> torch.Tensor:
    """All parameters' gradients of the last backward pass, by name, as one vector."""
    parameters = sorted(engine.module.named_parameters())
    return torch.cat([part.grad.full_tensor().flatten().clone() for _, part in parameters])
