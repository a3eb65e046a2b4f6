"""Pairs, a tiny model and the command of a preference run on a CPU."""

import json
import random
import sys
from pathlib import Path

from sp3f_verl.data.files import write_parquet
from sp3f_verl.quickstart.model import build_model

SIZE = {"vocabulary": 320, "hidden": 64, "intermediate": 128, "layers": 2, "heads": 2, "kv_heads": 1, "positions": 256}
DOUBTS = ("I am not sure about {a} and {b}.", "Numbers like {a} are hard.", "Perhaps {b}, or {c} or more? Who knows.")


def pairs(count: int, seed: int) -> list[dict]:
    """Sums, as strings: answers are chosen, doubts rejected."""
    draw, rows = random.Random(seed), []
    for number in range(count):
        a, b = draw.randint(0, 40), draw.randint(0, 40)
        prompt, chosen = f"What is {a} + {b}?", f"{a} + {b} = {a + b}"
        rejected = draw.choice(DOUBTS).format(a=a, b=b, c=a + b)
        rows.append({"prompt": prompt, "chosen": chosen, "rejected": rejected, "id": number})
    return rows


def as_messages(rows: list[dict]) -> list[dict]:
    def turn(role, text):
        return [{"role": role, "content": text}]

    return [
        {
            "prompt": turn("user", row["prompt"]),
            "chosen": turn("assistant", row["chosen"]),
            "rejected": turn("assistant", row["rejected"]),
        }
        for row in rows
    ]


def make(folder: Path) -> Path:
    """train.parquet (64 pairs, strings), val.parquet (41 other pairs, messages) and model/ under `folder`."""
    train, held_out = pairs(64, 1), pairs(400, 2)
    seen = {row["prompt"] for row in train}
    write_parquet(train, folder / "train.parquet")
    write_parquet(as_messages([row for row in held_out if row["prompt"] not in seen][:41]), folder / "val.parquet")
    build_model([text for row in pairs(200, 3) for text in list(row.values())[:3]], SIZE, 1, folder / "model")
    return folder


def command(data: Path, folder: Path, *overrides: str, recipe: str = "dpo") -> list[str]:
    """A run of `+recipe=<recipe>` that writes under `folder`: 8 pairs a step, 8 steps an epoch."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        *(sys.executable, "-m", "verl.trainer.main_ppo", f"+recipe={recipe}", "device=cpu"),
        f"data.train_files={data / 'train.parquet'}",
        f"data.val_files={data / 'val.parquet'}",
        "data.train_batch_size=8",
        "actor_rollout_ref.actor.optim.lr=1e-3",
        f"actor_rollout_ref.model.path={data / 'model'}",
        "trainer.total_epochs=4",
        "trainer.total_training_steps=30",
        "trainer.test_freq=10",
        "trainer.save_freq=5",
        "trainer.logger=[console,file]",
        f"trainer.default_local_dir={folder / 'checkpoints'}",
        f"hydra.run.dir={folder / 'hydra'}",
        *overrides,
    ]


def logged(file: Path) -> dict[int, dict[str, float]]:
    """step -> metrics of verl's file logger, of all lines of a step together: saving is logged after the step."""
    steps = {}
    for line in map(json.loads, file.read_text().splitlines()):
        steps.setdefault(line["step"], {}).update(line["data"])
    return steps
