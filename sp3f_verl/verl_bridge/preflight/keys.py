"""verl's own keys that recipes set or docs name: type and range, told before Ray starts and not by a stack after it."""

import importlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, get_type_hints

from hydra.utils import get_class
from omegaconf import DictConfig, ListConfig, OmegaConf

from sp3f_verl.data.files import check_folder
from sp3f_verl.data.rows import finite
from sp3f_verl.errors import BadInput, nearest, one_line


class Range(NamedTuple):
    """least and most belong to it, but for a least that is `above`. whole: no fractions."""

    least: float
    most: float = math.inf
    whole: bool = False
    above: bool = False

    def __str__(self) -> str:
        kind = "whole number" if self.whole else "number"
        least = f" above {self.least:g}" if self.above else f" of at least {self.least:g}"
        return f"a {kind}{least if self.least > -math.inf else ''}" + (
            f" and at most {self.most:.10g}" if self.most < math.inf else ""
        )

    def holds(self, value: object) -> bool:
        if not finite(value):
            return False
        low = value > self.least if self.above else value >= self.least
        return low and value <= self.most and (not self.whole or float(value).is_integer())


COUNT, FREQUENCY, TOP_K = Range(1, whole=True), Range(-1, whole=True), Range(-1, whole=True)
NONE_OR_MORE = Range(0, whole=True)
NOT_NEGATIVE, SHARE = Range(0), Range(0, 1)
PART = Range(0, 1, above=True)
SEED = Range(0, 2**32 - 1, whole=True)  # what numpy and torch both take
ROLE = "actor_rollout_ref"
MODELS = ("model", f"{ROLE}.model")  # of the SFT trainers, of main_ppo, as are the pairs below
OPTIMISERS = ("optim", f"{ROLE}.actor.optim")
ENGINE = ("engine", f"{ROLE}.actor.fsdp_config")
KEYS: dict[str, Range] = {
    "data.train_batch_size": COUNT,
    "data.val_batch_size": COUNT,
    "data.seed": SEED,
    "data.max_prompt_length": COUNT,
    "data.max_response_length": COUNT,
    "data.max_length": COUNT,
    "data.micro_batch_size_per_gpu": COUNT,
    "data.max_token_len_per_gpu": COUNT,
    **{f"data.{name}": NONE_OR_MORE for name in ("num_workers", "dataloader_num_workers")},
    **{f"{node}.lora_rank": NONE_OR_MORE for node in MODELS},
    **{f"{node}.lora_alpha": Range(0, above=True) for node in MODELS},  # 0: nothing is added
    "trainer.total_epochs": COUNT,
    "trainer.total_training_steps": COUNT,
    "trainer.n_gpus_per_node": COUNT,
    "trainer.nnodes": COUNT,
    **{f"{key}.{name}": NOT_NEGATIVE for key in OPTIMISERS for name in ("lr", "weight_decay")},
    **{f"{key}.lr_warmup_steps": FREQUENCY for key in OPTIMISERS},
    **{f"{key}.{name}": SHARE for key in OPTIMISERS for name in ("lr_warmup_steps_ratio", "min_lr_ratio")},
    **{f"{key}.num_cycles": NOT_NEGATIVE for key in OPTIMISERS},
    "algorithm.gamma": SHARE,
    "algorithm.lam": SHARE,
    "algorithm.kl_ctrl.kl_coef": NOT_NEGATIVE,
    f"{ROLE}.actor.ppo_mini_batch_size": COUNT,
    f"{ROLE}.actor.ppo_micro_batch_size_per_gpu": COUNT,
    f"{ROLE}.actor.ppo_max_token_len_per_gpu": COUNT,
    f"{ROLE}.actor.ppo_epochs": COUNT,
    f"{ROLE}.actor.kl_loss_coef": NOT_NEGATIVE,
    **{f"{ROLE}.actor.{name}": NOT_NEGATIVE for name in ("clip_ratio", "clip_ratio_low", "clip_ratio_high")},
    f"{ROLE}.actor.clip_ratio_c": Range(1, above=True),
    f"{ROLE}.actor.entropy_coeff": Range(-math.inf),
    **{f"{key}.ulysses_sequence_parallel_size": COUNT for key in ("engine", f"{ROLE}.actor")},
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
PARTS = ("model", "optimizer", "extra", "hf_model")  # of a checkpoint: what is none of them is left out in silence
SCHEDULES = ("constant", "cosine")
ENGINES = ("fsdp", "fsdp2", "fsdp_turbo", "megatron", "veomni", "torchtitan", "automodel", "mindspeed")
AGGREGATES = ("token-mean", "token-sum", "seq-mean-token-sum", "seq-mean-token-mean", "seq-mean-token-sum-norm")
SERVED = ("auto", "half", "float16", "bfloat16", "float", "float32")  # vLLM's ModelDType, whose module is slow to load
LOADED = ("auto", "hf", "dummy", "fastsafetensors", "instanttensor", "mistral", "modelexpress", "npcache", "pt")
LOADED += ("runai_streamer", "runai_streamer_sharded", "safetensors", "sharded_state", "tensorizer")  # its LoadFormats
DIVERGENCES = tuple(
    f"{name}{through}" for name in ("kl", "k1", "abs", "mse", "k2", "low_var_kl", "k3") for through in ("", "+")
)
CUTS = ("error", "left", "right")


def _dtypes() -> list[str]:
    from verl.utils.torch_dtypes import BFLOAT_LIST, FLOAT_LIST, HALF_LIST

    return [name for name in (*FLOAT_LIST, *BFLOAT_LIST, *HALF_LIST) if isinstance(name, str)]


def _estimators() -> list[str]:
    from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY, AdvantageEstimator

    return list(dict.fromkeys([*(one.value for one in AdvantageEstimator), *map(str, ADV_ESTIMATOR_REGISTRY)]))


def _losses() -> list[str]:
    from verl.trainer.ppo.core_algos import POLICY_LOSS_REGISTRY

    return list(POLICY_LOSS_REGISTRY)


def _rollouts() -> list[str]:
    from verl.workers.rollout.base import _ROLLOUT_REGISTRY

    return [name for name, _ in _ROLLOUT_REGISTRY]


# key -> what it may be; a function where verl has a list of its own
CHOICES: dict[str, Sequence[str] | Callable[[], Sequence[str]]] = {
    "trainer.device": ("cuda", "npu", "xpu", "cpu"),  # `device` of our recipes is the whole machine
    **{f"{key}.lr_scheduler_type": SCHEDULES for key in OPTIMISERS},
    **{f"{key}.{name}": _dtypes for key in ENGINE for name in ("dtype", "model_dtype")},
    **{f"{key}.mixed_precision.{name}_dtype": _dtypes for key in ENGINE for name in ("param", "reduce", "buffer")},
    **{f"{key}.strategy": ENGINES for key in ("engine", f"{ROLE}.actor")},
    **{
        f"{key}.{contents}": PARTS
        for key in ("checkpoint", f"{ROLE}.actor.checkpoint")
        for contents in ("save_contents", "load_contents")
    },
    "algorithm.adv_estimator": _estimators,
    "algorithm.kl_penalty": DIVERGENCES,
    "algorithm.kl_ctrl.type": ("fixed", "adaptive"),
    f"{ROLE}.actor.kl_loss_type": DIVERGENCES,
    f"{ROLE}.actor.policy_loss.loss_mode": _losses,
    f"{ROLE}.actor.loss_agg_mode": AGGREGATES,
    f"{ROLE}.rollout.name": _rollouts,
    f"{ROLE}.rollout.dtype": SERVED,
    f"{ROLE}.rollout.load_format": LOADED,
    **{f"{key}.forward_only": (False,) for key in ENGINE},  # without an optimiser
    "trainer.use_v1": (True,),  # verl has no other trainer left
}
FREQUENCIES = ("trainer.save_freq", "trainer.test_freq")
EACH_EPOCH = "after_each_epoch"  # what the SFT trainer takes there, too
NEEDED = ("data.train_batch_size", "data.max_prompt_length", "data.max_response_length", "data.max_length")
NEEDED += (f"{ROLE}.rollout.n", "trainer.n_gpus_per_node", "trainer.nnodes", "trainer.total_epochs")
NEEDED += tuple(f"{key}.lr" for key in OPTIMISERS)
SAMPLES = ("data.train_max_samples", "data.val_max_samples")  # verl takes null for no number, and 0 for all
KEPT = tuple(f"trainer.max_{whose}ckpt_to_keep" for whose in ("", "actor_", "critic_"))  # verl keeps all for no number
FLAGS = (
    "trainer.val_before_train",
    "trainer.balance_batch",
    "data.shuffle",
    "data.filter_overlong_prompts",
    "data.use_dynamic_bsz",
    "data.enable_thinking_default",  # any text is true to verl, `none` and `off` too
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
        if other and value == 0:
            raise BadInput(f"{key}=0, by which verl's SFT trainer divides; give -1 for never.")
    for key in NEEDED:
        if OmegaConf.select(config, key, default=0) is None:
            raise BadInput(f"{key} is null, for which verl has no default; give {KEYS[key]}.")
    for key in (*SAMPLES, *KEPT):
        value = OmegaConf.select(config, key, default=-1)
        if value != -1 and not COUNT.holds(value) and not (key in KEPT and value is None):
            raise BadInput(f"{key}={value}; give {COUNT}, or -1 for all.")
    for key in FLAGS:
        value = OmegaConf.select(config, key)
        if value is not None and not isinstance(value, bool):
            raise BadInput(f"{key}={value} is neither true nor false; give one of them.")
    for key, choices in CHOICES.items():
        value = OmegaConf.select(config, key)
        for one in value if isinstance(value, ListConfig) else [] if value is None else [value]:
            _one_of(key, one, choices() if callable(choices) else choices)
    if ROLE not in config and (cut := OmegaConf.select(config, "data.truncation")) is not None:
        _one_of("data.truncation", cut, CUTS)  # of SFT; in RL nothing is cut
    for key in OPTIMISERS:
        _optimiser(config, key)
    for key in ("data.apply_chat_template_kwargs", *(f"{node}.override_config" for node in MODELS)):
        value = OmegaConf.select(config, key)
        if value is not None and not isinstance(value, DictConfig):
            raise BadInput(f"{key}={value} is no mapping; write {key}={{name: value}}.")
    folder = OmegaConf.select(config, FOLDER)
    if folder and "://" not in str(folder):
        check_folder(Path(str(folder)).expanduser(), FOLDER)


def _optimiser(config: DictConfig, key: str) -> None:
    betas, most = OmegaConf.select(config, f"{key}.betas"), OmegaConf.select(config, f"{key}.clip_grad", default=1.0)
    if betas is not None and not (
        isinstance(betas, ListConfig) and len(betas) == 2 and all(finite(beta) and 0 <= beta < 1 for beta in betas)
    ):
        raise BadInput(f"{key}.betas={betas}; give two numbers of at least 0 and below 1.")
    if OmegaConf.select(config, key) is not None and most != math.inf and not Range(0, above=True).holds(most):
        fate = "ends" if most is None else "learns nothing"  # a share of 0 is left of each gradient
        raise BadInput(
            f"{key}.clip_grad={most}, with which verl {fate}; give a number above 0, or inf to clip nothing."
        )
    name, library = (OmegaConf.select(config, f"{key}.{part}") for part in ("optimizer", "optimizer_impl"))
    if name is not None and library == "torch.optim":
        _one_of(f"{key}.optimizer", name, _classes(library))


def built(config: DictConfig) -> None:
    """verl makes these parts of the config objects of its own, which refuse unknown names and what does not go
    together: in the workers, after Ray has started."""
    from verl.utils.config import omega_conf_to_dataclass

    for key in (*MODELS, f"{ROLE}.actor", f"{ROLE}.rollout", "algorithm", "optim", "engine", "checkpoint"):
        part = OmegaConf.select(config, key)
        if part is None or "_target_" not in part:
            continue
        _typed(key, part)
        if key in MODELS:
            continue  # made of the model's files: preflight/model.py
        try:
            made = omega_conf_to_dataclass(OmegaConf.create(OmegaConf.to_container(part, resolve=True)))
        except Exception as error:  # whatever verl's own checks raise, which Hydra wraps
            reason = one_line(error.__cause__ or error).rstrip(".")
            raise BadInput(f"{key}: verl refuses these settings ({reason}); mend the one it names.") from None
        if key.rpartition(".")[2] in ("optim", "actor"):
            _steps_with(*((f"{key}.optim", made.optim) if key.endswith("actor") else (key, made)))


def _steps_with(key: str, settings: object) -> None:
    """BadInput where the optimiser cannot be made of its settings, or not for weights of one dimension and of two."""
    import torch
    from verl.workers.config.optimizer import build_optimizer

    try:
        build_optimizer([torch.nn.Parameter(torch.zeros(2, 2)), torch.nn.Parameter(torch.zeros(2))], settings)
    except Exception as error:  # a library that is not there, an argument that the class does not know
        raise BadInput(
            f"{key}: the optimiser {settings.optimizer} cannot be made ({one_line(error).rstrip('.')}); set "
            f"{key}.optimizer=AdamW, or what that names."
        ) from None


def _typed(key: str, part: DictConfig) -> None:
    """BadInput for a value that is neither true nor false, or no number, where verl's class says that it is."""
    hints = get_type_hints(get_class(part["_target_"])) if "_target_" in part else {}
    for name, value in part.items():
        if isinstance(value, DictConfig):
            _typed(f"{key}.{name}", value)
        elif hints.get(name) is bool and value is not None and not isinstance(value, bool):
            raise BadInput(f"{key}.{name}={value} is neither true nor false; give one of them.")
        elif hints.get(name) in (int, float) and isinstance(value, str | bool):
            raise BadInput(f"{key}.{name}={value}; give a number.")


def _one_of(key: str, value: object, choices: Sequence[str]) -> None:
    if value not in choices:
        raise BadInput(
            f"{key}={value}{nearest(str(value), map(str, choices))}; use one of {', '.join(map(str, choices))}."
        )


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
