"""The part of the preflight about judges: their settings, the data they need, and whether they answer at all."""

import asyncio
import os

from omegaconf import DictConfig, OmegaConf

from sp3f_verl.errors import BadInput
from sp3f_verl.judge import make_judge
from sp3f_verl.judge.base import Judge
from sp3f_verl.judge.desk import Desk
from sp3f_verl.judge.settings import JudgeSettings, Transcript
from sp3f_verl.rewards.weights import active
from sp3f_verl.verl_bridge.judge_in_trainer import settings_of

GROUP_MANAGER = "sp3f_verl.verl_bridge.group.GroupAgentLoopManager"


def judge(config: DictConfig) -> None:
    """Does `sp3f.judge` fit the rest of the run?"""
    settings, rollout = settings_of(config), config.actor_rollout_ref.rollout
    judges = [make_judge(member) for member in settings.members()]
    weights = OmegaConf.to_container(config.sp3f.reward.weights)
    is_rewarded = "judge" in active(weights)
    _reward_model(config, [member for member in judges if _asks(member, "reward_model")])
    if not judges:
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
    for member in judges:
        if member.asks_a_model and member.settings.group_seconds >= config.sp3f.group.deadline_seconds:
            raise BadInput(
                f"sp3f.judge.group_seconds={member.settings.group_seconds:g} is not below "
                f"sp3f.group.deadline_seconds={config.sp3f.group.deadline_seconds:g}, so it would ask for groups that "
                "have failed; lower it."
            )
        if _asks(member, "rollout") and (rollout.name != "vllm" or rollout.skip_tokenizer_init):
            raise BadInput(
                f"judge={member.settings.name} asks the rollout servers in text; set "
                "actor_rollout_ref.rollout.name=vllm and actor_rollout_ref.rollout.skip_tokenizer_init=false."
            )


def _asks(judge: Judge, servers: str) -> bool:
    return judge.served_by == servers and judge.is_served_by_the_run()


def _reward_model(config: DictConfig, users: list[Judge]) -> None:
    """verl starts a judge's server where reward.reward_model.enable=true; then, and only then, a judge must use it."""
    served = config.reward.reward_model
    name = f"judge={users[0].settings.name}" if users else ""
    if users and not served.enable:
        raise BadInput(f"{name} has no server; set sp3f.judge.base_url, or reward.reward_model.enable=true.")
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
        raise BadInput(f"{name}: reward.reward_model.model_path is empty; name the judge's model.")


def needed_fields(config: DictConfig) -> tuple[str, ...]:
    """The fields of a row that the judges of the run cannot do without."""
    judges = [make_judge(member) for member in settings_of(config).members()]
    return tuple(sorted({name for judge in judges for name in judge.needed_fields()}))


def judge_answers(config: DictConfig) -> None:
    """Asks every judge that the run does not serve one short question, so that a wrong key costs no start of a run."""
    elsewhere = OmegaConf.select(config, "ray_kwargs.ray_init.address") or os.environ.get("RAY_ADDRESS")
    reachable = []
    for member in settings_of(config).members():
        judge = make_judge(member)
        if elsewhere and not all(map(os.environ.get, judge.needed_variables())):
            continue  # the variables may be set there; the judge's own process checks before any rollout
        if not judge.is_served_by_the_run():
            # few retries: a mistyped address should be told at once
            retries = min(2, member.retries)
            reachable.append(member.changed(transcript=Transcript(), store=None, panel=(), retries=retries))
    if reachable:
        asyncio.run(_open(reachable))


async def _open(members: list[JudgeSettings]) -> None:
    for member in members:
        desk = Desk(member)
        try:
            await desk.open()
        finally:
            await desk.close()
