"""What is optimised: one of our losses over groups of responses, and what is told of a step. Knows nothing of verl."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any

import torch

from sp3f_verl import losses
from sp3f_verl.errors import BadInput, nearest

# loss -> (roles of a group's rows, whether log-ratios to a reference take the place of log-probs)
LOSSES: dict[str, tuple[tuple[str, ...], bool]] = {
    "dpo": (("chosen", "rejected"), True),
    "simpo": (("chosen", "rejected"), False),
    "spin": (("real", "generated"), True),
    "tspin": (("real", "generated", "proto"), False),
    "tspin_ref": (("real", "generated", "proto"), True),
}
TYPES = {
    "dpo": losses.DPO_TYPES,
    "simpo": ("sigmoid",),
    "spin": losses.SPIN_TYPES,
    "tspin": losses.TSPIN_TYPES,
    "tspin_ref": losses.TSPIN_TYPES,
}


@dataclass(frozen=True)
class Objective:
    """Settings under `sp3f.preference.objective`; symbols as in `sp3f_verl.losses`."""

    loss: str = "dpo"
    loss_type: str = "sigmoid"
    beta: float = 0.1
    alpha: float = 1.0  # tspin, tspin_ref
    margin: float = 1.0  # simpo
    label_smoothing: float = 0.0  # dpo (sigmoid, robust), simpo
    length_normalised: bool | None = None  # means over tokens in place of sums; None: as the loss's authors do
    nll_anchor: float = 0.0  # weight of -log pi(first role) per token
    exponent_limit: float = 30.0  # tspin, exponential: squares of gradients stay finite, so that clipping works

    @classmethod
    def from_mapping(cls, settings: Mapping[str, Any]) -> "Objective":
        """BadInput for an unknown key or a value that the loss does not take."""
        known = [field.name for field in fields(cls)]
        for name in settings:
            if name not in known:
                raise BadInput(f"sp3f.preference.objective.{name} is unknown{nearest(name, known)}; remove it.")
        objective = cls(**settings)
        if objective.loss not in LOSSES:
            hint = nearest(objective.loss, LOSSES)
            raise BadInput(f"sp3f.preference.objective.loss={objective.loss}{hint}; use {', '.join(LOSSES)}.")
        if objective.loss_type not in TYPES[objective.loss]:
            hint, types = nearest(objective.loss_type, TYPES[objective.loss]), ", ".join(TYPES[objective.loss])
            raise BadInput(f"sp3f.preference.objective.loss_type={objective.loss_type}{hint}; use {types}.")
        for field in fields(cls):
            value = getattr(objective, field.name)
            if field.type is float and (not isinstance(value, Real) or isinstance(value, bool)):
                raise BadInput(f"sp3f.preference.objective.{field.name}={value}; set it to a number.")
        if not objective.nll_anchor >= 0:
            raise BadInput(f"sp3f.preference.objective.nll_anchor={objective.nll_anchor}; set it to 0 or more.")
        try:
            objective(*[torch.zeros(1, len(objective.roles))] * 2)
        except BadInput as error:
            raise BadInput(f"sp3f.preference.objective: {error}") from None
        return objective

    @property
    def roles(self) -> tuple[str, ...]:
        """The rows of a group. Without historical advantage (beta = 0) T-SPIN has no use for a proto."""
        roles = LOSSES[self.loss][0]
        return roles[:2] if self.loss in ("tspin", "tspin_ref") and self.beta == 0 else roles

    @property
    def needs_reference(self) -> bool:
        return LOSSES[self.loss][1]

    @property
    def means(self) -> bool:
        if self.length_normalised is not None:
            return self.length_normalised
        return self.loss == "simpo" or self.loss_type == "ipo"

    @property
    def tied(self) -> str | None:
        """`sums` or `means` where the loss is a function of the difference of two rows' sums or means, so that one
        number gives all its derivatives; None otherwise."""
        if len(self.roles) != 2 or self.nll_anchor:
            return None
        return "means" if self.means else "sums"

    def __call__(
        self, values: torch.Tensor, mean_logps: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        """(losses (groups,), rewards (groups, roles), what is saturated) of log-probs or log-ratios (groups, roles).

        `mean_logps` (groups, roles) are the policy's own, per token: the anchor reads them.
        """
        each = values.unbind(-1)
        none = torch.zeros_like(each[0])
        if self.loss == "dpo":
            out = losses.dpo_loss(*each, none, none, self.beta, self.loss_type, self.label_smoothing)
        elif self.loss == "simpo":
            out = losses.simpo_loss(*each, self.beta, self.margin, self.label_smoothing)
        elif self.loss == "spin":
            out = losses.spin_loss(*each, none, none, self.beta, self.loss_type)
        else:
            out = losses.tspin_loss(
                *each, *[None] * (3 - len(each)), self.alpha, self.beta, self.loss_type, self.exponent_limit
            )
        total = out.losses
        if self.nll_anchor:
            total = losses.with_nll_anchor(total, mean_logps[:, 0], self.nll_anchor)
        saturated = {name: getattr(out, name) for name in ("saturated", "saturated_history") if hasattr(out, name)}
        return total, torch.stack(out[1 : 1 + len(each)], -1), saturated


@dataclass(frozen=True)
class Measured:
    """Of a batch of groups. Everything but `losses` is detached."""

    losses: torch.Tensor  # (groups,)
    metrics: dict[str, torch.Tensor]  # name -> (groups,)


def measure(
    objective: Objective,
    log_probs: torch.Tensor,
    loss_mask: torch.Tensor,
    offsets: torch.Tensor,
    reference: torch.Tensor | None,
) -> Measured:
    """Loss and diagnostics of packed rows, the rows of a group one after the other in the order of the roles.

    log_probs (tokens,): at position t of token t + 1, as verl gives them. loss_mask (tokens,): 1 on response tokens; a
    row begins with a prompt token. reference (tokens,): aligned like log_probs. offsets (rows + 1,).
    """
    roles = objective.roles
    mask = loss_mask.roll(-1)  # a row's last position would be about the next row's first token, which is a prompt's

    def per_row(tokens: torch.Tensor, normalise: bool) -> torch.Tensor:
        return losses.sequence_logps(tokens, mask, offsets, normalise).view(-1, len(roles))

    ratios = log_probs if not objective.needs_reference else log_probs - reference
    means = per_row(log_probs, True)
    total, rewards, saturated = objective(per_row(ratios, objective.means), means)
    with torch.no_grad():
        told = _metrics(
            objective, rewards, per_row(log_probs, False), means, per_row(torch.ones_like(log_probs), False)
        )
        told.update(loss=total.detach(), **{name: each.float() for name, each in saturated.items()})
        if objective.needs_reference:
            drift = per_row(ratios, False)
            told.update({f"log_ratio/{role}": drift[:, i] for i, role in enumerate(roles)})
    return Measured(total, told)


def _metrics(objective, rewards, sums, means, lengths) -> dict[str, torch.Tensor]:
    told = {}
    for i, role in enumerate(objective.roles):
        told[f"reward/{role}"], told[f"logp/{role}"] = rewards[:, i], sums[:, i]
        told[f"logp_per_token/{role}"], told[f"tokens/{role}"] = means[:, i], lengths[:, i]
    told["accuracy"] = (rewards[:, 0] > rewards[:, 1]).float()
    told["margin"] = rewards[:, 0] - rewards[:, 1]
    if len(objective.roles) == 3:
        told["history_accuracy"] = (rewards[:, 1] > rewards[:, 2]).float()
        told["history_margin"] = rewards[:, 1] - rewards[:, 2]
    told["length_gap"] = lengths[:, 0] - lengths[:, 1]
    for name, logps in (("raw", sums), ("per_token", means)):
        # 2x2 of the order of the rewards against that of the log-probs; `raw` is a tautology for T-SPIN's sums
        likelier = (logps[:, 0] > logps[:, 1]).float()
        told[f"order_{name}/both"] = told["accuracy"] * likelier
        told[f"order_{name}/reward_only"] = told["accuracy"] * (1 - likelier)
        told[f"order_{name}/logp_only"] = (1 - told["accuracy"]) * likelier
        told[f"order_{name}/neither"] = (1 - told["accuracy"]) * (1 - likelier)
    return told
