"""The command `sp3f plan`: what a run will take, of time, memory and money, before it is started.

It reads the run's own command line, counts (sp3f_verl/cost) and prints what it assumed. No model is loaded, no data
needed, no server asked.
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from sp3f_verl.cost.devices import GIB, assumptions, find_device, this_cpu
from sp3f_verl.cost.memory import BF16, FP32, tokens_that_fit, training_bytes
from sp3f_verl.cost.model import ModelSize
from sp3f_verl.cost.step import (
    Machine,
    Rollouts,
    forward_seconds,
    judge_seconds,
    rollout_seconds,
    sync_seconds,
    update_seconds,
)
from sp3f_verl.errors import BadInput
from sp3f_verl.judge import judge_class
from sp3f_verl.judge.check.measure import questions_of_a_group
from sp3f_verl.judge.settings import JudgeSettings
from sp3f_verl.losses.objective import Objective
from sp3f_verl.verl_bridge import sizes
from sp3f_verl.verl_bridge.preflight.preference import objective_of
from sp3f_verl.verl_bridge.recipes import compose_recipe
from sp3f_verl.verl_bridge.rl.judge_in_trainer import settings_of
from sp3f_verl.verl_bridge.trainers import keys_of, method_of


@dataclass(frozen=True)
class Plan:
    """seconds: of the parts of a step. lengths: tokens of what it trains on. usd: of a step's judge."""

    model: ModelSize
    machine: Machine
    seconds: dict[str, float]
    lengths: list[float]
    memory: dict[str, float]
    micro_tokens: int
    steps: int | None
    questions: int = 0
    usd: float | None = None

    @property
    def step_seconds(self) -> float:
        return sum(self.seconds.values())


def _lengths(config: DictConfig, prompt: float | None, response: float | None) -> tuple[float, float]:
    """Mean tokens of prompts and responses: as given, else the assumed shares of the recipe's limits."""
    shares = assumptions()["lengths"]
    if config.sp3f.get("preference"):
        most = [config.sp3f.preference.max_length]
    else:
        most = [OmegaConf.select(config, key) for key in keys_of(config).lengths]
    return prompt or most[0] * shares["prompt"], response or most[-1] * shares["response"]


def _judge(config: DictConfig, prompt: float, response: float) -> tuple[JudgeSettings | None, int, float | None]:
    """The judge that asks a model, if one does, its questions a step, and their price."""
    judge = settings_of(config) if method_of(config) == "rl" else None
    asking = [] if judge is None else [member for member in judge.members() if judge_class(member).asks_a_model]
    if not asking:
        return None, 0, None
    groups, n = config.data.train_batch_size, config.actor_rollout_ref.rollout.n
    questions, usd = 0, 0.0
    for member in asking:
        count = groups * questions_of_a_group(member, n)
        questions += count
        price = member.known_price()
        answer = assumptions()["judge"]["answer"] * member.max_tokens
        usd = None if price is None or usd is None else usd + count * (
            price.input * (prompt + 3 * response) + price.output * answer
        ) / 1e6  # fmt: skip
    return asking[0], questions, usd


def _pack(config: DictConfig, mean: float) -> float | None:
    """Tokens of a micro-batch whose attention is computed whole: rows packed under sdpa, but for the groups of DPO."""
    if sizes.model_node(config).override_config.attn_implementation != "sdpa" or config.sp3f.get("preference"):
        return None
    keys = keys_of(config)
    node = keys.get(config, "micro_batch")
    if node.use_dynamic_bsz:
        return node[f"{keys.prefix}max_token_len_per_gpu"]
    return mean * node[f"{keys.prefix}micro_batch_size_per_gpu"]


