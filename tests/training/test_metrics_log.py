"""Where an attempt of a run logs, and which of several attempts' values count."""

import json
import math

from sp3f_verl.training.metrics_log import next_file, read_metrics


def logged(file, *lines) -> None:
    file.write_text("".join(json.dumps({"step": step, "data": data}) + "\n" for step, data in lines))


def test_an_attempt_never_logs_over_an_earlier_one(tmp_path):
    folder = tmp_path / "run" / "metrics"
    assert next_file(folder) == folder / "000.jsonl" and folder.is_dir()
    (folder / "guard.txt").touch()
    assert next_file(folder).name == "000.jsonl", "other files do not count"
    for name in ("000.jsonl", "002.jsonl", "notes.jsonl"):  # 001 was removed by hand
        (folder / name).touch()
    assert next_file(folder).name == "003.jsonl"


def test_an_attempt_counts_up_to_where_a_later_one_goes_on(tmp_path):
    logged(tmp_path / "000.jsonl", (1, {"loss": 3.0}), (2, {"loss": 2.0, "lr": 0.1}), (3, {"loss": 9.0}))
    logged(tmp_path / "001.jsonl", (2, {"loss": 2.5}), (3, {"loss": None}))
    with (tmp_path / "001.jsonl").open("a") as file:
        file.write('{"step": 4, "da')  # killed here
    metrics = read_metrics(tmp_path)
    assert metrics[1] == {"loss": 3.0} and metrics[2] == {"loss": 2.5, "lr": 0.1}
    assert math.isnan(metrics[3]["loss"]) and list(metrics) == [1, 2, 3]
