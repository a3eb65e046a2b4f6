"""The checks that every recipe makes of its files, `data.train_files` and `data.val_files`.

    for key, paths in files(config):
        with named(key):
            count = sum(check_sft(path) for path in paths)
        enough(config, key, count)

That a file exists, is parquet and has its columns is asked by the reader of its kind of row (`data.check.check_rl`,
`data.check.check_sft`, `data.preference_rows.read_answers`); which key of the config it came from is named here.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omegaconf import DictConfig

from sp3f_verl.data.files import read_parquet
from sp3f_verl.data.rows import canonical
from sp3f_verl.errors import BadInput


def first_process() -> bool:
    """torchrun starts one process a worker: one of them speaks, and writes, for all."""
    return int(os.environ.get("RANK", "0")) == 0


KEYS = ("data.train_files", "data.val_files")


def files(config: DictConfig) -> Iterator[tuple[str, list[str]]]:
    """Each key with its paths, none where nothing is held out. BadInput where there is nothing to train on."""
    for key in KEYS:
        value = config.data[key.removeprefix("data.")]
        paths = [value] if isinstance(value, str) else list(value or [])
        if not paths and key == "data.train_files":
            raise BadInput("data.train_files is empty; give a parquet file.")
        for path in paths:
            if not isinstance(path, str) or not path.strip():
                raise BadInput(f"{key} has {path!r} for a path; give that of a parquet file.")
        yield key, paths


def train_rows(config: DictConfig) -> Iterator[dict]:
    """The canonical rows of data.train_files, which have been checked."""
    for path in dict(files(config))["data.train_files"]:
        yield from map(canonical, read_parquet(Path(path).expanduser()))


@contextmanager
def named(key: str) -> Iterator[None]:
    """A BadInput that is raised inside begins with the key."""
    try:
        yield
    except BadInput as error:
        raise BadInput(f"{key}: {error}") from None


def enough(config: DictConfig, key: str, count: int) -> None:
    """BadInput where `count` rows do not fill one batch: verl leaves out what does not, down to none at all."""
    size = config.data.train_batch_size
    if count < size:
        raise BadInput(
            f"{key} has {count} usable rows, less than a batch of data.train_batch_size={size}; set that lower."
        )
