"""What the training side does on one device, in one file that ends in time: exactness, tokens a second, MFU, memory.

    python benchmarks/on_gpu.py [--minutes 8] [--output on_gpu.json]      # a GPU
    python benchmarks/on_gpu.py --device cpu --tiny                       # the same, small: CI

It needs no network. What is not installed is skipped by name: vLLM and Ray (the recipes' runs), TRL (the step beside
ours; `--trl PYTHON` names an environment that has it, such as `scripts/bench_env.sh` makes), and verl itself (then the
losses are left). Where only Ray is missing, a stand-in takes its place: verl imports ray in verl/protocol.py:29 before
anything of its engine, and the engine of one process calls none of it. On a CPU seconds are CPU seconds.
"""

import argparse
import functools
import gc
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from sp3f_verl.cost.devices import known_device
from sp3f_verl.cost.model import ModelSize
from sp3f_verl.losses.objective import Objective

LOSSES = [
    *({"loss": "dpo", "loss_type": kind} for kind in ("sigmoid", "hinge", "ipo", "robust")),
    *({"loss": loss, "loss_type": "sigmoid"} for loss in ("simpo", "simpo_ref")),
    {"loss": "spin", "loss_type": "logistic"},
    *({"loss": "tspin", "loss_type": kind} for kind in ("logistic", "exponential")),
]
BUDGETS, TINY_BUDGETS = (4096, 8192, 16_384, 32_768), (512, 1024)
GIB = 2**30
OURS = ("ours", "shared")  # our head; and with prompts once a pair under flash-attention, too
ONE_PROCESS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
SPARE = 20.0  # seconds before the end in which nothing new is begun


class OutOfTime(BaseException):
    """From the alarm: nothing that catches Exception keeps it."""


class Clock:
    def __init__(self, minutes: float):
        self.end = time.monotonic() + 60 * minutes
        signal.signal(signal.SIGALRM, self._ring)
        signal.setitimer(signal.ITIMER_REAL, 60 * minutes)

    @staticmethod
    def _ring(*_):
        raise OutOfTime

    @property
    def left(self) -> float:
        return self.end - time.monotonic()


# ---- losses -------------------------------------------------------------------------------------------------------


def losses(device: str, **_) -> Iterator[dict]:
    """Each objective's loss and gradients in fp32 on the device, against fp64 on the CPU."""
    for settings in LOSSES:
        objective = Objective(**settings)
        generator = torch.Generator().manual_seed(0)
        values = [-5 * torch.rand(64, generator=generator, dtype=torch.float64) for _ in objective.roles]
        anchor = -torch.rand(64, generator=generator, dtype=torch.float64)
        exact = _loss(objective, values, anchor)
        there = _loss(objective, [part.to(device, torch.float32) for part in values], anchor.to(device, torch.float32))
        scale = max(part.abs().max().item() for part in exact)
        worst = max((a - b.double().cpu()).abs().max().item() for a, b in zip(exact, there, strict=True))
        yield {"case": f"{settings['loss']} {settings['loss_type']}", "largest difference": worst / scale}


def _loss(objective: Objective, values: list[torch.Tensor], anchor: torch.Tensor) -> list[torch.Tensor]:
    leaves = [part.clone().requires_grad_() for part in values]
    loss = objective(leaves, anchor).losses
    loss.sum().backward()
    return [loss.detach(), *(part.grad for part in leaves)]


# ---- verl's engine ------------------------------------------------------------------------------------------------


def without_ray() -> bool:
    """Puts a stand-in where Ray is not installed. Whether it had to."""
    if importlib.util.find_spec("ray") is not None:
        return False

    class Nothing:
        def __init__(self, *_, **__): ...

        def __call__(self, *arguments, **_):
            return arguments[0] if len(arguments) == 1 and callable(arguments[0]) else self

        def __getattr__(self, name):
            if name.startswith("__"):
                raise AttributeError(name)
            return Nothing()

        def __mro_entries__(self, _bases):
            return (object,)

    class Module(types.ModuleType):
        __path__ = ()

        def __getattr__(self, name):
            if name.startswith("__"):
                raise AttributeError(name)
            return type(name, (), {}) if name[:1].isupper() else Nothing()

    class Finder:
        @staticmethod
        def find_spec(name, path=None, target=None):
            return importlib.util.spec_from_loader(name, Finder) if name.split(".")[0] == "ray" else None

        @staticmethod
        def create_module(spec):
            return Module(spec.name)

        @staticmethod
        def exec_module(module): ...

    sys.meta_path.append(Finder)
    return True


