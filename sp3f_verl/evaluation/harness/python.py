"""The Python that a harness is installed in, and what it lacks."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable

from packaging.requirements import Requirement

from sp3f_verl.errors import BadInput
from sp3f_verl.evaluation.harness.suite import Suite

INSTALL = {"lm-eval": "lm-eval[hf]", "euroeval": "euroeval[generative]"}
_VERSIONS = """
import importlib.metadata, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        found[name] = None
print(json.dumps(found))
"""


def check_python(python: str, suite: Suite) -> dict[str, str]:
    """The versions of the harness and of what it stands on. BadInput where it, or what a task needs, is missing."""
    told = ("torch", "transformers", "vllm", "datasets")
    needs = {Requirement(each): task.name for task in suite.tasks for each in task.needs}
    found = _versions(python, [suite.package, *told, *(each.name for each in needs)])
    own = " of its own (python -m venv harness)" if python == sys.executable else ""
    if found[suite.package] is None:
        raise BadInput(
            f"{suite.package} is not installed in {python}: `pip install '{INSTALL[suite.package]}'` in an "
            f"environment{own}, and name that as --python=harness/bin/python."
        )
    for need, task in needs.items():
        has = found[need.name]
        if has is None or not need.specifier.contains(has, prereleases=True):
            raise BadInput(
                f"{task} needs {need}, and {python} has {has or 'none'}: `pip install '{need}'` in an environment"
                f"{own}, named as --python, or leave the task out with --tasks."
            )
    return {name: found[name] for name in (suite.package, *told) if found[name]}


def _versions(python: str, names: Iterable[str]) -> dict[str, str | None]:
    if shutil.which(python) is None:
        raise BadInput(f"--python={python} is not there; give the path of a Python, such as harness/bin/python.")
    ran = subprocess.run([python, "-c", _VERSIONS, *names], capture_output=True, text=True)
    try:
        return json.loads(ran.stdout)
    except ValueError:
        raise BadInput(
            f"--python={python} is no Python that runs ({ran.stderr.strip()[-120:] or ran.stdout!r})."
        ) from None
