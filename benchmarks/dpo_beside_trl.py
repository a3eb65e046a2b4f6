"""An epoch of `+recipe=dpo` beside TRL's DPOTrainer: loss, margin, gradient norm and learning rate of every step.

One tiny model, 64 pairs in the same order, fp32, AdamW, clipped gradients, a cosine that begins at its height. The chat
template writes nothing after the end of a turn (TRL would train on ChatML's newline, ours would not), and there is no
warm-up (of 0.1 x 8 steps verl makes none and TRL one). Ours is verl's command as a user starts it.

    python benchmarks/dpo_beside_trl.py PYTHON    of the environment that `scripts/bench_env.sh FOLDER .venv` makes
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

PAIRS, BATCH, LR, BETA = 64, 8, 1e-3, 0.1
NAMES = {"loss": "train/loss", "margin": "train/margin", "gradient norm": "train/grad_norm", "rate": "train/lr"}
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SIZES = {"hidden": 64, "intermediate": 128, "layers": 2, "heads": 4, "kv_heads": 2, "vocabulary": 320, "positions": 256}


def pairs() -> list[dict]:
    def turn(role: str, content: str) -> list[dict]:
        return [{"role": role, "content": content}]

    return [
        {
            "prompt": turn("user", f"What is {i} + {3 * i + 1}?" + " Say it." * (i % 3)),
            "chosen": turn("assistant", f"It is {4 * i + 1}." + " The sum of both." * (i % 2)),
            "rejected": turn("assistant", "I do not know" + ", sorry" * (1 + i % 4) + "."),
        }
        for i in range(PAIRS)
    ]


def ours(folder: Path) -> dict[str, list[float]]:
    command = [sys.executable, "-m", "verl.trainer.main_ppo", "+recipe=dpo", "device=cpu"]
    command += [f"data.train_files={folder / 'pairs.jsonl'}", f"data.train_batch_size={BATCH}", "data.shuffle=false"]
    command += [f"actor_rollout_ref.model.path={folder / 'model'}", f"sp3f.preference.objective.beta={BETA}"]
    actor = {"ppo_micro_batch_size_per_gpu": BATCH, "optim.lr": LR, "optim.lr_warmup_steps_ratio": 0}
    command += [f"actor_rollout_ref.actor.{key}={value}" for key, value in actor.items()]
    command += ["trainer.save_freq=-1", "trainer.test_freq=-1", "trainer.logger=[file]", f"hydra.run.dir={folder}"]
    command += [f"trainer.default_local_dir={folder / 'run'}"]
    log = folder / "ours.jsonl"
    done = subprocess.run(
        command, env={**os.environ, "VERL_FILE_LOGGER_PATH": str(log)}, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(done.stderr[-4000:])
    steps = [line["data"] for line in map(json.loads, log.read_text().splitlines()) if "train/loss" in line["data"]]
    return {name: [step[key] for step in steps] for name, key in NAMES.items()}


def trl(folder: Path) -> dict[str, list[float]]:
    """In TRL's environment: `ours` is not imported there."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    torch.set_num_threads(1)
    losses = []

    class Trainer(DPOTrainer):
        def _get_train_sampler(self, *_, **__):
            return torch.utils.data.SequentialSampler(self.train_dataset)

        def compute_loss(self, *arguments, **settings):
            loss = super().compute_loss(*arguments, **settings)
            losses.append((loss[0] if isinstance(loss, tuple) else loss).item())
            return loss

    settings = {"learning_rate": LR, "lr_scheduler_type": "cosine", "warmup_steps": 0, "weight_decay": 0.0}
    trainer = Trainer(
        AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32, attn_implementation="sdpa"),
        args=DPOConfig(
            **settings,
            **{"beta": BETA, "per_device_train_batch_size": BATCH, "num_train_epochs": 1, "max_length": None},
            **{"gradient_checkpointing": False, "bf16": False, "use_cpu": True, "logging_steps": 1},
            **{"output_dir": str(folder / "trl"), "save_strategy": "no", "report_to": "none", "disable_tqdm": True},
        ),
        train_dataset=Dataset.from_list(pairs()),
        processing_class=AutoTokenizer.from_pretrained(folder / "model"),
    )
    trainer.train()
    steps = [step for step in trainer.state.log_history if "rewards/margins" in step]
    keys = {"margin": "rewards/margins", "gradient norm": "grad_norm", "rate": "learning_rate"}
    return {"loss": losses} | {name: [float(step[key]) for step in steps] for name, key in keys.items()}


def main(python: str) -> None:
    from sp3f_verl.quickstart.model import build_model

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts = [side["content"] for row in pairs() for turns in row.values() for side in turns]
        build_model(texts, SIZES, 1, folder / "model")
        (folder / "model" / "chat_template.jinja").write_text(TEMPLATE)
        (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs()))
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
        done = subprocess.run([python, __file__, "--trl", name], env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr[-4000:])
        theirs, mine = json.loads(done.stdout.strip().splitlines()[-1]), ours(folder)
    print(f"{'step':>4}" + "".join(f"{f'{name}, TRL':>22}{'ours':>14}" for name in NAMES))
    for step in range(PAIRS // BATCH):
        values = (f"{theirs[name][step]:22.7g}{mine[name][step]:14.7g}" for name in NAMES)
        print(f"{step + 1:4}" + "".join(values))
    for name in NAMES:
        most = max(abs(a - b) for a, b in zip(theirs[name], mine[name], strict=True))
        print(f"largest difference in {name}: {most:.1e}, of at most {max(map(abs, theirs[name])):.4g}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--trl"]:
        print(json.dumps(trl(Path(sys.argv[2]))))
    elif len(sys.argv) == 2 and Path(sys.argv[1]).exists():
        main(sys.argv[1])
    else:
        raise SystemExit(__doc__)
