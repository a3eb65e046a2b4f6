"""The part of the preflight about judges: their settings, the data they need, and whether they answer at all."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from sp3f_verl.errors import BadInput
from sp3f_verl.judge import make_judge
from sp3f_verl.judge.base import Judge
from sp3f_verl.judge.desk import Desk
from sp3f_verl.judge.questions.client import Context
from sp3f_verl.judge.questions.kinds import JUDGED_TERMS, KINDS, Kind
from sp3f_verl.judge.questions.prompt import Prompt, render
from sp3f_verl.judge.settings import JudgeSettings, Transcript
from sp3f_verl.rewards.weights import active
from sp3f_verl.verl_bridge.preflight.files import train_rows
from sp3f_verl.verl_bridge.rl.judge_in_trainer import settings_of

TEMPLATE_TOKENS = 64  # of a chat template, around a system and a user part
GROUP_MANAGER = "sp3f_verl.verl_bridge.rl.group.GroupAgentLoopManager"


def judge(config: DictConfig) -> None:
    """Does `sp3f.judge` fit the rest of the run?"""
    settings, rollout = settings_of(config), config.actor_rollout_ref.rollout
    judges = [make_judge(member) for member in settings.members()]
    weights = OmegaConf.to_container(config.sp3f.reward.weights)
    wanted = JUDGED_TERMS & active(weights)
    _reward_model(config, [member for member in judges if _asks(member, "reward_model")])
    if not judges:
        for term in sorted(wanted):
            raise BadInput(f"sp3f.reward.weights.{term}={weights[term]} with judge=none; set it to 0 or name a judge.")
        return
    given = {member.term for member in settings.members()}
    if len(given) > 1:
        raise BadInput(
            "sp3f.judge.panel mixes schedule=consistency, a reward term of its own, with others; ask for one."
        )
    (term,) = given
    for member in judges if term != Kind.term else ():
        if not member.asks_a_model:
            raise BadInput(f"judge={member.settings.name} cannot answer sp3f.judge.schedule={term}; name a model's.")
    for other in sorted(wanted - given):
        raise BadInput(
            f"sp3f.reward.weights.{other}={weights[other]}, but judge={settings.name} with schedule="
            f"{settings.schedule} gives {term}; set one weight to 0 and the other above."
        )
    manager = rollout.agent.get("agent_loop_manager_class")
    if manager != GROUP_MANAGER:
        raise BadInput(
            f"agent_loop_manager_class={manager}, but a pairwise judge needs {GROUP_MANAGER}; set it to that."
        )
    if not wanted:
        raise BadInput(f"judge={settings.name} has sp3f.reward.weights.{term}=0; raise it or use judge=none.")
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


def room(config: DictConfig) -> None:
    """Do the rollout servers take the questions of judge=policy: query, solution, two responses and the judge's answer?
    They have the model's whole context where max_model_len is null."""
    judges = [make_judge(member) for member in settings_of(config).members()]
    judges = [judge for judge in judges if _asks(judge, "rollout")]
    if not judges:
        return
    role, (tokenizer, there, whole) = config.actor_rollout_ref, servers(config)
    rows = list(train_rows(config))
    for judge in judges:
        settings, question = judge.settings, judge.settings.question
        shown = 2 if question.of_pairs else 1 if question.labels(1) else role.rollout.n
        text = longest_frame(judge.prompt, rows, shown)
        frame = len(tokenizer(text)["input_ids"]) + TEMPLATE_TOKENS
        response = min(config.data.max_response_length, settings.response_chars)  # a token is a character or more
        needed = frame + shown * response + settings.longest_answer()
        if needed > there:
            mend = (
                f"set actor_rollout_ref.rollout.max_model_len={needed}, or null for the model's {whole}"
                if needed <= whole
                else "lower data.max_response_length or sp3f.judge.max_tokens, have long responses shortened by "
                "sp3f.judge.response_chars, or name another judge"
            )
            raise BadInput(
                f"judge={settings.name} asks servers that take {there} tokens, and a question may take {needed} "
                f"({frame} for prompt, query and solution, {shown} x {response} for responses, "
                f"{settings.longest_answer()} for the answer); {mend}."
            )


def servers(config: DictConfig) -> tuple[Any, int, int]:
    """(tokenizer, tokens that the rollout servers take, tokens that the model does)."""
    from transformers import AutoConfig, AutoTokenizer
    from verl.workers.rollout.utils import get_max_position_embeddings

    role = config.actor_rollout_ref
    path, trusted = str(Path(role.model.path).expanduser()), role.model.trust_remote_code
    whole = get_max_position_embeddings(AutoConfig.from_pretrained(path, trust_remote_code=trusted))
    tokenizer = AutoTokenizer.from_pretrained(role.model.tokenizer_path or path, trust_remote_code=trusted)
    if role.model.custom_chat_template is not None:
        tokenizer.chat_template = role.model.custom_chat_template
    return tokenizer, role.rollout.max_model_len or whole, whole


def longest_frame(prompt: Prompt, rows: Sequence[Mapping[str, Any]], shown: int) -> str:
    """All of the longest question but its responses."""
    reference = KINDS[prompt.kind].reference if prompt.privileged else None
    contexts = (Context.of(row, reference) for row in rows)
    context = max(contexts, key=lambda context: len(f"{context.query}{context.solution or ''}".encode()))
    messages = render(
        prompt,
        query=context.query,
        solution=context.solution,
        responses=[""] * shown,
        fence="0123456789abcdef01234567",
        language=context.language,
    )
    return "\n".join(message["content"] for message in messages)


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
