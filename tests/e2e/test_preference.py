"""Real runs of trainer mode dpo through verl's main_ppo on a CPU: Ray and FSDP2, no rollout server."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from helpers.preference_runs import command, logged, make
from helpers.processes import started
from sp3f_verl.data.preference_rows import read_answers
from sp3f_verl.losses.objective import Objective, measure
from sp3f_verl.report.command import report
from sp3f_verl.training.metrics_log import read_metrics
from sp3f_verl.training.preference.tokens import batch_of, encode_all

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]
KEPT = Path(__file__).parent / "dpo_trajectory.json"  # written from a run of this test; a change of it needs a reason
FOLLOWED = ("train/loss", "train/margin", "train/grad_norm", "train/logp/chosen", "train/lr")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("preference"))


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """(folder, metrics) of 30 steps without an interruption."""
    folder = tmp_path_factory.mktemp("whole")
    with started(command(data, folder), folder / "run.log", {"VERL_FILE_LOGGER_PATH": str(folder / "m.jsonl")}) as run:
        run.wait(500)
    return folder, logged(folder / "m.jsonl")


def test_it_starts_at_the_reference_and_orders_held_out_pairs(whole):
    folder, steps = whole
    assert list(steps) == list(range(31))
    assert steps[1]["train/loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert steps[0]["val/margin"] == pytest.approx(0, abs=1e-5) and steps[0]["val/loss"] == pytest.approx(math.log(2))
    assert steps[30]["val/accuracy"] > 0.9 and steps[30]["val/loss"] < 0.5 * math.log(2)
    for metrics in steps.values():
        cells = [value for name, value in metrics.items() if name.startswith("train/order_per_token/")]
        assert not cells or sum(cells) == pytest.approx(1)
    log = (folder / "run.log").read_text()
    assert "64 prompts" in log and "41 prompts" in log
    assert "vLLM server" not in log and "vLLMHttpServer" not in log, "nothing generates in this mode"


def test_the_trajectory_of_30_steps_is_the_one_that_was_kept(whole):
    _, steps = whole
    kept = json.loads(KEPT.read_text())
    for name in FOLLOWED:
        found = [steps[step][name] for step in range(1, 31)]
        assert found == pytest.approx(kept[name], rel=1e-3, abs=1e-5), name


def test_the_exported_model_is_the_trained_one(whole, data):
    """Held-out log-probs under the exported model are those that the run logged; the reference lies beside it."""
    folder, steps = whole
    exported = folder / "checkpoints" / "global_step_30" / "actor" / "huggingface"
    model = AutoModelForCausalLM.from_pretrained(exported, dtype=torch.float32)
    told = mean_logps(model, AutoTokenizer.from_pretrained(exported), data / "val.parquet")
    assert told == pytest.approx({name: steps[30][f"val/{name}"] for name in told}, rel=1e-4)
    kept = {each.name for each in (folder / "checkpoints" / "reference").iterdir()}
    assert kept == {"train.npy", "train.json", "validation.npy", "validation.json"}


def mean_logps(model, tokenizer, file: Path) -> dict[str, float]:
    """Mean sequence log-probs of a file's pairs under a plain model, one row at a time."""
    groups, _ = encode_all(tokenizer, read_answers(str(file), ("chosen", "rejected"))[0], 256)
    batch = batch_of(groups, range(len(groups)), [1.0] * len(groups))
    rows = []
    with torch.no_grad():
        for ids in batch["input_ids"].unbind():
            logps = model(ids[None]).logits[0, :-1].log_softmax(-1)
            rows.append(torch.cat([logps.gather(-1, ids[1:, None])[:, 0], torch.zeros(1)]))
    mask = batch["loss_mask"]
    told = measure(Objective(loss="simpo"), torch.cat(rows), mask.values(), mask.offsets(), None).metrics
    return {name: told[name].mean().item() for name in ("logp/chosen", "logp/rejected", "tokens/chosen")}


def test_lora_on_two_workers_learns_and_a_resumed_run_goes_on_as_if_nothing_had_happened(data, tmp_path):
    """Micro-batches by tokens. Its adapter loads as others load it.

    Then from the checkpoint of step 6, in the middle of an epoch, with the tracker file that a kill leaves empty: the
    same command ends with the metrics of the run that was not interrupted. Kills: test_selfplay.py and test_sp3f.py.
    """
    line = command(
        data,
        tmp_path,
        "trainer.n_gpus_per_node=2",
        "actor_rollout_ref.actor.use_dynamic_bsz=true",
        "actor_rollout_ref.actor.ppo_max_token_len_per_gpu=512",
        "sp3f.preference.max_length=256",
        "actor_rollout_ref.actor.optim.lr=1e-2",
        "trainer.total_training_steps=12",
        "trainer.save_freq=6",
        "trainer.test_freq=12",
        recipe="croco",
    )
    with started(line, tmp_path / "1.log", {"VERL_FILE_LOGGER_PATH": str(tmp_path / "1.jsonl")}) as run:
        assert "reference log-probs in" in run.wait(700)
    steps = logged(tmp_path / "1.jsonl")
    assert steps[1]["train/loss"] == pytest.approx(math.log(2), abs=1e-5), "a fresh adapter is the reference"
    assert steps[12]["val/accuracy"] > 0.9

    saved = tmp_path / "checkpoints"
    adapter = saved / "global_step_12" / "actor" / "lora_adapter"
    settings = json.loads((adapter / "adapter_config.json").read_text())
    assert (settings["r"], settings["lora_alpha"], settings["inference_mode"]) == (16, 32, True)
    base = AutoModelForCausalLM.from_pretrained(data / "model", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(data / "model")
    measured = mean_logps(PeftModel.from_pretrained(base, adapter).eval(), tokenizer, data / "val.parquet")
    assert measured == pytest.approx({name: steps[12][f"val/{name}"] for name in measured}, rel=1e-4)

    shutil.rmtree(saved / "global_step_12")
    (saved / "latest_checkpointed_iteration.txt").write_text("")
    stored = (saved / "reference" / "train.npy").stat().st_mtime_ns
    with started(line, tmp_path / "2.log", {"VERL_FILE_LOGGER_PATH": str(tmp_path / "2.jsonl")}) as run:
        assert "reference log-probs in" not in run.wait(700), "they were kept"
    assert (saved / "reference" / "train.npy").stat().st_mtime_ns == stored
    resumed = logged(tmp_path / "2.jsonl")
    assert list(resumed) == list(range(7, 13))
    for step, metrics in resumed.items():
        for name in FOLLOWED:
            assert metrics[name] == pytest.approx(steps[step][name], rel=1e-5, abs=1e-8), (step, name)
    both = read_metrics(saved / "metrics")
    assert {step: both[step]["train/loss"] for step in range(1, 13)} == {
        step: pytest.approx(steps[step]["train/loss"]) for step in range(1, 13)
    }, "metrics/ holds every attempt"
    report([saved])
    assert "`margin`" in (saved / "report.md").read_text()
