"""Direct preference optimisation (Rafailov et al. 2023, arXiv 2305.18290) and the losses of its family.

Symbols: x prompt, y_w chosen and y_l rejected response, pi policy, ref reference, all log-probs of whole responses;
    delta = (log pi(y_w|x) - log ref(y_w|x)) - (log pi(y_l|x) - log ref(y_l|x))
is the log-ratio margin in nats, z = beta * delta the reward margin, beta the strength of the tie to the reference, e
the label smoothing: the assumed probability that a pair is labelled the wrong way round.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F

from sp3f_verl.errors import BadInput
from sp3f_verl.losses.settings import LossSettings, Terms
from sp3f_verl.losses.shapes import bounded, difference, hinge, known, logistic, same_shape
from sp3f_verl.settings import Number

DPOType = Literal["sigmoid", "hinge", "ipo", "robust"]
DPO_TYPES = get_args(DPOType)
SMOOTHED = ("sigmoid", "robust")  # the types that label smoothing is defined for
SQUARE_LIMIT = 1e18  # nats: its square is finite in fp32


class DPOSettings(LossSettings):
    """`loss: dpo`."""

    loss_type: DPOType = "sigmoid"
    beta: Number = 0.1
    label_smoothing: Number = 0.0
    """sigmoid and robust only."""

    @property
    def reward_scale(self) -> float:
        return self.beta


class SimPOSettings(LossSettings):
    """`loss: simpo`."""

    loss_type: Literal["sigmoid"] = "sigmoid"
    beta: Number = 0.1
    margin: Number = 1.0
    label_smoothing: Number = 0.0

    @property
    def reward_scale(self) -> float:
        return self.beta


class NLLSettings(LossSettings):
    """`loss: nll`, and `nll` in a mix."""

    loss_type: Literal["mean"] = "mean"


class DPOLoss(NamedTuple):
    """All of shape (batch,); all but `losses` are detached."""

    losses: torch.Tensor
    chosen_rewards: torch.Tensor  # beta * log-ratio of the chosen response
    rejected_rewards: torch.Tensor
    saturated: torch.Tensor  # bool: see losses/shapes.py


def dpo_loss(
    policy_chosen_logps: torch.Tensor,
    policy_rejected_logps: torch.Tensor,
    reference_chosen_logps: torch.Tensor,
    reference_rejected_logps: torch.Tensor,
    beta: float = 0.1,
    loss_type: str = "sigmoid",
    label_smoothing: float = 0.0,
) -> DPOLoss:
    """One loss per pair, from sequence log-probs of shape (batch,) (`sequence_logps`).

    sigmoid  -(1 - e) log sigmoid(z) - e log sigmoid(-z). With e = 0 DPO; with e > 0 conservative DPO (Mitchell 2023).
    robust   [-(1 - e) log sigmoid(z) + e log sigmoid(-z)] / (1 - 2e), unbiased under label noise e < 1/2 (Chowdhury et
             al. 2024, arXiv 2403.00409). It falls without bound as z grows.
    hinge    max(0, 1 - z) (SLiC, Zhao et al. 2023, arXiv 2305.10425).
    ipo      (delta - 1 / (2 beta))^2 (Azar et al. 2023, arXiv 2310.12036). Meant for mean log-probs
             (`sequence_logps(normalise=True)`), as TRL has it; never counted as saturated.

    Finite for any finite input (see LIMIT and SQUARE_LIMIT). BadInput for an unknown type, for shapes that differ, for
    beta <= 0, and for a label smoothing that the type does not know or that is not in [0, 1/2).
    """
    known("dpo_loss", loss_type, DPO_TYPES)
    _check("dpo_loss", beta, loss_type, label_smoothing)
    same_shape(
        "dpo_loss",
        policy_chosen_logps=policy_chosen_logps,
        policy_rejected_logps=policy_rejected_logps,
        reference_chosen_logps=reference_chosen_logps,
        reference_rejected_logps=reference_rejected_logps,
    )
    chosen = difference(policy_chosen_logps, reference_chosen_logps)
    rejected = difference(policy_rejected_logps, reference_rejected_logps)
    delta = chosen - rejected
    z = bounded(beta * delta)
    if loss_type == "ipo":
        losses = (delta - 1 / (2 * beta)).clamp(-SQUARE_LIMIT, SQUARE_LIMIT).square()
        saturated = torch.zeros_like(losses, dtype=torch.bool)
    elif loss_type == "hinge":
        losses, saturated = hinge(z)
    else:
        losses, saturated = _smoothed(z, label_smoothing, loss_type == "robust")
    return DPOLoss(losses, beta * chosen.detach(), beta * rejected.detach(), saturated)


def simpo_loss(
    policy_chosen_logps: torch.Tensor,
    policy_rejected_logps: torch.Tensor,
    beta: float = 2.0,
    margin: float = 1.0,
    label_smoothing: float = 0.0,
) -> DPOLoss:
    """SimPO (Meng et al. 2024, arXiv 2405.14734, Eq. 6): no reference, rewards per token, and a target margin.

    -log sigmoid(z), z = beta (log pi(y_w|x) / |y_w| - log pi(y_l|x) / |y_l|) - margin, smoothed as in `dpo_loss`.
    The log-probs must be means over tokens (`sequence_logps(normalise=True)`). The paper uses beta 2 to 2.5 and margin
    (its gamma) 0.3 to 1.6. Finite for any finite input; BadInput as in `dpo_loss`.
    """
    _check("simpo_loss", beta, "sigmoid", label_smoothing)
    same_shape("simpo_loss", policy_chosen_logps=policy_chosen_logps, policy_rejected_logps=policy_rejected_logps)
    chosen, rejected = bounded(policy_chosen_logps), bounded(policy_rejected_logps)
    losses, saturated = _smoothed(bounded(beta * (chosen - rejected)) - margin, label_smoothing, robust=False)
    return DPOLoss(losses, beta * chosen.detach(), beta * rejected.detach(), saturated)


def dpo_terms(values: Sequence[torch.Tensor], settings: DPOSettings) -> Terms:
    """DPO's family for the table: `values` are log-ratios of chosen and rejected."""
    none = torch.zeros_like(values[0])  # the reference is subtracted already, per token
    return _terms(dpo_loss(*values, none, none, settings.beta, settings.loss_type, settings.label_smoothing))


