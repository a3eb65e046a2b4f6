"""The judges of a run in training: one named Ray actor that all reward workers ask, and the trainer around it.

One process asks, so rate limits, budget and counts hold for the run and not for each worker, and there is one event
loop and one connection pool for its whole life. The trainer makes the actor before anything else, tells it where the
models are that the run itself serves, takes its metrics every step and stops when it says so: the wraps of `init`,
`step` and `fit` of verl's PPOTrainer, no-ops for a run without `sp3f.judge`.
"""

import contextlib
import dataclasses
import functools
from pathlib import Path
from typing import NoReturn

import ray
from omegaconf import DictConfig, OmegaConf
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sp3f_verl.judge.base import GroupNotJudged, Judged
from sp3f_verl.judge.desk import Desk
from sp3f_verl.judge.metrics import ScoredGroup
from sp3f_verl.judge.settings import JudgeSettings
from sp3f_verl.log import log

NAME = "sp3f_judge"  # in the namespace of the run's Ray job
GROUPS_AT_ONCE = 20_000  # calls that may wait inside the actor; Ray's default of 1000 would hide the rest from it
CLOSING_SECONDS = 30
GONE = "the process of the judge died (out of memory? see Ray's logs); start the same command to go on."


class JudgeActor:
    """A Desk behind Ray. Its methods run in the actor's event loop."""

    def __init__(self, settings: JudgeSettings):
        self._desk = Desk(settings)

    async def open(self, served: dict[str, list[str]], control_tokens: dict[str, list[str]]) -> None:
        await self._desk.open(served, control_tokens)

    async def judge(self, responses: list[str], row: dict) -> Judged:
        """As Desk.judge, without the records: no reward worker needs those texts."""
        try:
            return dataclasses.replace(await self._desk.judge(responses, row), records=[])
        except GroupNotJudged as error:
            error.records = []
            raise

    async def observe(self, group: ScoredGroup) -> None:
        self._desk.observe(group)

    async def take_step(self) -> tuple[dict[str, float], str | None, str | None]:
        """(metrics of the step, why the judges stopped, why this should be the last step)."""
        metrics = self._desk.take_step()
        return metrics, self._desk.stop_reason, self._desk.last_affordable()

    async def stop_reason(self) -> str | None:
        return self._desk.stop_reason

    async def close(self) -> None:
        await self._desk.close()


def settings_of(config: DictConfig) -> JudgeSettings:
    """The checked settings under `sp3f.judge`. Raises BadInput."""
    return JudgeSettings.from_mapping(OmegaConf.to_container(config.sp3f.judge, resolve=True))


def judge_actor(config: DictConfig):
    """Handle of the run's judge actor; None for judge=none.

    The trainer is the first to call this, so the actor stands on its node, beside the checkpoints: the record of what
    was spent must be found again by a run that goes on.
    """
    settings = settings_of(config)
    if not settings.members():
        return None
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    options = {"name": NAME, "get_if_exists": True, "num_cpus": 0, "max_concurrency": GROUPS_AT_ONCE}
    return ray.remote(JudgeActor).options(**options, scheduling_strategy=here).remote(settings)


def with_judge(original):
    """`PPOTrainer.init`: the judge actor is there before the reward workers look for it, and opened after them."""

    @functools.wraps(original)
    def init(self):
        has_judge = (self.config.get("sp3f") or {}).get("judge") is not None
        self.sp3f_judge = judge_actor(self.config) if has_judge else None
        original(self)
        if self.sp3f_judge is None:
            return
        try:
            ray.get(self.sp3f_judge.open.remote(_served(self), _control_tokens(self)))
        except RayTaskError as error:
            raise RuntimeError(f"sp3f_verl: {error.cause}") from None
        except RayActorError:
            raise RuntimeError(f"sp3f_verl: {GONE}") from None

    return init


