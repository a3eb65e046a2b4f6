"""A preference step, side by side: TRL's DPOTrainer, verl's own heads, ours; and what groups and lengths cost.

A 19.5M-parameter model, vocabulary 32k, sequences of 330 to 1,030 tokens, fp32, one thread. Tokens are those of prompt
and response of every sequence, padding left out, on both sides alike: a prompt that is computed once for two responses
counts twice. CPU time, because wall time is noise on a shared machine: the best step of alternated runs, and how much
longer the worst took. Every run is a process of its own, so that peaks are its own; `above` is the peak without what
was resident before the first step (libraries and model).

    python benchmarks/preference_step.py [python of the environment that scripts/bench_env.sh made]
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
VOCABULARY, PAIRS, ROUNDS = 32_000, 2, 2
PROMPT, RESPONSE = (130, 430), (200, 600)  # tokens, drawn between
OURS = {"side": "verl", "head": "ours", "loss": "dpo", "micro": PAIRS, "checkpointing": False, "live": False}
TRL = {"side": "trl", "micro": PAIRS, "checkpointing": True, "tile": None}


@dataclass
class Case:
    label: str
    settings: dict
    groups: int = PAIRS
    scale: float = 1.0  # of all lengths
    equal: bool = False  # all prompts as long as each other, all responses too
    runs: list[dict] = field(default_factory=list)


BESIDE = [
    Case("TRL as it comes (checkpointing)", TRL),
    Case("TRL, no checkpointing", TRL | {"checkpointing": False}),
    Case("TRL, tile of 256", TRL | {"tile": 256}),
    Case("TRL, tile of 256, no checkpointing", TRL | {"tile": 256, "checkpointing": False}),
    Case("verl, logits of all positions", OURS | {"head": "logits"}),
    Case("verl's fused head", OURS | {"head": "fused"}),
    Case("ours", OURS),
    Case("ours, checkpointing", OURS | {"checkpointing": True}),
    Case("TRL as it comes, micro-batch of 1 pair", TRL | {"micro": 1}),
    Case("TRL, tile of 256, micro-batch of 1 pair", TRL | {"tile": 256, "micro": 1}),
    Case("ours, micro-batch of 1 pair", OURS | {"micro": 1}),
    Case("ours, checkpointing, micro-batch of 1 pair", OURS | {"micro": 1, "checkpointing": True}),
]
T_SPIN = [
    Case("DPO", OURS),
    Case("T-SPIN", OURS | {"loss": "tspin"}),
    Case("DPO, equal lengths", OURS, equal=True),
    Case("T-SPIN, equal lengths", OURS | {"loss": "tspin"}, equal=True),
    Case("DPO, reference computed in the step", OURS | {"live": True}),
    Case("DPO, reference in the step, equal lengths", OURS | {"live": True}, equal=True),
]
GROWTH = [
    *(Case(f"ours, {count} pairs", OURS | {"micro": 1}, groups=count, equal=True) for count in (1, 2, 4, 8)),
    *(Case(f"ours, lengths x {each:g}", OURS | {"micro": 1}, scale=each, equal=True) for each in (0.25, 0.5, 1, 2, 4)),
]


def model_folder(folder: str) -> None:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=VOCABULARY, hidden_size=384, intermediate_size=1024, num_hidden_layers=4, num_attention_heads=6,
        num_key_value_heads=2, head_dim=64, max_position_embeddings=8192, tie_word_embeddings=True, dtype="float32",
    )  # fmt: skip
    Qwen3ForCausalLM(config).save_pretrained(folder)


def groups_of(case: Case) -> list[dict]:
    """Three responses to each prompt; DPO takes the first two. A response ends with token 0."""
    draw = np.random.default_rng(0)

    def ids(low: int, high: int) -> list[int]:
        length = (low + high) / 2 if case.equal else draw.integers(low, high)
        return draw.integers(1, VOCABULARY, int(length * case.scale)).tolist()

    return [
        {"prompt": ids(*PROMPT), "responses": [[*ids(*RESPONSE)[1:], 0] for _ in range(3)]} for _ in range(case.groups)
    ]


def run(case: Case, folder: Path, trl_python: str | None) -> None:
    settings = dict(case.settings)
    side = settings.pop("side")
    file = folder / "groups.json"
    file.write_text(json.dumps(groups_of(case)))
    python = trl_python if side == "trl" else sys.executable
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY")},
        **{"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
    }
    if side == "verl":
        one = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
        environment |= one | {"VERL_PLATFORM": "cpu"}
    command = [python, str(HERE / f"preference_{side}.py"), str(file), str(folder / "model"), json.dumps(settings)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    if done.returncode:
        raise SystemExit(f"{case.label} failed:\n{done.stderr[-2000:]}")
    case.runs.append(json.loads(done.stdout.strip().splitlines()[-1]))


def table(title: str, cases: list[Case], rounds: int, folder: Path, trl_python: str | None) -> None:
    """Runs the cases in turn, `rounds` times, and prints them with ratios to the first."""
    cases = [case for case in cases if trl_python or case.settings["side"] != "trl"]
    for _ in range(rounds):
        for case in cases:
            run(case, folder, trl_python)
    print(f"\n{title:44}{'tokens':>8}{'CPU s':>8}{'worst':>7}{'tokens/CPU s':>14}{'':>7}{'peak MiB':>10}{'above':>7}")
    first = None
    for case in cases:
        seconds = [each for found in case.runs for each in found["seconds"]]
        best, tokens = min(seconds), case.runs[0]["tokens"]
        peak = min(each["peak_mib"] for each in case.runs)
        above = min(each["peak_mib"] - each["loaded_mib"] for each in case.runs)
        first = first or tokens / best
        print(
            f"{case.label:44}{tokens:8}{best:8.2f}{max(seconds) / best - 1:7.0%}{tokens / best:14.0f}"
            f"{tokens / best / first:6.2f}x{peak:10.0f}{above:7.0f}",
            flush=True,
        )


def main(trl_python: str | None) -> None:
    if not trl_python or not Path(trl_python).exists():
        print(f"TRL is left out: {trl_python or 'no python named'}; scripts/bench_env.sh makes its environment.")
        trl_python = None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model_folder(str(folder / "model"))
        table(f"{PAIRS} pairs", BESIDE, ROUNDS, folder, trl_python)
        table("T-SPIN against DPO, 2 groups", T_SPIN, ROUNDS, folder, None)
        table("Growth, micro-batches of 1 pair", GROWTH, 1, folder, None)


if __name__ == "__main__":
    main(*(sys.argv[1:] or [None]))
