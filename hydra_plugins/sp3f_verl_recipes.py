"""Hydra finds this module by itself (namespace package `hydra_plugins`) and with it the recipes of sp3f_verl.

It does not go through verl's plugin loading on purpose: where that is switched off or broken, `+recipe=sp3f` would be
a plain new key to Hydra, and stock verl would train something else without a word. So the recipe is found all the same,
and its preflight then says in one sentence what is missing.
"""

from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

RECIPES = Path(__file__).resolve().parents[1] / "recipes"


def _device() -> str:
    """What `device=auto` means here: `gpu` where verl finds an accelerator, else `cpu`."""
    from verl.plugin.platform import get_platform

    return "cpu" if get_platform().device_name == "cpu" else "gpu"


class SP3FRecipes(SearchPathPlugin):
    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append(provider="sp3f_verl", path=f"file://{RECIPES}")
        OmegaConf.register_new_resolver("sp3f_device", _device, replace=True)
