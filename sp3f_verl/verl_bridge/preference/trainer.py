"""Trainer mode `dpo` of verl's main_ppo: offline preference training. Workers train; no rollout server is started.

verl's PPOTrainer gives tokenizer, checkpoints and profiling; rollouts, rewards, critic and replay buffer are left out.
Importing this module registers the mode.
"""

import functools
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import ray
from omegaconf import OmegaConf, open_dict
from tensordict import NonTensorData, TensorDict
from torchdata.stateful_dataloader import StatefulDataLoader
from verl.single_controller.ray import RayClassWithInitArgs, RayResourcePool, RayWorkerGroup
from verl.trainer.ppo.utils import create_rl_sampler
from verl.trainer.ppo.v1 import PPOTrainer, register_trainer
from verl.utils import tensordict_utils as tu
from verl.utils.debug import marked_timer
from verl.utils.metric import reduce_metrics
from verl.utils.tracking import Tracking

from sp3f_verl.errors import BadInput
from sp3f_verl.verl_bridge.preference.batches import balanced, filled_up, reference_of, total_weight
from sp3f_verl.verl_bridge.preference.objective import Objective, measure
from sp3f_verl.verl_bridge.preference.reference import ReferenceStore, fingerprint
from sp3f_verl.verl_bridge.preference.rows import read_answers
from sp3f_verl.verl_bridge.preference.tokens import Group, batch_of, digest, encode_all
from sp3f_verl.verl_bridge.preference.worker import PreferenceWorker
from sp3f_verl.verl_bridge.preference.worker_loss import group_loss


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


