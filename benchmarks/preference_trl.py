"""One training step of TRL's DPOTrainer, in the environment of scripts/bench_env.sh; run by preference_step.py.

    python benchmarks/preference_trl.py PAIRS.json MODEL MICRO_BATCH TILE CHECKPOINTING FOLDER

TILE is the number of positions whose logits TRL holds at a time (its TOKEN_CHUNK_SIZE, 4096 as it comes).
CHECKPOINTING 1 is TRL's default. Everything else is TRL's default but for fp32 on a CPU. A step is what Trainer does
between `on_step_begin` and `on_step_end`: micro-batches forward and backward, clipping, AdamW. The reference is
precomputed by TRL before the first step (`precompute_ref_log_probs`); `_compute_loss` then reads it from the batch.
"""

import json
import sys
import time

import torch
from datasets import Dataset
from memory import peak_mib, resident_mib
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, TrainerCallback
from trl import DPOConfig, DPOTrainer
from trl.kernels import chunked_logprob

STEPS = 3


def word(token: int) -> str:
    return f"w{token}."


def words(ids: list[int]) -> str:
    return " ".join(map(word, ids))


def tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    """`w17.` is token 17; the end of a sequence is `w0.`, with which every response ends already."""
    plain = Tokenizer(models.WordLevel({word(each): each for each in range(vocabulary)}, unk_token=word(1)))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=plain, eos_token=word(0), pad_token=word(0), unk_token=word(1))


class Clock(TrainerCallback):
    def __init__(self):
        self.seconds, self.loaded = [], None

    def on_step_begin(self, args, state, control, **_):
        if self.loaded is None:
            self.loaded = resident_mib()
        self.start = time.process_time()

    def on_step_end(self, args, state, control, **_):
        self.seconds.append(time.process_time() - self.start)


def main(pairs: str, folder: str, micro: int, tile: int, checkpointing: bool, output: str) -> dict:
    torch.set_num_threads(1)
    chunked_logprob.TOKEN_CHUNK_SIZE = tile
    rows = json.load(open(pairs))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
    texts = [
        {"prompt": words(row["prompt"]), **{side: " " + words(row[side]) for side in ("chosen", "rejected")}}
        for row in rows
    ]
    clock = Clock()
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
            bf16=False,
            use_cpu=True,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list(texts),
        processing_class=tokenizer(model.config.vocab_size),
        callbacks=[clock],
    )
    seen = trainer.train_dataset
    same = [(row["prompt_ids"], row["chosen_ids"], row["rejected_ids"]) for row in seen]
    assert same == [(row["prompt"], row["chosen"], row["rejected"]) for row in rows], "TRL trains on other tokens"
    trainer.train()
    assert trainer.state.global_step == 1 + STEPS and trainer._total_train_tokens == (1 + STEPS) * sum(
        2 * len(row["prompt"]) + len(row["chosen"]) + len(row["rejected"]) for row in rows
    ), "TRL counts other tokens"
    return {"seconds": clock.seconds[1:], "loaded_mib": clock.loaded, "peak_mib": peak_mib()}


if __name__ == "__main__":
    pairs, folder, micro, tile, checkpointing, output = sys.argv[1:]
    print(json.dumps(main(pairs, folder, int(micro), int(tile), checkpointing == "1", output)))
