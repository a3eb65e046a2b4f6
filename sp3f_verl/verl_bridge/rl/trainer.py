"""What verl's PPO trainers (sync, colocate_async, separate_async) lack for the recipes, added to their base class.

verl's V1 trainer logs `reward_extra_info` in validation only. `_compute_metrics` is wrapped so that every reward term
is logged in training too, over all rows and per language. All wraps are no-ops for a run without the `sp3f` config.
"""

import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Number
from typing import NoReturn

import ray
from ray.exceptions import ActorUnavailableError, OutOfMemoryError, RayActorError

from sp3f_verl.errors import BadInput, one_line
from sp3f_verl.log import log
from sp3f_verl.verl_bridge.rl.judge_in_trainer import (
    end_in_mid_step,
    stop_in_mid_step,
    with_close,
    with_judge,
    with_step_metrics,
)
from sp3f_verl.verl_bridge.rl.old_log_probs import checked_now_and_then
from sp3f_verl.verl_bridge.rl.validation import with_languages

OF_A_GROUP = ("judge_", "group_")
LOOK_SECONDS = 10.0  # between two looks at the workers that generate


def term_metrics(infos: Iterable[Mapping[str, float]], languages: Iterable[str]) -> dict[str, float]:
    """`reward/<term>/mean` over all rows and, for the terms of a response, `reward/<term>/<language>`.

    What holds for a whole group has no value per language. A language share of -1 means "undefined" and is left out.
    """
    values: dict[str, list[float]] = defaultdict(list)
    for info, language in zip(infos, languages, strict=True):
        for term, value in info.items():
            if isinstance(value, Number) and not (term.endswith("_share") and value < 0):
                values[f"reward/{term}/mean"].append(float(value))
                if not term.startswith(OF_A_GROUP):
                    values[f"reward/{term}/{language}"].append(float(value))
    return {name: sum(numbers) / len(numbers) for name, numbers in values.items()}


def install() -> None:
    from verl.trainer.ppo.v1.trainer_base import PPOTrainer

    import sp3f_verl.verl_bridge.preference.trainer
    import sp3f_verl.verl_bridge.selfplay.trainer  # noqa: F401  (registers trainer mode selfplay)
    from sp3f_verl.verl_bridge.rl.distill import with_distill, with_means
    from sp3f_verl.verl_bridge.rl.token_credit import with_token_credit

    PPOTrainer._compute_advantage = with_token_credit(PPOTrainer._compute_advantage)
    PPOTrainer._compute_metrics = _with_terms(PPOTrainer._compute_metrics)
    PPOTrainer._init_dataloader = _with_a_batch(PPOTrainer._init_dataloader)
    PPOTrainer._build_replay_buffer = _with_limits(PPOTrainer._build_replay_buffer)
    PPOTrainer._val_metrics_update = with_languages(PPOTrainer._val_metrics_update)
    PPOTrainer._compute_old_log_prob = checked_now_and_then(PPOTrainer._compute_old_log_prob)
    PPOTrainer._update_actor = with_means(PPOTrainer._update_actor)
    PPOTrainer.init = with_distill(with_judge(PPOTrainer.init))
    PPOTrainer.step = with_step_metrics(PPOTrainer.step)
    PPOTrainer.fit = with_close(PPOTrainer.fit)


def _with_terms(original):
    @functools.wraps(original)
    def _compute_metrics(self, batch, metrics, *args, **kwargs):
        original(self, batch, metrics, *args, **kwargs)
        if self.config.get("sp3f") is None or self.config.reward.reward_manager.name != "sp3f":
            return
        import transfer_queue as tq

        keys = [key for key, tag in zip(batch.keys, batch.tags, strict=True) if not tag.get("is_padding", False)]
        if not keys:
            return
        fields = ["extra_fields", "language"]
        data = tq.kv_batch_get(keys=keys, partition_id=batch.partition_id, select_fields=fields)
        infos = [extra.get("reward_extra_info") or {} for extra in data.pop("extra_fields").tolist()]
        metrics.update(term_metrics(infos, data.pop("language").tolist()))

    return _compute_metrics


