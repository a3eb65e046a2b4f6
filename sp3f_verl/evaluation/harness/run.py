"""A suite on a model: the harness runs as a process, and what it has done is kept, so that a second start goes on."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sp3f_verl.data.files import write_json
from sp3f_verl.data.output import Output
from sp3f_verl.data.resume import Work
from sp3f_verl.errors import BadInput
from sp3f_verl.evaluation.harness.python import absolute
from sp3f_verl.evaluation.harness.rows import Failed, means, row
from sp3f_verl.evaluation.harness.suite import Suite, Task
from sp3f_verl.evaluation.results import FILE, HarnessSummary, HarnessTask

KEPT = ".tasks"  # in the output folder, until the run is through
RUNNERS = {
    package: Path(__file__).parent / "runners" / name
    for package, name in (("lm-eval", "lm_eval_tasks.py"), ("euroeval", "euroeval_datasets.py"))
}


@dataclass(frozen=True)
class Run:
    """suite on model. job: what the runner reads, but tasks and results; versions: of the packages in `python`."""

    suite: Suite
    model: str
    job: Mapping[str, Any]
    python: str
    versions: Mapping[str, str]


def run_suite(asked: Run, output: Path) -> HarnessSummary:
    """The summary, written to `output` with the harness's own words on every task beside it.

    BadInput where a task failed: what the others gave is kept, and no mean is taken of what is there.
    """
    suite = asked.suite
    settings = {"suite": suite.name, "model": asked.model, "tasks": [task.model_dump() for task in suite.tasks]}
    settings |= {"job": asked.job, "versions": asked.versions}
    with Output(output, "evaluate harness", settings, models=[asked.model]) as out:
        kept = output / KEPT
        kept.mkdir(exist_ok=True)
        if missing := [task for task in suite.tasks if "values" not in _outcome(task, asked, kept)]:
            _start(asked, missing, kept)
        outcomes = {task.name: _outcome(task, asked, kept) for task in suite.tasks}
        tasks = _rows(suite, outcomes)
        summary = HarnessSummary(
            kind="harness",
            suite=suite.name,
            package=suite.package,
            model=asked.model,
            tasks=tasks,
            limit=asked.job.get("limit"),
            settings=asked.job,
            versions=asked.versions,
            mean=means(tasks),
        )
        out.write_text(FILE, summary.text())
        for name, outcome in outcomes.items():
            out.write_text(f"tasks/{name}.json", json.dumps(outcome, ensure_ascii=False, indent=2) + "\n")
            if (samples := kept / f"{name}.samples.jsonl").is_file():
                out.write_text(f"tasks/{samples.name}", samples.read_text(encoding="utf-8"))
    shutil.rmtree(kept)
    return summary


def _rows(suite: Suite, outcomes: Mapping[str, Mapping[str, Any]]) -> dict[str, HarnessTask]:
    rows, failed = {}, {}
    for task in suite.tasks:
        try:
            rows[task.name] = row(suite.package, task, outcomes[task.name])
        except Failed as error:
            failed[task.name] = str(error)
    if failed:
        causes = "; ".join(f"{name}: {why.rstrip('.')}" for name, why in list(failed.items())[:3])
        causes += f"; and {len(failed) - 3} more" if len(failed) > 3 else ""
        raise BadInput(
            f"{len(failed)} of {len(suite.tasks)} tasks failed ({causes}); mend that and give the same command again, "
            "which goes on with these, or choose among the others with --tasks."
        )
    return rows


def _work(task: Task, asked: Run, kept: Path) -> Work:
    """A task's result, which the harness writes, and what makes it another one; how its value is read (metric, filter,
    scale) does not."""
    identity = {"task": task.task, "shots": task.shots, "job": asked.job, "versions": asked.versions}
    return Work(kept / f"{task.name}.key.json", identity, result=kept / f"{task.name}.json")


def _outcome(task: Task, asked: Run, kept: Path) -> dict[str, Any]:
    """The harness's words on a task; empty where it was not asked yet, or under other conditions."""
    work = _work(task, asked, kept)
    return json.loads(work.result.read_text(encoding="utf-8")) if work.done else {}


def _start(asked: Run, missing: Iterable[Task], kept: Path) -> None:
    for task in missing:
        _work(task, asked, kept).begin()
    tasks = [{"name": task.name, "task": task.task, "shots": task.shots} for task in missing]
    conditions = json.dumps({"job": asked.job, "versions": asked.versions}, sort_keys=True)
    work = kept / hashlib.sha256(conditions.encode()).hexdigest()[:16]  # EuroEval's own record knows no settings
    write_json({**asked.job, "tasks": tasks, "results": str(kept.resolve())}, work / "job.json")
    ran = subprocess.run([absolute(asked.python), RUNNERS[asked.suite.package].resolve(), "job.json"], cwd=work)
    if ran.returncode:
        raise BadInput(
            f"{asked.suite.package} ended with exit status {ran.returncode}, and said why above; give the same command "
            "again once that is mended: what is done is kept."
        )
