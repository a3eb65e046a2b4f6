"""Where each of verl's trainers keeps the settings that all of them have, and which of our methods a config is for."""

from typing import Any, Literal, NamedTuple

from omegaconf import DictConfig, OmegaConf


class Keys(NamedTuple):
    """Keys of verl's settings. micro_batch: rows and tokens of a micro-batch stand there, under `prefix`."""

    model: str
    optimizer: str
    engine: str
    checkpoint: str
    strategy: str
    sequence_parallel: str
    micro_batch: str
    prefix: str
    lengths: tuple[str, ...]

    def get(self, config: DictConfig, name: str) -> Any:
        return OmegaConf.select(config, getattr(self, name))


_ACTOR = "actor_rollout_ref.actor"
KEYS = {
    "main_ppo": Keys(
        model="actor_rollout_ref.model",
        optimizer=f"{_ACTOR}.optim",
        engine=f"{_ACTOR}.fsdp_config",
        checkpoint=f"{_ACTOR}.checkpoint",
        strategy=f"{_ACTOR}.strategy",
        sequence_parallel=f"{_ACTOR}.ulysses_sequence_parallel_size",
        micro_batch=_ACTOR,
        prefix="ppo_",
        lengths=("data.max_prompt_length", "data.max_response_length"),
    ),
    "sft_trainer": Keys(
        model="model",
        optimizer="optim",
        engine="engine",
        checkpoint="checkpoint",
        strategy="engine.strategy",
        sequence_parallel="engine.ulysses_sequence_parallel_size",
        micro_batch="data",
        prefix="",
        lengths=("data.max_length",),
    ),
}

MethodName = Literal["sft", "selfplay", "preference", "rl"]


def keys_of(config: DictConfig) -> Keys:
    return KEYS["sft_trainer" if is_sft(config) else "main_ppo"]


def is_sft(config: DictConfig) -> bool:
    """Run by processes of torchrun, each of which composed the config: no Ray, no actor."""
    return config.sp3f.get("trainer") == "sft_trainer"


def method_of(config: DictConfig) -> MethodName:
    if is_sft(config):
        return "sft"
    if "selfplay" in config.sp3f:
        return "selfplay"
    return "rl" if config.sp3f.get("preference") is None else "preference"