@register_trainer("dpo")
class DPOTrainer(PPOTrainer):
    def __init__(self, config):
        super().__init__(config)
        self.trainer_mode = "sync"  # to the base class: checkpoints without TransferQueue, nothing in flight on resume
        settings = config.sp3f.preference
        self.objective = Objective.from_mapping(OmegaConf.to_container(settings.objective))
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

    # ---- set-up ----------------------------------------------------------------------------------------------------

    def _setup(self):
        self._init_tokenizer()
        self._init_dataloader()
        stores = self._reference_stores()  # refuses the store of another model or data set before a worker starts
        self._start_workers()
        for split, store in stores:
            split.references = store.load_or_compute(split.groups, lambda split=split: self._reference(split))
        self._load_checkpoint()

    def _init_dataloader(self):
        data, trainer = self.config.data, self.config.trainer
        self.train = self._split("train", data.train_files)
        self.validation = self._split("validation", data.val_files) if data.val_files else None
        size, count = data.train_batch_size, len(self.train.groups)
        if count < size:
            raise BadInput(f"data.train_batch_size={size}, but there are {count} usable rows; set it lower.")
        self.train_dataset = range(count)
        self.train_dataloader = StatefulDataLoader(
            self.train_dataset,
            batch_size=size,
            sampler=create_rl_sampler(data, self.train_dataset),  # verl's: its state survives an epoch's end
            drop_last=True,
            num_workers=0,
            collate_fn=list,
        )
        self.steps_per_epoch = len(self.train_dataloader)
        self.total_training_steps = self.steps_per_epoch * trainer.total_epochs
        if trainer.total_training_steps is not None:
            self.total_training_steps = min(trainer.total_training_steps, self.total_training_steps)
        with open_dict(self.config):
            self.config.actor_rollout_ref.actor.optim.total_training_steps = self.total_training_steps

    def _split(self, name: str, files: str | Sequence[str]) -> Split:
        if self.tokenizer.eos_token_id is None:
            raise BadInput("the tokenizer has no end-of-sequence token; set eos_token in its tokenizer_config.json.")
        rows, dropped = read_answers(files if isinstance(files, str) else list(files), self.objective.roles)
        groups, counts = encode_all(self.tokenizer, rows, self.config.sp3f.preference.max_length)
        told = ", ".join(f"{count} {reason}" for reason, count in sorted((dropped + counts).items())) or "none"
        say(f"{name}: {len(groups)} prompts, {sum(each.tokens for each in groups)} tokens; left out or cut: {told}")
        if not groups:
            raise BadInput(f"{name}: no row is left ({told}); set sp3f.preference.max_length higher.")
        return Split(name, groups)

    def _reference_stores(self) -> list[tuple[Split, ReferenceStore]]:
        if not self.objective.needs_reference:
            return []
        node = self.config.actor_rollout_ref
        folder = Path(self.config.sp3f.preference.reference_dir)
        dtype = OmegaConf.select(node, "actor.fsdp_config.mixed_precision.param_dtype") or "bf16"
        model = fingerprint(node.model.path, node.model.get("lora_adapter_path"))
        splits = [split for split in (self.train, self.validation) if split is not None]
        return [
            (split, ReferenceStore(folder, split.name, {"model": model, "rows": digest(split.groups), "dtype": dtype}))
            for split in splits
        ]

    def _start_workers(self):
        trainer = self.config.trainer
        # one worker a bundle: Ray would be asked for more CPUs than a small machine has, and wait for ever
        pool = RayResourcePool([trainer.n_gpus_per_node] * trainer.nnodes, max_colocate_count=1)
        node = self.config.actor_rollout_ref
        if node.model.lora_rank > 0 or node.model.get("lora_adapter_path"):  # exported by PreferenceWorker instead
            with open_dict(node):
                contents = node.actor.checkpoint.save_contents
                node.actor.checkpoint.save_contents = [each for each in contents if each != "hf_model"]
        worker = RayClassWithInitArgs(ray.remote(PreferenceWorker), config=node, role="actor")
        self.actor_rollout_wg = RayWorkerGroup(pool, worker, device_name=trainer.device)
        self.actor_rollout_wg.init_model()
        self.actor_rollout_wg.set_loss_fn(functools.partial(group_loss, objective=self.objective))

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
        each = 1 if actor.use_dynamic_bsz else rollout.log_prob_micro_batch_size_per_gpu
        multiple = self.ranks * each
        step = -(-self.config.data.train_batch_size // multiple) * multiple
        for start in range(0, len(split.groups), step):
            indices = range(start, min(start + step, len(split.groups)))
            rows = self._rows(split, indices, multiple=multiple, compute_loss=False)
            yield rows, self.actor_rollout_wg.compute_log_prob(rows)["log_probs"].values().float()

    def _reference(self, split: Split) -> list[np.ndarray]:
        start, found = time.monotonic(), {}
        for rows, log_probs in self._log_probs(split):
            found.update(reference_of(rows, log_probs))
        say(f"{split.name}: reference log-probs in {time.monotonic() - start:.1f} s")
        return [found[index, role] for index in range(len(split.groups)) for role in range(len(self.objective.roles))]

    def _validate(self) -> dict[str, float]:
        sums, size, total = {}, len(self.objective.roles), 0.0
        for rows, log_probs in self._log_probs(self.validation):
            mask = rows["loss_mask"]
            reference = rows["reference"].values() if self.objective.needs_reference else None
            measured = measure(self.objective, log_probs, mask.values(), mask.offsets(), reference)
            weights = rows["weight"][::size]
            total += weights.sum().item()
            for name, values in measured.metrics.items():
                sums[name] = sums.get(name, 0.0) + (values * weights).sum().item()
        return {f"val/{name}": value / total for name, value in sums.items()}

    # ---- training --------------------------------------------------------------------------------------------------

    def _epochs(self):
        while True:
            yield from self.train_dataloader

    def _train_step(self, metrics: dict, timing_raw: dict) -> None:
        rows = self._rows(self.train, next(self._batches))
        count = len(rows)
        tu.assign_non_tensor(
            rows, mini_batch_size=count, global_batch_size=count, epochs=1, seed=1, dataloader_kwargs={"shuffle": False}
        )
        tokens = rows["input_ids"].offsets()[-1].item()
        with marked_timer("update", timing_raw):
            told = reduce_metrics(dict(self.actor_rollout_wg.update_actor(rows)["metrics"]))
        metrics.update(
            {name if name.startswith("perf/") else f"train/{name}": float(value) for name, value in told.items()}
        )
        metrics["perf/tokens"] = tokens
        metrics["perf/tokens_per_second"] = tokens / timing_raw["update"]

    def fit(self, _agent_loop_manager):
        trainer = self.config.trainer
        self.logger = Tracking(
            project_name=trainer.project_name,
            experiment_name=trainer.experiment_name,
            default_backend=trainer.logger,
            config=OmegaConf.to_container(self.config, resolve=True),
        )
        if self.validation and trainer.val_before_train and self.global_steps == 0:
            self.logger.log(data=self._validate(), step=0)
        self._batches = self._epochs()
        while self.global_steps < self.total_training_steps:
            self.global_steps += 1
            last = self.global_steps == self.total_training_steps
            metrics, timing = {}, {}
            with marked_timer("step", timing):
                self._train_step(metrics, timing)
            if trainer.save_freq > 0 and (last or self.global_steps % trainer.save_freq == 0):
                with marked_timer("save_checkpoint", timing):
                    self._save_checkpoint()
            if self.validation and trainer.test_freq > 0 and (last or self.global_steps % trainer.test_freq == 0):
                with marked_timer("testing", timing):
                    metrics.update(self._validate())
            metrics["train/epoch"] = (self.global_steps - 1) // self.steps_per_epoch
            metrics.update({f"timing_s/{name}": seconds for name, seconds in timing.items()})
            self.logger.log(data=metrics, step=self.global_steps)


def say(sentence: str) -> None:
    print(f"sp3f_verl: {sentence}", file=sys.stderr, flush=True)
