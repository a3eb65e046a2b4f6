"""A self-play run in one process without Ray, workers or servers, and a SIGKILL at any point of it.

The trainer's decisions, the record, the triplets, the store of responses and the tracker are the real ones. The workers
are replaced: training notes its batches, a checkpoint is the files by which a run resumes, and a response follows from
the step whose weights were sent and from the request.
"""

import functools
import json
import multiprocessing
import os
import signal
import zlib
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
from omegaconf import DictConfig, OmegaConf

from helpers.recipes import compose_recipe, resolved
from sp3f_verl.training.checkpoints import TRACKER, step_to_resume
from sp3f_verl.verl_bridge.selfplay import generation
from sp3f_verl.verl_bridge.selfplay import trainer as selfplay


@functools.cache
def composed(data: Path) -> DictConfig:
    """Three iterations of T-SPIN with a checkpoint every second step."""
    return compose_recipe(
        "tspin",
        "device=cpu",
        f"data.train_files={data / 'train.parquet'}",
        f"data.val_files={data / 'val.parquet'}",
        "data.train_batch_size=8",
        f"actor_rollout_ref.model.path={data / 'model'}",
        "sp3f.preference.max_length=64",
        "sp3f.selfplay.generation.max_tokens=12",
        "sp3f.selfplay.generation.at_once=1",
        "sp3f.selfplay.iterations=3",
        "sp3f.selfplay.epochs=2",
        "trainer.save_freq=2",
        "trainer.test_freq=-1",
        "trainer.logger=[]",
    )


def settings(data: Path, folder: Path) -> DictConfig:
    """What verl's task runner hands to the trainer."""
    cfg = composed(data).copy()
    cfg.trainer.default_local_dir = str(folder / "checkpoints")
    return OmegaConf.create(resolved(cfg))


def run(data: Path, folder: Path, kill_at: tuple[str, int] | None = None, falls: float = 0.0) -> int:
    """The exit code of the run in a process of its own; -9 where it was killed.

    falls: what annotated responses lose in every step, nats a token; where it is not 0, the guard stops the run.

    kill_at: (event, n), the n-th `response` or `step` of this process, or the part of a save: `save`, `data` or
    `tracker` of step n, after which the process gets SIGKILL.
    """
    composed(data)  # here, so that every process finds it
    process = multiprocessing.get_context("fork").Process(target=_run, args=(data, folder, kill_at, falls))
    process.start()
    process.join(120)
    if process.is_alive():
        process.kill()
        pytest.fail("the run did not end")
    return process.exitcode


def noted(folder: Path, kind: str) -> list:
    """What all processes of a run noted, in order: `asked` (step of the weights, seed) or `trained` (step, batch)."""
    file = folder / f"{kind}.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []


class _Process:
    """Notes what happens and dies where it is told to."""

    def __init__(self, folder: Path, kill_at: tuple[str, int] | None):
        self.folder, self.kill_at, self.counts = folder, kill_at, {}

    def note(self, kind: str, entry) -> None:
        with (self.folder / f"{kind}.jsonl").open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def reached(self, event: str, number: int | None = None) -> None:
        self.counts[event] = self.counts.get(event, 0) + 1
        if self.kill_at == (event, self.counts[event] if number is None else number):
            os.kill(os.getpid(), signal.SIGKILL)


class _Servers:
    """In place of verl's rollout servers. Some responses are cut."""

    def __init__(self, process: _Process, end: int):
        self.process, self.end, self.step = process, end, None

    def sleep(self) -> None:
        self.step = None

    def take_weights(self, step: int) -> None:
        self.step = step

    def generate(self, requests, _settings, done) -> int:
        for request in requests:
            seed = request.sampling.get("seed", "greedy")
            drawn = zlib.crc32(f"{self.step}:{request.prompt.tolist()}:{seed}".encode())
            ids = [10 + drawn % 200, 10 + drawn // 256 % 200, self.end]
            limit = request.sampling["max_tokens"]
            if drawn % 11 == 0:
                ids = [10 + drawn % 200] * limit
            self.process.note("asked", [self.step, request.prompt.tolist(), seed])
            done(request, generation.Response(generation.np.asarray(ids, dtype="int32"), -1.0, len(ids) < limit))
            self.process.reached("response")
        return 0


def _run(data: Path, folder: Path, kill_at: tuple[str, int] | None, falls: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    process = _Process(folder, kill_at)

    class Trainer(selfplay.SelfPlayTrainer):
        def _init_tokenizer(self):
            from transformers import AutoTokenizer

            self.tokenizer = AutoTokenizer.from_pretrained(data / "model")

        def _start_workers(self, _role):
            process.note("started", "workers")
            self.actor_rollout_wg = MagicMock()
            self._use(self.objective)

        def _load_checkpoint(self):
            self.global_steps = step_to_resume(self.config.trainer)

        def _save_checkpoint(self):
            home, step = Path(self.config.trainer.default_local_dir), self.global_steps
            place = home / f"global_step_{step}"
            (place / "actor").mkdir(parents=True, exist_ok=True)
            process.reached("save", step)
            (place / "actor" / "model_world_size_1_rank_0.pt").write_text(f"weights of step {step}")
            (place / "data.pt").touch()
            (home / TRACKER).write_text("")  # as verl does: opened, then written
            process.reached("tracker", step)
            (home / TRACKER).write_text(str(step))

        def _train_step(self, indices, metrics, timing_raw):
            timing_raw["update"] = 1.0
            metrics |= {"train/margin": 1.0, "train/logp_per_token/real": -1.0 - falls * self.global_steps}
            process.note("trained", [self.global_steps, self.iteration, list(indices)])
            process.reached("step")

        def _measured(self, _split):
            return {}

        def _rollout_difference(self):
            return 0.0

    def servers(config, _workers, _pool):
        return _Servers(process, trainer.tokenizer.eos_token_id)

    selfplay.RolloutServers = servers
    config = settings(data, folder)
    config.sp3f.guard.on_drop = "stop" if falls else "warn"
    trainer = Trainer(config)
    trainer._setup()
    if trainer.servers is None and not hasattr(trainer, "actor_rollout_wg"):
        trainer.actor_rollout_wg = SimpleNamespace()  # a finished run has none, and uses none
    trainer.fit(None)