def simpo_terms(values: Sequence[torch.Tensor], settings: SimPOSettings) -> Terms:
    """SimPO for the table: `values` are mean log-probs of chosen and rejected; of `simpo_ref`, mean log-ratios.

    The reference is the anchor that SimPO lacks: z = beta [(mean log pi(y_w) - mean log ref(y_w)) - (mean log pi(y_l) -
    mean log ref(y_l))] - margin, so that a policy which moves away from both responses gains nothing by it.
    """
    return _terms(simpo_loss(*values, settings.beta, settings.margin, settings.label_smoothing))


def nll_terms(values: Sequence[torch.Tensor], settings: NLLSettings) -> Terms:
    """-log pi(y_w|x) / |y_w| for the table: fine-tuning on the preferred response, whatever the others are.

    In a mix it is `nll_anchor` as a loss of its own. `values` are mean log-probs.
    """
    losses = -bounded(values[0])
    return Terms(losses, torch.stack(list(values), -1).detach(), {})


def _terms(loss: DPOLoss) -> Terms:
    rewards = torch.stack([loss.chosen_rewards, loss.rejected_rewards], -1)
    return Terms(loss.losses, rewards, {"saturated": loss.saturated})


def with_nll_anchor(losses: torch.Tensor, chosen_mean_logps: torch.Tensor, weight: float) -> torch.Tensor:
    """losses - weight * log pi(y_w|x) / |y_w|: keeps the chosen response likely.

    RPO (Pang et al. 2024, arXiv 2404.19733). Shapes (batch,); `chosen_mean_logps` is a mean over
    the response's tokens. weight 1 is the paper's.
    """
    same_shape("with_nll_anchor", losses=losses, chosen_mean_logps=chosen_mean_logps)
    return losses - weight * bounded(chosen_mean_logps)


def _smoothed(z: torch.Tensor, smoothing: float, robust: bool) -> tuple[torch.Tensor, torch.Tensor]:
    losses, saturated = logistic(z)
    if smoothing == 0:
        return losses, saturated
    flipped = -F.logsigmoid(-z)
    if robust:
        return ((1 - smoothing) * losses - smoothing * flipped) / (1 - 2 * smoothing), saturated
    return (1 - smoothing) * losses + smoothing * flipped, saturated


def _check(name: str, beta: float, loss_type: str, smoothing: float) -> None:
    if not beta > 0:
        raise BadInput(f"{name}: beta={beta}; set it above 0.")
    if not 0 <= smoothing < 0.5:
        raise BadInput(f"{name}: label_smoothing={smoothing}; set it to a share from 0 to below 0.5.")
    if smoothing and loss_type not in SMOOTHED:
        raise BadInput(f"{name}: label_smoothing={smoothing} is not defined for {loss_type}; set it to 0.")
