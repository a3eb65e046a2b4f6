"""The shipped recipes, composed in this process as verl's entry points compose them."""

from collections.abc import Sequence

import yaml
from hydra import compose, initialize_config_module
from omegaconf import DictConfig

from sp3f_verl import RECIPES
from sp3f_verl.errors import BadInput, nearest

# verl.trainer.<entry point> -> the config that it composes, in verl/trainer/config
CONFIG_NAMES = {"main_ppo": "ppo_trainer", "sft_trainer": "sft_trainer_engine"}


def shipped() -> list[str]:
    """The names behind `+recipe=`."""
    return sorted(file.stem for file in (RECIPES / "recipe").glob("*.yaml"))


def trainer_of(recipe: str) -> str | None:
    """The entry point of verl that a recipe of ours is for, as it or the recipe under it says; None if not ours."""
    file = RECIPES / "recipe" / f"{recipe}.yaml"
    if not file.is_file():
        return None
    tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    parents = [entry for entry in tree.get("defaults", ()) if isinstance(entry, str)]  # `_self_` is no file
    inherited = next(filter(None, map(trainer_of, parents)), "main_ppo")
    return tree.get("sp3f", {}).get("trainer", inherited)


def compose_recipe(recipe: str, overrides: Sequence[str] = (), hydra_node: bool = False) -> DictConfig:
    """The config of `python -m verl.trainer.<its entry point> +recipe=<recipe> <overrides>`.

    hydra_node: keep Hydra's own settings under `hydra`. Raises BadInput for an unknown recipe, and Hydra's exceptions
    for overrides that do not compose.
    """
    trainer = trainer_of(recipe)
    if trainer is None:
        raise BadInput(f"there is no recipe {recipe!r}{nearest(recipe, shipped())}; the recipes are {shipped()}.")
    with initialize_config_module("verl.trainer.config", version_base=None):
        return compose(CONFIG_NAMES[trainer], [f"+recipe={recipe}", *overrides], return_hydra_config=hydra_node)
