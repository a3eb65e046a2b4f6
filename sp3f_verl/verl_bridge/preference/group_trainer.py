"""What the trainer modes `dpo` and `selfplay` share: groups of responses through verl's workers, and the steps.

verl's PPOTrainer gives tokenizer, checkpoints and profiling; rewards, critic and replay buffer are left out.
"""

import functools
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import ray
from omegaconf import OmegaConf
from tensordict import NonTensorData, TensorDict
from verl.single_controller.ray import RayClassWithInitArgs, RayResourcePool, RayWorkerGroup
from verl.trainer.ppo.v1 import PPOTrainer
from verl.utils import tensordict_utils as tu
from verl.utils.debug import marked_timer
from verl.utils.metric import reduce_metrics
from verl.utils.tracking import Tracking

from sp3f_verl.log import log
from sp3f_verl.losses.objective import Objective, measure
from sp3f_verl.training.checkpoints import mend_tracker
from sp3f_verl.training.guard import Guard, GuardSettings
from sp3f_verl.training.metrics_log import next_file
from sp3f_verl.training.objective_record import ObjectiveRecord
from sp3f_verl.training.preference.tokens import Group, batch_of, filled_up, response_logps, total_weight
from sp3f_verl.verl_bridge.preference.balance import balanced
from sp3f_verl.verl_bridge.preference.worker import PreferenceWorker, group_loss


class NoRollouts:
    """verl's task runner always makes an agent loop manager; this one starts nothing."""

    @classmethod
    def create(cls, **_kwargs):
        return cls()


class Split:
    """The groups of `train` or `validation`, and per group the reference's log-probs where the loss needs them."""

    def __init__(self, name: str, groups: list[Group]):
        self.name, self.groups = name, groups
        self.references: list[tuple[np.ndarray, ...]] | None = None


