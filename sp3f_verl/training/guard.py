"""A guard of preference and self-play runs: does the policy still give the preferred responses their likelihood?

Margins can grow while both sides of a pair become unlikely. Losses without a reference (SimPO, T-SPIN) do not bound
that at all: an independent replication of CroCo (https://github.com/alexandrainst/croco, docs/10) lost its model to
SimPO at 50,000 pairs, with log-probs from -300 to -12,000. Measured is the drop of the preferred responses' mean
log-prob per token, in nats, since the run's first step, whose forward pass is the initial policy's. Each step has other
pairs, so a drop below a few tenths may be theirs.
"""

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from sp3f_verl.errors import BadInput
from sp3f_verl.log import log
from sp3f_verl.settings import Number, Settings, mend


class GuardSettings(Settings):
    """`sp3f.guard`."""

    chosen_logp_drop: Annotated[Number | None, Field(gt=0), mend("set it to nats a token above 0, or null")] = 1.0
    """Nats a token; null: no guard."""
    on_drop: Literal["warn", "stop"] = "warn"


class Guard:
    """Asked once a step. `metrics_folder` has what earlier attempts of the run logged: the first step is theirs."""

    def __init__(self, settings: GuardSettings, preferred: str, metrics_folder: Path):
        self.settings, self.preferred = settings, preferred
        self._name = f"train/logp_per_token/{preferred}"
        self._start = _first_logged(metrics_folder, self._name)
        self._warned = False
        self._end: str | None = None

    def observe(self, metrics: dict[str, float]) -> dict[str, float]:
        """The drop, to be logged with the metrics of the step that it is of."""
        limit = self.settings.chosen_logp_drop
        if limit is None:
            return {}
        if self._start is None:
            self._start = metrics[self._name]
        drop = self._start - metrics[self._name]
        if drop > limit:
            self._dropped(drop, limit)
        return {f"guard/{self.preferred}_logp_drop": drop}

    def _dropped(self, drop: float, limit: float) -> None:
        sentence = (
            f"{self.preferred} responses lost {drop:.2f} nats a token since the first step, more than "
            f"sp3f.guard.chosen_logp_drop={limit:g}: the policy unlearns them; lower the learning rate, set "
            "sp3f.preference.objective.nll_anchor, or take a loss with a reference."
        )
        if self.settings.on_drop == "stop":
            self._end = sentence
        elif not self._warned:
            log.warning(sentence)
            self._warned = True

    def stop(self) -> None:
        """BadInput where the run must end: called before a step is saved, so that the last checkpoint is a good one."""
        if self._end is not None:
            raise BadInput(self._end)


def _first_logged(folder: Path, name: str) -> float | None:
    for file in sorted(folder.glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            try:
                data = json.loads(line)["data"]
            except ValueError:  # the line that a killed attempt was writing
                continue
            if name in data:
                return data[name]
    return None
