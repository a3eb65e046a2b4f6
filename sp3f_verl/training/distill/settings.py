"""The settings of what a privileged teacher is for: distillation (`sp3f.distill`) and token credit (`sp3f.rlsd`)."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from sp3f_verl.losses.distill import Divergence
from sp3f_verl.rewards.weights import points, value_at
from sp3f_verl.settings import Number, Settings, Text, mend


class Distill(Divergence):
    """`sp3f.distill`: what is minimised (losses/distill.py), against whom."""

    teacher: Literal["live", "initial", "path"] = "live"
    """Set by teacher=<name>. live: the policy as it is, on the rollout servers; the others have their own."""
    reward_coef: Annotated[Number, Field(ge=0), mend("set it to 0 or more")] = 0.0
    """Weight of the policy loss of the task's rewards; 0: the teacher alone."""
    prompt: Text = "privileged"
    """What the teacher reads: a shipped prompt's name, or a text file (prompt.py)."""

    @classmethod
    def read(cls, values: Mapping[str, Any], place: str = "sp3f.distill") -> "Distill":
        return super().read(values, place)


def _schedule_of_shares(value: Any) -> Any:
    if any(not 0 <= share <= 1 for _, share in points(value)[1]):
        raise ValueError("goes out of [0, 1]; keep it within")
    return value


class RLSD(Settings):
    """`sp3f.rlsd`: how strongly a sequence's advantage is divided among its tokens (losses/token_credit.py)."""

    strength: Annotated[Any, AfterValidator(_schedule_of_shares)] = Field({0: 0.5, 50: 0.0})
    """A share, or a schedule over the training steps as reward weights have it."""
    clip: Annotated[Number, Field(gt=0, lt=1), mend("set it above 0 and below 1")] = 0.2
    prompt: Text = "privileged"
    """What the teacher reads: a shipped prompt's name, or a text file (prompt.py)."""

    @classmethod
    def read(cls, values: Mapping[str, Any], place: str = "sp3f.rlsd") -> "RLSD":
        return super().read(values, place)

    def strength_at(self, step: int) -> float:
        return value_at(self.strength, step)
