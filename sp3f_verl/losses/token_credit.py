"""Which tokens of a response its reward credits (RLSD, arXiv 2604.03128), on any advantage of a sequence.

Symbols: A advantage, c what a privileged teacher reads, pi_T the teacher, pi_old the policy that wrote the response,
    delta_t = log pi_T(y_t | c, y_<t) - log pi_old(y_t | x, y_<t)
    w_t     = exp(sign(A) delta_t)
    A_t     = (1 - strength) A + strength A clip(w_t, 1 - clip, 1 + clip)
The sign comes from the reward, the size from the teacher: of a good response the tokens that the teacher would write
too count more, of a bad one those that it would not.
"""

from typing import NamedTuple

import torch


class Credited(NamedTuple):
    """Of each token."""

    advantages: torch.Tensor
    weights: torch.Tensor  # after the clip; 1 where delta is not known
    clipped: torch.Tensor  # bool


def credited(advantages: torch.Tensor, delta: torch.Tensor, strength: float, clip: float) -> Credited:
    """advantages, delta: (tokens,), without gradient. Where delta is not finite the teacher said nothing, and the
    advantage stays. A teacher that agrees (delta 0), or strength 0, leaves every advantage exactly as it is."""
    known = delta.isfinite()
    raw = (advantages.sign() * delta.where(known, torch.zeros_like(delta))).exp()
    weights = raw.clamp(1 - clip, 1 + clip)
    return Credited(advantages * (1 + strength * (weights - 1)), weights, raw != weights)
