"""A guard of preference and self-play runs: does the policy still give the preferred responses their likelihood?

Margins can grow while both sides of a pair become unlikely. Losses without a reference (SimPO, T-SPIN) do not bound
that at all: an independent replication of CroCo (https://github.com/alexandrainst/croco, docs/10) lost its model to
SimPO at 50,000 pairs, with log-probs from -300 to -12,000. Measured is the drop of the preferred responses' mean
log-prob per token, in nats, since the run's first step, whose forward pass is the initial policy's. Each step has other
pairs, so a drop below a few tenths may be theirs.

Of self-play's own responses it is measured how many do not end: endings are the first that T-SPIN unlearns, long before
the mean over all tokens shows it (docs/results/real-model.md).
"""

import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from sp3f_verl.errors import BadInput
from sp3f_verl.log import log
from sp3f_verl.settings import Number, Settings, mend
from sp3f_verl.training.metrics_log import read_metrics


class GuardSettings(Settings):
    """`sp3f.guard`."""

    chosen_logp_drop: Annotated[Number | None, Field(gt=0), mend("set it to nats a token above 0, or null")] = 1.0
    """Nats a token; null: no guard."""
    truncated_rise: Annotated[Number | None, Field(gt=0), mend("set it to a share above 0, or null")] = 0.2
    """Share of self-play's responses; null: no guard."""
    on_drop: Literal["warn", "stop"] = "warn"


CUT = "generation/truncated"


class Guard:
    """Asked once a step. `metrics_folder` has what earlier attempts of the run logged: the first step is theirs."""

    def __init__(self, settings: GuardSettings, preferred: str, metrics_folder: Path):
        self.settings, self.preferred = settings, preferred
        self._name = f"train/logp_per_token/{preferred}"
        self._start = _first_logged(metrics_folder, self._name)
        self._cut = _first_logged(metrics_folder, CUT)
        self._warned: set[str] = set()
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
            self._unlearns(
                "chosen_logp_drop",
                f"{self.preferred} responses lost {drop:.2f} nats a token since the first step, more than "
                f"sp3f.guard.chosen_logp_drop={limit:g}: the policy unlearns them",
            )
        return {f"guard/{self.preferred}_logp_drop": drop}

    def observe_responses(self, metrics: dict[str, float]) -> None:
        """Asked once an iteration of self-play, before it is trained: `metrics` of the responses of its policy."""
        limit, cut = self.settings.truncated_rise, metrics.get(CUT)
        if limit is None or cut is None:
            return
        if self._cut is None:
            self._cut = cut
        if cut - self._cut > limit:
            self._unlearns(
                "truncated_rise",
                f"{cut:.0%} of the responses do not end within max_tokens, and {self._cut:.0%} of the first policy's, "
                f"a rise above sp3f.guard.truncated_rise={limit:g}: the policy unlearns its ending",
            )

    def _unlearns(self, limit: str, what: str) -> None:
        way_out = "lower the learning rate, set sp3f.preference.objective.nll_anchor, or take a loss with a reference"
        sentence = f"{what}; {way_out}."
        if self.settings.on_drop == "stop":
            self._end = sentence
        elif limit not in self._warned:
            log.warning(sentence)
            self._warned.add(limit)

    def stop(self) -> None:
        """BadInput where the run must end: called before a step is saved, so that the last checkpoint is a good one."""
        if self._end is not None:
            raise BadInput(self._end)


def _first_logged(folder: Path, name: str) -> float | None:
    logged = (metrics[name] for metrics in read_metrics(folder).values() if name in metrics)
    return next(filter(math.isfinite, logged), None)
