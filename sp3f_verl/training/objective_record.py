"""What a run optimises, written once into its folder as `objective.json`: who reads its metrics need not guess."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ValidationError

from sp3f_verl.data.files import write_json
from sp3f_verl.errors import BadInput

if TYPE_CHECKING:  # whoever reads a record needs no torch
    from sp3f_verl.losses.objective import Objective

FILE = "objective.json"


class ObjectiveRecord(BaseModel):
    """A row of losses/table.py as a run uses it. Of a self-play run it is the objective before the schedule; what an
    iteration trained with stands in its manifest."""

    loss: str
    loss_type: str
    roles: tuple[str, ...]
    """The preferred one first; metrics are named by them."""
    needs_reference: bool
    """Rewards are of log-ratios to a reference (or opponent), else of log-probs."""
    means: bool
    """Rewards are of means over tokens, else of sums."""
    reward_scale: float
    """A reward is this times the log-ratio or log-prob."""
    settings: dict[str, Any]
    """All that the loss reads, by the keys of `sp3f.preference.objective`."""

    @classmethod
    def of(cls, objective: "Objective") -> Self:
        return cls(
            loss=objective.loss,
            loss_type=objective.settings.loss_type,
            roles=objective.roles,
            needs_reference=objective.needs_reference,
            means=objective.means,
            reward_scale=objective.settings.reward_scale,
            settings={name: value for name, value in objective.mapping.items() if name != "loss"},
        )

    def write(self, folder: Path) -> None:
        """Into the folder of a run, `trainer.default_local_dir`; `metrics/` stands beside it."""
        write_json(self.model_dump(), folder / FILE)

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """None where there is none: the run began before objectives were recorded. BadInput where the file is none."""
        file = folder / FILE
        if not file.is_file():
            return None
        try:
            return cls.model_validate(json.loads(file.read_text(encoding="utf-8")))
        except (ValueError, ValidationError):
            raise BadInput(f"{file} is not what a run records of its objective; remove it.") from None
