"""Hydra finds this module by itself (namespace package `hydra_plugins`) and with it the recipes of sp3f_verl.

It does not go through verl's plugin loading on purpose: where that is switched off or broken, `+recipe=sp3f` would be
a plain new key to Hydra, and stock verl would train something else without a word. So the recipe is found all the same,
and its preflight then says in one sentence what is missing.
"""

import sys

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from sp3f_verl import RECIPES
from sp3f_verl.log import log
from sp3f_verl.reward_presets import reward_presets
from sp3f_verl.verl_bridge.recipes import trainer_of


def wrong_trainer(arguments: list[str], main_module: str | None) -> str | None:
    """A sentence where the command line starts a recipe with the wrong entry point, before Hydra stumbles over it."""
    recipe = next((word.partition("=")[2] for word in arguments if word.startswith("+recipe=")), None)
    wanted = trainer_of(recipe) if recipe else None
    if wanted is None or main_module is None or not main_module.startswith("verl.trainer."):
        return None
    if main_module.startswith(f"verl.trainer.{wanted}"):  # sft_trainer_ray runs what sft_trainer runs
        return None
    return f"+recipe={recipe} is for `python -m verl.trainer.{wanted}`, not {main_module}; start it with that."


def _device() -> str:
    """What `device=auto` means here: `gpu` where verl finds an accelerator, else `cpu`."""
    from verl.plugin.platform import get_platform

    return "cpu" if get_platform().device_name == "cpu" else "gpu"


def _tokens(*, _root_) -> int:
    """Tokens of a micro-batch that fit beside the run's model."""
    from sp3f_verl.verl_bridge.sizes import micro_tokens

    return micro_tokens(_root_)


def _store_reward_presets() -> None:
    """`reward=<preset>` replaces verl's own choice of that group, which must come along: the group's name is verl's."""
    store = ConfigStore.instance()
    for name, settings in reward_presets().items():
        store.store(group="reward/terms", name=name, node=settings)
        defaults = ["reward", {"/reward/terms@_global_.sp3f.reward": name}]
        store.store(group="reward", name=name, node={"defaults": defaults})


class SP3FRecipes(SearchPathPlugin):
    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        spec = getattr(sys.modules["__main__"], "__spec__", None)
        if sentence := wrong_trainer(sys.argv[1:], spec.name if spec else None):
            log.error(sentence)
            raise SystemExit(1)
        search_path.append(provider="sp3f_verl", path=f"file://{RECIPES}")
        _store_reward_presets()
        OmegaConf.register_new_resolver("sp3f_device", _device, replace=True)
        OmegaConf.register_new_resolver("sp3f_tokens", _tokens, replace=True)
