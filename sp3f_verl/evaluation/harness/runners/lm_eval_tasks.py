"""`python lm_eval_tasks.py JOB`: tasks of lm-evaluation-harness on one model that is loaded once; a JSON file a task.

JOB (JSON): model_type and model_args of lm-eval, tasks (name, task, shots), include (folders with tasks of one's own),
limit, batch_size, device, apply_chat_template, log_samples, seed, results (a folder).
"""

import json
import os
import sys
import traceback
from pathlib import Path


def write(value: dict, path: Path) -> None:
    """As data/files.py's atomic_write, which the harness's own Python may not have."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(value, ensure_ascii=False, default=str), encoding="utf-8")
    os.replace(partial, path)


def outcome(results: dict, task: str) -> dict:
    """What lm-eval says about a task or a group, whose shots and problems are those of its leaves."""
    leaves = results["configs"]
    return {
        "values": results["results"][task],
        "shots": sorted({leaf["num_fewshot"] for leaf in leaves.values()}),
        "n": sum(results["n-samples"][name]["effective"] for name in leaves),
        "of": sum(results["n-samples"][name]["original"] for name in leaves),
        "version": results["versions"].get(task),
    }


def main(job: dict) -> None:
    from lm_eval import simple_evaluate
    from lm_eval.api.registry import get_model
    from lm_eval.tasks import TaskManager

    manager, folder = TaskManager(include_path=job["include"] or None), Path(job["results"])
    known, tasks = set(manager.all_tasks), []
    for task in job["tasks"]:
        if task["task"] in known:
            tasks.append(task)
        else:
            write({"error": f"lm-eval has no task {task['task']}"}, folder / f"{task['name']}.json")
    if not tasks:
        return
    options = {"batch_size": job["batch_size"], "device": job["device"]}
    model = get_model(job["model_type"]).create_from_arg_obj(job["model_args"], options)
    same = {name: job[name] for name in ("limit", "batch_size", "device", "apply_chat_template", "log_samples")}
    seeds = dict.fromkeys(("random_seed", "numpy_random_seed", "torch_random_seed", "fewshot_random_seed"), job["seed"])
    for task in tasks:
        path = folder / f"{task['name']}.json"
        try:
            settings = {"tasks": [task["task"]], "num_fewshot": task["shots"], "task_manager": manager}
            results = simple_evaluate(model, **settings, **same, **seeds)
            if job["log_samples"]:
                rows = (row for of_task in results["samples"].values() for row in of_task)
                lines = "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)
                path.with_suffix(".samples.jsonl").write_text(lines, encoding="utf-8")
            write(outcome(results, task["task"]), path)
        except Exception as error:  # of this task's data, packages or answers; the others can do without it
            traceback.print_exc()
            write({"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}, path)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
