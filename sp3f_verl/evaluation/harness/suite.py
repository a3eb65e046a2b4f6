"""A suite of tasks as data: one of `suites/`, or a YAML file of the user's own in the same form.

package: lm-eval
tasks:
  GSM8K: {task: gsm8k, shots: 5, metric: exact_match, filter: strict-match}
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from packaging.requirements import InvalidRequirement, Requirement
from pydantic import Field, field_validator

from sp3f_verl.errors import BadInput, nearest
from sp3f_verl.settings import Number, Settings, Text, Whole, mend, read_yaml

SUITES = Path(__file__).parent / "suites"
PACKAGE = "give `package: lm-eval` or `package: euroeval`"


class Task(Settings):
    """A task, in the harness's own words."""

    name: Text
    """What our tables call it."""
    task: Text
    """The harness's own name of a task, group or dataset (default: the same)."""
    metric: Annotated[Text, mend("give the harness's name of one, e.g. {metric: acc, shots: 5}")]
    filter: Text = "none"
    """Of lm-eval, where a task has several."""
    shots: Annotated[Whole | None, Field(ge=0), mend("give 0 or more")] = None
    """Of lm-eval; EuroEval has its own."""
    scale: Annotated[Number, mend("give a number")] = 100.0
    """What a value is multiplied with to lie in 0..100 (default: 100 for lm-eval, whose shares lie in 0..1, else 1)."""
    language: Text | None = None
    """For means by language."""
    needs: Annotated[tuple[Text, ...], mend("give what pip can read, in a list")] = ()
    """Packages that this task imports."""

    @field_validator("name")
    @classmethod
    def _names_a_file(cls, name: str) -> str:
        if "/" in name:
            raise ValueError("is the name of a file too; leave out the slash, and give `task:`")
        return name

    @field_validator("needs")
    @classmethod
    def _are_requirements(cls, needs: tuple[str, ...]) -> tuple[str, ...]:
        try:
            [Requirement(need) for need in needs]
        except InvalidRequirement as error:
            raise ValueError(str(error)) from None
        return needs


class Suite(Settings):
    """Tasks of one harness. settings: keyword arguments of EuroEval's Benchmarker."""

    name: Text
    package: Annotated[Literal["lm-eval", "euroeval"], mend(PACKAGE)]
    tasks: Annotated[tuple[Task, ...], Field(min_length=1), mend("name at least one task")]
    settings: dict[str, Any] = Field(default_factory=dict)

    def only(self, names: Iterable[str] | None, languages: Iterable[str] | None) -> "Suite":
        """The suite with these tasks, or those in these languages. BadInput for a name that it does not have."""
        for option, wanted, known in (
            ("--tasks", names, [task.name for task in self.tasks]),
            ("--languages", languages, sorted({task.language for task in self.tasks if task.language})),
        ):
            for name in wanted or ():
                if name not in known:
                    choice = f"{self.name} has {', '.join(known)}" if known else f"{self.name} tells none"
                    raise BadInput(f"{option}: no {name!r}{nearest(name, known)}; {choice}.")
        kept = [task for task in self.tasks if not names or task.name in names]
        kept = [task for task in kept if not languages or task.language in languages]
        if not kept:
            raise BadInput("--tasks and --languages have no task in common; give one of them.")
        return self.model_copy(update={"tasks": tuple(kept)})


def shipped() -> list[str]:
    return sorted(path.stem for path in SUITES.glob("*.yaml"))


def read_suite(given: str) -> Suite:
    """A shipped suite by name, or a file. BadInput names the file, the field and the mend."""
    path = Path(given) if given not in shipped() else SUITES / f"{given}.yaml"
    if not path.is_file():
        raise BadInput(f"--harness={given} is neither {' nor '.join(shipped())} nor a file{nearest(given, shipped())}.")
    content = read_yaml(path)
    try:
        return _suite(path.stem, content)
    except BadInput as error:  # its sentence names the field
        raise BadInput(f"{path}: {error}") from None


def _suite(name: str, content: Any) -> Suite:
    if not isinstance(content, dict) or not isinstance(content.get("tasks"), dict):
        raise BadInput(f"{PACKAGE}, and `tasks:` as a table of names.")
    package = content.get("package")
    tasks = tuple(_task(str(key), fields, package) for key, fields in content["tasks"].items())
    return Suite.read({**content, "name": name, "tasks": tasks}, "")


def _task(name: str, fields: Any, package: Any) -> Task:
    place = f"tasks.{name}"
    defaults = {"task": name, "scale": 100 if package == "lm-eval" else 1}
    task = Task.read({**defaults, **fields, "name": name} if isinstance(fields, dict) else fields, place)
    if package == "lm-eval" and task.shots is None:
        raise BadInput(f"{place}.shots=None; give 0 or more.")
    if package == "euroeval" and task.shots is not None:
        raise BadInput(f"{place}.shots={task.shots}, which EuroEval chooses itself; leave them out.")
    return task
