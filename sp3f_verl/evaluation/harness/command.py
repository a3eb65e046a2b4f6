"""Tasks of lm-evaluation-harness or EuroEval on a model.

sp3f evaluate --harness tspin --model runs/tspin/global_step_300 --backend vllm --output runs/tspin/harness
sp3f evaluate --harness euroeval --languages da,nl --model M --python euroeval/bin/python --output runs/croco/euroeval
sp3f evaluate --harness my_suite.yaml --include my_tasks --model M --output runs/mine
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

from sp3f_verl.boundary import Parser
from sp3f_verl.errors import BadInput
from sp3f_verl.evaluation.harness.model import BACKENDS, euroeval_model, lm_eval_model
from sp3f_verl.evaluation.harness.python import check_python
from sp3f_verl.evaluation.harness.run import Run, run_suite
from sp3f_verl.evaluation.harness.suite import Suite, read_suite, shipped


def run(options: argparse.Namespace) -> None:
    suite = read_suite(options.suite).only(options.tasks, options.languages)
    versions = check_python(options.python, suite)
    job = _lm_eval(options) if suite.package == "lm-eval" else _euroeval(options, suite)
    run_suite(Run(suite, options.model, job, options.python, versions), options.output)


def _lm_eval(options: argparse.Namespace) -> dict[str, Any]:
    _refuse(options, "lm-eval", "iterations")
    for folder in options.include:
        if not folder.is_dir():
            raise BadInput(f"--include={folder} is no folder; give one with task YAMLs of lm-eval.")
    model_type, model_args = lm_eval_model(
        options.model, options.backend, options.base_url, options.tokenizer, options.model_args
    )
    for name in ("pretrained", "peft", "lora_local_path"):  # the runner works in another folder
        if name in model_args and Path(model_args[name]).exists():
            model_args[name] = str(Path(model_args[name]).resolve())
    return {
        "model_type": model_type,
        "model_args": model_args,
        "limit": options.limit,
        "seed": options.seed,
        "include": [str(folder.resolve()) for folder in options.include],
        "batch_size": options.batch_size,
        "device": options.device,
        "apply_chat_template": options.chat_template,
        "log_samples": options.log_samples,
    }


def _euroeval(options: argparse.Namespace, suite: Suite) -> dict[str, Any]:
    _refuse(options, "euroeval", "backend tokenizer model_args include limit chat_template log_samples device")
    benchmarker = {"cache_dir": str(Path.home() / ".cache" / "euroeval"), **suite.settings}
    if options.iterations is not None:
        benchmarker["num_iterations"] = options.iterations
    if options.base_url:
        benchmarker["api_base"] = options.base_url
    return {"model": euroeval_model(options.model, options.base_url), "benchmarker": benchmarker}


def _refuse(options: argparse.Namespace, package: str, names: str) -> None:
    for name in names.split():
        if getattr(options, name):
            raise BadInput(f"--{name.replace('_', '-')} means nothing to {package}; leave it out.")


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _settings(text: str) -> dict[str, Any]:
    pairs = [part.partition("=") for part in _list(text)]
    if not all(name and equals for name, equals, _ in pairs):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE,NAME=VALUE, such as dtype=bfloat16")
    return {name: yaml.safe_load(value) for name, _, value in pairs}


def _backend(text: str) -> str:
    """The name of a backend; lm-eval's own is answered with ours."""
    if now := next((name for name, theirs in BACKENDS.items() if text == theirs != name), None):
        raise argparse.ArgumentTypeError(f"{text} is now {now}; write that")
    return text


def parser() -> Parser:
    parser = Parser(prog="sp3f evaluate --harness", description=__doc__)
    add = parser.add_argument
    add("suite", metavar="SUITE", help=f"{', '.join(shipped())}, or a YAML file of your own")
    add("--model", required=True, help="Hub name, folder, verl run or checkpoint, LoRA adapter, or an endpoint's name")
    add("--output", type=Path, required=True, help="folder for summary.json and what the harness says")
    add("--tasks", type=_list, metavar="A,B", help="these of the suite only")
    add("--languages", type=_list, metavar="A,B", help="the suite's tasks in these languages only")
    add("--python", default=sys.executable, help="the Python that the harness is installed in (default: this one)")
    add("--base-url", help="of an endpoint that serves the model, such as http://localhost:8000/v1")
    add("--seed", type=int, default=1234, help="lm-eval: of few-shot examples and sampling (default: 1234)")
    add("--backend", type=_backend, choices=BACKENDS, help="lm-eval: default transformers; with --base-url completions")
    add("--tokenizer", help="lm-eval: of the model, where it has none or an endpoint serves it")
    add("--model-args", type=_settings, default={}, metavar="A=1,B=2", help="lm-eval: more, such as dtype=float32")
    add("--include", type=Path, action="append", default=[], help="lm-eval: folder with tasks of yours; again for more")
    add("--limit", type=int, help="lm-eval: only the first so many problems of a task, to try it out")
    add("--batch-size", default="auto", help="lm-eval: default auto")
    add("--device", help="lm-eval: such as cuda:0 or cpu")
    add("--chat-template", action="store_true", help="lm-eval: apply the model's (T-SPIN's numbers are without)")
    add("--log-samples", action="store_true", help="lm-eval: keep every prompt and answer, in tasks/*.samples.jsonl")
    add("--iterations", type=int, help="EuroEval: default 3 as CroCo; 10 are EuroEval's own")
    return parser
