"""Trainer mode `selfplay` of verl's main_ppo: T-SPIN's Algorithm 1, and SPIN, iteration after iteration.

Iteration t: the policy pi_t answers every prompt through verl's rollout servers (y'; at t = 0 this is y0 too), the
groups (y, y') or (y, y', y0) are assembled, and the policy is trained on them into pi_{t+1} with an optimiser and a
learning-rate schedule of its own. A checkpoint ends every iteration. Importing this module registers the mode.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf, open_dict
from verl.trainer.ppo.v1 import register_trainer

from sp3f_verl.data.files import write_parquet
from sp3f_verl.errors import BadInput
from sp3f_verl.llm.store import Store
from sp3f_verl.log import log
from sp3f_verl.training.preference.reference_store import ReferenceStore, fingerprint, forget_others
from sp3f_verl.training.preference.resume import step_to_resume
from sp3f_verl.training.preference.tokens import digest
from sp3f_verl.training.selfplay import rows
from sp3f_verl.training.selfplay.record import Record
from sp3f_verl.training.selfplay.settings import SelfPlay
from sp3f_verl.training.selfplay.triplets import Triplets, assemble, batches
from sp3f_verl.verl_bridge.preference.batches import reference_of
from sp3f_verl.verl_bridge.preference.group_trainer import GroupTrainer, Split
from sp3f_verl.verl_bridge.selfplay.answering import Answering
from sp3f_verl.verl_bridge.selfplay.generation import Responses, RolloutServers

SUSPICIOUS = 0.1  # nats a token; bf16 on both sides stays well below it


class _Stateless:
    """verl keeps the state of `train_dataloader` in its checkpoints. Here the order of the groups follows from the
    settings and the step, so there is none."""

    def state_dict(self) -> dict:
        return {}

    def load_state_dict(self, _state: dict) -> None:
        pass


@register_trainer("selfplay")
class SelfPlayTrainer(Answering, GroupTrainer):
    # ---- set-up ----------------------------------------------------------------------------------------------------

    def _setup(self):
        self._init_tokenizer()
        self.base = self.objective  # the settings', before the schedule
        self.settings = SelfPlay.from_mapping(OmegaConf.to_container(self.config.sp3f.selfplay))
        self.data = rows.annotated(self.config, self.tokenizer, log.info)
        self.train_dataloader = _Stateless()
        node = self.config.actor_rollout_ref.model
        self.initial = fingerprint(node.path, node.get("lora_adapter_path"))
        self.record = Record(Path(self.config.sp3f.selfplay.folder), self._identity())
        step = step_to_resume(self.config.trainer)
        self.iteration = self.record.resume(step)
        self.record.open()
        self.responses = Responses(
            Store(self.record.folder / "responses.sqlite"), rows.end_tokens(self.tokenizer, node)
        )
        manifest = self.record.manifest(self.iteration)
        self.inside = manifest is not None and manifest["start_step"] < step  # was this iteration's training begun?
        self.servers, self._names, self.global_steps = None, {0: self.initial}, step
        if self._end() and self.record.final_step() == step:
            return
        if self.inside:
            self._same_settings(manifest)
        with open_dict(self.config):  # the workers want a number; every iteration brings its own
            self.config.actor_rollout_ref.actor.optim.total_training_steps = 1
        pool = self._start_workers("actor_rollout")
        if self.inside:
            self._start_optimiser(manifest["steps"])
        more = self.iteration + self.inside < self.settings.iterations
        if more or self._greedy_requests():
            self.servers = RolloutServers(self.config, self.actor_rollout_wg, pool)
        self._load_checkpoint()

    def _identity(self) -> dict:
        generation = self.settings.generation
        folder, home = (
            Path(each).absolute() for each in (self.config.sp3f.selfplay.folder, self.config.trainer.default_local_dir)
        )
        return {
            "model": self.initial,
            "rows": {name: rows.digest(each) for name, each in self.data.items()},
            **{name: getattr(generation, name) for name in ("temperature", "top_p", "max_tokens", "truncated", "seed")},
            "max_length": self.config.sp3f.preference.max_length,
            **({} if home in folder.parents else {"checkpoints": str(home)}),  # two runs may not share a moved folder
        }

    def _lr(self) -> float:
        return self.settings.scheduled("lr", self.iteration, self.config.actor_rollout_ref.actor.optim.lr)

    def _start_optimiser(self, steps: int) -> None:
        self.actor_rollout_wg.start_iteration(self._lr(), steps, self.settings.lr_scheduler)

    def _trained_with(self, t: int) -> dict:
        """The settings of iteration t that its training must keep to its end."""
        return {
            **{name: value for name, value in asdict(self.settings.objective(self.base, t)).items()},
            "lr": self._lr(),
            "lr_scheduler": self.settings.lr_scheduler,
            "epochs": self.settings.epochs,
            "previous_iterations": self.settings.previous_iterations,
            "train_batch_size": self.config.data.train_batch_size,
            "order_seed": self.config.data.seed,
        }

    def _same_settings(self, manifest: dict) -> None:
        for name, value in self._trained_with(self.iteration).items():
            if manifest["settings"][name] != value:
                raise BadInput(
                    f"iteration {self.iteration} is half trained with {name}={manifest['settings'][name]}, not "
                    f"{value}; set it back until the iteration is over."
                )

    # ---- the iterations --------------------------------------------------------------------------------------------

    def fit(self, _agent_loop_manager):
        self._start_log()
        while not (end := self._end()):
            self._play()
            self.iteration += 1
            self.inside = False
        log.info(end)
        if self.record.final_step() != self.global_steps:
            told = {}
            self._ask(self._greedy_requests(), told)
            self._log_generation(told)
        self.record.finish(self.global_steps)

    def _end(self) -> str | None:
        """Why the run is over before this iteration, in a sentence."""
        t, last = self.iteration, self.record.manifest(self.iteration - 1) if self.iteration else None
        for each in filter(None, (last, self.record.manifest(t))):
            if each.get("too_few", self.config.data.train_batch_size) < self.config.data.train_batch_size:
                return f"iteration {each['iteration']}: the policy answers as the data does, too few groups are left."
        if t >= self.settings.iterations:
            return f"all {t} iterations are done; raise sp3f.selfplay.iterations to go on."
        least, margin = self.settings.stop_below_margin, last.get("margin") if last else None
        if least is not None and margin is not None and margin < least:
            return f"iteration {t - 1} ended with a current advantage of {margin:.4g}, below {least:g}: the end."
        return None

    def _play(self) -> None:
        t = self.iteration
        objective, told = self.settings.objective(self.base, t), {}
        asked = [request for name in self.data for request in self._requests(name, t)]
        self._ask(asked if self.inside else [*asked, *self._greedy_requests()], told)
        triplets = self._triplets(t, objective.roles, told)
        size, count = self.config.data.train_batch_size, len(triplets["train"].groups)
        if count < size:
            self._too_few(triplets["train"], size)
            return
        self.train = Split("train", triplets["train"].groups)
        self._group_iterations = triplets["train"].iterations
        held_out = triplets.get("validation")
        self.validation = Split("validation", held_out.groups) if held_out and held_out.groups else None
        manifest = self.record.manifest(t) or {}
        if self.inside:
            steps, start = manifest["steps"], manifest["start_step"]
            if manifest["responses"] != digest(self.train.groups):
                raise BadInput(f"{self.record.place(t)} was trained on other responses than are kept; begin anew.")
        else:
            steps, start = self.settings.epochs * (count // size), self.global_steps
            self._start_optimiser(steps)
        self._use(objective)
        if not self.inside:
            self._keep(t, triplets, start, steps)
        self._references(t)
        if not self.inside:
            self._log_generation(told)
            self._log_start()
        order = batches(count, size, self.config.data.seed, t, self.global_steps - start)
        self._start_step, self._per_epoch = start, count // size
        log.info(
            f"iteration {t}: {count} groups, steps {start + 1} to {start + steps}; lr {self._lr():g}, "
            f"beta {objective.beta:g}, alpha {objective.alpha:g}"
        )
        self._train(order, start + steps, always_save=True)
        self.actor_rollout_wg.spare_last_checkpoint()

    def _too_few(self, triplets: Triplets, size: int) -> None:
        """Ends the run where the policy answers as the data does; BadInput where responses are lost otherwise."""
        told = ", ".join(f"{number} {reason}" for reason, number in sorted(triplets.dropped.items()))
        sentence = f"iteration {self.iteration}: {len(triplets.groups)} usable groups ({told})"
        if triplets.dropped["truncated"] > triplets.dropped["identical"]:
            raise BadInput(
                f"{sentence} for data.train_batch_size={size}; raise sp3f.selfplay.generation.max_tokens, set its "
                "truncated=keep, or lower the batch size."
            )
        if self.iteration == 0:
            raise BadInput(f"{sentence}: the initial policy answers as the data does; there is nothing to train on.")
        log.info(f"{sentence}.")
        self.record.write(self.iteration, start_step=self.global_steps, steps=0, too_few=len(triplets.groups))

    def _position(self) -> dict[str, float]:
        epoch = (self.global_steps - 1 - self._start_step) // self._per_epoch
        return {"train/iteration": self.iteration, "train/epoch": epoch}

    def on_last_step(self, metrics: dict[str, float]) -> None:
        margin = metrics.get("val/margin", metrics["train/margin"])
        self.record.write(self.iteration, margin=margin)

    def _triplets(self, t: int, roles: Sequence[str], told: dict[str, float]) -> dict[str, Triplets]:
        found, keep = {}, self.settings.generation.truncated == "keep"
        self.sampled = {}
        for name in self.data:
            # validation measures the present policy's responses only
            first = max(0, t - self.settings.previous_iterations) if name == "train" else t
            generated = {k: self._kept(k, name) for k in range(first, t + 1)}
            proto = generated[0] if 0 in generated else self._kept(0, name)
            found[name] = assemble(self.data[name], generated, proto, roles, keep)
            now = generated[t]
            self.sampled[name] = {
                # of every group, what the servers told of its y' and y0
                "generated": [
                    generated[k][row].logp for k, row in zip(found[name].iterations, found[name].rows, strict=True)
                ],
                "proto": [proto[row].logp for row in found[name].rows],
            }
            if name == "train":
                same = [np.array_equal(row.real, own.ids) for row, own in zip(self.data[name], now, strict=True)]
                told |= {
                    "generation/rows": len(now),
                    "generation/usable": found[name].iterations.count(t),
                    "generation/tokens": float(np.mean([len(each.ids) for each in now])),
                    "generation/truncated": float(np.mean([not each.complete for each in now])),
                    "generation/identical": float(np.mean(same)),
                }
        return found

    def _keep(self, t: int, triplets: dict[str, Triplets], start: int, steps: int) -> None:
        """The iteration's files, before its first step."""
        for name, found in triplets.items():
            own = {k: self._kept(k, name) for k in found.asked}
            table = rows.table(self.tokenizer, self.data[name], own, self._kept(0, name), found)
            write_parquet(table, self.record.place(t) / f"{name}.parquet")
        self.record.write(
            t,
            policy=self._policy(t),
            start_step=start,
            steps=steps,
            settings=self._trained_with(t),
            rows={name: len(self.data[name]) for name in triplets},
            usable={name: len(found.groups) for name, found in triplets.items()},
            dropped={name: dict(found.dropped) for name, found in triplets.items()},
            responses=digest(self.train.groups),
        )

    # ---- what is measured ------------------------------------------------------------------------------------------

    def _references(self, t: int) -> None:
        """Log-probs of pi_t, the opponent, where the loss compares with it: computed before training, kept."""
        if not self.objective.needs_reference:
            return
        for split in filter(None, (self.train, self.validation)):
            identity = {"model": self._policy(t), "rows": digest(split.groups), "dtype": self._reference_dtype()}
            folder = self.record.place(t) / "reference"
            if not self.inside:
                forget_others(folder, split.name, identity)
            store = ReferenceStore(folder, split.name, identity)
            if self.inside and not store.complete:
                raise BadInput(f"{self.record.place(t)} lost the opponent's log-probs; begin anew.")
            split.references = store.load_or_compute(split.groups, lambda split=split: self._reference(split))

    def _log_generation(self, told: dict[str, float]) -> None:
        if requests := self._greedy_requests():
            policy = self._policy(self.iteration)
            greedy = [self.responses.kept(policy, request) for request in requests]
            told |= rows.exact_match(self.tokenizer, self.data["validation"], greedy)
        if told:
            self._log(told)

    def _log_start(self) -> None:
        """pi_t on its own fresh responses, before it is trained; and whether the servers sampled from pi_t at all."""
        told = {}
        if self.validation is not None:
            told = {f"start/{name}": value for name, value in self._measured(self.validation).items()}
        if self.settings.generation.exact:
            told["start/rollout_logp_diff_max"] = difference = self._rollout_difference()
            if difference > SUSPICIOUS:
                log.info(
                    f"the rollout servers' log-probs differ from the trainer's by {difference:.2g} nats a token: they "
                    "may not have sampled from the trained weights."
                )
        if told:
            self._log(told)

    def _rollout_difference(self) -> float:
        """Of the responses y' of one batch, the largest |log-prob here - log-prob told by the server| / tokens."""
        split = self.validation or self.train
        found = reference_of(*next(iter(self._log_probs(split))))
        told = self.sampled[split.name]["generated"]
        if self.validation is None:  # of earlier policies' responses, other log-probs were told
            now = {group for group, k in enumerate(self._group_iterations) if k == self.iteration}
        else:
            now = set(range(len(told)))
        own = {group: each for (group, role), each in found.items() if role == 1 and group in now}
        return float(max((abs(each.sum() - told[group]) / len(each) for group, each in own.items()), default=0.0))

    def _validate(self) -> dict[str, float]:
        told = super()._validate() | {"val/iteration": self.iteration}
        if self.settings.generation.exact:
            # y' ~ pi_t and y0 ~ pi_0 estimate KL(pi_t || pi) and KL(pi_0 || pi), in nats a response
            for role, name in (("generated", "opponent"), ("proto", "initial")):
                if f"val/logp/{role}" in told:
                    told[f"val/kl_from_{name}"] = (
                        float(np.mean(self.sampled["validation"][role])) - told[f"val/logp/{role}"]
                    )
        return told