def plan(
    config: DictConfig,
    machine: Machine,
    prompt_tokens: float | None = None,
    response_tokens: float | None = None,
    latency: float = 2.0,
) -> Plan:
    """config: of a recipe, composed. latency: seconds of one answer of the judge."""
    model, training = sizes.model_size(config), replace(sizes.training_of(config), devices=machine.devices)
    method, data = method_of(config), config.data
    prompt, response = _lengths(config, prompt_tokens, response_tokens)
    checkpointing, element = training.checkpointing, BF16 if machine.device.kind == "gpu" else FP32
    seconds: dict[str, float] = {}
    questions, usd, copies = 0, None, 1
    pack = _pack(config, prompt + response)
    if method in ("rl", "selfplay"):
        rollout = config.actor_rollout_ref.rollout
        n = rollout.n if method == "rl" else 1
        rollouts = Rollouts(
            data.train_batch_size,
            n,
            prompt,
            response,
            data.max_response_length,
            rollout.max_num_seqs,
            rollout.tensor_model_parallel_size,
        )
        seconds["rollout"] = rollout_seconds(model, rollouts, machine, element)
    if method == "rl":
        lengths = [prompt + response] * (data.train_batch_size * n)
        judge, questions, usd = _judge(config, prompt, response)
        if judge is not None:
            seconds["judge wait"] = judge_seconds(questions, judge.concurrency, latency, seconds["rollout"])
        if not config.algorithm.rollout_correction.get("bypass_mode"):
            seconds["old log-probs"] = forward_seconds(model, lengths, machine, pack)
        seconds["weight sync"] = sync_seconds(model, machine, element)
        seconds["the rest"] = machine.share("step_seconds")
    elif method == "sft":
        lengths = [prompt + response] * data.train_batch_size
    else:
        objective: Objective = objective_of(config)
        copies = len(objective.roles)
        lengths = [prompt + copies * response] * data.train_batch_size  # prompts once a pair
        if objective.needs_reference:
            once = forward_seconds(model, lengths, machine)
            seconds["reference"] = once / (config.trainer.total_epochs or 1)
    seconds["update"] = update_seconds(model, lengths, machine, checkpointing, pack)
    tokens = min(
        tokens_that_fit(model, training, machine.device), math.ceil(sum(lengths) / machine.devices / 1024) * 1024
    )
    return Plan(
        model,
        machine,
        seconds,
        lengths,
        training_bytes(model, training, max(tokens, training.longest)),
        tokens,
        config.trainer.total_training_steps,
        questions,
        usd,
    )


def lines(plan: Plan, gpu_price: float | None = None) -> list[str]:
    """What `sp3f plan` prints."""
    device, step, tokens = plan.machine.device, plan.step_seconds, sum(plan.lengths)
    flops = 3 * plan.model.forward_flops(plan.lengths)
    written = [
        f"model: {plan.model.parameters / 1e9:.2f} B parameters, {plan.model.active / 1e9:.2f} B at work a token",
        f"machine: {plan.machine.devices} x {device.name}, {device.memory / GIB:.0f} GiB, "
        f"{device.peak / 1e12:.3g} TFLOP/s, {device.bandwidth / 1e9:.4g} GB/s",
        "",
        "seconds of a step",
        *(f"  {name:<14}{value:>10.1f}  {value / step:>5.0%}" for name, value in plan.seconds.items()),
        f"  {'all':<14}{step:>10.1f}",
        f"tokens trained on in a step: {tokens:,.0f}; {tokens / step / plan.machine.devices:,.0f} a second and device; "
        f"model FLOPs of the update {flops:.3g}",
        "",
        "GiB on a device while training",
        *(f"  {name:<18}{value / GIB:>8.1f}" for name, value in plan.memory.items()),
        f"  {'all':<18}{sum(plan.memory.values()) / GIB:>8.1f} of {device.memory / GIB:.0f}",
        f"tokens of a micro-batch: {plan.micro_tokens:,}" if plan.micro_tokens else "the state alone does not fit",
    ]
    if plan.questions:
        price = (
            f", {plan.usd:.2f} USD a step" if plan.usd is not None else "; its price is not known (sp3f.judge.price)"
        )
        written += ["", f"judge: {plan.questions:,} questions a step{price}"]
    if plan.steps:
        hours = plan.steps * step / 3600
        money = [f"{plan.machine.devices * hours:,.0f} device hours"]
        money += [f"{gpu_price * plan.machine.devices * hours:,.0f} USD of devices"] if gpu_price else []
        money += [f"{plan.usd * plan.steps:,.0f} USD of the judge"] if plan.usd else []
        written += ["", f"{plan.steps:,} steps: {hours / 24:.2f} days; {'; '.join(money)}"]
    shares = ", ".join(f"{name} {value:g}" for name, value in assumptions()[device.kind].items())
    return [*written, "", f"assumed ({device.kind}): {shares}; no measurement on a GPU stands behind these"
            if device.kind == "gpu" else f"assumed ({device.kind}): {shares}"]  # fmt: skip


def run(options: argparse.Namespace) -> str:
    """Raises BadInput."""
    config = _compose(options.overrides)
    if config.sp3f.device == "gpu":
        device = find_device(options.gpu, options.memory_gib) if options.gpu else sizes.gpu(config)
    else:
        model = sizes.model_size(config)
        device = this_cpu(1024, model.hidden, model.intermediate)
    made = plan(
        config,
        Machine(device, sizes.devices(config)),
        options.prompt_tokens,
        options.response_tokens,
        options.latency,
    )
    return "\n".join(lines(made, options.gpu_price))


def _compose(overrides: Sequence[str]) -> DictConfig:
    names = [word.removeprefix("+recipe=") for word in overrides if word.startswith("+recipe=")]
    if len(names) != 1:
        raise BadInput("sp3f plan needs the run's arguments; give +recipe=sp3f actor_rollout_ref.model.path=...")
    try:
        return compose_recipe(names[0], [word for word in overrides if not word.startswith("+recipe=")])
    except HydraException as error:
        raise BadInput(f"the run's arguments do not compose: {' '.join(str(error).split())}") from None
