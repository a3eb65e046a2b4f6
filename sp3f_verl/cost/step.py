"""Seconds of the parts of a step, each a formula: what is counted, over what a device does in a second.

Shares of the device's speed that are assumed stand in assumptions.yaml.
"""

import math
from dataclasses import dataclass

from sp3f_verl.cost.devices import Device, assumptions
from sp3f_verl.cost.memory import BF16, kv_bytes
from sp3f_verl.cost.model import ModelSize


@dataclass(frozen=True)
class Machine:
    """devices: of this kind, that share a step."""

    device: Device
    devices: int

    def share(self, name: str) -> float:
        return assumptions()[self.device.kind][name]


def forward_seconds(model: ModelSize, lengths: list[float], machine: Machine, pack: float | None = None) -> float:
    """Log-probs of the sequences, without gradients. pack: as in `forward_flops`."""
    return model.forward_flops(lengths, pack) / (machine.devices * machine.device.peak * machine.share("training"))


def update_seconds(
    model: ModelSize, lengths: list[float], machine: Machine, checkpointing: bool, pack: float | None = None
) -> float:
    """Forward and backward, with gradient checkpointing forward once more."""
    return (4 if checkpointing else 3) * forward_seconds(model, lengths, machine, pack)


@dataclass(frozen=True)
class Rollouts:
    """prompts, n: of a step, and responses of each. tokens: of a prompt and of a response, on average. longest: what a
    response may have. at_once: sequences of one server, each of `per_server` devices.
    """

    prompts: int
    n: int
    prompt_tokens: float
    response_tokens: float
    longest: int
    at_once: int
    per_server: int = 1


def rollout_seconds(model: ModelSize, rollouts: Rollouts, machine: Machine, element: int = BF16) -> float:
    """A prompt is read once, its n responses share it; a token then takes the weights and the sequence's cache.

    The batch lasts as long as its longest response, which is taken to be twice the mean, at most the limit.
    """
    r, device = rollouts, machine.device
    servers = max(1, machine.devices // r.per_server)
    speed, bandwidth = r.per_server * device.peak, r.per_server * device.bandwidth * machine.share("decoding")
    sequences = r.prompts * r.n / servers
    waves = math.ceil(sequences / r.at_once)
    prefill = model.forward_flops([r.prompt_tokens] * r.prompts) / servers / (speed * machine.share("prefill"))
    steps = waves * min(float(r.longest), 2 * r.response_tokens)
    weights = element * min(model.active * min(sequences, r.at_once), model.parameters) / bandwidth
    cache = kv_bytes(model, element) * (r.prompt_tokens + r.response_tokens / 2) * sequences * r.response_tokens
    products = 2 * model.active * sequences * r.response_tokens / (speed * machine.share("prefill"))
    return prefill + steps * machine.share("token_seconds") + max(steps * weights + cache / bandwidth, products)


def sync_seconds(model: ModelSize, machine: Machine, element: int = BF16) -> float:
    """The trained weights on their way to the rollout servers."""
    return element * model.parameters / machine.share("sync_bytes_per_second")


def judge_seconds(questions: int, concurrency: int, latency: float, rollout: float) -> float:
    """What a step waits for the judge: groups are judged while others generate, the last one after all of them."""
    rounds = math.ceil(questions / concurrency) * latency
    return max(min(latency, rounds), rounds - rollout) if questions else 0.0
