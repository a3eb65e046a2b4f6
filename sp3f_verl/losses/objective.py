"""What is optimised: a loss of the table with its settings; and what is measured of a step. Knows nothing of verl.

    objective = Objective(loss="tspin", beta=0.1)
    objective = Objective(mix={"dpo": 1, "nll": 0.2})
    measured = measure(objective, log_probs, loss_mask, offsets, reference=None)

A worker's loss, a trainer's validation and the tests call the same `measure`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from sp3f_verl.errors import BadInput, nearest
from sp3f_verl.losses.dpo import with_nll_anchor
from sp3f_verl.losses.sequence import sequence_logps
from sp3f_verl.losses.settings import Terms
from sp3f_verl.losses.table import LOSSES

PLACE = "sp3f.preference.objective"


class Objective:
    """A loss of the table with its settings; or a weighted mix of several on the same roles, of which the first is what
    `settings`, `means` and the rewards are about.

    Keys of other losses have no part and are left alone: a recipe writes all of them, so that `loss` can be overridden
    by itself. BadInput for a key that no loss has, and for a value that the loss does not take.
    """

    def __init__(self, loss: str = "dpo", mix: Mapping[str, Any] | None = None, **settings: Any):
        self._given, self._mix = settings, mix
        known = sorted({name for row in LOSSES.values() for name in row.settings.model_fields})
        for name in settings:
            if name not in known:
                raise BadInput(f"{PLACE}.{name} is unknown{nearest(name, known)}; remove it.")
        if mix is not None:
            self.parts = _parts(mix, settings)
            first = self.parts[0][1]
            self.loss, self.row, self.settings = first.loss, first.row, first.settings
            return
        if not isinstance(loss, str) or loss not in LOSSES:
            raise BadInput(f"{PLACE}.loss={loss}{nearest(str(loss), LOSSES)}; use {', '.join(LOSSES)}.")
        self.loss, self.row = loss, LOSSES[loss]
        fields = self.row.settings.model_fields
        self.settings = self.row.settings.read({name: settings[name] for name in settings if name in fields}, PLACE)
        self.parts = ((1.0, self),)
        try:
            self([torch.zeros(1)] * len(self.roles), torch.zeros(1))  # the function's own ranges
        except BadInput as error:
            raise BadInput(f"{PLACE}: {error}") from None

    def changed(self, **settings: Any) -> "Objective":
        """The same loss with other values of some settings; those that it does not have are left alone."""
        return Objective(self.loss, self._mix, **{**self._given, **settings})

    @property
    def mapping(self) -> dict[str, Any]:
        """`loss` and its settings, from which it can be built again."""
        own = {"loss": self.loss, **self.settings.model_dump()}
        if self._mix is not None:
            own["mix"] = {part.loss: {"weight": weight, **part.settings.model_dump()} for weight, part in self.parts}
        return own

    @property
    def roles(self) -> tuple[str, ...]:
        """The rows of a group."""
        return self.settings.used(self.row.roles)

    @property
    def needs_reference(self) -> bool:
        return any(part.row.needs_reference for _, part in self.parts)

    @property
    def means(self) -> bool:
        """Are the values of a response means over its tokens, not sums?"""
        if self.settings.length_normalised is not None:
            return self.settings.length_normalised
        return self.settings.loss_type in self.row.means

    @property
    def tied(self) -> str | None:
        """`sums` or `means` where the loss is a function of the difference of two rows' sums or means, so that one
        number gives all its derivatives; None otherwise."""
        alone = len(self.parts) == 1 and not self.settings.nll_anchor
        if not self.row.of_difference or len(self.roles) != 2 or not alone:
            return None
        return "means" if self.means else "sums"

    def __call__(self, values: Sequence[torch.Tensor], preferred_mean_logps: torch.Tensor) -> Terms:
        """The loss, without what is mixed with it, of log-probs or log-ratios, (groups,) a role.

        `preferred_mean_logps` (groups,) are the policy's own of the first role, per token: the anchor reads them.
        """
        terms = self.row.function(values, self.settings)
        if self.settings.nll_anchor:
            losses = with_nll_anchor(terms.losses, preferred_mean_logps, self.settings.nll_anchor)
            return terms._replace(losses=losses)
        return terms


def _parts(mix: Mapping[str, Any], shared: Mapping[str, Any]) -> tuple[tuple[float, Objective], ...]:
    """(weight, loss) of each entry `name: weight` or `name: {weight, its own settings}`. Shared settings are every
    loss's, but for the loss type, which is the first's."""
    if not isinstance(mix, Mapping) or not mix:
        raise BadInput(f"{PLACE}.mix={mix!r:.80} names no losses; write {PLACE}.mix={{dpo: 1, nll: 0.2}}, or null.")
    if shared.get("nll_anchor"):
        raise BadInput(f"{PLACE}.nll_anchor={shared['nll_anchor']} beside a mix; write it as nll in {PLACE}.mix.")
    parts: list[tuple[float, Objective]] = []
    for name, entry in mix.items():
        own = dict(entry) if isinstance(entry, Mapping) else {"weight": entry}
        weight = own.pop("weight", None)
        if not isinstance(weight, int | float) or isinstance(weight, bool) or not 0 < weight < math.inf:
            raise BadInput(f"{PLACE}.mix.{name} has the weight {weight!r:.40}; give a number above 0.")
        common = {key: value for key, value in shared.items() if key != "loss_type" or not parts}
        part = Objective(name, **{**common, **own})
        if parts and part.row.any_roles:
            part.row = replace(part.row, roles=parts[0][1].roles)
        if parts and part.roles != parts[0][1].roles:
            raise BadInput(
                f"{PLACE}.mix.{name} is of {', '.join(part.roles)}, and {parts[0][1].loss} of "
                f"{', '.join(parts[0][1].roles)}; mix losses of the same rows."
            )
        parts.append((float(weight), part))
    return tuple(parts)


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
        return sequence_logps(tokens, mask, offsets, normalise).view(-1, len(roles))

    ratios = log_probs if not objective.needs_reference else log_probs - reference
    means = per_row(log_probs, True)
    mixed = []
    for _, part in objective.parts:
        values = per_row(ratios if part.row.needs_reference else log_probs, part.means)
        mixed.append(part(values.unbind(-1), means[:, 0]))
    losses = sum(weight * own.losses for (weight, _), own in zip(objective.parts, mixed, strict=True))
    terms = mixed[0]
    with torch.no_grad():
        sums, lengths = per_row(log_probs, False), per_row(torch.ones_like(log_probs), False)
        metrics = _metrics(roles, terms.rewards, sums, means, lengths)
        metrics["loss"] = losses.detach()
        if len(mixed) > 1:
            for (_, part), own in zip(objective.parts, mixed, strict=True):
                metrics[f"loss/{part.loss}"] = own.losses.detach()
        metrics.update({name: saturated.float() for name, saturated in terms.saturated.items()})
        if objective.needs_reference:
            drift = per_row(ratios, False)
            metrics.update({f"log_ratio/{role}": drift[:, i] for i, role in enumerate(roles)})
    return Measured(losses, metrics)


def _metrics(roles, rewards, sums, means, lengths) -> dict[str, torch.Tensor]:
    metrics = {}
    for i, role in enumerate(roles):
        metrics[f"reward/{role}"] = rewards[:, i]
        metrics[f"logp/{role}"] = sums[:, i]
        metrics[f"logp_per_token/{role}"] = means[:, i]
        metrics[f"tokens/{role}"] = lengths[:, i]
    metrics["accuracy"] = (rewards[:, 0] > rewards[:, 1]).float()
    metrics["margin"] = rewards[:, 0] - rewards[:, 1]
    if len(roles) == 3:
        metrics["history_accuracy"] = (rewards[:, 1] > rewards[:, 2]).float()
        metrics["history_margin"] = rewards[:, 1] - rewards[:, 2]
    metrics["length_gap"] = lengths[:, 0] - lengths[:, 1]
    for name, logps in (("raw", sums), ("per_token", means)):
        # 2x2 of the order of the rewards against that of the log-probs; `raw` is a tautology for T-SPIN's sums
        likelier = (logps[:, 0] > logps[:, 1]).float()
        metrics[f"order_{name}/both"] = metrics["accuracy"] * likelier
        metrics[f"order_{name}/reward_only"] = metrics["accuracy"] * (1 - likelier)
        metrics[f"order_{name}/logp_only"] = (1 - metrics["accuracy"]) * likelier
        metrics[f"order_{name}/neither"] = (1 - metrics["accuracy"]) * (1 - likelier)
    return metrics
