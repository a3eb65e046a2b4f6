"""Trainer mode `selfplay` of verl's main_ppo: T-SPIN's Algorithm 1, and SPIN, iteration after iteration.

Iteration t: the policy pi_t answers every prompt through verl's rollout servers (y'; at t = 0 this is y0 too), the
groups (y, y') or (y, y', y0) are assembled, and the policy is trained on them into pi_{t+1} with an optimiser and a
learning-rate schedule of its own. A checkpoint ends every iteration. Importing this module registers the mode.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf, open_dict
from verl.trainer.ppo.v1 import register_trainer

from sp3f_verl.data.files import write_parquet
from sp3f_verl.errors import BadInput
from sp3f_verl.llm.fingerprint import model_digest
from sp3f_verl.llm.store import Store
from sp3f_verl.log import log, show
from sp3f_verl.training.checkpoints import step_to_resume, workers_folder
from sp3f_verl.training.preference.reference_store import ReferenceStore, forget_others
from sp3f_verl.training.preference.tokens import digest, response_logps
from sp3f_verl.training.selfplay import rows
from sp3f_verl.training.selfplay.plan import Plan
from sp3f_verl.training.selfplay.record import Record
from sp3f_verl.training.selfplay.responses import Request, Responses, greedy_requests, sampling_requests
from sp3f_verl.training.selfplay.settings import SelfPlay
from sp3f_verl.training.selfplay.triplets import Response, Triplets, assemble, batches
from sp3f_verl.verl_bridge.preference.group_trainer import GroupTrainer, Split
from sp3f_verl.verl_bridge.selfplay.generation import RolloutServers

SUSPICIOUS = 0.1  # nats a token; bf16 on both sides stays well below it


class _Stateless:
    """verl keeps the state of `train_dataloader` in its checkpoints. Here the order of the groups follows from the
    settings and the step, so there is none."""

    def state_dict(self) -> dict:
        return {}

    def load_state_dict(self, _state: dict) -> None:
        pass


@register_trainer("selfplay")
class SelfPlayTrainer(GroupTrainer):
    # ---- set-up ----------------------------------------------------------------------------------------------------

    def _setup(self):
        self._init_tokenizer()
        self.settings = SelfPlay.read(OmegaConf.to_container(self.config.sp3f.selfplay))
        self.data = rows.annotated(self.config, self.tokenizer, show)
        self.train_dataloader = _Stateless()
        node = self.config.actor_rollout_ref.model
        initial = model_digest(node.path, node.get("lora_adapter_path"))
        self.record = Record(Path(self.config.sp3f.selfplay.folder), self._identity(initial))
        self.plan = Plan(
            settings=self.settings,
            base=self.objective,
            base_lr=self.config.actor_rollout_ref.actor.optim.lr,
            batch_size=self.config.data.train_batch_size,
            order_seed=self.config.data.seed,
            record=self.record,
            policies={0: initial},
        )
        step = step_to_resume(self.config.trainer)
        self.iteration = self.record.resume(step)
        self.record.open()
        store = Store(self.record.folder / "responses.sqlite")
        self.responses = Responses(store, rows.end_tokens(self.tokenizer, node))
        manifest = self.record.manifest(self.iteration)
        self.inside = manifest is not None and manifest.start_step < step  # was this iteration's training begun?
        self.servers, self.global_steps = None, step
        if self.plan.end(self.iteration) and self.record.final_step() == step:
            return
        if self.inside:
            self.plan.check_half_trained(self.iteration)
        with open_dict(self.config):  # the workers want a number; every iteration brings its own
            self.config.actor_rollout_ref.actor.optim.total_training_steps = 1
        pool = self._start_workers("actor_rollout")
        if self.inside:
            self._start_optimiser(manifest.steps)
        more = self.iteration + self.inside < self.settings.iterations
        if more or self._greedy_requests():
            self.servers = RolloutServers(self.config, self.actor_rollout_wg, pool)
        self._load_checkpoint()
        manifests = [self.record.manifest(t) for t in range(self.iteration)]
        self.actor_rollout_wg.spare_checkpoints([manifest.start_step + manifest.steps for manifest in manifests])

    def _identity(self, initial: str) -> dict:
        generation = self.settings.generation
        folder = Path(self.config.sp3f.selfplay.folder).absolute()
        home = Path(self.config.trainer.default_local_dir).absolute()
        return {
            "model": initial,
            "rows": {name: rows.digest(annotated) for name, annotated in self.data.items()},
            **{name: getattr(generation, name) for name in ("temperature", "top_p", "max_tokens", "truncated", "seed")},
            "max_length": self.config.sp3f.preference.max_length,
            **({} if home in folder.parents else {"checkpoints": str(home)}),  # two runs may not share a moved folder
        }

    def _start_optimiser(self, steps: int) -> None:
        self.actor_rollout_wg.start_iteration(self.plan.lr(self.iteration), steps, self.settings.lr_scheduler)

    # ---- responses -------------------------------------------------------------------------------------------------

    def _policy(self, t: int) -> str:
        recorded = t < self.iteration or self.inside
        return self.plan.policy(t, recorded, lambda: workers_folder(self.config.trainer, self.global_steps))

    def _greedy_requests(self) -> list[Request]:
        if not self.settings.greedy_validation or "validation" not in self.data:
            return []
        return greedy_requests(
            self.data["validation"], self.settings.generation, self.config.sp3f.preference.max_length
        )

    def _requests(self, split: str, t: int) -> list[Request]:
        length = self.config.sp3f.preference.max_length
        return sampling_requests(self.data[split], self.settings.generation, length, t, split)

    def _ask(self, requests: list[Request], metrics: dict[str, float]) -> None:
        """Has the present policy answer those requests whose responses are not kept."""
        t, policy = self.iteration, self._policy(self.iteration)
        missing = self.responses.missing(policy, requests)
        if not missing:
            return
        if self.inside or self.servers is None:
            raise BadInput(f"{len(missing)} responses of iteration {t} are gone from {self.record.folder}; begin anew.")
        self.actor_rollout_wg.forget_optimiser()
        self.servers.take_weights(self.global_steps)
        asked_again = self.responses.fill(policy, missing, self.servers, self.settings.generation, f"policy {t}")
        metrics["generation/asked_again"] = asked_again
        self.servers.sleep()

    def _kept(self, t: int, split: str) -> list[Response]:
        policy = self._policy(t)
        return [self.responses.kept(policy, request) for request in self._requests(split, t)]

    # ---- the iterations --------------------------------------------------------------------------------------------

    def fit(self, _agent_loop_manager):
        self._start_log()
        while not (end := self.plan.end(self.iteration)):
            self._play()
            self.iteration += 1
            self.inside = False
        log.info(end)
        if self.record.final_step() != self.global_steps:
            metrics = {}
            self._ask(self._greedy_requests(), metrics)
            self._log_generation(metrics)
        self.record.finish(self.global_steps)

    def _play(self) -> None:
        t = self.iteration
        objective, metrics = self.plan.objective(t), {}
        requests = [request for name in self.data for request in self._requests(name, t)]
        self._ask(requests if self.inside else [*requests, *self._greedy_requests()], metrics)
        triplets = self._triplets(t, objective.roles, metrics)
        self.guard.observe_responses(metrics)
        self.guard.stop()
        size, count = self.plan.batch_size, len(triplets["train"].groups)
        if count < size:
            self.plan.too_few(t, self.global_steps, triplets["train"])
            return
        self.train = Split("train", triplets["train"].groups)
        self._group_iterations = triplets["train"].iterations
        held_out = triplets.get("validation")
        self.validation = Split("validation", held_out.groups) if held_out and held_out.groups else None
        if self.inside:
            manifest = self.record.manifest(t)
            steps, start = manifest.steps, manifest.start_step
            if manifest.responses != digest(self.train.groups):
                raise BadInput(f"{self.record.place(t)} was trained on other responses than are kept; begin anew.")
        else:
            steps, start = self.settings.epochs * (count // size), self.global_steps
            self._start_optimiser(steps)
        self._use(objective)
        if not self.inside:
            self._keep(t, triplets, start, steps)
        self._references(t)
        if not self.inside:
            self._log_generation(metrics)
            self._log_start()
        order = batches(count, size, self.plan.order_seed, t, self.global_steps - start)
        self._start_step, self._per_epoch = start, count // size
        settings = ", ".join(f"{name} {value}" for name, value in objective.mapping.items())
        log.info(
            f"iteration {t}: {count} groups, steps {start + 1} to {start + steps}; lr {self.plan.lr(t):g}, {settings}"
        )
        self._train(order, start + steps, always_save=True)
        self.actor_rollout_wg.spare_checkpoints([self.global_steps])

    def _position(self) -> dict[str, float]:
        epoch = (self.global_steps - 1 - self._start_step) // self._per_epoch
        return {"train/iteration": self.iteration, "train/epoch": epoch}

    def on_last_step(self, metrics: dict[str, float]) -> None:
        margin = metrics.get("val/margin", metrics["train/margin"])
        self.record.write(self.iteration, margin=margin)

    def _triplets(self, t: int, roles: Sequence[str], metrics: dict[str, float]) -> dict[str, Triplets]:
        triplets, keep = {}, self.settings.generation.truncated == "keep"
        self.sampled = {}
        for name, annotated in self.data.items():
            # validation measures the present policy's responses only
            first = max(0, t - self.settings.previous_iterations) if name == "train" else t
            generated = {k: self._kept(k, name) for k in range(first, t + 1)}
            proto = generated[0] if 0 in generated else self._kept(0, name)
            triplets[name] = split = assemble(annotated, generated, proto, roles, keep)
            self.sampled[name] = {
                # of every group, the servers' log-probs of its y' and y0
                "generated": [generated[k][row].logp for k, row in zip(split.iterations, split.rows, strict=True)],
                "proto": [proto[row].logp for row in split.rows],
            }
            if name == "train":
                metrics |= rows.generation_metrics(annotated, generated[t], split.iterations.count(t))
        return triplets

    def _keep(self, t: int, triplets: dict[str, Triplets], start: int, steps: int) -> None:
        """The iteration's files, before its first step."""
        for name, split in triplets.items():
            generated = {k: self._kept(k, name) for k in split.asked}
            table = rows.table(self.tokenizer, self.data[name], generated, self._kept(0, name), split)
            write_parquet(table, self.record.place(t) / f"{name}.parquet")
        self.record.write(
            t,
            policy=self._policy(t),
            start_step=start,
            steps=steps,
            settings=self.plan.trained_with(t),
            rows={name: len(self.data[name]) for name in triplets},
            usable={name: len(split.groups) for name, split in triplets.items()},
            dropped={name: dict(split.dropped) for name, split in triplets.items()},
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

    def _log_generation(self, metrics: dict[str, float]) -> None:
        if requests := self._greedy_requests():
            policy = self._policy(self.iteration)
            greedy = [self.responses.kept(policy, request) for request in requests]
            metrics |= rows.exact_match(self.tokenizer, self.data["validation"], greedy)
        if metrics:
            self._log(metrics)

    def _log_start(self) -> None:
        """pi_t on its own fresh responses, before it is trained; and whether the servers sampled from pi_t at all."""
        metrics = {}
        if self.validation is not None:
            metrics = {f"start/{name}": value for name, value in self._measured(self.validation).items()}
        if self.settings.generation.exact:
            metrics["start/rollout_logp_diff_max"] = difference = self._rollout_difference()
            if difference > SUSPICIOUS:
                log.warning(
                    f"the rollout servers' log-probs differ from the trainer's by {difference:.2g} nats a token: they "
                    "may not have sampled from the trained weights."
                )
        if metrics:
            self._log(metrics)

    def _rollout_difference(self) -> float:
        """Of the responses y' of one batch, the largest |log-prob here - log-prob of the server| / tokens."""
        split = self.validation or self.train
        logps = response_logps(*next(iter(self._log_probs(split))))
        sampled = self.sampled[split.name]["generated"]
        if self.validation is None:  # of earlier policies' responses, the servers gave other log-probs
            now = {group for group, k in enumerate(self._group_iterations) if k == self.iteration}
        else:
            now = set(range(len(sampled)))
        differences = [
            abs(tokens.sum() - sampled[group]) / len(tokens)
            for (group, role), tokens in logps.items()
            if role == 1 and group in now
        ]
        return float(max(differences, default=0.0))

    def _validate(self) -> dict[str, float]:
        metrics = super()._validate() | {"val/iteration": self.iteration}
        if self.settings.generation.exact:
            # y' ~ pi_t and y0 ~ pi_0 estimate KL(pi_t || pi) and KL(pi_0 || pi), in nats a response
            for role, name in (("generated", "opponent"), ("proto", "initial")):
                if f"val/logp/{role}" in metrics:
                    sampled = float(np.mean(self.sampled["validation"][role]))
                    metrics[f"val/kl_from_{name}"] = sampled - metrics[f"val/logp/{role}"]
        return metrics
