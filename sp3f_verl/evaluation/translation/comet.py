"""COMET scores of translations, by Unbabel's package in a Python of its own (it wants numpy 1 and transformers 4)."""

import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sp3f_verl.data.files import write_json
from sp3f_verl.errors import BadInput
from sp3f_verl.evaluation.harness.python import absolute, require

RUNNER = Path(__file__).parents[1] / "harness" / "runners" / "comet_scores.py"


def comet_scores(model: str, samples: Sequence[dict[str, str]], python: str, gpus: int = 0) -> list[float]:
    """A score of 0..100 a sample ({src, mt, ref}), by a model of the Hub or a checkpoint file.

    An empty translation is 0 and not asked: COMET gives it far more. BadInput where the package is missing or fails.
    """
    require(python, "unbabel-comet", "unbabel-comet", "--comet-python")
    asked = [place for place, sample in enumerate(samples) if sample["mt"].strip()]
    with tempfile.TemporaryDirectory() as folder:
        job, out = Path(folder) / "job.json", Path(folder) / "scores.json"
        write_json({"model": model, "samples": [samples[place] for place in asked], "gpus": gpus, "out": str(out)}, job)
        ran = subprocess.run([absolute(python), RUNNER.resolve(), job], cwd=folder)
        scores = json.loads(out.read_text(encoding="utf-8")) if out.is_file() else []
    if ran.returncode or len(scores) != len(asked):
        raise BadInput(
            f"--comet-model={model} gave no scores (exit status {ran.returncode}), and said why above; mend that."
        )
    padded = [0.0] * len(samples)
    for place, score in zip(asked, scores, strict=True):
        padded[place] = 100 * float(score)
    return padded
