"""`sp3f doctor`: load everything loudly and say what is there, what is missing and what to do about it."""

import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
from omegaconf import OmegaConf
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sp3f_verl.errors import BadInput
from sp3f_verl.verl_bridge.versions import SUPPORTED, VLLM, VLLM_SUPPORTED, installed, supported

# (area, item, what was found, mend; "" where nothing is wrong)
Row = tuple[str, str, str, str]
JUDGE_VARIABLES = {"LLM_API_URL": "endpoint", "LLM_API_KEY": "key"}  # names; a value is never read out
OTHER_VERSION = "use a supported version of verl and vLLM"
ENOUGH_GIB = 8  # of memory, for the quickstart


def versions() -> Iterator[Row]:
    for distribution, wanted in SUPPORTED.items():
        version = installed(distribution)
        good = version is not None and supported(version, wanted)
        mend = "" if good else f"pip install '{distribution}{wanted}'"
        yield "version", distribution, f"{version} (supported {wanted})", mend
    name, version = next(((name, version) for name in VLLM if (version := installed(name))), ("vllm", None))
    good = version is not None and supported(version, VLLM_SUPPORTED)
    mend = "" if good else "run make setup, or pip install vllm"
    yield "version", "vllm", f"{name} {version} (supported {VLLM_SUPPORTED})", mend


def hooks() -> Iterator[Row]:
    import verl  # noqa: F401  (loads the plugin, if it loads)

    from sp3f_verl.verl_bridge.hooks import resolve_all

    loaded = "sp3f_verl.plugin" in sys.modules
    policy = os.environ.get("VERL_USE_EXTERNAL_PLUGINS", "auto")
    mend = "reinstall sp3f-verl in this environment (pip install -e .) and unset VERL_USE_EXTERNAL_PLUGINS"
    yield "plugin", "verl.plugins", f"loaded: {loaded}, policy: {policy}", "" if loaded else mend
    for name, failure in resolve_all().items():
        yield "hook", name, failure or "resolved", OTHER_VERSION if failure else ""
    for item, examine in EFFECTS.items():
        try:
            yield "hook", item, examine(), ""
        except Exception as error:  # shown in the table, like every other finding
            yield "hook", item, f"{type(error).__name__}: {error}", OTHER_VERSION


def _reward_manager() -> str:
    from verl.experimental.reward_loop.reward_manager import get_reward_manager_cls

    return get_reward_manager_cls("sp3f").__name__


def _group_worker() -> str:
    from sp3f_verl.verl_bridge.rl.group import GroupAgentLoopManager

    return GroupAgentLoopManager.__name__


def _training_metrics() -> str:
    from verl.trainer.ppo.v1.trainer_base import PPOTrainer

    return f"wrapped: {PPOTrainer._compute_metrics.__wrapped__.__qualname__}"


# What the hooks are for, looked at in its effect.
EFFECTS = {
    "reward manager sp3f": _reward_manager,
    "group agent loop": _group_worker,
    "training metrics": _training_metrics,
}


def names() -> Iterator[Row]:
    """Every name of the contract: a row for each that is gone or has changed, and one for the rest of a package."""
    from sp3f_verl.verl_bridge.contract import NAMES
    from sp3f_verl.verl_bridge.contract_check import problem

    there: Counter[str] = Counter()
    for name in NAMES:
        if failure := problem(name):
            yield "name", str(name), failure, f"{OTHER_VERSION}: {name.where} needs it ({name.why})"
        else:
            there[name.module.partition(".")[0]] += 1
    for package, count in there.items():
        yield "name", package, f"{count} names are there", ""


def recipes() -> Iterator[Row]:
    """Every recipe, composed as the entry point of verl that it is for composes it."""
    from sp3f_verl.verl_bridge.recipes import compose_recipe, shipped, trainer_of

    for recipe in shipped():
        try:
            config = compose_recipe(recipe)
            OmegaConf.to_container(config, resolve=True)  # as verl does first
            outcome = f"composes for {trainer_of(recipe)}, device {config.sp3f.device}"
            yield "recipe", recipe, outcome, ""
        except Exception as error:  # Hydra, OmegaConf and YAML have no common base
            reason = " ".join(str(error).split())
            yield "recipe", recipe, f"{type(error).__name__}: {reason}", "reinstall sp3f-verl: pip install -e ."


def machine() -> Iterator[Row]:
    from verl.plugin.platform import get_platform

    from sp3f_verl.verl_bridge.preflight.callback import SHARED_MEMORY, shared_memory

    device = get_platform().device_name
    yield "machine", "device", f"{device} ({os.cpu_count()} cores)", ""
    free = psutil.virtual_memory().available / 2**30
    tight = device == "cpu" and free < ENOUGH_GIB
    mend = f"free some: the quickstart needs {ENOUGH_GIB} GiB" if tight else ""
    yield "machine", "memory", f"{free:.1f} GiB available", mend
    try:
        shared_memory(None)
        mend = ""
    except BadInput as error:
        mend = str(error)
    size = f"{shutil.disk_usage(SHARED_MEMORY).free / 2**30:.1f} GiB free" if Path(SHARED_MEMORY).is_dir() else "none"
    yield "machine", "shared memory", size, mend


def judge() -> Iterator[Row]:
    for name, what in JUDGE_VARIABLES.items():
        yield "judge", f"{what} ({name})", "set" if os.environ.get(name) else "not set", ""


def doctor() -> int:
    """Print the table; answers 1 where something is wrong, else 0."""
    table = Table("", "area", "item", "finding", "mend")
    problems = 0
    for area in (versions, hooks, names, recipes, machine, judge):
        try:
            rows = list(area())
        except Exception as error:  # an area that cannot be examined is itself a finding
            rows = [(area.__name__, "examination", f"{type(error).__name__}: {error}", "see the error")]
        for row in rows:
            mend = row[-1]
            problems += bool(mend)
            table.add_row("[red]✗[/red]" if mend else "[green]✓[/green]", *map(escape, row))
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    print(f"{problems} problem(s)" if problems else "everything is in order")
    return 1 if problems else 0
