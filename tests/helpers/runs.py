"""Runs of verl's main_ppo on the quickstart's task, and what they leave behind."""

import json
import sys
from pathlib import Path

from sp3f_verl.data.files import read_parquet
from sp3f_verl.quickstart import settings
from sp3f_verl.quickstart.model import build_model
from sp3f_verl.quickstart.tables import write_tables

SMOKE = settings.load("smoke")
RL = SMOKE["rl"]


def make(folder: Path) -> Path:
    """data/ and model/ of the quickstart's task under `folder`; the model has learnt nothing."""
    write_tables(SMOKE, folder / "data")
    texts = [turn["content"] for row in read_parquet(folder / "data" / "sft.parquet") for turn in row["messages"]]
    build_model([*texts, "user\n", "assistant\n"], SMOKE["model"], 1, folder / "model")
    return folder


def main_ppo(
    data: Path, model: Path, folder: Path, *overrides: str, judge: str = "reference", recipe: str = "sp3f"
) -> list[str]:
    """A recipe with rollouts on the tables of `data`, from `model`, with everything it writes under `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        *(sys.executable, "-m", "verl.trainer.main_ppo", f"+recipe={recipe}", f"judge={judge}", "device=cpu"),
        f"data.train_files={data / 'train.parquet'}",
        f"data.val_files={data / 'validation.parquet'}",
        f"data.max_prompt_length={RL['prompt_tokens']}",
        f"data.max_response_length={RL['response_tokens']}",
        f"actor_rollout_ref.model.path={model}",
        "actor_rollout_ref.rollout.max_model_len=96",
        "trainer.val_before_train=false",
        "trainer.test_freq=-1",
        "trainer.logger=[console,file]",
        f"trainer.default_local_dir={folder / 'checkpoints'}",
        f"trainer.rollout_data_dir={folder / 'rollouts'}",
        f"hydra.run.dir={folder / 'hydra'}",
        *overrides,
    ]


def rollouts(folder: Path, step: int) -> list[list[dict]]:
    """The dumped rollouts of a step, group by group."""
    groups: dict[str, list[dict]] = {}
    for line in (folder / "rollouts" / f"{step}.jsonl").read_text().splitlines():
        row = json.loads(line)
        groups.setdefault(row["uid"].rsplit("_", 2)[0], []).append(row)
    return list(groups.values())


def question_of(rollout: dict) -> str:
    """The user's turn, of the prompt as verl dumps it: decoded, without special tokens."""
    return rollout["input"].removeprefix("user\n").removesuffix("\nassistant\n")