def make_model(folder: Path, tiny: bool, device: str) -> None:
    """A random Llama of 1.2 B parameters (Llama 3.2's shape), or a small one."""
    import transformers

    shape = (
        {"hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2, "vocab_size": 512}
        if tiny
        else {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "vocab_size": 128_256}
    )
    queries, keys = (4, 2) if tiny else (32, 8)
    heads = {"num_attention_heads": queries, "num_key_value_heads": keys}
    config = transformers.LlamaConfig(**shape, **heads, max_position_embeddings=32_768, tie_word_embeddings=True)
    torch.manual_seed(0)
    with torch.device(device):
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)


def groups(count: int, responses: int, tiny: bool, vocabulary: int) -> list:
    """Random prompts with random responses: 130 to 430 and 200 to 600 tokens, or a tenth."""
    from sp3f_verl.training.preference.tokens import Group

    rng, scale = np.random.default_rng(0), 0.1 if tiny else 1.0

    def ids(low: int, high: int) -> np.ndarray:
        return rng.integers(3, vocabulary, int(rng.integers(low, high) * scale)).astype(np.int32)

    return [Group(ids(130, 430), tuple(ids(200, 600) for _ in range(responses))) for _ in range(count)]


@functools.cache
def _own_forward() -> Callable:
    from transformers import LlamaForCausalLM

    return LlamaForCausalLM.forward


def engine_of(folder: Path, device: str, head: str, dtype: str):
    """verl's FSDP engine in this process, with verl's head on logits, its fused head, or ours (`shared`: prompts once,
    too, under flash-attention)."""
    from transformers import LlamaForCausalLM
    from verl.trainer.config import CheckpointConfig
    from verl.workers.config import FSDPEngineConfig, FSDPOptimizerConfig, HFModelConfig
    from verl.workers.engine_workers import TrainingWorker, TrainingWorkerConfig

    from sp3f_verl.training.preference import attention
    from sp3f_verl.verl_bridge.preference import head as response_head

    LlamaForCausalLM.forward = _own_forward()  # verl's fused head replaces it for the whole process
    model = HFModelConfig(
        path=str(folder),
        tokenizer_path=None,
        load_tokenizer=False,
        use_remove_padding=True,
        use_fused_kernels=head != "logits",
        fused_kernel_options={"impl_backend": "torch"},
        override_config={"attn_implementation": _attention(device)},
        enable_gradient_checkpointing=device != "cpu",
    )
    fsdp = FSDPEngineConfig(strategy="fsdp2", use_torch_compile=False, mixed_precision={"param_dtype": dtype})
    worker = TrainingWorker(
        TrainingWorkerConfig(
            model_type="language_model",
            model_config=model,
            engine_config=fsdp,
            optimizer_config=FSDPOptimizerConfig(lr=1e-6, total_training_steps=100),
            checkpoint_config=CheckpointConfig(),
        )
    )
    worker.reset()
    if head in OURS:
        response_head.install(worker.engine, share=attention.install(worker.engine, flash=head == "shared"))
    return worker.engine


def _ours(device: str) -> tuple[str, ...]:
    return OURS if _attention(device) == "flash_attention_2" else OURS[:1]


def _attention(device: str) -> str:
    return "flash_attention_2" if device != "cpu" and importlib.util.find_spec("flash_attn") else "sdpa"


def exactness(device: str, folder: Path, **_) -> Iterator[dict]:
    """Rows packed against alone, each head against the model's own: the check that a run makes before step 1."""
    from sp3f_verl.verl_bridge.engine.check import fault_of

    for head in ("logits", "fused", *_ours(device)):
        engine = engine_of(folder, device, head, "fp32" if device == "cpu" else "bf16")
        yield {"case": f"head {head}", "fault": fault_of(engine) or "none"}
        del engine


