"""The Python that a package is installed in which cannot stand beside verl, and what it lacks."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement

from sp3f_verl.errors import BadInput
from sp3f_verl.evaluation.harness.suite import Suite

INSTALL = {"lm-eval": "lm-eval[hf]", "euroeval": "euroeval[generative]"}
_VERSIONS = """
import importlib.metadata, json, sys
versions = {}
for name in sys.argv[1:]:
    try:
        versions[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        versions[name] = None
print(json.dumps(versions))
"""


def check_python(python: str, suite: Suite) -> dict[str, str]:
    """The versions of the harness and of what it stands on. BadInput where it, or what a task needs, is missing."""
    beside = ("torch", "transformers", "vllm", "datasets")
    needs = {Requirement(need): task.name for task in suite.tasks for need in task.needs}
    install = INSTALL.get(suite.package, suite.package)
    versions = require(python, suite.package, install, "--python", [*beside, *(need.name for need in needs)])
    for need, task in needs.items():
        has = versions[need.name]
        if has is None or not need.specifier.contains(has, prereleases=True):
            raise BadInput(
                f"{task} needs {need}, and {python} has {has or 'none'}: `pip install '{need}'` in an environment"
                f"{_own(python)}, named as --python, or leave the task out with --tasks."
            )
    return {name: versions[name] for name in (suite.package, *beside) if versions[name]}


def require(python: str, package: str, install: str, option: str, more: Iterable[str] = ()) -> dict[str, str | None]:
    """Versions of the package and of `more`. BadInput with the pip command where the package is missing."""
    if shutil.which(python) is None:
        raise BadInput(f"{option}={python} is not there; give the path of a Python, such as harness/bin/python.")
    ran = subprocess.run([python, "-c", _VERSIONS, package, *more], capture_output=True, text=True)
    try:
        versions = json.loads(ran.stdout)
    except ValueError:
        output = ran.stderr.strip()[-120:] or ran.stdout[:120]
        raise BadInput(f"{option}={python} is no Python that runs ({output!r}); name another.") from None
    if versions[package] is None:
        raise BadInput(
            f"{package} is not installed in {python}: `pip install '{install}'` in an environment{_own(python)}, and "
            f"name its Python as {option}."
        )
    return versions


def absolute(python: str) -> Path:
    """For a process in another folder; links stay, since a virtual environment's Python is one."""
    return Path(shutil.which(python)).absolute()


def _own(python: str) -> str:
    return " of its own (python -m venv harness)" if python == sys.executable else ""
