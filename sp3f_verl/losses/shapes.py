"""The decreasing functions l(z) that pairwise losses apply to a margin z, and where their gradient says no more.

Every shape answers (l(z), saturated), both of z's shape. A loss is saturated at z where the weight of the example's
gradient no longer depends on how well it is ordered: within 1 % of its limits (logistic: l'(z) from -1 to 0;
exponential: towards 0 only), exactly 0 (hinge), or held by the clamp of the exponential.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from sp3f_verl.errors import BadInput, nearest

LIMIT = 1e30  # nats: log-probs and their differences are clamped to this, so that sums and products stay finite in fp32
EXPONENT_LIMIT = 80.0  # exp(80) = 5.5e34; fp32 ends at exp(88.7)
WEIGHT = 0.01  # a gradient weight this close to its limit counts as saturated
LOGISTIC_END = math.log(1 / WEIGHT - 1)  # sigmoid(-4.6) = 0.01


def bounded(x: torch.Tensor) -> torch.Tensor:
    """x in at least fp32, clamped to +-LIMIT (gradient 0 outside); NaN stays NaN."""
    return (x.float() if x.dtype in (torch.float16, torch.bfloat16) else x).clamp(-LIMIT, LIMIT)


def difference(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a - b, bounded: the log-ratio of two log-probs."""
    return bounded(bounded(a) - bounded(b))


def logistic(z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """l(z) = -log sigmoid(z); l'(z) = -sigmoid(-z). (The T-SPIN paper's Eq. 15 prints sigmoid(z), by mistake.)"""
    return -F.logsigmoid(z), z.detach().abs() > LOGISTIC_END


def hinge(z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """l(z) = max(0, 1 - z); no gradient from z = 1 on."""
    return F.relu(1 - z), z.detach() >= 1


def exponential(z: torch.Tensor, limit: float = EXPONENT_LIMIT) -> tuple[torch.Tensor, torch.Tensor]:
    """l(z) = exp(-z); l'(z) = -exp(-z).

    Where -z > limit, l(z) = exp(limit) (1 + log(1 + (-z - limit))): value and slope join at the limit, both stay finite
    for any finite z, and a badly ordered example is still pushed the right way. It counts as saturated there.
    """
    t = -z
    losses = t.clamp(max=limit).exp() * (1 + F.relu(t - limit).log1p())
    t = t.detach()
    return losses, (t > limit) | (t < math.log(WEIGHT))


def known(name: str, loss_type: str, types: Sequence[str]) -> None:
    """BadInput where a function does not know a loss type."""
    if loss_type not in types:
        raise BadInput(
            f"{name}: loss_type={loss_type!r} is unknown{nearest(loss_type, types)}; use {', '.join(types)}."
        )


def same_shape(name: str, **logps: torch.Tensor) -> None:
    """BadInput where log-probs that belong together have different shapes (they would broadcast without a word)."""
    shapes = {field: tuple(values.shape) for field, values in logps.items()}
    if len(set(shapes.values())) > 1:
        raise BadInput(f"{name}: the log-probs differ in shape ({shapes}); give one per example, shape (batch,).")
