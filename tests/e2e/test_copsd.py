"""Self-distillation with a live teacher and real vLLM rollouts on a CPU, killed after a checkpoint and resumed.

The model has learnt nothing: what is looked at is the way from the servers to the loss.
"""

import json
from pathlib import Path

import pytest

from helpers.processes import started
from helpers.runs import main_ppo, make, rollouts
from sp3f_verl.data.files import read_parquet
from sp3f_verl.report.run_metrics import read_metrics

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]
STEPS, KILLED_AT = 4, 2


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = make(tmp_path_factory.mktemp("copsd"))
    command = main_ppo(
        *(folder / "data", folder / "model", folder / "run"),
        *("actor_rollout_ref.rollout.max_model_len=512", "sp3f.distill.k=16"),
        *(
            f"trainer.total_training_steps={STEPS}",
            f"trainer.save_freq={KILLED_AT}",
            "trainer.max_actor_ckpt_to_keep=2",
        ),
        judge="none",
        recipe="copsd",
    )
    latest = folder / "run" / "checkpoints" / "latest_checkpointed_iteration.txt"

    def saved_and_logged() -> bool:
        lines = [line for file in latest.parent.glob("metrics/*") for line in file.read_text().splitlines()]
        return latest.exists() and int(latest.read_text() or 0) >= KILLED_AT <= len(lines)

    with started(command, folder / "killed.log") as first:
        first.wait_for(saved_and_logged, 500, "checkpoint")
        first.kill()
    with started(command, folder / "resumed.log") as second:
        second.wait(500)
    return folder


def test_it_was_killed_and_went_on(run):
    attempts = sorted((run / "run" / "checkpoints" / "metrics").iterdir())
    first, second = ([json.loads(line)["step"] for line in file.read_text().splitlines()] for file in attempts)
    assert first[:KILLED_AT] == list(range(1, KILLED_AT + 1))
    assert second == list(range(KILLED_AT + 1, STEPS + 1))


def test_every_sample_had_its_teacher_and_every_language_its_divergence(run):
    languages = {row["language"] for row in read_parquet(run / "data" / "train.parquet")}
    for step, metrics in read_metrics(run / "run" / "checkpoints" / "metrics").items():
        count = sum(map(len, rollouts(run / "run", step)))
        assert (metrics["distill/taught"], metrics["distill/failed"]) == (count, 0)
        assert metrics["distill/divergence"] > 0 and metrics["actor/grad_norm"] > 0
        assert metrics["actor/distill/loss"] > 0 and metrics["distill/teacher_entropy"] > 0
        seen = {name.rsplit("/", 1)[1] for name in metrics if name.startswith("distill/divergence/")}
        assert seen and seen <= languages
        assert {"reward/leak_mention/mean", "reward/leak_copied/mean", "response_length/mean"} <= set(metrics)
