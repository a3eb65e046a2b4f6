"""verl's own keys that recipes set or docs name: type and range, told before Ray starts and not by a stack after it."""

import importlib
import math
from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig, ListConfig, OmegaConf

from sp3f_verl.data.files import check_folder
from sp3f_verl.errors import BadInput, nearest


class Range(NamedTuple):
    """least and most belong to it, but for a least that is `above`. whole: no fractions."""

    least: float
    most: float = math.inf
    whole: bool = False
    above: bool = False

    def __str__(self) -> str:
        kind = "whole number" if self.whole else "number"
        least = f"above {self.least:g}" if self.above else f"of at least {self.least:g}"
        return f"a {kind} {least}" + (f" and at most {self.most:g}" if self.most < math.inf else "")

    def holds(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
            return False
        low = value > self.least if self.above else value >= self.least
        return low and value <= self.most and (not self.whole or float(value).is_integer())


COUNT, FREQUENCY, TOP_K = Range(1, whole=True), Range(-1, whole=True), Range(-1, whole=True)
NOT_NEGATIVE, SHARE = Range(0), Range(0, 1)
PART = Range(0, 1, above=True)
ROLE = "actor_rollout_ref"
KEYS: dict[str, Range] = {
    "data.train_batch_size": COUNT,
    "data.val_batch_size": COUNT,
    "data.max_prompt_length": COUNT,
    "data.max_response_length": COUNT,
    "data.max_length": COUNT,
    "data.micro_batch_size_per_gpu": COUNT,
    "data.max_token_len_per_gpu": COUNT,
    "optim.lr": NOT_NEGATIVE,
    "optim.weight_decay": NOT_NEGATIVE,
    "optim.lr_warmup_steps_ratio": SHARE,
    **{f"{node}.lora_rank": NOT_NEGATIVE for node in ("model", f"{ROLE}.model")},
    **{f"{node}.lora_alpha": Range(0, above=True) for node in ("model", f"{ROLE}.model")},  # 0: nothing is added
    "trainer.total_epochs": COUNT,
    "trainer.total_training_steps": COUNT,
    "trainer.n_gpus_per_node": COUNT,
    "trainer.nnodes": COUNT,
    f"{ROLE}.actor.optim.lr": NOT_NEGATIVE,
    f"{ROLE}.actor.optim.weight_decay": NOT_NEGATIVE,
    f"{ROLE}.actor.optim.lr_warmup_steps": FREQUENCY,
    f"{ROLE}.actor.optim.lr_warmup_steps_ratio": SHARE,
    f"{ROLE}.actor.ppo_mini_batch_size": COUNT,
    f"{ROLE}.actor.ppo_micro_batch_size_per_gpu": COUNT,
    f"{ROLE}.actor.ppo_max_token_len_per_gpu": COUNT,
    f"{ROLE}.actor.ppo_epochs": COUNT,
    f"{ROLE}.actor.kl_loss_coef": NOT_NEGATIVE,
    f"{ROLE}.actor.clip_ratio": NOT_NEGATIVE,
    f"{ROLE}.actor.optim.clip_grad": NOT_NEGATIVE,
    f"{ROLE}.actor.ulysses_sequence_parallel_size": COUNT,
    f"{ROLE}.rollout.n": COUNT,
    f"{ROLE}.rollout.temperature": NOT_NEGATIVE,
    f"{ROLE}.rollout.top_p": PART,
    f"{ROLE}.rollout.top_k": TOP_K,
    f"{ROLE}.rollout.max_model_len": COUNT,
    f"{ROLE}.rollout.max_num_seqs": COUNT,
    f"{ROLE}.rollout.max_num_batched_tokens": COUNT,
    f"{ROLE}.rollout.tensor_model_parallel_size": COUNT,
    f"{ROLE}.rollout.gpu_memory_utilization": PART,
    f"{ROLE}.rollout.log_prob_micro_batch_size_per_gpu": COUNT,
    f"{ROLE}.rollout.val_kwargs.n": COUNT,
    f"{ROLE}.rollout.val_kwargs.temperature": NOT_NEGATIVE,
    f"{ROLE}.rollout.val_kwargs.top_p": PART,
    f"{ROLE}.rollout.val_kwargs.top_k": TOP_K,
}
OPTIMISERS = ("optim", f"{ROLE}.actor.optim")  # of the SFT trainers, of main_ppo
PARTS = ("model", "optimizer", "extra", "hf_model")  # of a checkpoint: what is none of them is left out in silence
SCHEDULES = ("constant", "cosine")
DTYPES = ("fp32", "float32", "bf16", "bfloat16", "fp16", "float16")
ENGINES = ("fsdp", "fsdp2", "fsdp_turbo", "megatron", "veomni", "torchtitan", "automodel", "mindspeed")
CHOICES: dict[str, tuple[str, ...]] = {
    "trainer.device": ("cuda", "npu", "xpu", "cpu"),  # `device` of our recipes is the whole machine
    **{f"{key}.lr_scheduler_type": SCHEDULES for key in OPTIMISERS},
    **{f"{key}.mixed_precision.param_dtype": DTYPES for key in ("engine", f"{ROLE}.actor.fsdp_config")},
    **{f"{key}.strategy": ENGINES for key in ("engine", f"{ROLE}.actor")},
    **{
        f"{key}.{contents}": PARTS
        for key in ("checkpoint", f"{ROLE}.actor.checkpoint")
        for contents in ("save_contents", "load_contents")
    },
}
FREQUENCIES = ("trainer.save_freq", "trainer.test_freq")
EACH_EPOCH = "after_each_epoch"  # what the SFT trainer takes there, too
FLAGS = (
    "trainer.val_before_train",
    "data.shuffle",
    "data.use_dynamic_bsz",
    f"{ROLE}.actor.use_dynamic_bsz",
    f"{ROLE}.actor.use_kl_loss",
    f"{ROLE}.rollout.log_prob_use_dynamic_bsz",
)
FOLDER = "trainer.default_local_dir"


def keys(config: DictConfig) -> None:
    """BadInput for the first key that the config has with a value which verl cannot use. Null leaves verl's default."""
    for key, range_ in (KEYS | dict.fromkeys(FREQUENCIES, FREQUENCY)).items():
        value, other = OmegaConf.select(config, key), EACH_EPOCH if key in FREQUENCIES and ROLE not in config else None
        if value is not None and value != other and not range_.holds(value):
            raise BadInput(f"{key}={value}; give {range_}{f', or {other}' if other else ''}.")
    for key in FLAGS:
        value = OmegaConf.select(config, key)
        if value is not None and not isinstance(value, bool):
            raise BadInput(f"{key}={value} is neither true nor false; give one of them.")
    for key, choices in CHOICES.items():
        value = OmegaConf.select(config, key)
        for one in value if isinstance(value, ListConfig) else [] if value is None else [value]:
            _one_of(key, one, choices)
    for key in OPTIMISERS:
        name, library = (OmegaConf.select(config, f"{key}.{part}") for part in ("optimizer", "optimizer_impl"))
        if name is not None and library == "torch.optim":
            _one_of(f"{key}.optimizer", name, _classes(library))
    folder = OmegaConf.select(config, FOLDER)
    if folder and "://" not in str(folder):
        check_folder(Path(str(folder)).expanduser(), FOLDER)


def _one_of(key: str, value: object, choices: Sequence[str]) -> None:
    if value not in choices:
        raise BadInput(f"{key}={value}{nearest(str(value), choices)}; use one of {', '.join(choices)}.")


def _classes(library: str) -> list[str]:
    return [name for name, value in vars(importlib.import_module(library)).items() if isinstance(value, type)]


def never_learns(config: DictConfig) -> str | None:
    """One sentence where every step has the learning rate 0; None where some step has another."""
    key = next(key for key in OPTIMISERS if OmegaConf.select(config, key) is not None)
    settings, steps = OmegaConf.select(config, key), config.trainer.total_training_steps
    series = OmegaConf.select(config, "sp3f.selfplay.schedule.lr")
    if series is not None:
        key, rates = "sp3f.selfplay.schedule", series if isinstance(series, ListConfig) else [series]
    else:
        rates = [settings.lr]
    if not any(rates):
        return f"{key}.lr={series if series is not None else settings.lr} throughout; set it above 0."
    warmup = settings.get("lr_warmup_steps") or -1
    if steps == 1 and (warmup if warmup > 0 else int(settings.get("lr_warmup_steps_ratio") or 0)) > 0:
        return f"a warm-up begins at 0, and trainer.total_training_steps=1; set {key}.lr_warmup_steps_ratio=0."
    return None
