"""What an LLM judge adds to a training step: `judge=openai` against `judge=none`, the same prompts, in one run.

The judge is a stub server in a process of its own that answers after LATENCY seconds, less than a step generates. Its
answers overlap with the generation of other prompts; only those about the last group do not. A step here generates in
waves (SEQUENCES at once), as a real one does.

Takes several minutes: a smoke quickstart (or `--quickstart FOLDER` of a finished one), then two runs of verl.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from judge_client import served

LATENCY, PROMPTS, SEQUENCES, STEPS, WARM_UP = 0.25, 32, 8, 12, 3
TARGET = 1.10


def seconds_a_step(quickstart: Path, folder: Path, judge: list[str]) -> tuple[float, float]:
    """(whole step, generation and judging), medians over the steps after WARM_UP."""
    checkpoint = max((quickstart / "sft" / "checkpoints").glob("global_step_*"), key=lambda path: path.stat().st_mtime)
    folder.mkdir()
    command = [sys.executable, "-m", "verl.trainer.main_ppo", "+recipe=sp3f", "device=cpu", *judge]
    command += [f"data.train_files={quickstart / 'data' / 'train.parquet'}", f"data.train_batch_size={PROMPTS}"]
    command += [f"data.val_files={quickstart / 'data' / 'validation.parquet'}", "data.max_prompt_length=48"]
    command += ["data.max_response_length=48", "actor_rollout_ref.rollout.max_model_len=96"]
    command += [f"actor_rollout_ref.rollout.max_num_seqs={SEQUENCES}", f"hydra.run.dir={folder / 'hydra'}"]
    command += [f"actor_rollout_ref.model.path={checkpoint / 'huggingface'}", f"trainer.total_training_steps={STEPS}"]
    command += [f"trainer.default_local_dir={folder / 'checkpoints'}", "trainer.logger=[file]", "trainer.save_freq=-1"]
    command += ["trainer.val_before_train=false", "trainer.test_freq=-1"]
    metrics = folder / "metrics.jsonl"
    env = {**os.environ, "VERL_FILE_LOGGER_PATH": str(metrics), "VERL_PLATFORM": "cpu", "OMP_NUM_THREADS": "1"}
    with (folder / "run.log").open("wb") as log:
        subprocess.run(command, env=env, stdout=log, stderr=subprocess.STDOUT, timeout=900, check=True)
    steps = [json.loads(line)["data"] for line in metrics.read_text().splitlines()][WARM_UP:]
    return tuple(statistics.median(step[name] for step in steps) for name in ("timing_s/step", "timing_s/gen"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quickstart", type=Path, help="folder of a finished quickstart of preset smoke")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        quickstart = arguments.quickstart or Path(scratch) / "quickstart"
        if arguments.quickstart is None:
            make = [sys.executable, "-m", "sp3f_verl.cli", "quickstart", "--preset", "smoke", "--output", quickstart]
            subprocess.run(make, stdout=subprocess.DEVNULL, timeout=900, check=True)
        with served(f"--latency={LATENCY}", "--judge=always_a") as url:
            none = seconds_a_step(quickstart, Path(scratch) / "none", ["judge=none"])
            asked = ["judge=openai", f"sp3f.judge.base_url={url}", "sp3f.judge.api_key_env=null"]
            judged = seconds_a_step(quickstart, Path(scratch) / "judged", [*asked, "sp3f.judge.concurrency=256"])
    ratio = judged[0] / none[0]
    print(f"a step of {PROMPTS} prompts x 4 rollouts, 384 questions, judge latency {LATENCY:g} s")
    print(f"  judge=none    {none[0]:6.2f} s, of which generation {none[1]:.2f} s")
    print(f"  judge=openai  {judged[0]:6.2f} s, of which generation and judging {judged[1]:.2f} s")
    print(f"  ratio {ratio:.2f} (target: at most {TARGET:g})")
    if ratio > TARGET:
        print(f"judge_step: the judge made a step {ratio:.2f} times as long, more than {TARGET:g}.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
