"""`python euroeval_datasets.py JOB`: datasets of EuroEval on one model; a JSON file a dataset.

JOB (JSON): model, tasks (name, task), benchmarker (keyword arguments of EuroEval's Benchmarker), results (a folder).
EuroEval keeps a record of its own in the working directory, and leaves out what stands there.
"""

import json
import os
import sys
from pathlib import Path


def write(value: dict, path: Path) -> None:
    """As data/files.py's atomic_write, which the harness's own Python may not have."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(value, ensure_ascii=False, default=str), encoding="utf-8")
    os.replace(partial, path)


def main(job: dict) -> None:
    from euroeval import Benchmarker

    names = {task["task"]: task["name"] for task in job["tasks"]}
    benchmarker = Benchmarker(dataset=list(names), **job["benchmarker"])
    benchmarker.benchmark(model=job["model"])
    for result in benchmarker.benchmark_results:
        record = result.model_dump()
        if record["dataset"] in names:
            outcome = {name: record[name] for name in ("few_shot", "validation_split")}
            outcome |= {"values": record["results"]["total"], "n": len(record["results"]["raw"])}
            outcome["version"] = record["euroeval_version"]
            write(outcome, Path(job["results"]) / f"{names[record['dataset']]}.json")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
