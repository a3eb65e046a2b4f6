"""What a self-play run has done, on disk: `run.json`, and a manifest and the triplets of every iteration.

selfplay/run.json                      whose run this is
selfplay/responses.sqlite              every response, by the policy and request that gave it
selfplay/iteration_<t>/manifest.json   policy, first step, steps, counts
selfplay/iteration_<t>/{train,validation}.parquet
"""

import itertools
import json
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel

from sp3f_verl.data.files import write_json
from sp3f_verl.data.resume import Work
from sp3f_verl.errors import BadInput
from sp3f_verl.llm.fingerprint import earlier_version
from sp3f_verl.log import log


class IterationManifest(BaseModel):
    """What is known of an iteration: policy, settings and counts once its data is there, `margin` at its end. None: not
    yet, or of an earlier version."""

    iteration: int
    start_step: int | None = None
    """Training steps done when it began."""
    steps: int | None = None
    too_few: int | None = None
    """Usable groups, where they were fewer than a batch and the run ended."""
    policy: str | None = None
    """Fingerprint of the weights that generated."""
    settings: dict[str, Any] | None = None
    rows: dict[str, int] | None = None
    usable: dict[str, int] | None = None
    dropped: dict[str, dict[str, int] | int] | None = None
    """Groups left out by split and reason; by reason alone of earlier versions."""
    responses: str | None = None
    """Digest of what is trained on."""
    margin: float | None = None

    @classmethod
    def read(cls, file: Path) -> Self:
        """OSError or ValueError where there is none."""
        return cls.model_validate_json(file.read_text(encoding="utf-8"))


class Record:
    def __init__(self, folder: Path, identity: dict[str, Any]):
        """identity: what must not change while the run goes on. BadInput where the folder is another run's."""
        self.folder, self._work = folder, Work(folder / "run.json", identity)
        if "model" in identity and earlier_version(str((self._work.kept or {}).get("model"))):
            raise BadInput(
                f"{self._work.record} is of a run that an earlier version began, which named models otherwise; end it "
                "with that version, or give this run a trainer.default_local_dir of its own."
            )
        for name, (kept, value) in self._work.changed().items():
            raise BadInput(
                f"{self._work.record} is of a run with {name}={kept}, not {value}; set it back, or give this run "
                "a trainer.default_local_dir of its own."
            )

    def open(self) -> None:
        self._work.begin()

    def place(self, iteration: int) -> Path:
        return self.folder / f"iteration_{iteration}"

    def manifest(self, iteration: int) -> IterationManifest | None:
        file = self.place(iteration) / "manifest.json"
        return IterationManifest.read(file) if file.is_file() else None

    def write(self, iteration: int, **values: Any) -> None:
        """Adds to what is known; what it was goes on where nothing new is said."""
        kept = self.manifest(iteration) or IterationManifest(iteration=iteration)
        known = kept.model_dump(exclude_none=True) | values
        write_json(IterationManifest(**known).model_dump(exclude_none=True), self.place(iteration) / "manifest.json")

    def finish(self, step: int) -> None:
        """The run is over at `step`, the final policy measured."""
        write_json({"step": step}, self.folder / "final.json")

    def final_step(self) -> int | None:
        file = self.folder / "final.json"
        return json.loads(file.read_text())["step"] if file.is_file() else None

    def resume(self, step: int) -> int:
        """The iteration that goes on from a checkpoint of `step`; what was recorded of later ones is put aside, as
        `iteration_<t>.old-<n>`, and so is the note that the run is over.

        BadInput where the step belongs to no recorded iteration.
        """
        iteration = 0
        while step > 0:
            manifest = self.manifest(iteration)
            if manifest is None or step < manifest.start_step:
                raise BadInput(
                    f"the checkpoint of step {step} belongs to no iteration in {self.folder}; put that folder back, or "
                    "remove the checkpoints to begin anew."
                )
            if step < manifest.start_step + manifest.steps:
                break
            iteration += 1
            if step == manifest.start_step + manifest.steps:
                break
        if self.final_step() not in (None, step):
            (self.folder / "final.json").unlink()
        later = iteration + 1
        while self.place(later).is_dir():
            names = (f"iteration_{later}.old-{number}" for number in itertools.count())
            old = next(place for name in names if not (place := self.folder / name).exists())
            log.info(f"the checkpoint is of step {step}: {self.place(later)} is put aside as {old.name}.")
            self.place(later).rename(old)
            later += 1
        return iteration
