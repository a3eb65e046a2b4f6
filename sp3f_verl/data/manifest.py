"""`manifest.json` of an output folder: how its files came about, and that they are whole, as it is written last.

manifest = Manifest.read(folder)  # None: no step of ours has finished there
manifest.rows["train"]["es"]
"""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from sp3f_verl.data.files import write_json
from sp3f_verl.errors import BadInput
from sp3f_verl.settings import sentence

MANIFEST = "manifest.json"


class Manifest(BaseModel):
    """One run of a step; the JSON has these keys, sorted. Other keys are left aside."""

    model_config = ConfigDict(protected_namespaces=(), frozen=True)

    step: str
    inputs: dict[str, str] = {}  # path -> SHA-256
    settings: dict[str, Any] = {}
    prompts: dict[str, str] = {}  # name of a prompt file -> first 16 hex digits of its SHA-256
    models: list[str] = []
    rows: dict[str, dict[str, int]]  # file without .parquet -> language (or "all") -> rows
    drops: dict[str, int] = {}  # reason -> what was left out, in the step's own unit
    notes: dict[str, Any] = {}  # facts of the step's own, such as costs
    versions: dict[str, str | None] = {}
    outputs: dict[str, str] = {}  # file -> SHA-256

    @classmethod
    def read(cls, folder: Path) -> "Manifest | None":
        """None where the folder has none, or another kind of manifest.json. BadInput where it cannot be read."""
        path = folder / MANIFEST
        if not path.is_file():
            return None
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise BadInput(f"{path} cannot be read ({str(error)[:80]}); run its step again.") from None
        if not isinstance(values, dict) or "step" not in values or "rows" not in values:
            return None
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise BadInput(sentence(cls, error, str(path))) from None

    def write(self, folder: Path) -> None:
        write_json({name: getattr(self, name) for name in type(self).model_fields}, folder / MANIFEST)

    def identity(self) -> dict[str, Any]:
        """What makes it another run: the step, its settings, and the content of inputs and prompts."""
        return {
            "step": self.step,
            "settings": self.settings,
            "prompts": self.prompts,
            "inputs": sorted(self.inputs.values()),
        }
