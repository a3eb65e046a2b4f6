"""The settings under `sp3f.selfplay`, and what they mean in iteration t. Knows nothing of verl."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from numbers import Real
from typing import Any

from sp3f_verl.errors import BadInput, nearest
from sp3f_verl.losses.objective import Objective

TRUNCATED = ("drop", "keep")
LR_SCHEDULERS = ("linear", "cosine", "constant")
SCHEDULED = ("lr", "beta", "alpha", "nll_anchor")


@dataclass(frozen=True)
class Generation:
    """How responses are drawn, y0 and y' alike (`sp3f.selfplay.generation`)."""

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 256  # of a response; the prompt's share of max_length is taken off where that leaves less
    truncated: str = "drop"  # drop: a prompt whose response was cut trains nothing; keep: without an end of sequence
    seed: int = 42
    at_once: int | None = None  # requests in flight; None: twice what the rollout servers run at a time
    timeout_seconds: float = 1800.0  # of one request, its waiting in the server included

    @property
    def exact(self) -> bool:
        """Are the log-probs of sampling those of the policy itself?"""
        return self.temperature == 1 and self.top_p == 1


@dataclass(frozen=True)
class SelfPlay:
    iterations: int = 5  # of T-SPIN's Algorithm 1: iteration t trains pi_t into pi_{t+1}
    epochs: int = 1  # over the triplets, an iteration
    previous_iterations: int = 0  # that many earlier iterations' responses are trained on beside the current ones
    schedule: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # by iteration; the last value goes on
    lr_scheduler: str = "linear"  # within an iteration, after optim.lr_warmup_steps_ratio
    greedy_validation: bool = True  # exact match of greedy responses to validation prompts, once an iteration
    stop_below_margin: float | None = None  # end after an iteration that won less than this current advantage
    generation: Generation = Generation()

    @classmethod
    def from_mapping(cls, settings: Mapping[str, Any]) -> "SelfPlay":
        """BadInput for an unknown key or a value that cannot be."""
        known = {each.name for each in fields(cls)} | {"folder"}
        _known("sp3f.selfplay", settings, known)
        values = {name: value for name, value in settings.items() if name != "folder"}
        generation = values.pop("generation", None) or {}
        _known("sp3f.selfplay.generation", generation, {each.name for each in fields(Generation)})
        schedule = values.pop("schedule", None) or {}
        _known("sp3f.selfplay.schedule", schedule, set(SCHEDULED))
        schedule = {name: _series(name, series) for name, series in schedule.items() if series is not None}
        found = cls(**values, schedule=schedule, generation=Generation(**generation))
        found._check()
        return found

    def scheduled(self, name: str, iteration: int, default: float) -> float:
        series = self.schedule.get(name)
        return series[min(iteration, len(series) - 1)] if series else default

    def objective(self, base: Objective, iteration: int) -> Objective:
        """The objective of iteration t; BadInput where the schedule gives it a value that the loss does not take."""
        values = {name: self.scheduled(name, iteration, getattr(base, name)) for name in SCHEDULED if name != "lr"}
        return Objective.from_mapping(asdict(base) | values)

    def _check(self) -> None:
        def refuse(name: str, value: Any, mend: str):
            raise BadInput(f"sp3f.selfplay.{name}={value}; {mend}.")

        for name, value, least in (
            ("iterations", self.iterations, 1),
            ("epochs", self.epochs, 1),
            ("previous_iterations", self.previous_iterations, 0),
            ("generation.max_tokens", self.generation.max_tokens, 1),
            ("generation.at_once", 1 if self.generation.at_once is None else self.generation.at_once, 1),
            ("generation.seed", self.generation.seed, 0),
        ):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                refuse(name, value, f"set it to a whole number, at least {least}")
        if self.lr_scheduler not in LR_SCHEDULERS:
            refuse("lr_scheduler", self.lr_scheduler, f"use {', '.join(LR_SCHEDULERS)}")
        if self.generation.truncated not in TRUNCATED:
            refuse("generation.truncated", self.generation.truncated, f"use {' or '.join(TRUNCATED)}")
        if not _number(self.generation.temperature) or self.generation.temperature <= 0:
            refuse("generation.temperature", self.generation.temperature, "set it above 0: one response is sampled")
        if not _number(self.generation.top_p) or not 0 < self.generation.top_p <= 1:
            refuse("generation.top_p", self.generation.top_p, "set it above 0 and at most 1")
        if not _number(self.generation.timeout_seconds) or self.generation.timeout_seconds <= 0:
            refuse("generation.timeout_seconds", self.generation.timeout_seconds, "set it to seconds above 0")
        if not isinstance(self.greedy_validation, bool):
            refuse("greedy_validation", self.greedy_validation, "set it to true or false")
        if not all(math.isfinite(lr) and lr >= 0 for lr in self.schedule.get("lr", ())):
            refuse("schedule.lr", list(self.schedule["lr"]), "give learning rates of 0 or more")
        if self.stop_below_margin is not None and not _number(self.stop_below_margin):
            refuse("stop_below_margin", self.stop_below_margin, "set it to a number or null")


def _known(place: str, settings: Mapping[str, Any], known: set[str]) -> None:
    for name in settings:
        if name not in known:
            raise BadInput(f"{place}.{name} is unknown{nearest(name, known)}; remove it.")


def _number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _series(name: str, series: Any) -> tuple[float, ...]:
    values = [series] if _number(series) else list(series) if isinstance(series, list | tuple) else []
    if not values or not all(map(_number, values)):
        raise BadInput(f"sp3f.selfplay.schedule.{name}={series}; give a list of numbers, one an iteration.")
    return tuple(float(each) for each in values)