def _served(trainer) -> dict[str, list[str]]:
    """Base URLs of the models that the run serves, by `Judge.served_by`."""
    # not verl's router in front of them: it makes a 500 of every error, and spreads a group that shares a prefix
    reward_models = trainer.reward_loop_manager.reward_model_manager
    # separate_async: the rollout servers of the training GPUs come and go, so its own ones are asked
    rollouts = getattr(trainer, "standalone_server_manager", None) or trainer.llm_server_manager
    addresses = {
        "reward_model": reward_models.server_addresses if reward_models else [],
        "rollout": list(rollouts.get_addresses()),
    }
    return {name: [f"http://{address}/v1" for address in servers] for name, servers in addresses.items()}


def _control_tokens(trainer) -> dict[str, list[str]]:
    """What the tokenizers of the models that the run serves read as no text, by `Judge.served_by`."""
    tokens, judge = {"rollout": _special(trainer.tokenizer)}, trainer.config.reward.reward_model
    if judge.enable:
        from transformers import AutoTokenizer

        try:
            path = str(Path(judge.model_path).expanduser())
            tokens["reward_model"] = _special(AutoTokenizer.from_pretrained(path, trust_remote_code=False))
        except Exception as error:  # its server may read it by code of its own
            log.warning("judge: of %s only common control tokens are known (%s)", judge.model_path, error)
    return tokens


def _special(tokenizer) -> list[str]:
    return [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]


def with_close(original):
    """`PPOTrainer.fit`: at its end, however it ends, the judges close what they hold open: stores, connections."""

    @functools.wraps(original)
    def fit(self, *args, **kwargs):
        try:
            return original(self, *args, **kwargs)
        finally:
            if getattr(self, "sp3f_judge", None) is not None:
                # gone, busy, without a disk: no reason to fail for a run that is over; the store is written each step
                with contextlib.suppress(RayActorError, RayTaskError, GetTimeoutError):
                    ray.get(self.sp3f_judge.close.remote(), timeout=CLOSING_SECONDS)

    return fit


def with_step_metrics(original):
    """`PPOTrainer.step`: the judge's metrics, and the end of the run at a checkpoint where its money runs out.

    Between the update and verl's own checkpoint: the rollout servers sleep, so there is memory to save with.
    """

    @functools.wraps(original)
    def step(self, metrics, timing_raw):
        batch = original(self, metrics, timing_raw)
        if getattr(self, "sp3f_judge", None) is None:
            return batch
        try:
            judge_metrics, stop_reason, last_step_reason = ray.get(self.sp3f_judge.take_step.remote())
        except RayActorError:
            judge_metrics, stop_reason, last_step_reason = {}, GONE, None
        metrics.update(judge_metrics)
        if sentence := stop_reason or last_step_reason:
            if self.config.trainer.save_freq <= 0 or self.global_steps % self.config.trainer.save_freq:
                self._save_checkpoint()
            self.total_training_steps = self.global_steps  # verl's loop ends after this step
            log.warning("the run ends after step %s: %s", self.global_steps, sentence)
        return batch

    return step


def stop_in_mid_step(trainer) -> None:
    """RuntimeError where the judges answer no more: every further group would fail. Keeps what was trained so far."""
    judge = getattr(trainer, "sp3f_judge", None)
    if judge is None:
        return
    try:
        sentence = ray.get(judge.stop_reason.remote())
    except RayActorError:
        sentence = GONE
    if sentence is not None:
        end_in_mid_step(trainer, sentence)


def end_in_mid_step(trainer, sentence: str) -> NoReturn:
    """RuntimeError with the sentence, after a checkpoint of the last whole step where there is none yet."""
    finished, every = trainer.global_steps - 1, trainer.config.trainer.save_freq
    if finished > 0 and (every <= 0 or finished % every):
        if trainer.trainer_mode == "sync":
            trainer.checkpoint_manager.sleep_replicas()  # memory to save with
        trainer.global_steps = finished
        trainer._save_checkpoint()
    raise RuntimeError(f"sp3f_verl: the run ends in step {finished + 1}: {sentence}")
