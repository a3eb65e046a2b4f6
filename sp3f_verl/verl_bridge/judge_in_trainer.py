"""The trainer's side of the judges: it makes them first, opens them before any rollout, logs them, and stops for them.

Wraps `init` and `step` of verl's PPOTrainer. A no-op for a run without `sp3f.judge`.
"""

import functools
import sys

import ray
from ray.exceptions import RayActorError, RayTaskError

from sp3f_verl.verl_bridge.judge_actor import judge_actor

GONE = "the process of the judge died (out of memory? see Ray's logs); start the same command to go on."


def with_judge(original):
    """`PPOTrainer.init`: the judge actor is there before the reward workers look for it, and opened after them."""

    @functools.wraps(original)
    def init(self):
        judged = (self.config.get("sp3f") or {}).get("judge") is not None
        self.sp3f_judge = judge_actor(self.config) if judged else None
        original(self)
        if self.sp3f_judge is None:
            return
        try:
            ray.get(self.sp3f_judge.open.remote(_served(self)))
        except RayTaskError as error:
            raise RuntimeError(f"sp3f_verl: {error.cause}") from None
        except RayActorError:
            raise RuntimeError(f"sp3f_verl: {GONE}") from None

    return init


def _served(trainer) -> dict[str, list[str]]:
    """Base URLs of the models that the run serves: the reward model's servers and the policy's rollout servers."""
    # not verl's router in front of them: it makes a 500 of every error, and spreads a group that shares a prefix
    judges = trainer.reward_loop_manager.reward_model_manager
    # separate_async: the rollout servers of the training GPUs come and go, so its own ones are asked
    manager = getattr(trainer, "standalone_server_manager", None) or trainer.llm_server_manager
    addresses = {"local": judges.server_addresses if judges else [], "policy": list(manager.get_addresses())}
    return {name: [f"http://{address}/v1" for address in each] for name, each in addresses.items()}


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
            panel, stopped, last = ray.get(self.sp3f_judge.take_step.remote())
        except RayActorError:
            panel, stopped, last = {}, GONE, None
        metrics.update(panel)
        if sentence := stopped or last:
            if self.config.trainer.save_freq <= 0 or self.global_steps % self.config.trainer.save_freq:
                self._save_checkpoint()
            self.total_training_steps = self.global_steps  # verl's loop ends after this step
            say(f"the run ends after step {self.global_steps}: {sentence}")
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
    if sentence is None:
        return
    finished, every = trainer.global_steps - 1, trainer.config.trainer.save_freq
    if finished > 0 and (every <= 0 or finished % every):
        if trainer.trainer_mode == "sync":
            trainer.checkpoint_manager.sleep_replicas()  # memory to save with
        trainer.global_steps = finished
        trainer._save_checkpoint()
    raise RuntimeError(f"sp3f_verl: the run ends in step {finished + 1}: {sentence}")


def say(sentence: str) -> None:
    print(f"sp3f_verl: {sentence}", file=sys.stderr, flush=True)
