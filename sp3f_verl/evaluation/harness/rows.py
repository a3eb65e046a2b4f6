"""From what a harness says to one row a task: values in 0..100, standard errors, shots, problems."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sp3f_verl.evaluation.harness.suite import Task
from sp3f_verl.evaluation.results import HarnessMean, HarnessTask

_RADIUS = 1.96  # EuroEval's `_se` is the radius of a 95 % interval: 1.96 standard errors (its scores.py)


class Failed(ValueError):
    """A task has no value. The message says why."""


def row(package: str, task: Task, outcome: Mapping[str, Any]) -> HarnessTask:
    """One task's row. Raises Failed where the harness failed, or ran it otherwise than the suite says."""
    if "error" in outcome:
        raise Failed(outcome["error"])
    if not outcome:
        raise Failed("the harness left it out, and said why above")
    values = outcome["values"]
    if package == "lm-eval":
        key, error_key, over = f"{task.metric},{task.filter}", f"{task.metric}_stderr,{task.filter}", 1.0
        metrics = sorted(name for name in values if "," in name and "_stderr," not in name)
    else:
        key, error_key, over = f"test_{task.metric}", f"test_{task.metric}_se", _RADIUS
        metrics = sorted(name for name in values if name.startswith("test_") and not name.endswith("_se"))
    if key not in values:
        raise Failed(f"{task.task} has no metric {key}; it has {', '.join(metrics)}")
    if task.shots is not None and outcome["shots"] != [task.shots]:
        raise Failed(f"{task.task} ran with {outcome['shots']} shots, not {task.shots}; its own YAML fixes them")
    value = _number(values[key], task.scale)
    if value is None or abs(value) > 100 + 1e-9:
        raise Failed(f"{task.metric} of {task.task} is {values[key]}, times scale {task.scale:g} no number up to 100")
    stderr = _number(values.get(error_key), task.scale / over)
    if package == "lm-eval":
        more = {"filter": task.filter, "shots": task.shots, "n": outcome["n"], "of": outcome["of"]}
    else:
        failed = int(values.get("num_failed_instances", 0))
        more = {"shots": None, "iterations": outcome["n"], "n": None, "failed": failed}
    more |= {"language": task.language} if task.language else {}
    return HarnessTask(metric=task.metric, value=value, stderr=stderr, version=outcome["version"], **more)


def _number(value: Any, factor: float) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value * factor


def means(rows: Mapping[str, HarnessTask]) -> HarnessMean:
    """The unweighted mean over all tasks, as T-SPIN's tables have it, and over those of each language."""
    codes = sorted({task.language for task in rows.values() if task.language})
    by_language = {code: _mean([task.value for task in rows.values() if task.language == code]) for code in codes}
    whole = _mean([task.value for task in rows.values()])
    return whole.model_copy(update={"languages": by_language}) if by_language else whole


def _mean(values: Sequence[float]) -> HarnessMean:
    return HarnessMean(value=math.fsum(values) / len(values), tasks=len(values))
