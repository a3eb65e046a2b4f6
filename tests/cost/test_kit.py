"""benchmarks/on_gpu.py, in small: it ends in time, and what it calls exact is."""

import json
import subprocess
import sys

from helpers.shared import ROOT


def test_the_kit_runs_on_a_cpu(tmp_path):
    output = tmp_path / "kit.json"
    found = {"seconds": [2.0, 1.0], "peak_mib": 1024}
    trl = tmp_path / "python"  # of another environment: its `import trl` passes, and this is what its steps take
    trl.write_text(f"#!/bin/sh\necho '{json.dumps(found)}'\n")
    trl.chmod(0o755)
    command = [sys.executable, "benchmarks/on_gpu.py", "--device=cpu", "--tiny", "--minutes=12", f"--output={output}"]
    done = subprocess.run([*command, f"--trl={trl}"], cwd=ROOT, capture_output=True, text=True, timeout=840)
    assert done.returncode == 0, done.stderr[-2000:]
    results = json.loads(output.read_text())
    assert max(row["largest difference"] for row in results["losses"]) < 1e-6
    assert [row["fault"] for row in results["exactness"]] == ["none"] * 3
    assert len(results["steps"]) == 6 and all(row["tokens/s"] > 0 for row in results["steps"])
    beside = results["beside_trl"]
    assert len(beside) == 2 and beside[0]["tokens/s"] == beside[1]["tokens/s"] > 1000  # of the better step, a second


def test_it_ends_when_its_minutes_are_over(tmp_path):
    output = tmp_path / "kit.json"
    command = [sys.executable, "benchmarks/on_gpu.py", "--device=cpu", "--tiny", "--minutes=0.02", f"--output={output}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(output.read_text())["out of time"] is True
