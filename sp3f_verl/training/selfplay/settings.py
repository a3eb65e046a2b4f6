"""The settings under `sp3f.selfplay`, and what they mean in iteration t. Knows nothing of verl."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field

from sp3f_verl.losses.objective import Objective
from sp3f_verl.settings import Flag, Number, Settings, Text, Whole, mend


def _series(value: Any) -> Any:
    """A number is a series of one."""
    return [value] if isinstance(value, int | float) else value


def _or_none(value: Any) -> Any:
    return {} if value is None else value


Positive = Annotated[Whole, Field(ge=1), mend("set it to a whole number, at least 1")]
NotNegative = Annotated[Whole, Field(ge=0), mend("set it to a whole number, at least 0")]
Series = Annotated[
    tuple[Number, ...] | None,
    Field(min_length=1),
    BeforeValidator(_series),
    mend("give a list of numbers, one an iteration"),
]
Rates = Annotated[
    tuple[Annotated[Number, Field(ge=0)], ...] | None,
    Field(min_length=1),
    BeforeValidator(_series),
    mend("give learning rates of 0 or more, one an iteration"),
]


class Generation(Settings):
    """How responses are drawn, y0 and y' alike (`sp3f.selfplay.generation`)."""

    temperature: Annotated[Number, Field(gt=0), mend("set it above 0: one response is sampled")] = 1.0
    top_p: Annotated[Number, Field(gt=0, le=1), mend("set it above 0 and at most 1")] = 1.0
    max_tokens: Positive = 256
    """Of a response; the prompt's share of max_length is taken off where that leaves less."""
    truncated: Literal["drop", "keep"] = "drop"
    """drop: a prompt whose response was cut trains nothing; keep: it is trained on, without an end of sequence."""
    seed: NotNegative = 42
    at_once: Annotated[Whole | None, Field(ge=1), mend("set it to a whole number, at least 1")] = None
    """Requests in flight; None: twice what the rollout servers run at a time."""
    timeout_seconds: Annotated[Number, Field(gt=0), mend("set it to seconds above 0")] = 1800.0
    """Of one request, its waiting in the server included."""

    @property
    def exact(self) -> bool:
        """Are the log-probs of sampling those of the policy itself?"""
        return self.temperature == 1 and self.top_p == 1


class Schedule(Settings):
    """Values by iteration, the last of which goes on; None: the setting itself in every iteration."""

    lr: Rates = None
    beta: Series = None
    alpha: Series = None
    nll_anchor: Series = None


class SelfPlay(Settings):
    """`sp3f.selfplay`."""

    folder: Text | None = None
    """Responses, triplets and manifests."""
    iterations: Positive = 5
    """Of T-SPIN's Algorithm 1: iteration t trains pi_t into pi_{t+1}."""
    epochs: Positive = 1
    """Over the triplets, an iteration."""
    previous_iterations: NotNegative = 0
    """That many earlier iterations' responses are trained on beside the current ones."""
    schedule: Annotated[Schedule, BeforeValidator(_or_none)] = Schedule()
    lr_scheduler: Literal["linear", "cosine", "constant"] = "linear"
    """Within an iteration, after optim.lr_warmup_steps_ratio."""
    greedy_validation: Annotated[Flag, mend("set it to true or false")] = True
    """Exact match of greedy responses to validation prompts, once an iteration."""
    stop_below_margin: Annotated[Number | None, mend("set it to a number or null")] = None
    """End after an iteration that won less than this current advantage."""
    generation: Annotated[Generation, BeforeValidator(_or_none)] = Generation()

    @classmethod
    def read(cls, values: Mapping[str, Any], place: str = "sp3f.selfplay") -> Self:
        """BadInput for an unknown key or a value that cannot be."""
        return super().read(values, place)

    def scheduled(self, name: str, iteration: int, default: float) -> float:
        """The value of a name of the schedule in iteration t."""
        series = getattr(self.schedule, name)
        return series[min(iteration, len(series) - 1)] if series else default

    def objective(self, base: Objective, iteration: int) -> Objective:
        """The objective of iteration t; BadInput where the schedule gives it a value that the loss does not take."""
        names = [name for name in Schedule.model_fields if name != "lr" and getattr(self.schedule, name)]
        return base.changed(**{name: self.scheduled(name, iteration, 0.0) for name in names})
