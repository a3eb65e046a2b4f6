"""The five stages of the quickstart. Each is skipped when it is done with the same settings, or resumed half-way.

data -> model -> sft -> sp3f -> evaluation, each in a folder of its own under the output folder.
"""

import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from sp3f_verl import __version__
from sp3f_verl.data.files import read_parquet, write_json
from sp3f_verl.data.resume import Work
from sp3f_verl.errors import BadInput
from sp3f_verl.quickstart import pretrained, progress
from sp3f_verl.quickstart.evaluation import Decoding, evaluate
from sp3f_verl.quickstart.gains import write_gains
from sp3f_verl.quickstart.model import build_model
from sp3f_verl.quickstart.tables import SPLITS, write_tables


class Stages:
    """The stages of one output folder. Paths handed to verl are absolute, as Ray workers run elsewhere."""

    def __init__(self, settings: dict, output: Path, say: Callable[[str], None]):
        self.settings, self.output, self.say = settings, output.resolve(), say
        self.data, self.model = self.output / "data", self.output / "model"

    def checkpoint(self, stage: str) -> Path:
        """The Hugging Face folder that a training stage leaves."""
        step = self.settings["sft" if stage == "sft" else "rl"]["steps"]
        folder = self.output / stage / "checkpoints" / f"global_step_{step}"
        return folder / "huggingface" if stage == "sft" else folder / "actor" / "huggingface"

    def once(self, stage: str, inputs: dict, run: Callable[[], dict], after: str | None = None) -> None:
        """Run a stage unless its marker says that it is done with these inputs; start over when they changed.

        `after` is the stage whose outcome it uses: run again, that makes this one run again.
        """
        folder = self.output / stage
        before = (self.output / after / "done.json").read_text() if after else ""
        inputs = {**inputs, "before": before, "version": __version__}
        work = Work(folder / "run.json", inputs, result=folder / "done.json")
        if work.done:
            self.say(f"{stage}: done before, skipped ({folder})")
            return
        if not work.begun:
            if work.kept is None and folder.exists() and any(folder.iterdir()):
                raise BadInput(f"{folder} holds files that are not the quickstart's; give another --output.")
            shutil.rmtree(folder, ignore_errors=True)
            work.begin()
        write_json({**run(), "finished": datetime.now(UTC).isoformat()}, work.result)

    def run_all(self) -> None:
        settings = self.settings
        data = {name: settings[name] for name in ("languages", "data_seed", "corpus", "faults")}
        self.once("data", data, lambda: write_tables(settings, self.data))
        model = {**data, "seed": settings["train_seed"]}
        model |= {name: settings[name] for name in ("model", "pretrained")}
        self.once("model", model, self._build_model, after="data")
        sft = {**model, "sft": settings["sft"]}
        self.once("sft", sft, self._sft, after="model")
        sp3f = {**sft, "rl": settings["rl"]}
        self.once("sp3f", sp3f, self._sp3f, after="sft")
        self.once("evaluation", {**sp3f, "evaluation": settings["evaluation"]}, self._evaluate, after="sp3f")

    def _build_model(self) -> dict:
        if source := self.settings["pretrained"]:
            size = pretrained.fetch(source, self.model)
            self.say(f"model: {size:,} parameters, {source}, in {self.model}")
            return {"parameters": size}
        rows = read_parquet(self.data / "sft.parquet")
        texts = [message["content"] for row in rows for message in row["messages"]]
        roles = ["user\n", "assistant\n", "system\n"]
        size = build_model(texts + roles, self.settings["model"], self.settings["train_seed"], self.model)
        self.say(f"model: {size:,} parameters, from scratch, in {self.model}")
        return {"parameters": size}

    def _train(self, stage: str, command: list[str], settings: dict, shown: dict[str, str]) -> dict:
        folder, limit = self.output / stage, 60.0 * settings["limit_minutes"]
        progress.run(stage, command, folder / "train.log", folder / "metrics", settings["steps"], shown, limit)
        return {"checkpoint": str(self.checkpoint(stage))}

    def _sft(self) -> dict:
        sft = self.settings["sft"]
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=1"]
        command += ["-m", "verl.trainer.sft_trainer", "+recipe=sft", "device=cpu"]
        command += [
            f"data.train_files={self.data / 'sft.parquet'}",
            f"data.train_batch_size={sft['batch']}",
            f"data.micro_batch_size_per_gpu={sft['micro_batch']}",
            f"data.max_length={sft['max_length']}",
            f"model.path={self.model}",
            f"optim.lr={sft['lr']}",
            f"trainer.total_training_steps={sft['steps']}",
            f"trainer.save_freq={sft['save_every']}",
            *self._folders("sft"),
        ]
        return self._train("sft", command, sft, {"train/loss": "loss"})

    def _sp3f(self) -> dict:
        rl, seed = self.settings["rl"], self.settings["train_seed"]
        command = [sys.executable, "-m", "verl.trainer.main_ppo", *rl["arguments"], "device=cpu"]
        command += [
            f"data.train_files={self.data / 'train.parquet'}",
            f"data.val_files={self.data / 'validation.parquet'}",
            f"data.train_batch_size={rl['prompts']}",
            f"data.max_prompt_length={rl['prompt_tokens']}",
            f"data.max_response_length={rl['response_tokens']}",
            f"data.seed={seed}",
            f"actor_rollout_ref.model.path={self.checkpoint('sft')}",
            f"actor_rollout_ref.actor.optim.lr={rl['lr']}",
            f"actor_rollout_ref.rollout.n={rl['rollouts']}",
            f"actor_rollout_ref.rollout.seed={seed}",
            f"actor_rollout_ref.rollout.max_model_len={rl['context'] or rl['prompt_tokens'] + rl['response_tokens']}",
            f"trainer.total_training_steps={rl['steps']}",
            f"trainer.save_freq={rl['save_every']}",
            "trainer.test_freq=-1",
            "trainer.val_before_train=false",  # the evaluation stage measures more, on the same split
            f"trainer.rollout_data_dir={self.output / 'sp3f' / 'rollouts'}",
            *self._folders("sp3f"),
        ]
        shown = {"reward/accuracy/mean": "accuracy", "reward/language/mean": "language", "critic/score/mean": "reward"}
        return self._train("sp3f", command, rl, shown)

    def _folders(self, stage: str) -> list[str]:
        folder = self.output / stage
        return [
            f"trainer.default_local_dir={folder / 'checkpoints'}",
            "trainer.logger=[console,file]",
            f"hydra.run.dir={folder / 'hydra'}",
        ]

    def _evaluate(self) -> dict:
        folder = self.output / "evaluation"
        decoding = Decoding(**self.settings["evaluation"], seed=self.settings["train_seed"])
        models = {"base": self.model} if self.settings["pretrained"] else {}  # random weights know nothing
        models |= {stage: self.checkpoint(stage) for stage in ("sft", "sp3f")}
        for stage, model in models.items():
            self.say(f"evaluate the {stage} checkpoint on {', '.join(SPLITS)}")
            evaluate(model, {split: self.data / f"{split}.parquet" for split in SPLITS}, folder, stage, decoding)
        write_gains(folder, list(models), SPLITS)
        return {}
