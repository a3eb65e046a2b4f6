"""Dropout of a model's own config, off in preference and self-play training unless the run asks for it.

A reference is computed without dropout. With it, the policy differs from its reference before it has learned anything:
the loss of the first step is not ln 2, and the rewards of a pair are noise on both sides. TRL's `disable_dropout` sets
the modules of torch to 0; most models of transformers hand a number of their own, or of their config, to a function.
"""

import copy

import torch


def declared(config) -> bool:
    """Does a model's config, or one in it, ask for dropout of any kind?"""
    nested = [value for value in vars(config).values() if hasattr(value, "to_dict")]
    return any(_is_rate(name, value) and value for name, value in vars(config).items()) or any(map(declared, nested))


def switch_off(model: torch.nn.Module) -> None:
    """In place. Models themselves keep their config, which checkpoints write; their parts get one without dropout."""
    without = {}
    for part in model.modules():
        if isinstance(part, torch.nn.modules.dropout._DropoutNd):
            part.p = 0.0
        for name in [name for name, value in vars(part).items() if _is_rate(name, value)]:
            setattr(part, name, 0.0)
        config = vars(part).get("config")
        if config is not None and not hasattr(part, "save_pretrained"):
            part.config = without.setdefault(id(config), _without_dropout(config))


def _without_dropout(config):
    plain = copy.copy(config)
    for name in [name for name, value in vars(config).items() if _is_rate(name, value)]:
        setattr(plain, name, 0.0)
    return plain


def _is_rate(name: str, value: object) -> bool:
    return "drop" in name and isinstance(value, float)