def steps(device: str, folder: Path, tiny: bool, clock: Clock, **_) -> Iterator[dict]:
    """DPO (both responses, ours) and SFT (one response, verl's loss) at several budgets of tokens a micro-batch."""
    dtype, size = "fp32" if device == "cpu" else "bf16", ModelSize.of(str(folder))
    count = 8 if tiny else 64
    dpo = [("dpo", head, 2) for head in (*_ours(device), "logits")]
    for method, head, responses in (*dpo, ("sft", "logits", 1)):
        engine = engine_of(folder, device, head, dtype)
        made = groups(count, responses, tiny, size.vocabulary)
        for budget in TINY_BUDGETS if tiny else BUDGETS:
            if clock.left < SPARE:
                return
            row = {"case": f"{method}, head {head}, {budget} tokens a micro-batch"}
            try:
                yield row | _step(engine, made, method, head, budget, device, size)
            except torch.OutOfMemoryError:
                yield row | {"skipped": "out of memory"}
        del engine


def _step(engine, made: list, method: str, head: str, budget: int, device: str, size: ModelSize) -> dict:
    """The second of two steps: the first one warms up."""
    from verl.utils import tensordict_utils as tu

    from sp3f_verl.training.preference.tokens import batch_of, total_weight
    from sp3f_verl.verl_bridge.preference.worker import group_loss

    objective = Objective(loss="dpo") if method == "dpo" else None
    references = [tuple(np.full(len(part), -10.0, np.float32) for part in group.responses) for group in made]
    batch = batch_of(made, range(len(made)), [1.0] * len(made), references)
    roles = 2 if objective else 1
    settings = {
        **{"temperature": 1.0, "force_group_size": roles, "calculate_entropy": False},
        **{"tied": objective.tied if objective and head in OURS else None, "use_fused_kernels": head != "logits"},
        **{"use_dynamic_bsz": True, "max_token_len_per_gpu": budget, "use_remove_padding": True},
        "total_weight": total_weight(batch["weight"], roles),
    }
    loss = functools.partial(group_loss, objective=objective) if objective else _sft_loss()
    seconds, now = 0.0, time.process_time if device == "cpu" else time.perf_counter
    for _ in range(2):
        _synchronise(device, reset=True)
        start = now()
        with engine.train_mode():
            engine.optimizer_zero_grad()
            engine.forward_backward_batch(tu.get_tensordict(batch, settings).to(device), loss)
            engine.optimizer_step()
        _synchronise(device)
        seconds = now() - start
    return _speeds(made, seconds, device, size, torch.cuda.max_memory_allocated() if device == "cuda" else 0)


def _speeds(made: list, seconds: float, device: str, size: ModelSize, peak: float) -> dict:
    """peak: bytes. Tokens count a prompt once for its responses, FLOPs once each."""
    flops = 3 * size.forward_flops([len(group.prompt) + len(part) for group in made for part in group.responses])
    known = known_device(torch.cuda.get_device_name()) if device == "cuda" else None
    return {
        "tokens/s": round(sum(group.tokens for group in made) / seconds),
        "MFU": round(flops / seconds / known.peak, 3) if known else None,
        "peak GiB": round(peak / GIB, 1) if device == "cuda" else None,
    }


