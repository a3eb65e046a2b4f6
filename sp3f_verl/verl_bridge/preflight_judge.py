"""The part of the preflight about judges: their settings, the data they need, and whether they answer at all."""

import asyncio
import dataclasses
import os

from omegaconf import DictConfig, OmegaConf

from sp3f_verl.data.rows import REFERENCE
from sp3f_verl.errors import BadInput
from sp3f_verl.judge.service import Desk
from sp3f_verl.judge.settings import JudgeSettings, Transcript
from sp3f_verl.rewards.weights import active
from sp3f_verl.verl_bridge.judge_actor import settings_of

GROUP_MANAGER = "sp3f_verl.verl_bridge.group.GroupAgentLoopManager"


def judge(config: DictConfig) -> None:
    """Does `sp3f.judge` fit the rest of the run?"""
    settings, rollout = settings_of(config), config.actor_rollout_ref.rollout
    weights = OmegaConf.to_container(config.sp3f.reward.weights)
    is_rewarded = "judge" in active(weights)
    _served_model(config, settings)
    if settings.name == "none":
        if is_rewarded:
            raise BadInput(
                f"sp3f.reward.weights.judge={weights['judge']} with judge=none; set it to 0 or name a judge."
            )
        return
    manager = rollout.agent.get("agent_loop_manager_class")
    if manager != GROUP_MANAGER:
        raise BadInput(
            f"agent_loop_manager_class={manager}, but a pairwise judge needs {GROUP_MANAGER}; set it to that."
        )
    if not is_rewarded:
        raise BadInput(f"judge={settings.name} has sp3f.reward.weights.judge=0; raise it or use judge=none.")
    if rollout.n < 2:
        raise BadInput(
            f"actor_rollout_ref.rollout.n={rollout.n}, but a pairwise judge compares siblings; set it to 2 or more."
        )
    for member in settings.members():
        if member.asks_a_model and member.group_seconds >= config.sp3f.group.deadline_seconds:
            raise BadInput(
                f"sp3f.judge.group_seconds={member.group_seconds:g} is not below sp3f.group.deadline_seconds="
                f"{config.sp3f.group.deadline_seconds:g}, so it would ask for groups that have failed; lower it."
            )
        if member.name == "policy" and (rollout.name != "vllm" or rollout.skip_tokenizer_init):
            raise BadInput(
                "judge=policy asks the rollout servers in text; set actor_rollout_ref.rollout.name=vllm and "
                "actor_rollout_ref.rollout.skip_tokenizer_init=false."
            )


def _served_model(config: DictConfig, settings: JudgeSettings) -> None:
    """verl starts a judge's server where reward.reward_model.enable=true; then, and only then, a judge must use it."""
    served = config.reward.reward_model
    users = [member for member in settings.members() if member.name == "local" and not member.base_urls()]
    if users and not served.enable:
        raise BadInput("judge=local has no server; set sp3f.judge.base_url, or reward.reward_model.enable=true.")
    if served.enable and not users:
        raise BadInput(
            "reward.reward_model.enable=true starts a server that no judge uses; use judge=local without a base_url, "
            "or set reward.reward_model.enable=false."
        )
    if users and not served.enable_resource_pool:
        raise BadInput(
            "reward.reward_model.enable_resource_pool=false makes the judge wait for all rollouts; set it to true."
        )
    if users and not served.model_path:
        raise BadInput("judge=local: reward.reward_model.model_path is empty; name the judge's model.")


def needed_fields(config: DictConfig) -> tuple[str, ...]:
    """The fields of a row that the judges of the run cannot do without."""
    needed: set[str] = set()
    for member in settings_of(config).members():
        if member.name == "reference" or (member.privileged and member.schedule != "language"):
            needed.update(REFERENCE)
        elif member.schedule != "language":
            needed.add("query_en")
    return tuple(sorted(needed))


def judge_answers(config: DictConfig) -> None:
    """Asks every judge that has a URL one short question, so that a wrong key costs no start of a run."""
    settings = settings_of(config)
    elsewhere = OmegaConf.select(config, "ray_kwargs.ray_init.address") or os.environ.get("RAY_ADDRESS")
    reachable = []
    for member in settings.members():
        if member.name not in ("openai", "local"):
            continue
        names = (member.api_key_env, None if member.base_url else member.base_url_env)
        if elsewhere and any(name and not os.environ.get(name) for name in names):
            continue  # the variables may be set there; the judge's own process checks before any rollout
        if member.base_urls():
            # few retries: a mistyped address should be told at once
            quiet = {"transcript": Transcript(), "store": None, "panel": (), "retries": min(2, member.retries)}
            reachable.append(dataclasses.replace(member, **quiet))
    if reachable:
        asyncio.run(_open(reachable))


async def _open(members: list[JudgeSettings]) -> None:
    for member in members:
        desk = Desk(member)
        try:
            await desk.open()
        finally:
            await desk.close()
