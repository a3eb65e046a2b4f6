"""`sp3f doctor`: load everything loudly and say what is there, what is missing and what to do about it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sp3f_verl import RECIPES
from sp3f_verl.verl_bridge.versions import SUPPORTED, VLLM, VLLM_SUPPORTED, installed, supported

# (area, item, what was found, mend; "" where nothing is wrong)
Row = tuple[str, str, str, str]
JUDGE_VARIABLES = {"LLM_API_URL": "endpoint", "LLM_API_KEY": "key"}  # names; a value is never read out


def versions() -> Iterator[Row]:
    for distribution, wanted in SUPPORTED.items():
        found = installed(distribution)
        good = found is not None and supported(found, wanted)
        yield (
            "version",
            distribution,
            f"{found} (supported {wanted})",
            "" if good else f"pip install '{distribution}{wanted}'",
        )
    found = next((f"{name} {installed(name)}" for name in VLLM if installed(name)), None)
    good = found is not None and supported(found.split()[1], VLLM_SUPPORTED)
    yield (
        "version",
        "vllm",
        f"{found} (supported {VLLM_SUPPORTED})",
        "" if good else "run make setup, or pip install vllm",
    )


def hooks() -> Iterator[Row]:
    import verl  # noqa: F401  (loads the plugin, if it loads)

    from sp3f_verl.verl_bridge import hooks as bridge

    loaded = "sp3f_verl.plugin" in sys.modules
    policy = os.environ.get("VERL_USE_EXTERNAL_PLUGINS", "auto")
    mend = "reinstall sp3f-verl in this environment (pip install -e .) and unset VERL_USE_EXTERNAL_PLUGINS"
    yield "plugin", "verl.plugins", f"loaded: {loaded}, policy: {policy}", "" if loaded else mend
    for name, problem in bridge.resolve_all().items():
        yield "hook", name, problem or "resolved", "use a supported version of verl and vLLM" if problem else ""
    for what, examine in EFFECTS.items():
        try:
            yield "hook", what, examine(), ""
        except Exception as error:  # told in the table, like every other finding
            yield "hook", what, f"{type(error).__name__}: {error}", "use a supported version of verl and vLLM"


def _reward_manager() -> str:
    from verl.experimental.reward_loop.reward_manager import get_reward_manager_cls

    return get_reward_manager_cls("sp3f").__name__


def _group_worker() -> str:
    from sp3f_verl.verl_bridge.group import GroupAgentLoopManager

    return GroupAgentLoopManager.__name__


def _training_metrics() -> str:
    from verl.trainer.ppo.v1.trainer_base import PPOTrainer

    return f"wrapped: {PPOTrainer._compute_metrics.__wrapped__.__qualname__}"


def _live_weights() -> str:
    import vllm.model_executor.layers.utils as utils

    return f"found: {utils.dispatch_cpu_unquantized_gemm.__name__}"


# What the hooks are for, looked at in its effect.
EFFECTS = {
    "reward manager sp3f": _reward_manager,
    "group agent loop": _group_worker,
    "training metrics": _training_metrics,
    "vLLM CPU weights": _live_weights,
}


def recipes() -> Iterator[Row]:
    """Each recipe composed by verl's own entry point, in a process of its own, as a user would."""
    for file in sorted((RECIPES / "recipe").glob("*.yaml")):
        settings = yaml.safe_load(file.read_text(encoding="utf-8")).get("sp3f", {})
        recipe, trainer = file.stem, settings.get("trainer", "main_ppo")
        command = [sys.executable, "-m", f"verl.trainer.{trainer}", f"+recipe={recipe}", "--cfg", "job"]
        try:
            result = subprocess.run(command, capture_output=True, text=True, timeout=180)
        except subprocess.TimeoutExpired:
            yield "recipe", recipe, "did not compose within 180 s", "run `" + " ".join(command[1:]) + "`"
            continue
        good = result.returncode == 0 and "\nsp3f:" in result.stdout
        last = (result.stderr.strip() or "no output").splitlines()[-1]
        yield "recipe", recipe, "composed" if good else last, "" if good else "reinstall sp3f-verl: pip install -e ."


def machine() -> Iterator[Row]:
    from verl.plugin.platform import get_platform

    from sp3f_verl.errors import BadInput
    from sp3f_verl.verl_bridge.preflight import SHARED_MEMORY, shared_memory

    yield "machine", "device", f"{get_platform().device_name} ({os.cpu_count()} cores)", ""
    free, tight = psutil.virtual_memory().available / 2**30, get_platform().device_name == "cpu"
    mend = "free some: the quickstart needs 8 GiB" if tight and free < 8 else ""
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
    table = Table("", "area", "item", "found", "mend")
    wrong = 0
    for area in (versions, hooks, recipes, machine, judge):
        try:
            rows = list(area())
        except Exception as error:  # an area that cannot be examined is itself a finding
            rows = [(area.__name__, "examination", f"{type(error).__name__}: {error}", "see the error")]
        for where, item, found, mend in rows:
            wrong += bool(mend)
            table.add_row("[red]✗[/red]" if mend else "[green]✓[/green]", *map(escape, (where, item, found, mend)))
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    print(f"{wrong} problem(s)" if wrong else "everything is in order")
    return 1 if wrong else 0
