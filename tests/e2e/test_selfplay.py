"""Real self-play runs through verl's main_ppo on a CPU: Ray, FSDP2 and verl's rollout servers (vLLM)."""

import json
import os
import sqlite3
from collections import Counter
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from helpers.processes import started
from helpers.selfplay_runs import command
from sp3f_verl.data.files import read_parquet
from sp3f_verl.quickstart.habits import make
from sp3f_verl.report.command import report
from sp3f_verl.training.metrics_log import read_metrics

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]
ROWS, HELD_OUT, ITERATIONS = 96, 48, 3
EVERY = 4  # steps between the checkpoints inside an iteration: helpers/selfplay_runs.py


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("habits"), rows=ROWS, held_out=HELD_OUT)


def stored(folder: Path) -> dict[str, str]:
    """Every response that is kept, by its key; read beside the run that writes."""
    file = folder / "checkpoints" / "selfplay" / "responses.sqlite"
    if not file.is_file():
        return {}
    try:
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=10) as connection:
            return dict(connection.execute("SELECT key, value FROM answers"))
    except sqlite3.OperationalError:  # just being made
        return {}


def saved_step(folder: Path) -> int:
    tracker = folder / "checkpoints" / "latest_checkpointed_iteration.txt"
    return int(tracker.read_text() or 0) if tracker.is_file() else 0


def killed_while_saving(line: list[str], folder: Path) -> None:
    """SIGKILL to all processes while the weights of a checkpoint inside iteration 1 are half written: their file is a
    pipe, which holds the worker up once it is full, however fast the machine is."""
    with started(line, folder / "killed.log") as run:
        run.wait_for(lambda: recorded(folder, 0) is not None, 700, "manifest of iteration 0")
        before_it = recorded(folder, 0)["steps"]  # a checkpoint ends the iteration
        place = folder / "checkpoints" / f"global_step_{(before_it // EVERY + 1) * EVERY}"
        weights = place / "actor" / "model_world_size_1_rank_0.pt"
        weights.parent.mkdir(parents=True)
        os.mkfifo(weights)
        reader, begun = os.open(weights, os.O_RDONLY | os.O_NONBLOCK), []

        def first_bytes() -> bool:
            try:
                begun.append(os.read(reader, 1000))
            except BlockingIOError:  # opened, and nothing written
                return False
            return bool(begun[-1])

        run.wait_for(first_bytes, 700, f"save of {place.name}")
        run.kill()
    os.close(reader)
    weights.unlink()
    weights.write_bytes(begun[-1])
    assert not (place / "data.pt").exists() and saved_step(folder) == before_it


def recorded(folder: Path, iteration: int) -> dict | None:
    file = folder / "checkpoints" / "selfplay" / f"iteration_{iteration}" / "manifest.json"
    return json.loads(file.read_text()) if file.is_file() else None


@pytest.fixture(scope="module")
def killed(data, tmp_path_factory) -> Path:
    """T-SPIN, killed while it saves a checkpoint inside iteration 1; then finished by the same command.

    Kills while it generates and while it trains: tests/verl_bridge/test_selfplay_kills.py.
    """
    folder = tmp_path_factory.mktemp("killed")
    line = command(data, folder)
    killed_while_saving(line, folder)
    kept = stored(folder)
    assert len(kept) >= 2 * (ROWS + HELD_OUT), "the responses of two iterations"
    with started(line, folder / "finished.log") as run:
        run.wait(700)
    after = stored(folder)
    assert {key: after[key] for key in kept} == kept, "a finished response was generated again"
    return folder


