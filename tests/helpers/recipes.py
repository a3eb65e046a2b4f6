"""What several test files need."""

from copy import deepcopy
from pathlib import Path
from unittest import mock

import pytest
import verl
import yaml
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from sp3f_verl.verl_bridge.preflight import callback as preflight
from sp3f_verl.verl_bridge.recipes import CONFIG_NAMES, shipped, trainer_of

CONFIGS = str(Path(verl.__file__).parent / "trainer" / "config")  # verl's own, in which a recipe is an override
CONFIG_OF = {recipe: CONFIG_NAMES[trainer_of(recipe)] for recipe in shipped()}  # recipe -> verl's config

FAST_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # Hydra's own is half of the time of composing a run
MERGE = ConfigLoaderImpl._compose_config_from_defaults_list
MERGED: dict[str, DictConfig] = {}


def merged_once(self, defaults, repo) -> DictConfig:
    """Hydra's merge of the files that a command line names: the same for all who name the same, and half of the time in
    which hundreds of tests compose a run. Their other overrides come after it."""
    key = repr(([source.path for source in repo.get_sources()], defaults))
    if key not in MERGED:
        MERGED[key] = MERGE(self, defaults=defaults, repo=repo)
    return deepcopy(MERGED[key])


def compose_run(*overrides: str, config: str = "ppo_trainer") -> DictConfig:
    """The config of a command line, hydra's own node included, as verl's entry point composes it."""
    merging = mock.patch.object(ConfigLoaderImpl, MERGE.__name__, merged_once)
    reading = mock.patch.object(yaml, "SafeLoader", FAST_LOADER)
    with initialize_config_dir(version_base=None, config_dir=CONFIGS), merging, reading:
        cfg = compose(config, list(overrides), return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    return cfg


def compose_recipe(recipe: str, *overrides: str) -> DictConfig:
    return compose_run(f"+recipe={recipe}", *overrides, config=CONFIG_OF[recipe])


def resolved(cfg: DictConfig) -> dict:
    """What verl's task runner prints and trains with: every interpolation replaced by its value."""
    copy = cfg.copy()
    with open_dict(copy):
        del copy["hydra"]
    return OmegaConf.to_container(copy, resolve=True)


def refused(cfg: DictConfig, capsys) -> str:
    """The one sentence with which the preflight ends the process."""
    with pytest.raises(SystemExit) as stop:
        preflight.Preflight().on_run_start(cfg)  # as Hydra calls them
        preflight.Preflight().on_job_start(cfg)
    error = capsys.readouterr().err
    assert stop.value.code == 1
    assert error.startswith("sp3f_verl: ") and error.count("\n") == 1 and error.rstrip().endswith("."), error
    return error
