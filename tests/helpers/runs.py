"""Runs of verl's main_ppo on the shared quickstart, and what they leave behind."""

import json
import sys
from pathlib import Path

from sp3f_verl.quickstart import settings

RL = settings.load("smoke")["rl"]


def main_ppo(quickstart: Path, folder: Path, *overrides: str, judge: str = "reference") -> list[str]:
    """SP3F on the quickstart's data and SFT checkpoint, with everything it writes under `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    steps = settings.load("smoke")["sft"]["steps"]
    return [
        *(sys.executable, "-m", "verl.trainer.main_ppo", "+recipe=sp3f", f"judge={judge}", "device=cpu"),
        f"data.train_files={quickstart / 'data' / 'train.parquet'}",
        f"data.val_files={quickstart / 'data' / 'validation.parquet'}",
        f"data.max_prompt_length={RL['prompt_tokens']}",
        f"data.max_response_length={RL['response_tokens']}",
        f"actor_rollout_ref.model.path={quickstart / 'sft' / 'checkpoints' / f'global_step_{steps}' / 'huggingface'}",
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