def beside_trl(device: str, folder: Path, work: Path, tiny: bool, clock: Clock, trl: str, **_) -> Iterator[dict]:
    """TRL's DPOTrainer as it comes, on the pairs of the DPO steps."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()  # what `steps` leaves is TRL's to have
    size, file = ModelSize.of(str(folder)), work / "groups.json"
    made = groups(8 if tiny else 64, 2, tiny, size.vocabulary)
    rows = [
        {"prompt": each.prompt.tolist(), "responses": [[*part.tolist()[:-1], 0] for part in each.responses]}
        for each in made
    ]  # its tokenizer ends a response with token 0
    file.write_text(json.dumps(rows))
    if subprocess.run([trl, "-c", "import trl"], capture_output=True).returncode:
        yield {"case": "TRL", "skipped": f"{trl} has no TRL"}
        return
    environment = {name: value for name, value in os.environ.items() if name not in ONE_PROCESS}
    for micro in (2, 8):
        case = {"micro": micro, "checkpointing": True, "tile": None, "device": device}
        command = [trl, str(Path(__file__).with_name("preference_trl.py")), str(file), str(folder), json.dumps(case)]
        row = {"case": f"TRL's DPOTrainer, micro-batches of {micro} pairs"}
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, env=environment, timeout=max(1, clock.left - SPARE)
            )
        except subprocess.TimeoutExpired:
            yield row | {"skipped": "it did not end in time"}
            return
        if done.returncode:
            yield row | {"skipped": (done.stderr.strip().splitlines() or ["no word"])[-1][:200]}
            continue
        found = json.loads(done.stdout.strip().splitlines()[-1])
        seconds = min(found["seconds"])
        yield row | _speeds(made, seconds, device, size, found["peak_mib"] * 2**20)


def _sft_loss() -> Callable:
    from verl.workers.utils.losses import sft_loss

    return functools.partial(sft_loss, None)


def _synchronise(device: str, reset: bool = False) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
        if reset:
            torch.cuda.reset_peak_memory_stats()


# ---- whole runs ---------------------------------------------------------------------------------------------------


def recipes(clock: Clock, work: Path, device: str, **_) -> Iterator[dict]:
    """`sp3f quickstart --preset smoke`: SFT and SP3F, two steps each, through Ray and vLLM."""
    for package in ("ray", "vllm"):
        if importlib.util.find_spec(package) is None:
            yield {"case": "quickstart", "skipped": f"{package} is not installed"}
            return
    if clock.left < 180:
        yield {"case": "quickstart", "skipped": "less than three minutes are left"}
        return
    command = [sys.executable, "-m", "sp3f_verl.cli", "quickstart", "--preset", "smoke", "--output", str(work / "run")]
    start = time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=clock.left - SPARE)
        yield {"case": "quickstart smoke", "exit": done.returncode, "seconds": round(time.monotonic() - start)}
    except subprocess.TimeoutExpired:
        yield {"case": "quickstart smoke", "skipped": "it did not end in time"}


def _one_process() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    os.environ |= dict(zip(ONE_PROCESS, ("0", "1", "0", "127.0.0.1", str(port)), strict=True))


def _parts(options: argparse.Namespace, results: dict) -> list[Callable]:
    """What can be measured here; what cannot is said in the results."""
    _one_process()
    parts: list[Callable] = [losses]
    if importlib.util.find_spec("verl") is None:
        results["skipped"] = "verl is not installed: its engine was not measured"
    else:
        results["stand-in for ray"] = without_ray()
        import sp3f_verl.plugin  # noqa: F401  (a checkout that is not installed has no entry point)

        parts += [exactness, steps, beside_trl]
    return [*parts, recipes] if options.runs else parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--tiny", action="store_true", help="small sizes, for a CPU")
    parser.add_argument("--runs", action="store_true", help="a run through Ray and vLLM, too")
    text = "of an environment with TRL, for the step beside ours (default: this one)"
    parser.add_argument("--trl", default=sys.executable, metavar="PYTHON", help=text)
    parser.add_argument("--output", type=Path, default=Path("on_gpu.json"))
    options = parser.parse_args()
    clock, results = Clock(options.minutes), {"device": _name(options.device), "torch": torch.__version__}
    with tempfile.TemporaryDirectory() as folder:
        try:
            parts = _parts(options, results)
            if len(parts) > 1:
                make_model(Path(folder) / "model", options.tiny, options.device)
            for part in parts:
                results[part.__name__] = rows = []
                print(f"\n{part.__name__}: {part.__doc__.splitlines()[0]}", flush=True)
                try:
                    for row in part(
                        device=options.device,
                        folder=Path(folder) / "model",
                        work=Path(folder),
                        tiny=options.tiny,
                        clock=clock,
                        trl=options.trl,
                    ):
                        rows.append(row)
                        print("  " + "; ".join(f"{name} {value}" for name, value in row.items()), flush=True)
                except Exception as error:  # one part's fault leaves the others
                    rows.append({"failed": f"{type(error).__name__}: {error}"[:500]})
                    print(f"  failed: {rows[-1]['failed']}", flush=True)
        except OutOfTime:
            results["out of time"] = True
        finally:
            options.output.write_text(json.dumps(results, indent=1) + "\n")
    print(f"\n{options.output}")
    if any("failed" in row for rows in results.values() if isinstance(rows, list) for row in rows):
        raise SystemExit(1)


def _name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else "CPU"


if __name__ == "__main__":
    main()
