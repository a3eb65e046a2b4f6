"""A suite of tasks as data: one of `suites/`, or a YAML file of the user's own in the same form.

package: lm-eval or euroeval; settings: keyword arguments of EuroEval's Benchmarker
tasks: what our table calls a task ->
  task      the harness's own name of a task, group or dataset (default: the same)
  metric    as the harness calls it
  filter    of lm-eval, where a task has several (default: none)
  shots     of lm-eval; EuroEval has its own
  scale     what a value is multiplied with to lie in 0..100 (default: 100 for lm-eval, whose shares lie in 0..1)
  language  for means by language
  needs     packages that this task imports, as pip writes them
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import InvalidRequirement, Requirement

from sp3f_verl.errors import BadInput, nearest

SUITES = Path(__file__).parent / "suites"
PACKAGES = ("lm-eval", "euroeval")


@dataclass(frozen=True)
class Task:
    name: str
    task: str
    metric: str
    filter: str = "none"
    shots: int | None = None
    scale: float = 100.0
    language: str | None = None
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Suite:
    name: str
    package: str
    tasks: tuple[Task, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def only(self, names: Iterable[str] | None, languages: Iterable[str] | None) -> "Suite":
        """The suite with these tasks, or those in these languages. BadInput for a name that it does not have."""
        for option, wanted, known in (
            ("--tasks", names, [each.name for each in self.tasks]),
            ("--languages", languages, sorted({each.language for each in self.tasks if each.language})),
        ):
            for each in wanted or ():
                if each not in known:
                    told = f"{self.name} has {', '.join(known)}" if known else f"{self.name} tells none"
                    raise BadInput(f"{option}: no {each!r}{nearest(each, known)}; {told}.")
        kept = [each for each in self.tasks if not names or each.name in names]
        kept = [each for each in kept if not languages or each.language in languages]
        if not kept:
            raise BadInput("--tasks and --languages have no task in common; give one of them.")
        return Suite(self.name, self.package, tuple(kept), self.settings)


def shipped() -> list[str]:
    return sorted(path.stem for path in SUITES.glob("*.yaml"))


def read_suite(given: str) -> Suite:
    """A shipped suite by name, or a file. BadInput names the file, the field and the mend."""
    path = Path(given) if given not in shipped() else SUITES / f"{given}.yaml"
    if not path.is_file():
        raise BadInput(f"--harness={given} is neither {' nor '.join(shipped())} nor a file{nearest(given, shipped())}.")
    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is no YAML ({' '.join(str(error).split())[:120]}).") from None
    if not isinstance(told, dict) or told.get("package") not in PACKAGES or not isinstance(told.get("tasks"), dict):
        raise BadInput(f"{path}: give `package: lm-eval` or `package: euroeval`, and `tasks:` as a table of names.")
    _no_others(told, ("package", "settings", "tasks"), path, "the suite")
    tasks = tuple(_task(str(name), each, told["package"], path) for name, each in told["tasks"].items())
    if not tasks:
        raise BadInput(f"{path} has no tasks.")
    return Suite(path.stem, told["package"], tasks, told.get("settings") or {})


def _task(name: str, told: Any, package: str, path: Path) -> Task:
    if not isinstance(told, dict) or not isinstance(told.get("metric"), str):
        raise BadInput(f"{path}: task {name!r} has no metric; give e.g. `{name}: {{metric: acc, shots: 5}}`.")
    if "/" in name:
        raise BadInput(f"{path}: task {name!r} is the name of a file too; leave out the slash, and give `task:`.")
    _no_others(told, [each.name for each in fields(Task)], path, f"task {name!r}")
    shots = told.get("shots")
    if package == "lm-eval" and not (isinstance(shots, int) and not isinstance(shots, bool) and shots >= 0):
        raise BadInput(f"{path}: task {name!r} has shots {shots!r}; give 0 or more.")
    if package == "euroeval" and shots is not None:
        raise BadInput(f"{path}: task {name!r} has shots, which EuroEval chooses itself; leave them out.")
    needs = tuple(told.get("needs") or ())
    try:
        [Requirement(each) for each in needs]
    except InvalidRequirement:
        raise BadInput(f"{path}: task {name!r} needs {list(needs)}, which pip cannot read.") from None
    scale = told.get("scale", 100 if package == "lm-eval" else 1)
    if isinstance(scale, bool) or not isinstance(scale, int | float):
        raise BadInput(f"{path}: task {name!r} has scale {scale!r}; give a number.")
    return Task(**{"name": name, "task": name, **told, "shots": shots, "needs": needs, "scale": float(scale)})


def _no_others(told: Mapping, known: Iterable[str], path: Path, where: str) -> None:
    other = next((str(each) for each in told if each not in known), None)
    if other is not None:
        raise BadInput(f"{path}: {where} has {other!r}{nearest(other, known)}, which is no field.")
