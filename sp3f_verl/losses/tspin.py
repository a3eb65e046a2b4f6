"""Triplet-based self-play fine-tuning (T-SPIN): no reference model; the initial policy's responses take its place.

Symbols: x prompt, y annotated (real) response, y' response of the current iteration's policy (generated), y0 response
of the initial policy (proto), L(z) = log pi(z|x) summed over the tokens of z, u = L(y) - L(y') the current advantage,
v = L(y') - L(y0) the historical advantage, alpha the scale of the reward r(z|x) = alpha L(z), beta the weight of
history.
"""

from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple, get_args

import torch

from sp3f_verl.errors import BadInput
from sp3f_verl.losses.settings import LossSettings, Terms
from sp3f_verl.losses.shapes import EXPONENT_LIMIT, bounded, difference, exponential, known, logistic, same_shape
from sp3f_verl.settings import Number

TSPINType = Literal["logistic", "exponential"]
TSPIN_TYPES = get_args(TSPINType)


class TSPINSettings(LossSettings):
    """`loss: tspin` and `loss: tspin_ref`."""

    loss_type: TSPINType = "logistic"
    alpha: Number = 1.0
    beta: Number = 0.1
    exponent_limit: Number = 30.0
    """exponential only: below EXPONENT_LIMIT, so that squares of gradients stay finite and clipping works."""

    @property
    def reward_scale(self) -> float:
        return self.alpha

    def used(self, roles: tuple[str, ...]) -> tuple[str, ...]:
        """Without historical advantage there is no use for a proto."""
        return roles if self.beta else roles[:2]


class TSPINLoss(NamedTuple):
    """All of shape (batch,); all but `losses` are detached."""

    losses: torch.Tensor
    real_rewards: torch.Tensor  # alpha * L(y); of T-SPIN_ref alpha * log-ratio
    generated_rewards: torch.Tensor
    proto_rewards: torch.Tensor | None  # None where no proto was given
    saturated: torch.Tensor  # bool: the term of the current advantage; see losses/shapes.py
    saturated_history: torch.Tensor  # bool: that of the historical advantage; False at beta = 0


def tspin_loss(
    policy_real_logps: torch.Tensor,
    policy_generated_logps: torch.Tensor,
    policy_proto_logps: torch.Tensor | None,
    alpha: float = 1.0,
    beta: float = 0.1,
    loss_type: str = "logistic",
    exponent_limit: float = EXPONENT_LIMIT,
) -> TSPINLoss:
    """l(alpha u) + beta l(alpha v) (T-SPIN paper, Eq. 7 and App. D).

    logistic  l(z) = -log sigmoid(z)        exponential  l(z) = exp(-z), clamped from -z = exponent_limit on

    Gradient (Eq. 8): alpha [ l'(alpha u) (grad L(y) - grad L(y')) + beta l'(alpha v) (grad L(y') - grad L(y0)) ].
    beta = 0 is the variant without historical advantage, and iteration 0, where y' and y0 come from the same policy;
    the proto may then be None. Sequence log-probs of shape (batch,), sums over tokens in the paper, means where lengths
    differ much (a longer response has a lower sum). Finite for any finite input. BadInput for an unknown type, shapes
    that differ, alpha <= 0, beta < 0, an exponent_limit not in (0, 80], or a missing proto at beta > 0.
    """
    known("tspin_loss", loss_type, TSPIN_TYPES)
    _check(alpha, beta, exponent_limit, policy_proto_logps)
    logps = {"policy_real_logps": policy_real_logps, "policy_generated_logps": policy_generated_logps}
    if policy_proto_logps is not None:
        logps["policy_proto_logps"] = policy_proto_logps
    same_shape("tspin_loss", **logps)
    shape = logistic if loss_type == "logistic" else partial(exponential, limit=exponent_limit)
    real, generated = bounded(policy_real_logps), bounded(policy_generated_logps)
    losses, saturated = shape(bounded(alpha * (real - generated)))
    proto, saturated_history = None, torch.zeros_like(saturated)
    if policy_proto_logps is not None:
        proto = bounded(policy_proto_logps)
        if beta > 0:
            history, saturated_history = shape(bounded(alpha * (generated - proto)))
            losses = losses + beta * history
    rewards = [alpha * logps.detach() if logps is not None else None for logps in (real, generated, proto)]
    return TSPINLoss(losses, *rewards, saturated, saturated_history)


def tspin_ref_loss(
    policy_real_logps: torch.Tensor,
    policy_generated_logps: torch.Tensor,
    policy_proto_logps: torch.Tensor | None,
    opponent_real_logps: torch.Tensor,
    opponent_generated_logps: torch.Tensor,
    opponent_proto_logps: torch.Tensor | None,
    alpha: float = 1.0,
    beta: float = 0.1,
    loss_type: str = "logistic",
    exponent_limit: float = EXPONENT_LIMIT,
) -> TSPINLoss:
    """T-SPIN_ref (section 4.3): `tspin_loss` with log [pi(z|x) / pi_t(z|x)] in place of L(z), pi_t the opponent."""
    if (policy_proto_logps is None) != (opponent_proto_logps is None):
        raise BadInput("tspin_ref_loss: the proto log-probs of policy and opponent go together; give both or neither.")
    for policy, opponent in (
        (policy_real_logps, opponent_real_logps),
        (policy_generated_logps, opponent_generated_logps),
        (policy_proto_logps, opponent_proto_logps),
    ):
        if policy is not None:
            same_shape("tspin_ref_loss", policy=policy, opponent=opponent)
    proto = None if policy_proto_logps is None else difference(policy_proto_logps, opponent_proto_logps)
    return tspin_loss(
        difference(policy_real_logps, opponent_real_logps),
        difference(policy_generated_logps, opponent_generated_logps),
        proto,
        alpha,
        beta,
        loss_type,
        exponent_limit,
    )


def tspin_terms(values: Sequence[torch.Tensor], settings: TSPINSettings) -> Terms:
    """T-SPIN for the table: `values` are log-probs of real, generated and, at beta > 0, proto; of T-SPIN_ref log-ratios
    to the opponent."""
    proto = values[2] if len(values) > 2 else None
    loss = tspin_loss(*values[:2], proto, settings.alpha, settings.beta, settings.loss_type, settings.exponent_limit)
    rewards = torch.stack([loss.real_rewards, loss.generated_rewards, loss.proto_rewards][: len(values)], -1)
    return Terms(loss.losses, rewards, {"saturated": loss.saturated, "saturated_history": loss.saturated_history})


def _check(alpha: float, beta: float, exponent_limit: float, proto: torch.Tensor | None) -> None:
    if not alpha > 0:
        raise BadInput(f"tspin_loss: alpha={alpha}; set it above 0.")
    if not beta >= 0:
        raise BadInput(f"tspin_loss: beta={beta}; set it to 0 or more.")
    if not 0 < exponent_limit <= EXPONENT_LIMIT:
        raise BadInput(f"tspin_loss: exponent_limit={exponent_limit}; set it above 0 and at most {EXPONENT_LIMIT:g}.")
    if proto is None and beta > 0:
        raise BadInput(f"tspin_loss: beta={beta:g} weighs the historical advantage, but there is no proto; set beta=0.")