def test_all_iterations_are_there_and_no_triplet_is_lost_or_doubled(killed, data):
    place, ids = killed / "checkpoints" / "selfplay", [row["id"] for row in read_parquet(data / "train.parquet")]
    starts = []
    for t in range(ITERATIONS):
        manifest = json.loads((place / f"iteration_{t}" / "manifest.json").read_text())
        rows = read_parquet(place / f"iteration_{t}" / "train.parquet")
        assert [row["id"] for row in rows] == ids and {row["iteration"] for row in rows} == {t}
        counts = Counter(row["status"] for row in rows)
        assert counts.pop("ok") == manifest["usable"]["train"] and counts == manifest["dropped"]["train"]
        assert manifest["steps"] == 2 * (manifest["usable"]["train"] // 16)
        starts.append((manifest["start_step"], manifest["steps"]))
        first = read_parquet(place / "iteration_0" / "train.parquet")
        assert [row["proto_ids"] for row in rows] == [row["generated_ids"] for row in first], "y0 is made once"
    assert [start for start, _ in starts] == [sum(steps for _, steps in starts[:t]) for t in range(ITERATIONS)]
    end = sum(starts[-1])
    assert saved_step(killed) == end and json.loads((place / "final.json").read_text()) == {"step": end}
    assert not (place / f"iteration_{ITERATIONS}").exists()
    expected = ITERATIONS * (ROWS + HELD_OUT) + (ITERATIONS + 1) * HELD_OUT  # sampled, and greedy of every policy
    assert len(stored(killed)) == expected


def test_it_learns_from_a_policy_whose_rollouts_use_the_trained_weights(killed):
    steps = read_metrics(killed / "checkpoints" / "metrics")
    of_policy = [values for _, values in sorted(steps.items()) if "generation/exact_match" in values]
    assert len(of_policy) == ITERATIONS + 1
    assert of_policy[0]["generation/exact_match"] < 0.1 and of_policy[-1]["generation/exact_match"] > 0.9
    differences = [values["start/rollout_logp_diff_max"] for values in of_policy[:-1]]
    assert max(differences) < 1e-4, "sampled with other weights than those that are trained"
    gaps = [values["start/logp_per_token/real"] - values["start/logp_per_token/generated"] for values in of_policy[:-1]]
    assert gaps[-1] > gaps[0]
    last = steps[max(steps)]
    assert last["val/order_raw/reward_only"] == last["val/order_raw/logp_only"] == 0, "a tautology for T-SPIN's sums"
    assert last["val/kl_from_initial"] > 0 and last["train/iteration"] == ITERATIONS - 1


def test_the_schedule_of_beta_and_no_reference(killed):
    steps = read_metrics(killed / "checkpoints" / "metrics")
    assert all(
        ("train/logp/proto" in values) == (values["train/iteration"] > 0)
        for values in steps.values()
        if "train/iteration" in values
    )
    assert not list((killed / "checkpoints").rglob("reference")), "T-SPIN compares with no other model"


def test_the_report_of_a_run_that_was_killed(killed):
    report([killed / "checkpoints"])
    text = (killed / "checkpoints" / "report.md").read_text()
    assert "iterations 0 to 2" in text and "tautology" in text
    for picture in ("advantage", "generation", "log_likelihood"):
        assert (killed / "checkpoints" / f"{picture}.png").stat().st_size > 10_000


def test_spin_with_lora_mixes_iterations_against_its_own_start(data, tmp_path):
    """Two iterations of SPIN under LoRA: the opponent's log-probs are kept, the adapter loads as others load it."""
    line = command(
        data,
        tmp_path,
        "sp3f.selfplay.iterations=2",
        "sp3f.selfplay.epochs=1",
        "sp3f.selfplay.schedule.lr=[1e-3,2e-4]",
        "actor_rollout_ref.model.lora_rank=8",
        "trainer.save_freq=-1",
        recipe="spin",
    )
    with started(line, tmp_path / "run.log") as run:
        run.wait(500)
    place = tmp_path / "checkpoints" / "selfplay"
    manifests = [json.loads((place / f"iteration_{t}" / "manifest.json").read_text()) for t in range(2)]
    rows = read_parquet(place / "iteration_1" / "train.parquet")
    assert Counter(row["iteration"] for row in rows) == {0: ROWS, 1: ROWS}, "this iteration's responses and the last's"
    assert {each["settings"]["loss"] for each in manifests} == {"spin"}
    steps = read_metrics(tmp_path / "checkpoints" / "metrics")
    for manifest in manifests:
        start = steps[manifest["start_step"]]
        assert start["start/margin"] == pytest.approx(0, abs=1e-4), "the opponent is the policy as it starts"
        # verl sends merged weights in bf16; without the adapter the difference would be that of kl_from_opponent
        assert start["start/rollout_logp_diff_max"] < 1e-2, "merged weights were not sent"
        assert (place / f"iteration_{manifest['iteration']}" / "reference" / "train.npy").is_file()
    assert manifests[0]["policy"] != manifests[1]["policy"]
    assert steps[manifests[1]["start_step"]]["val/kl_from_opponent"] > 0.1, "the policy moved"
    end = manifests[1]["start_step"] + manifests[1]["steps"]
    adapter = tmp_path / "checkpoints" / f"global_step_{end}" / "actor" / "lora_adapter"
    tokenizer = AutoTokenizer.from_pretrained(data / "model")
    base = AutoModelForCausalLM.from_pretrained(data / "model", dtype=torch.float32)
    model = PeftModel.from_pretrained(base, adapter).eval()
    found = []
    for row in read_parquet(data / "val.parquet"):
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": row["prompt"]}],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
        answer = model.generate(**prompt, max_new_tokens=24, do_sample=False)[0, prompt["input_ids"].shape[1] :]
        found.append(tokenizer.decode(answer, skip_special_tokens=True) == row["real"])
    assert sum(found) / len(found) > 0.5
    assert sum(found) / len(found) == pytest.approx(steps[end]["generation/exact_match"], abs=0.05)
