"""The command of a self-play run on a CPU, on the task of sp3f_verl/quickstart/habits.py."""

import sys
from pathlib import Path


def command(data: Path, folder: Path, *overrides: str, recipe: str = "tspin") -> list[str]:
    """A run of `+recipe=<recipe>` that writes under `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        *(sys.executable, "-m", "verl.trainer.main_ppo", f"+recipe={recipe}", "device=cpu"),
        f"data.train_files={data / 'train.parquet'}",
        f"data.val_files={data / 'val.parquet'}",
        f"actor_rollout_ref.model.path={data / 'model'}",
        "data.train_batch_size=16",
        "sp3f.preference.max_length=64",
        "actor_rollout_ref.rollout.max_num_batched_tokens=64",  # three prompts: a fourth would be split
        "sp3f.selfplay.generation.max_tokens=24",
        "sp3f.selfplay.iterations=3",
        "sp3f.selfplay.epochs=2",
        "sp3f.selfplay.schedule.lr=[5e-5]",
        "trainer.test_freq=6",
        "trainer.save_freq=4",
        f"trainer.default_local_dir={folder / 'checkpoints'}",
        f"hydra.run.dir={folder / 'hydra'}",
        *overrides,
    ]
