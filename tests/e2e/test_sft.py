"""A real run of +recipe=croco_sft on a CPU: what it logs, and what its checkpoint gives to others."""

import json
import sys

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from helpers.preference_runs import SIZE, logged, pairs
from helpers.processes import started
from sp3f_verl.data.files import write_parquet
from sp3f_verl.quickstart.model import build_model

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]


def conversations(count: int, seed: int) -> list[dict]:
    rows = pairs(count, seed)
    return [
        {"messages": [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["chosen"]}]}
        for row in rows
    ]


def mean_loss(model, tokenizer, rows: list[dict]) -> float:
    """-log p of the answers and their end, mean over tokens, one row at a time and by hand."""
    lost, count = 0.0, 0
    for row in rows:
        question, answer = (turn["content"] for turn in row["messages"])
        prompt = tokenizer(f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n")["input_ids"]
        ids = torch.tensor(prompt + tokenizer(f"{answer}<|im_end|>")["input_ids"])
        with torch.no_grad():
            logps = model(ids[None]).logits[0, :-1].log_softmax(-1).gather(-1, ids[1:, None])[len(prompt) - 1 :]
        lost, count = lost - logps.sum().item(), count + len(logps)
    return lost / count


def test_lora_on_two_workers_learns_and_its_checkpoint_loads_both_ways(tmp_path):
    """The logged val/loss is the loss of the base model with `lora_adapter/`, and of `huggingface/`, the merged one."""
    held_out = conversations(16, 2)
    write_parquet(conversations(128, 1), tmp_path / "train.parquet")
    write_parquet(held_out, tmp_path / "val.parquet")
    build_model([text for row in pairs(200, 3) for text in list(row.values())[:3]], SIZE, 1, tmp_path / "model")
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    line += ["-m", "verl.trainer.sft_trainer", "+recipe=croco_sft", "device=cpu", "trainer.n_gpus_per_node=2"]
    line += [f"data.train_files={tmp_path / 'train.parquet'}", f"data.val_files={tmp_path / 'val.parquet'}"]
    line += [f"model.path={tmp_path / 'model'}", "optim.lr=1e-2", f"trainer.default_local_dir={tmp_path / 'out'}"]
    line += ["trainer.logger=[console,file]", f"hydra.run.dir={tmp_path / 'hydra'}"]
    with started(line, tmp_path / "sft.log", {"VERL_FILE_LOGGER_PATH": str(tmp_path / "m.jsonl")}) as run:
        text = run.wait(700)
    assert text.count("sp3f_verl: data.train_files, row 0: trained on are ") == 1, "said by the first worker only"
    losses = [step["train/loss"] for step in map(json_data, (tmp_path / "m.jsonl").open()) if "train/loss" in step]
    assert len(losses) == 8 and losses[-1] < losses[0] - 0.2
    told = logged(tmp_path / "m.jsonl")[8]["val/loss"]

    saved = tmp_path / "out" / "global_step_8"
    tokenizer = AutoTokenizer.from_pretrained(saved / "huggingface")
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32)
    assert mean_loss(base, tokenizer, held_out) > told + 0.2
    adapted = PeftModel.from_pretrained(base, saved / "lora_adapter").eval()
    merged = AutoModelForCausalLM.from_pretrained(saved / "huggingface", dtype=torch.float32)
    assert mean_loss(adapted, tokenizer, held_out) == pytest.approx(told, rel=1e-5)
    assert mean_loss(merged, tokenizer, held_out) == pytest.approx(told, rel=1e-5)
    settings = json.loads((saved / "lora_adapter" / "adapter_config.json").read_text())
    assert (settings["r"], settings["lora_alpha"], settings["inference_mode"]) == (16, 32, True)


def json_data(line: str) -> dict:
    return json.loads(line)["data"]
