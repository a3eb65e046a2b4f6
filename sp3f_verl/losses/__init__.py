"""Losses of preference and self-play training: pure functions of log-probabilities.

This room imports torch and nothing of verl, Ray or torch.distributed. A model, a reference or a batch layout is the
caller's business: `verl_bridge` computes per-token log-probs on verl's engine, `sequence_logps` adds them up, and the
functions here turn sequence log-probs into one loss per example.
"""

from sp3f_verl.losses.dpo import DPO_TYPES, DPOLoss, dpo_loss, simpo_loss, with_nll_anchor
from sp3f_verl.losses.sequence import sequence_logps
from sp3f_verl.losses.spin import SPIN_TYPES, SPINLoss, spin_loss
from sp3f_verl.losses.tspin import TSPIN_TYPES, TSPINLoss, tspin_loss, tspin_ref_loss

__all__ = [
    "DPO_TYPES",
    "SPIN_TYPES",
    "TSPIN_TYPES",
    "DPOLoss",
    "SPINLoss",
    "TSPINLoss",
    "dpo_loss",
    "sequence_logps",
    "simpo_loss",
    "spin_loss",
    "tspin_loss",
    "tspin_ref_loss",
    "with_nll_anchor",
]
