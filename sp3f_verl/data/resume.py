"""Done before, else resume: a piece of work keeps what it belongs to (its identity) beside its result.

    work = Work(folder / "identity.json", {"seed": 1, "model": digest}, result=folder / "done.json")
    if work.done:                   # the same identity and a result
        return
    if differing := work.changed(): # {"seed": (2, 1)}: the kept value and ours; start over, or BadInput
        ...
    work.begin()                    # and whoever does the work writes the result last

Identities are JSON mappings. A record may hold more than the identity, such as a manifest that is written at the end.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sp3f_verl.data.files import write_json


@dataclass(frozen=True)
class Work:
    """record: the JSON file with the identity. result: the file that stands for the whole work; None: the record."""

    record: Path
    identity: Mapping[str, Any]
    result: Path | None = None

    @property
    def kept(self) -> dict[str, Any] | None:
        """What the record holds: None where there is none, {} where it is no JSON object."""
        try:
            kept = json.loads(self.record.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            return {}
        return kept if isinstance(kept, dict) else {}

    def changed(self) -> dict[str, tuple[Any, Any]]:
        """Name -> (kept value, ours) of what differs; {} where nothing does, or nothing was begun."""
        kept = self.kept
        return {} if kept is None else differences(kept, self.identity)

    @property
    def begun(self) -> bool:
        """With the same identity."""
        return self.kept is not None and not self.changed()

    @property
    def done(self) -> bool:
        return self.begun and (self.result is None or self.result.is_file())

    def begin(self) -> None:
        """Writes the record; before that, an earlier result is removed."""
        if self.result is not None:
            self.result.unlink(missing_ok=True)
        write_json(dict(self.identity), self.record)


def differences(kept: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Name -> (kept value, ours) of the names in `ours` whose values differ as JSON."""
    ours = json.loads(json.dumps(dict(ours)))
    return {name: (kept.get(name), value) for name, value in ours.items() if kept.get(name) != value}