def _with_a_batch(original):
    """Prompts that are too long are left out here: fewer rows than a batch make no step, and no end that tells; fewer
    steps than the run was to have would end it before the last one, which is the one that is saved."""

    @functools.wraps(original)
    def _init_dataloader(self):
        original(self)
        if self.config.get("sp3f") is None:
            return
        count, size = len(self.train_dataset), self.config.data.train_batch_size
        if count < size:
            raise BadInput(
                f"data.train_files leaves {count} rows, data.train_batch_size={size} needs more; set it lower."
            )
        there, wanted = self.steps_per_epoch * self.config.trainer.total_epochs, self.total_training_steps
        if there < wanted:
            log.warning(
                f"steps of the run: {there}, not {wanted}: prompts longer than data.max_prompt_length are left out."
            )
            self.total_training_steps = there
            optimizer = self.config.actor_rollout_ref.actor.optim
            optimizer.total_training_steps = there * self.parameter_sync_step

    return _init_dataloader


def _with_limits(original):
    """A poll interval (verl's 2 s are most of a step of a tiny model), and an end to replacing failed groups."""

    @functools.wraps(original)
    def _build_replay_buffer(self):
        buffer = original(self)
        settings = self.config.get("sp3f") or {}
        if settings.get("replay_poll_seconds") is not None:
            buffer.poll_interval = float(settings["replay_poll_seconds"])
        if settings.get("group") is not None:
            on_purpose = self.config.algorithm.filter_groups.enable is True  # a filter replaces groups
            ceiling = float("inf") if on_purpose else settings["group"]["replacement_ceiling"]
            stop_after_failures(
                buffer, ceiling, self.config.data.train_batch_size, functools.partial(stop_in_mid_step, self)
            )
            stop_without_workers(
                buffer, lambda: self.agent_loop_manager.agent_loop_workers, functools.partial(end_in_mid_step, self)
            )
        return buffer

    return _build_replay_buffer


def stop_without_workers(
    buffer, workers: Callable[[], Sequence], end: Callable[[str], NoReturn], seconds: float = LOOK_SECONDS
) -> None:
    """Calls `end` with a sentence once one of the workers that generate has died, looked for every so many seconds.

    Ray kills processes where memory runs out, and verl waits for the rollouts of such a worker for ever.
    """
    look, asked, last = buffer._sync_metadata_from_transfer_queue, [], time.monotonic()

    def looking():
        nonlocal asked, last
        if time.monotonic() - last > seconds:
            last = time.monotonic()
            answered, asked = ray.wait(asked, num_returns=len(asked), timeout=0) if asked else ([], [])
            try:
                ray.get(answered)
            except ActorUnavailableError:  # out of reach for now
                pass
            except (RayActorError, OutOfMemoryError) as error:
                cause = one_line(str(error))[:200]
                end(f"a worker that generates is gone ({cause}); mend that, and the same command goes on.")
            asked = asked or [worker.__ray_ready__.remote() for worker in workers()]
        return look()

    buffer._sync_metadata_from_transfer_queue = looking


def stop_after_failures(
    buffer, ceiling: float, train_batch_size: int, before_each: Callable[[], None] = lambda: None
) -> None:
    """RuntimeError once a step has replaced more than `ceiling` x the batch's groups (and at least 32), or from
    `before_each`, which is called before every replacement.

    verl replaces a failed group by another prompt for ever: where every group fails, generation would go on unseen.
    """
    limit, replaced = max(32, ceiling * train_batch_size), 0
    refill, sample = buffer.refill_fn, buffer.sample

    def counted_refill(count: int):
        nonlocal replaced
        before_each()
        replaced += count
        if replaced > limit:
            raise RuntimeError(
                f"sp3f_verl: {replaced} rollout groups failed in one step, more than sp3f.group.replacement_ceiling="
                f"{ceiling:g} x {train_batch_size} prompts allow; look for SiblingFailed and the errors before it."
            )
        return refill(count)

    def counted_sample(*args, **kwargs):
        nonlocal replaced
        replaced = 0
        return sample(*args, **kwargs)

    buffer.refill_fn, buffer.sample = counted_refill, counted_sample
