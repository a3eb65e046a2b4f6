"""Tokens per CPU-second and peak memory of one DPO step on verl's engine, by kind of head; and cost against length.

A 19.5M-parameter model, vocabulary 32k, pairs of 330 to 1,030 tokens, fp32, one thread, the reference precomputed. CPU
time, because wall time is noise on a shared machine. Every case is a process of its own, so that peaks are its own.

    python benchmarks/preference_step.py            # all cases, as a table
"""

import functools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

HEADS = {
    "logits": "verl, logits of all positions",
    "fused": "verl's fused head",
    "response": "ours: response tokens only",
}
STEPS = 2


def model_folder(folder: str) -> None:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=32_000, hidden_size=384, intermediate_size=1024, num_hidden_layers=4, num_attention_heads=6,
        num_key_value_heads=2, head_dim=64, max_position_embeddings=8192, tie_word_embeddings=True, dtype="float32",
    )  # fmt: skip
    Qwen3ForCausalLM(config).save_pretrained(folder)


def groups_of(roles: int, count: int, scale: float):
    """Prompts of 130 to 430 tokens, responses of 200 to 600, times `scale`."""
    import numpy as np

    from sp3f_verl.verl_bridge.preference.tokens import Group

    draw = np.random.default_rng(0)

    def ids(low: int, high: int):
        return draw.integers(0, 32_000, int(draw.integers(low, high) * scale), dtype=np.int32)

    return [Group(ids(130, 430), tuple(ids(200, 600) for _ in range(roles))) for _ in range(count)]


def measure(head: str, loss: str, count: int, scale: float, folder: str) -> dict:
    import torch
    from verl.trainer.config import CheckpointConfig
    from verl.utils import tensordict_utils as tu
    from verl.workers.config import FSDPEngineConfig, FSDPOptimizerConfig, HFModelConfig
    from verl.workers.engine_workers import TrainingWorker, TrainingWorkerConfig

    from sp3f_verl.verl_bridge.preference import head as response_head
    from sp3f_verl.verl_bridge.preference.batches import total_weight
    from sp3f_verl.verl_bridge.preference.objective import Objective
    from sp3f_verl.verl_bridge.preference.tokens import batch_of
    from sp3f_verl.verl_bridge.preference.worker_loss import group_loss

    torch.set_num_threads(1)
    config = HFModelConfig(
        path=folder,
        use_remove_padding=True,
        use_fused_kernels=head != "logits",
        fused_kernel_options={"impl_backend": "torch"},
        override_config={"attn_implementation": "sdpa"},
        enable_gradient_checkpointing=False,
    )
    worker = TrainingWorker(
        TrainingWorkerConfig(
            model_type="language_model",
            model_config=config,
            engine_config=FSDPEngineConfig(
                strategy="fsdp2", use_torch_compile=False, mixed_precision={"param_dtype": "fp32"}
            ),
            optimizer_config=FSDPOptimizerConfig(lr=0.0, total_training_steps=1),
            checkpoint_config=CheckpointConfig(),
        )
    )
    worker.reset()
    if head == "response":
        response_head.install(worker.engine)
    objective = Objective(loss=loss, loss_type="sigmoid" if loss == "dpo" else "logistic")
    size = len(objective.roles)
    groups = groups_of(size, count, scale)
    references = [tuple(each * 0.0 - 10 for each in group.responses) for group in groups]
    batch = batch_of(groups, range(count), [1.0] * count, references)
    settings = {
        **{"temperature": 1.0, "force_group_size": size, "calculate_entropy": False},
        **{"use_dynamic_bsz": False, "micro_batch_size_per_gpu": 1, "use_remove_padding": True},
        **{
            "tied": objective.tied,
            "use_fused_kernels": head != "logits",
            "total_weight": total_weight(batch["weight"], size),
        },
    }
    engine, tokens = worker.engine, sum(group.tokens for group in groups)
    seconds = []
    for _ in range(1 + STEPS):
        rows = tu.get_tensordict(batch, settings)
        with engine.train_mode():
            start = time.process_time()
            engine.optimizer_zero_grad()
            engine.forward_backward_batch(rows, functools.partial(group_loss, objective=objective))
            engine.optimizer_step()
            seconds.append(time.process_time() - start)
    best = min(seconds[1:])
    return {
        "tokens": tokens,
        "seconds": best,
        "tokens_per_second": tokens / best,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def run(*case: str) -> dict:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY")},
        **{"OMP_NUM_THREADS": "1", "VERL_PLATFORM": "cpu", "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"},
        **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"},
    }
    command = [sys.executable, __file__, *case]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    if done.returncode:
        raise SystemExit(f"{' '.join(case)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        model_folder(folder)
        print(f"{'case':44}{'tokens':>8}{'CPU s':>8}{'tokens/CPU s':>14}{'peak MiB':>10}")
        cases = [(label, head, "dpo", 2, 1.0) for head, label in HEADS.items()]
        cases.append(("ours, T-SPIN (three sequences)", "response", "tspin", 2, 1.0))
        cases += [(f"ours, {count} pairs", "response", "dpo", count, 1.0) for count in (4, 8)]
        cases += [(f"ours, lengths x {scale:g}", "response", "dpo", 2, scale) for scale in (0.25, 0.5, 2.0)]
        for label, *case in cases:
            found = run(*map(str, case), folder)
            print(
                f"{label:44}{found['tokens']:8}{found['seconds']:8.2f}{found['tokens_per_second']:14.0f}"
                f"{found['peak_mib']:10.0f}",
                flush=True,
            )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        head, loss, count, scale, folder = sys.argv[1:]
        print(json.dumps(measure(head, loss, int(count), float(scale), folder)))
    else:
        main()
