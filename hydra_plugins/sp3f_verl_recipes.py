"""Hydra finds this module by itself (namespace package `hydra_plugins`) and with it the recipes of sp3f_verl.

It does not go through verl's plugin loading on purpose: where that is switched off or broken, `+recipe=sp3f` would be
a plain new key to Hydra, and stock verl would train something else without a word. So the recipe is found all the same,
and its preflight then says in one sentence what is missing.
"""

import sys

import yaml
from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from sp3f_verl import RECIPES


def trainer_of(recipe: str) -> str | None:
    """The entry point of verl that a recipe of ours is for, as it or the recipe under it says; None if not ours."""
    file = RECIPES / "recipe" / f"{recipe}.yaml"
    if not file.is_file():
        return None
    tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    under = [each for each in tree.get("defaults", ()) if isinstance(each, str)]  # `_self_` is no file
    inherited = next(filter(None, map(trainer_of, under)), "main_ppo")
    return tree.get("sp3f", {}).get("trainer", inherited)


def wrong_trainer(arguments: list[str], main_module: str | None) -> str | None:
    """A sentence where the command line starts a recipe with the wrong entry point, before Hydra stumbles over it."""
    recipe = next((each.partition("=")[2] for each in arguments if each.startswith("+recipe=")), None)
    wanted = trainer_of(recipe) if recipe else None
    if wanted is None or main_module is None or not main_module.startswith("verl.trainer."):
        return None
    if main_module.startswith(f"verl.trainer.{wanted}"):  # sft_trainer_ray runs what sft_trainer runs
        return None
    return (
        f"sp3f_verl: +recipe={recipe} is for `python -m verl.trainer.{wanted}`, not {main_module}; start it with that."
    )


def _device() -> str:
    """What `device=auto` means here: `gpu` where verl finds an accelerator, else `cpu`."""
    from verl.plugin.platform import get_platform

    return "cpu" if get_platform().device_name == "cpu" else "gpu"


class SP3FRecipes(SearchPathPlugin):
    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        spec = getattr(sys.modules["__main__"], "__spec__", None)
        if sentence := wrong_trainer(sys.argv[1:], spec.name if spec else None):
            print(sentence, file=sys.stderr, flush=True)
            raise SystemExit(1)
        search_path.append(provider="sp3f_verl", path=f"file://{RECIPES}")
        OmegaConf.register_new_resolver("sp3f_device", _device, replace=True)
