"""What a self-play run does in iteration t, from its settings and its record: with what it trains, and when it ends."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sp3f_verl.errors import BadInput
from sp3f_verl.llm.fingerprint import model_digest
from sp3f_verl.log import log
from sp3f_verl.losses.objective import Objective
from sp3f_verl.training.selfplay.record import Record
from sp3f_verl.training.selfplay.settings import SelfPlay
from sp3f_verl.training.selfplay.triplets import Triplets


@dataclass
class Plan:
    settings: SelfPlay
    base: Objective  # before the schedule
    base_lr: float
    batch_size: int  # groups a step
    order_seed: int  # of the groups
    record: Record
    policies: dict[int, str] = field(default_factory=dict)  # t -> the name of pi_t, as far as it was asked for

    def lr(self, t: int) -> float:
        return self.settings.scheduled("lr", t, self.base_lr)

    def objective(self, t: int) -> Objective:
        return self.settings.objective(self.base, t)

    def trained_with(self, t: int) -> dict[str, Any]:
        """The settings of iteration t that its training must keep to its end."""
        return {
            **self.objective(t).mapping,
            "lr": self.lr(t),
            "lr_scheduler": self.settings.lr_scheduler,
            "epochs": self.settings.epochs,
            "previous_iterations": self.settings.previous_iterations,
            "train_batch_size": self.batch_size,
            "order_seed": self.order_seed,
        }

    def check_half_trained(self, t: int) -> None:
        """BadInput where iteration t was begun with other settings than these."""
        begun_with = self.record.manifest(t).settings
        for name, value in self.trained_with(t).items():
            if begun_with.get(name, value) != value:  # a setting that is new since has no part in what was begun
                raise BadInput(
                    f"iteration {t} is half trained with {name}={begun_with[name]}, not {value}; set it back until the "
                    "iteration is over."
                )

    def end(self, t: int) -> str | None:
        """Why the run is over before iteration t, in a sentence; None where it goes on."""
        last = self.record.manifest(t - 1) if t else None
        for manifest in filter(None, (last, self.record.manifest(t))):
            if manifest.too_few is not None and manifest.too_few < self.batch_size:
                return f"iteration {manifest.iteration}: the policy answers as the data does, too few groups are left."
        if t >= self.settings.iterations:
            return f"all {t} iterations are done; raise sp3f.selfplay.iterations to go on."
        least, margin = self.settings.stop_below_margin, last.margin if last else None
        if least is not None and margin is not None and margin < least:
            return f"iteration {t - 1} ended with a current advantage of {margin:.4g}, below {least:g}: the end."
        return None

    def too_few(self, t: int, step: int, triplets: Triplets) -> None:
        """Ends the run where the policy answers as the data does; BadInput where responses are lost otherwise."""
        dropped = ", ".join(f"{number} {reason}" for reason, number in sorted(triplets.dropped.items()))
        sentence = f"iteration {t}: {len(triplets.groups)} usable groups ({dropped})"
        if triplets.dropped["truncated"] > triplets.dropped["identical"]:
            raise BadInput(
                f"{sentence} for data.train_batch_size={self.batch_size}; raise sp3f.selfplay.generation.max_tokens, "
                "set its truncated=keep, or lower the batch size."
            )
        if t == 0:
            raise BadInput(f"{sentence}: the initial policy answers as the data does; there is nothing to train on.")
        log.info(f"{sentence}.")
        self.record.write(t, start_step=step, steps=0, too_few=len(triplets.groups))

    def policy(self, t: int, recorded: bool, weights: Callable[[], Path]) -> str:
        """Names pi_t: as its record does, else by the weights in the folder that `weights` gives. Read once."""
        if t not in self.policies:
            self.policies[t] = self.record.manifest(t).policy if recorded else model_digest(str(weights()))
        return self.policies[t]
