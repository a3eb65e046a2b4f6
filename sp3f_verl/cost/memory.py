"""Bytes on one device: what training holds, what a rollout server holds, and the tokens that fit beside it.

verl's FSDP keeps weights, gradients and Adam's two moments in fp32, each a share on every device, and gathers a layer
at a time in bf16.
"""

from dataclasses import dataclass

from sp3f_verl.cost.devices import Device, assumptions
from sp3f_verl.cost.model import ModelSize

FP32, BF16 = 4, 2
LORA_MATRICES = 7  # of a layer: queries, keys, values, output; gate, up, down
HEAD_ROWS = 512  # tokens whose logits the fused head holds at once
STEP = 1024  # a budget of tokens is a multiple of it
MOST_TOKENS = 65_536  # of a micro-batch: beyond it, larger products are no faster


@dataclass(frozen=True)
class Training:
    """How a recipe trains. devices: that share the state. offload: it waits in CPU memory between passes.

    longest: tokens of the longest sequence (a pair: both responses), which a micro-batch must hold.
    """

    devices: int
    longest: int
    checkpointing: bool = True
    fused_head: bool = True
    offload: bool = False
    lora_rank: int = 0
    element: int = BF16


def trained_parameters(model: ModelSize, lora_rank: int) -> int:
    if not lora_rank:
        return model.parameters
    return min(model.parameters, lora_rank * model.layers * LORA_MATRICES * (model.hidden + model.intermediate) // 2)


def state_bytes(model: ModelSize, training: Training) -> dict[str, float]:
    """On one device, while a step is trained."""
    trained = trained_parameters(model, training.lora_rank)
    layer = (model.parameters - 2 * model.largest) / model.layers
    return {
        "weights": FP32 * model.parameters / training.devices,
        "gradients": FP32 * trained / training.devices,
        "optimizer": 2 * FP32 * trained / training.devices,
        "gathered layers": training.element * (2 * max(layer, 0) + model.largest) if training.devices > 1 else 0.0,
    }


def token_bytes(model: ModelSize, training: Training) -> float:
    """Of one token of a micro-batch: activations, and its logits where the head is not fused."""
    scale = training.element / BF16
    kept = model.activation_bytes() * scale
    whole = training.element * model.hidden * model.layers + kept if training.checkpointing else kept * model.layers
    logits = 0 if training.fused_head else (training.element + 2 * FP32) * model.vocabulary
    return whole + logits


def head_bytes(model: ModelSize, training: Training) -> float:
    return 2 * FP32 * HEAD_ROWS * model.vocabulary if training.fused_head else 0.0


def tokens_that_fit(model: ModelSize, training: Training, device: Device) -> int:
    """Of a micro-batch, a multiple of STEP; 0 where not even the state fits."""
    room = device.memory * assumptions()[device.kind]["memory"]
    room -= sum(state_bytes(model, training).values()) + head_bytes(model, training)
    return max(0, min(int(room / token_bytes(model, training)) // STEP * STEP, MOST_TOKENS))


def training_bytes(model: ModelSize, training: Training, tokens: int) -> dict[str, float]:
    """On one device with micro-batches of so many tokens."""
    of_tokens = {"activations": tokens * token_bytes(model, training), "head": head_bytes(model, training)}
    return state_bytes(model, training) | of_tokens


def kv_bytes(model: ModelSize, element: int = BF16) -> int:
    """Of one token in a rollout server's cache."""
    return element * model.keys * model.layers
