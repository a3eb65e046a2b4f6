"""Settings that follow from the run's own model, device and rows, put down as plain values before it starts.

What the recipes compute (`${sp3f_...:}`) Ray's processes could not: they know neither our resolvers, which Hydra
registers in the driver, nor the device that the driver sees.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sp3f_verl.errors import BadInput
from sp3f_verl.verl_bridge.trainers import is_sft

_OURS = re.compile(r"\$\{sp3f_\w+:")


def _keys(node: Any, above: str = "") -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _keys(value, f"{above}.{name}" if above else str(name))
    elif isinstance(node, str) and _OURS.match(node):
        yield above


def put_down(config: DictConfig) -> None:
    for key in _keys(OmegaConf.to_container(config, resolve=False)):
        OmegaConf.update(config, key, OmegaConf.select(config, key))


def computed(config: DictConfig) -> None:
    """BadInput where something is still to be computed in Ray's processes: `put_down` is for a single run."""
    if is_sft(config):  # which runs in the processes that Hydra composed in
        return
    for key in _keys(OmegaConf.to_container(config, resolve=False)):
        raise BadInput(f"{key} is computed, which --multirun cannot do; set {key}={OmegaConf.select(config, key)}.")


def cap_steps(config: DictConfig) -> str | None:
    """No more trainer.total_training_steps than the rows of trainer.total_epochs have: else verl ends with the rows,
    before the rate's schedule does and without the last step, which is the one that is saved. A sentence where that
    changed anything."""
    wanted, there = config.trainer.total_training_steps, _steps(config)
    if not isinstance(wanted, int) or not there or wanted <= there:
        return None
    config.trainer.total_training_steps = there
    return (
        f"steps of the run: {there}, as many as trainer.total_epochs={config.trainer.total_epochs} of the rows have, "
        f"not trainer.total_training_steps={wanted}."
    )


# No such file, no parquet, null, text or 0 for a number, a key without a value: of each the checks have a sentence.
_UNCOUNTABLE = (OSError, ValueError, TypeError, ZeroDivisionError, OmegaConfBaseException)


def _steps(config: DictConfig) -> int | None:
    """Whole batches of the rows, times the epochs; None where they cannot be counted."""
    try:
        files, most = config.data.train_files, config.data.get("train_max_samples", -1)
        paths = [files] if isinstance(files, str) else files
        rows = sum(pq.read_metadata(Path(path).expanduser()).num_rows for path in paths)
        return (rows if most < 0 else min(rows, most)) // config.data.train_batch_size * config.trainer.total_epochs
    except _UNCOUNTABLE:
        return None
