"""Trainer mode `dpo` of verl's main_ppo: offline preference training. Workers train; no rollout server is started.

Importing this module registers the mode.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from omegaconf import open_dict
from torchdata.stateful_dataloader import StatefulDataLoader
from verl.trainer.ppo.utils import create_rl_sampler
from verl.trainer.ppo.v1 import register_trainer

from sp3f_verl.data.preference_rows import read_answers
from sp3f_verl.errors import BadInput
from sp3f_verl.llm.fingerprint import model_digest
from sp3f_verl.log import show
from sp3f_verl.training.preference.reference_store import ReferenceStore
from sp3f_verl.training.preference.tokens import digest, encode_all
from sp3f_verl.verl_bridge.preference.group_trainer import GroupTrainer, Split
from sp3f_verl.verl_bridge.preflight.run import positions


@register_trainer("dpo")
class DPOTrainer(GroupTrainer):
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
        self.train = self._split("train", data.train_files, data.get("train_max_samples", -1))
        self.validation = None
        if data.val_files:
            self.validation = self._split("validation", data.val_files, data.get("val_max_samples", -1))
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

    def _split(self, name: str, files: str | Sequence[str], limit: int) -> Split:
        if self.tokenizer.eos_token_id is None:
            raise BadInput("the tokenizer has no end-of-sequence token; set eos_token in its tokenizer_config.json.")
        rows, dropped = read_answers(files if isinstance(files, str) else list(files), self.objective.roles, limit)
        settings = self.config
        groups, counts = encode_all(self.tokenizer, rows, settings.sp3f.preference.max_length, settings.data)
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted((dropped + counts).items())) or "none"
        tokens = sum(group.tokens for group in groups)
        show(f"{name}: {len(groups)} prompts, {tokens} tokens; left out or cut: {reasons}")
        if not groups:
            raise BadInput(
                f"{name}: no row is left ({reasons}); give other rows, another chat template, or set "
                "sp3f.preference.max_length higher."
            )
        longest = max(len(group.prompt) + len(response) for group in groups for response in group.responses)
        room = positions(settings.actor_rollout_ref.model)
        if room is not None and longest > room:
            raise BadInput(
                f"{name}: a row has {longest} tokens, and the model {room} positions; set sp3f.preference.max_length="
                f"{room}."
            )
        return Split(name, groups)

    def _reference_stores(self) -> list[tuple[Split, ReferenceStore]]:
        if not self.objective.needs_reference:
            return []
        node = self.config.actor_rollout_ref
        folder = Path(self.config.sp3f.preference.reference_dir)
        dtype = self._reference_dtype()
        model = model_digest(node.model.path, node.model.get("lora_adapter_path"))
        splits = [split for split in (self.train, self.validation) if split is not None]
        return [
            (split, ReferenceStore(folder, split.name, {"model": model, "rows": digest(split.groups), "dtype": dtype}))
            for split in splits
        ]

    def _position(self) -> dict[str, float]:
        return {"train/epoch": (self.global_steps - 1) // self.steps_per_epoch}

    def _batches(self) -> Iterator[list[int]]:
        while True:
            yield from self.train_dataloader

    def fit(self, _agent_loop_manager):
        self._start_log()
        if self.validation and self.config.trainer.val_before_train and self.global_steps == 0:
            self._log(self._validate())
        self._train(self._batches(), self.total_training_steps)
