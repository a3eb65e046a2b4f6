"""Keys of verl that a run takes and does not read: whoever sets one is told its name, and what to set in its place.

Only what stands on the command line counts: verl's own defaults and the recipes are full of such keys.
"""

from collections.abc import Iterator
from pathlib import Path

import verl
from omegaconf import DictConfig, OmegaConf

from sp3f_verl.errors import BadInput, nearest
from sp3f_verl.verl_bridge.sizes import model_node
from sp3f_verl.verl_bridge.trainers import is_sft

ROLE = "actor_rollout_ref"
ACTOR, ROLLOUT = f"{ROLE}.actor", f"{ROLE}.rollout."
MODELS = (f"{ROLE}.model", "model")
# key, or what keys begin with -> what to set in its place. verl 0.9.1 clips by its optimiser's settings alone
EVERYWHERE = {f"{ACTOR}.grad_clip": f"{ACTOR}.optim.clip_grad", "critic.grad_clip": "critic.optim.clip_grad"}
EVERYWHERE |= {f"{key}.total_training_steps": "trainer.total_training_steps" for key in (f"{ACTOR}.optim", "optim")}
EVERYWHERE |= {f"{node}.lora.": f"{node}.lora_rank" for node in MODELS}  # Megatron's
OF_LORA = ("lora_alpha", "lora_adapter_path", "target_modules", "target_parameters", "exclude_modules")
OF_RL = dict.fromkeys(("algorithm.", "critic.", "reward.", f"{ROLE}.ref.", "distillation.", "skip."), "")
OF_RL |= {f"{ACTOR}.{name}": "" for name in ("clip_ratio", "policy_loss", "entropy_coeff", "use_kl_loss", "kl_loss_")}
OF_RL |= {f"{ACTOR}.{name}": "" for name in ("loss_agg_mode", "loss_scale_factor", "shuffle", "tau_")}
OF_RL |= {f"{ACTOR}.ppo_epochs": "trainer.total_epochs", f"{ACTOR}.ppo_mini_batch_size": "data.train_batch_size"}
OF_RL |= {f"trainer.{name}": "" for name in ("val_only", "log_val_generations", "rollout_data_dir", "critic_warmup")}
OF_RL |= {f"trainer.{name}": "" for name in ("validation_data_dir", "max_critic_ckpt_to_keep")}
# of `data`, what preference training reads: the rest belongs to verl's own data sets
READ = ("train_files", "val_files", "train_max_samples", "val_max_samples", "train_batch_size", "shuffle", "seed")
READ += ("apply_chat_template_kwargs", "enable_thinking_default", "dataloader_num_workers", "trust_remote_code")
IN_ITS_PLACE = dict.fromkeys(("max_prompt_length", "max_response_length", "max_length"), "sp3f.preference.max_length")
SERVED = ("max_prompt_length", "max_response_length")  # what self-play's rollout servers must take
OF_LOG_PROBS = f"{ROLLOUT}log_prob_"  # of `rollout`, what is read where nothing is generated
# What verl's SFT trainer has for nothing; its sampler always shuffles, and with one seed.
OF_SFT = dict.fromkeys(("trainer.seed", "trainer.balance_batch", "data.balance_dp_token"), "")
CONFIGS = Path(verl.__file__).parent / "trainer" / "config"
# of `data` and `trainer`, what verl's code asks for and its own configs have not
ASKED_FOR = {"data": ("image_key", "video_key", "image_patch_size", "shuffle", "seed")}
ASKED_FOR["trainer"] = ("remove_previous_ckpt_in_save",)


def unread(config: DictConfig) -> None:
    """BadInput for the first key of the command line that has no part in this kind of run."""
    given = list(_given(config))
    for key in given:
        if (mend := _mend(config, key)) is not None:
            raise BadInput(f"{key} has no part in this run; {mend or 'leave it out'}.")
        node, _, name = key.rpartition(".")
        # with lora_rank=0 beside it, whoever set it switched it off
        off = node in MODELS and name in OF_LORA and f"{node}.lora_rank" not in given
        if off and not model_node(config).get("lora_rank"):
            raise BadInput(f"{key} has no part in a run without LoRA; set {node}.lora_rank, or leave it out.")


def _mend(config: DictConfig, key: str) -> str | None:
    """What to do about a key that has no part in the run, "" for nothing in particular; None for all other keys."""
    preference, sft = "preference" in config.sp3f, is_sft(config)
    without_effect = EVERYWHERE | (OF_RL if preference else OF_SFT if sft else {})
    if (name := next((name for name in without_effect if key.startswith(name)), None)) is not None:
        return _instead(without_effect[name])
    part, _, rest = key.partition(".")
    name = rest.partition(".")[0]
    served = "selfplay" in config.sp3f
    if part == "data" and preference and name not in READ and not (served and name in SERVED):
        return _instead(IN_ITS_PLACE.get(name, ""))
    if preference and not served and key.startswith(ROLLOUT) and not key.startswith(OF_LOG_PROBS):
        return ""
    if sft and part == "data" and name in ("shuffle", "seed") and not _draws(config.data, name):
        return "verl's SFT trainer always shuffles, and alike in every run: leave it out"
    if (sft and part in ("data", "trainer")) or (preference and part == "trainer"):
        verls = OmegaConf.load(CONFIGS / ("sft_trainer_engine.yaml" if sft else "ppo_trainer.yaml"))[part]
        known = (*verls, *ASKED_FOR[part])
        if name in known or (sft and part == "data" and "sp3f_verl" not in str(config.data.custom_cls.path)):
            return None  # a class of the user's own reads what it likes
        return f"nothing reads it{nearest(name, known)}: leave it out"
    return None


def _instead(key: str) -> str:
    return key and f"set {key} in its place"


def _draws(data: DictConfig, name: str) -> bool:
    """Whether verl's SFT data set reads the key: it draws the data.train_max_samples rows. And whoever asks for a
    shuffled order gets one."""
    return bool(data.get("shuffle")) and (name == "shuffle" or data.get("train_max_samples", -1) > 0)


def _given(config: DictConfig) -> Iterator[str]:
    for override in OmegaConf.select(config, "hydra.overrides.task") or ():
        yield override.lstrip("+~").partition("=")[0]
