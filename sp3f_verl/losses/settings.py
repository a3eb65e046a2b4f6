"""What every loss has in common: the settings that a user writes, and what a loss function answers."""

from typing import Annotated, NamedTuple

import torch
from pydantic import Field

from sp3f_verl.settings import Flag, Number, Settings, Text, mend


class LossSettings(Settings):
    """Keys under `sp3f.preference.objective` that every loss reads. A loss adds its own in a sub-class, and says there
    by `Literal` which loss types it has. Ranges are the business of the loss function."""

    loss_type: Text
    length_normalised: Flag | None = None
    """Means over tokens in place of sums; None: as the loss's authors do."""
    nll_anchor: Annotated[Number, Field(ge=0), mend("set it to 0 or more")] = 0.0
    """Weight of -log pi(first role) per token."""

    @property
    def reward_scale(self) -> float:
        """The reward of a response is this times its log-prob, or log-ratio to the reference."""
        return 1.0

    def used(self, roles: tuple[str, ...]) -> tuple[str, ...]:
        """Those of the loss's roles that these settings have a use for."""
        return roles


class Terms(NamedTuple):
    """What a loss function answers of a batch of groups. Everything but `losses` is detached."""

    losses: torch.Tensor  # (groups,)
    rewards: torch.Tensor  # (groups, roles)
    saturated: dict[str, torch.Tensor]  # name -> bool (groups,): see losses/shapes.py
