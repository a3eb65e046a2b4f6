"""Keys of verl that a run takes and does not read: whoever sets one is told its name, and what to set in its place.

Only what stands on the command line counts: verl's own defaults and the recipes are full of such keys.
"""

from collections.abc import Iterator

from omegaconf import DictConfig, OmegaConf

from sp3f_verl.errors import BadInput

ACTOR = "actor_rollout_ref.actor"
# key, or what keys begin with -> what to set in its place. verl 0.9.1 clips by its optimiser's settings alone
EVERYWHERE = {f"{ACTOR}.grad_clip": f"{ACTOR}.optim.clip_grad", "critic.grad_clip": "critic.optim.clip_grad"}
OF_RL = dict.fromkeys(("algorithm.", "critic.", "reward.", "actor_rollout_ref.ref."), "")
OF_RL |= {f"{ACTOR}.{name}": "" for name in ("clip_ratio", "policy_loss", "entropy_coeff", "use_kl_loss", "kl_loss_")}
OF_RL |= {f"{ACTOR}.{name}": "" for name in ("loss_agg_mode", "loss_scale_factor", "shuffle", "tau_")}
OF_RL |= {f"{ACTOR}.ppo_epochs": "trainer.total_epochs", f"{ACTOR}.ppo_mini_batch_size": "data.train_batch_size"}
# of `data`, what preference training reads: the rest belongs to verl's own data sets
READ = ("train_files", "val_files", "train_max_samples", "val_max_samples", "train_batch_size", "shuffle", "seed")
READ += ("apply_chat_template_kwargs", "enable_thinking_default", "dataloader_num_workers", "trust_remote_code")
IN_ITS_PLACE = dict.fromkeys(("max_prompt_length", "max_response_length", "max_length"), "sp3f.preference.max_length")
SERVED = ("max_prompt_length", "max_response_length")  # what self-play's rollout servers must take


def unread(config: DictConfig) -> None:
    """BadInput for the first key of the command line that has no part in this kind of run."""
    without_effect = EVERYWHERE | (OF_RL if "preference" in config.sp3f else {})
    for key in _given(config):
        name = next((name for name in without_effect if key.startswith(name)), None)
        mend = without_effect.get(name)
        part, _, rest = key.partition(".")
        rest = rest.partition(".")[0]
        if part == "data" and "preference" in config.sp3f and rest not in READ:
            if "selfplay" in config.sp3f and rest in SERVED:
                continue
            name, mend = key, IN_ITS_PLACE.get(rest, "")
        if name is not None:
            raise BadInput(f"{key} has no part in this run; {f'set {mend} in its place' if mend else 'leave it out'}.")


def _given(config: DictConfig) -> Iterator[str]:
    for override in OmegaConf.select(config, "hydra.overrides.task") or ():
        yield override.lstrip("+~").partition("=")[0]
