"""Training steps of TRL's DPOTrainer, in an environment of its own (scripts/bench_env.sh), for other benchmarks here.

TRL's defaults but for what the case sets, and on a CPU fp32 and one thread. A step is what Trainer does between
`on_step_begin` and `on_step_end`: forward and backward of all micro-batches, clipping, AdamW. The reference is no part
of it: TRL computes it in its constructor (`precompute_ref_log_probs`) and reads it from the batch in `_compute_loss`.

    python benchmarks/preference_trl.py GROUPS.json MODEL CASE

CASE: JSON of micro (pairs), checkpointing, tile (columns of the vocabulary whose logits TRL holds at a time, or null),
device (cpu: CPU seconds; cuda: seconds, bf16, flash-attention where it is installed).
"""

import importlib.util
import json
import sys
import tempfile
import time
from pathlib import Path

import torch
from datasets import Dataset
from memory import peak_mib, resident_mib
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, TrainerCallback
from trl import DPOConfig, DPOTrainer
from trl.trainer import utils

STEPS = 2  # after one that warms up


def word(token: int) -> str:
    return f"w{token}."


def words(ids: list[int]) -> str:
    return " ".join(map(word, ids))


def tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    """`w17.` is token 17. A sequence ends with `w0.`, as every response here does already."""
    plain = Tokenizer(models.WordLevel({word(each): each for each in range(vocabulary)}, unk_token=word(1)))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=plain, eos_token=word(0), pad_token=word(0), unk_token=word(1))


class Clock(TrainerCallback):
    def __init__(self, device: str):
        self.device, self.seconds = device, []
        self.loaded = 0.0

    def on_step_begin(self, *_, **__):
        self.loaded = self.loaded or resident_mib()
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        self.start = self.now()

    def on_step_end(self, *_, **__):
        self.seconds.append(self.now() - self.start)

    def now(self) -> float:
        if self.device == "cpu":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()


def measure(
    groups: list[dict], folder: str, output: str, micro: int, checkpointing: bool, tile: int | None, device: str = "cpu"
) -> dict:
    if device == "cpu":
        torch.set_num_threads(1)
    if tile:  # the one-line setting: how many columns of the vocabulary a tile of logits has
        assert utils._CHUNKED_LOGPROB_CHUNK_SIZE == 32_768, "TRL has changed its head"
        utils._CHUNKED_LOGPROB_CHUNK_SIZE = tile
    rows = [
        {"prompt": each["prompt"], "chosen": each["responses"][0], "rejected": each["responses"][1]} for each in groups
    ]
    texts = [{name: words(ids) if name == "prompt" else f" {words(ids)}" for name, ids in row.items()} for row in rows]
    flash = device == "cuda" and importlib.util.find_spec("flash_attn")
    attention = "flash_attention_2" if flash else "sdpa"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation=attention)
    clock = Clock(device)
    trainer = DPOTrainer(
        model,
        args=DPOConfig(
            output_dir=output,
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=len(rows) // micro,
            max_steps=1 + STEPS,
            max_length=None,
            precompute_ref_log_probs=True,
            gradient_checkpointing=checkpointing,
            bf16=device == "cuda",
            use_cpu=device == "cpu",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list(texts),
        processing_class=tokenizer(model.config.vocab_size),
        callbacks=[clock],
    )
    for row, seen in zip(rows, trainer.train_dataset, strict=True):
        assert all(row[name] == seen[f"{name}_ids"] for name in row), "TRL trains on other tokens"
    trainer.train()
    tokens = sum(2 * len(row["prompt"]) + len(row["chosen"]) + len(row["rejected"]) for row in rows)
    assert trainer._total_train_tokens == (1 + STEPS) * tokens, "TRL counts other tokens"
    peak = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else peak_mib()
    return {"tokens": tokens, "seconds": clock.seconds[1:], "loaded_mib": clock.loaded, "peak_mib": peak}


if __name__ == "__main__":
    pairs, folder, case = sys.argv[1:]
    with tempfile.TemporaryDirectory() as output:
        print(json.dumps(measure(json.loads(Path(pairs).read_text()), folder, output, **json.loads(case))))
