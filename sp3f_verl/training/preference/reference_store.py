"""Log-probs of the reference, computed once for a data set and a policy, and kept beside the checkpoints.

The reference is the policy as it starts, so no second model is ever held: under a fresh LoRA adapter that is the base
model. What is kept is one number a response token: the loss subtracts it per token (see `sequence_logps`).
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from sp3f_verl.data.files import atomic_write, write_json
from sp3f_verl.data.resume import Work
from sp3f_verl.errors import BadInput
from sp3f_verl.llm.fingerprint import earlier_version
from sp3f_verl.training.preference.tokens import Group


def check_model(folder: Path, model: str) -> None:
    """BadInput where the folder keeps the log-probs of another model than `model` (`llm.fingerprint.model_digest`)."""
    for file in sorted(folder.glob("*.json")):
        kept = json.loads(file.read_text())["model"]
        if earlier_version(kept):
            raise BadInput(
                f"{folder} keeps reference log-probs under a name that an earlier version gave the model; remove it: "
                "they are computed again."
            )
        if kept != model:
            raise BadInput(f"{folder} keeps reference log-probs of another model; remove it or set another folder.")


def forget_others(folder: Path, split: str, identity: dict[str, str]) -> None:
    """Removes the kept log-probs of a split where they belong to something else than `identity`."""
    work = Work(folder / f"{split}.json", identity)
    if work.changed():
        work.record.unlink()


class ReferenceStore:
    """The kept log-probs of one split (`train`, `validation`) under a folder: `<split>.npy` and `<split>.json`."""

    def __init__(self, folder: Path, split: str, identity: dict[str, str]):
        """identity: what the log-probs belong to (model, rows, dtype). BadInput if the folder keeps others."""
        # The record is written last: a computation that was cut short is done again.
        self._values, self._work = folder / f"{split}.npy", Work(folder / f"{split}.json", identity)
        if changed := self._work.changed():
            raise BadInput(
                f"{self._work.record} keeps reference log-probs of another {' and '.join(changed)}; remove the folder "
                "or set sp3f.preference.reference_dir to another one."
            )

    @property
    def complete(self) -> bool:
        return self._work.done

    def load_or_compute(self, groups: Sequence[Group], compute: Callable[[], Sequence[np.ndarray]]) -> list[tuple]:
        """Per group a tuple of (response tokens,) float32 arrays. `compute` gives one array a row, in order."""
        if not self.complete:
            flat = np.concatenate([np.asarray(logps, dtype=np.float32) for logps in compute()])
            if not np.isfinite(flat).all():
                raise BadInput("the reference gives log-probs that are not finite; check the model and its dtype.")
            with atomic_write(self._values) as partial, partial.open("wb") as file:
                np.save(file, flat)
            write_json({**self._work.identity, "tokens": len(flat)}, self._work.record)
        flat, start, by_group = np.load(self._values, mmap_mode="r"), 0, []
        for group in groups:
            rows = []
            for response in group.responses:
                rows.append(flat[start : start + len(response)])
                start += len(response)
            by_group.append(tuple(rows))
        if start != len(flat):
            raise BadInput(f"{self._values} has {len(flat)} values and the data {start}; remove its folder.")
        return by_group