class GroupTrainer(PPOTrainer):
    """Sub-classes read the data in `_setup`, set `train`, `validation` and `train_dataloader`, and write `fit`."""

    train: Split
    validation: Split | None

    def __init__(self, config):
        super().__init__(config)
        self.trainer_mode = "sync"  # to the base class: checkpoints without TransferQueue, nothing in flight on resume
        settings = config.sp3f.preference
        self.objective = Objective(**OmegaConf.to_container(settings.objective, resolve=True))
        self.workers = config.trainer.n_gpus_per_node * config.trainer.nnodes
        self.ranks = self.workers // config.actor_rollout_ref.actor.ulysses_sequence_parallel_size

    def _build_replay_buffer(self):
        return None

    def get_llm_client(self):
        return None

    def get_reward_handles(self):
        return None

    def on_step_end(self):
        pass

    def on_sample_end(self):
        pass

    # ---- workers ---------------------------------------------------------------------------------------------------

    def _start_workers(self, role: str = "actor") -> RayResourcePool:
        trainer = self.config.trainer
        # one worker a bundle: Ray would be asked for more CPUs than a small machine has, and wait for ever
        pool = RayResourcePool([trainer.n_gpus_per_node] * trainer.nnodes, max_colocate_count=1)
        node = self.config.actor_rollout_ref
        settings = {name: self.config.sp3f.preference[name] for name in ("dropout", "share_under_flash")}
        worker = RayClassWithInitArgs(ray.remote(PreferenceWorker), config=node, role=role, **settings)
        self.actor_rollout_wg = RayWorkerGroup(pool, worker, device_name=trainer.device)
        self.actor_rollout_wg.init_model()
        self._use(self.objective)
        return pool

    def _use(self, objective: Objective) -> None:
        self.objective = objective
        self.actor_rollout_wg.set_loss_fn(functools.partial(group_loss, objective=objective))

    def _reference_dtype(self) -> str:
        settings = self.config.actor_rollout_ref.actor.fsdp_config
        return OmegaConf.select(settings, "mixed_precision.param_dtype") or "bf16"

    # ---- log-probs -------------------------------------------------------------------------------------------------

    def _rows(self, split: Split, indices: Sequence[int], **settings) -> TensorDict:
        """The groups as verl's engine takes them, filled up to what the workers divide, their tokens in balance."""
        indices, weights = filled_up(indices, settings.pop("multiple", 1))
        order = balanced([split.groups[index].tokens for index in indices], self.ranks)
        batch = batch_of(
            split.groups, [indices[i] for i in order], [weights[i] for i in order], references=split.references
        )
        size = len(self.objective.roles)
        settings |= {"temperature": 1.0, "force_group_size": size, "calculate_entropy": False}
        settings["tied"] = self.objective.tied
        rows = tu.get_tensordict(batch, settings | {"total_weight": total_weight(batch["weight"], size)})
        lengths = batch["input_ids"].offsets().diff().tolist()
        tu.assign_non_tensor(rows, global_token_num=NonTensorData(lengths))
        return rows

    def _log_probs(self, split: Split):
        """Yields (rows, their log-probs as (tokens,)) for all groups of a split, in slices of a training batch."""
        actor, rollout = self.config.actor_rollout_ref.actor, self.config.actor_rollout_ref.rollout
        micro_batch = 1 if actor.use_dynamic_bsz else rollout.log_prob_micro_batch_size_per_gpu
        multiple = self.ranks * micro_batch
        step = -(-self.config.data.train_batch_size // multiple) * multiple
        for start in range(0, len(split.groups), step):
            indices = range(start, min(start + step, len(split.groups)))
            rows = self._rows(split, indices, multiple=multiple, compute_loss=False)
            yield rows, self.actor_rollout_wg.compute_log_prob(rows)["log_probs"].values().float()

    def _reference(self, split: Split) -> list[np.ndarray]:
        start, logps = time.monotonic(), {}
        for rows, log_probs in self._log_probs(split):
            logps.update(response_logps(rows, log_probs))
        log.info(f"{split.name}: reference log-probs in {time.monotonic() - start:.1f} s")
        return [logps[index, role] for index in range(len(split.groups)) for role in range(len(self.objective.roles))]

    def _measured(self, split: Split) -> dict[str, float]:
        """Means over the groups of a split, without training."""
        sums, size, total = {}, len(self.objective.roles), 0.0
        for rows, log_probs in self._log_probs(split):
            mask = rows["loss_mask"]
            reference = rows["reference"].values() if self.objective.needs_reference else None
            measured = measure(self.objective, log_probs, mask.values(), mask.offsets(), reference)
            weights = rows["weight"][::size]
            total += weights.sum().item()
            for name, values in measured.metrics.items():
                sums[name] = sums.get(name, 0.0) + (values * weights).sum().item()
        return {name: value / total for name, value in sums.items()}

    def _validate(self) -> dict[str, float]:
        return {f"val/{name}": value for name, value in self._measured(self.validation).items()}

    # ---- training --------------------------------------------------------------------------------------------------

    def _train_step(self, indices: Sequence[int], metrics: dict, timing_raw: dict) -> None:
        rows = self._rows(self.train, indices)
        count = len(rows)
        tu.assign_non_tensor(
            rows, mini_batch_size=count, global_batch_size=count, epochs=1, seed=1, dataloader_kwargs={"shuffle": False}
        )
        tokens = rows["input_ids"].offsets()[-1].item()
        with marked_timer("update", timing_raw):
            reduced = reduce_metrics(dict(self.actor_rollout_wg.update_actor(rows)["metrics"]))
        metrics.update(
            {name if name.startswith("perf/") else f"train/{name}": float(value) for name, value in reduced.items()}
        )
        metrics["perf/tokens"] = tokens
        metrics["perf/tokens_per_second"] = tokens / timing_raw["update"]

    def _position(self) -> dict[str, float]:
        """Where in the data the current step is, to be logged with it."""
        return {}

    def _train(self, batches: Iterator[Sequence[int]], until: int, always_save: bool = False) -> None:
        """Steps up to step `until`, one batch of groups each, with validation and checkpoints as verl's keys say.

        The last step is validated and saved where that is done at all, and saved in any case with `always_save`.
        """
        trainer = self.config.trainer
        while self.global_steps < until:
            self.global_steps += 1
            last = self.global_steps == until
            metrics, timing = self._position(), {}
            with marked_timer("step", timing):
                self._train_step(next(batches), metrics, timing)
            metrics.update(self.guard.observe(metrics))
            if self.validation and trainer.test_freq > 0 and (last or self.global_steps % trainer.test_freq == 0):
                with marked_timer("testing", timing):
                    metrics.update(self._validate())
            if last:
                self.on_last_step(metrics)
            # logged first: what was measured of a step is not measured again by a run that resumes after it
            self._log(metrics | {f"timing_s/{name}": seconds for name, seconds in timing.items()})
            self.guard.stop()
            due = trainer.save_freq > 0 and (last or self.global_steps % trainer.save_freq == 0)
            if due or (last and always_save):
                saving = {}
                with marked_timer("save_checkpoint", saving):
                    self._save_checkpoint()
                self._log({"timing_s/save_checkpoint": saving["save_checkpoint"]})

    def on_last_step(self, metrics: dict[str, float]) -> None:
        """Called before the last step of `_train` is saved."""

    def _load_checkpoint(self):
        mend_tracker(Path(self.config.trainer.default_local_dir))
        super()._load_checkpoint()

    def _start_log(self) -> None:
        """verl's loggers; and what `sp3f report` reads, beside the checkpoints: `metrics/<attempt>.jsonl` and what is
        optimised."""
        trainer = self.config.trainer
        ObjectiveRecord.of(self.objective).write(Path(trainer.default_local_dir))
        self.logger = Tracking(
            project_name=trainer.project_name,
            experiment_name=trainer.experiment_name,
            default_backend=trainer.logger,
            config=OmegaConf.to_container(self.config, resolve=True),
        )
        folder = Path(trainer.default_local_dir) / "metrics"
        self._metrics_file = next_file(folder)
        settings = OmegaConf.to_container(self.config.sp3f.guard, resolve=True)
        self.guard = Guard(GuardSettings.read(settings, "sp3f.guard"), self.objective.roles[0], folder)

    def _log(self, metrics: dict[str, float]) -> None:
        self.logger.log(data=metrics, step=self.global_steps)
        entry = {"step": self.global_steps, "data": {name: float(value) for name, value in metrics.items()}}
        with self._metrics_file.open("a") as file:
            file.write(json.dumps(entry) + "\n")
