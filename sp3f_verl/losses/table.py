"""The table of objectives. A new loss is a file with a function and its settings, and a row here.

Trainer, preflight and report ask the row; none of them compares names.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from sp3f_verl.losses.dpo import DPOSettings, NLLSettings, SimPOSettings, dpo_terms, nll_terms, simpo_terms
from sp3f_verl.losses.settings import LossSettings, Terms
from sp3f_verl.losses.spin import SPINSettings, spin_terms
from sp3f_verl.losses.tspin import TSPINSettings, tspin_terms

PAIR, PLAYED, TRIPLET = ("chosen", "rejected"), ("real", "generated"), ("real", "generated", "proto")


@dataclass(frozen=True)
class Loss:
    """A row of the table.

    function: values, a (groups,) tensor a role, and the settings -> Terms. The values are log-probs of responses, or
        their log-ratios to the reference where one is needed; sums over tokens, or means.
    roles: of the rows of a group, in their order; the first is preferred.
    needs_reference: log-ratios to a reference take the place of log-probs.
    settings: the schema of the keys that the loss reads.
    means: the loss types whose authors take means over tokens in place of sums.
    of_difference: with two roles the loss is a function of the difference of their values and of nothing else, so that
        one number gives all its derivatives (training/preference/response_head.py saves a pass by that).
    any_roles: in a mix it is about the rows of the others.
    """

    function: Callable[[Sequence[torch.Tensor], LossSettings], Terms]
    roles: tuple[str, ...]
    needs_reference: bool
    settings: type[LossSettings]
    means: tuple[str, ...] = ()
    of_difference: bool = False
    any_roles: bool = False


LOSSES: dict[str, Loss] = {
    "dpo": Loss(dpo_terms, PAIR, True, DPOSettings, means=("ipo",), of_difference=True),
    "simpo": Loss(simpo_terms, PAIR, False, SimPOSettings, means=("sigmoid",), of_difference=True),
    "simpo_ref": Loss(simpo_terms, PAIR, True, SimPOSettings, means=("sigmoid",), of_difference=True),
    "nll": Loss(nll_terms, PAIR, False, NLLSettings, means=("mean",), any_roles=True),
    "spin": Loss(spin_terms, PLAYED, True, SPINSettings, of_difference=True),
    "tspin": Loss(tspin_terms, TRIPLET, False, TSPINSettings, of_difference=True),
    "tspin_ref": Loss(tspin_terms, TRIPLET, True, TSPINSettings, of_difference=True),
}
