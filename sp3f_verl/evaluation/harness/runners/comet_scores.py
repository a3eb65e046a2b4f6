"""`python comet_scores.py JOB`: COMET's score of each sample, as a JSON list.

JOB (JSON): model (name on the Hub, or a checkpoint file), samples ({src, mt, ref}), gpus, out (a file).
"""

import json
import sys
from pathlib import Path


def main(job: dict) -> None:
    from comet import download_model, load_from_checkpoint

    path = job["model"] if Path(job["model"]).is_file() else download_model(job["model"])
    scores = load_from_checkpoint(path).predict(job["samples"], batch_size=8, gpus=job["gpus"]).scores
    Path(job["out"]).write_text(json.dumps([float(score) for score in scores]), encoding="utf-8")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
