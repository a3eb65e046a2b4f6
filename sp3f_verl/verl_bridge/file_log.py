"""Where verl's file logger writes: into the run's folder, a file an attempt, which is where `sp3f report` looks."""

import os
from pathlib import Path

from omegaconf import DictConfig

VARIABLE = "VERL_FILE_LOGGER_PATH"


def file_log(config: DictConfig) -> None:
    """For trainer.logger=[..., file], where the variable is not set: verl empties the file that it opens, so that a
    resumed run would lose what it had logged. It reaches the processes that this one starts, not those of a cluster.
    """
    if "file" not in config.trainer.logger or os.environ.get(VARIABLE):
        return
    folder = Path(config.trainer.default_local_dir).expanduser().absolute() / "metrics"
    folder.mkdir(parents=True, exist_ok=True)
    os.environ[VARIABLE] = str(folder / f"{len(list(folder.glob('*.jsonl'))):03d}.jsonl")
