"""Are the log-probs of the run's own engine right for this model? Measured before step 1 (`sp3f.check.engine`).

Rows that share a forward must not see one another: a layer with a state (convolution, linear attention, Mamba) takes
packed rows for one. And verl's fused head multiplies hidden states with the head's weight, so that what a model does
besides (bias, scale, soft cap) is left out. Neither shows in a model's name, but both in the log-probs of a few tokens:
rows together against each alone, and the fused head against the model's own forward. An attention kernel may leave out
a soft cap as well; models are trained so all the same (transformers' sdpa does it), so that this is only told.
"""

import functools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

from sp3f_verl.errors import BadInput
from sp3f_verl.log import log
from sp3f_verl.training.preference import dropout
from sp3f_verl.verl_bridge.cpu.platform import CHECK_VARIABLE, DEVICE_VARIABLE

MODES = ("stop", "warn", "off")
PROMPTS, RESPONSES = (7, 7, 9), (30, 15, 40)  # tokens of the rows; the first two have the same prompt
# Root mean squares of log-prob differences, nats a token, that are no fault. In 16 bits a logit of 16 to 32 is rounded
# to multiples of 0.125; in fp32 differences below 1e-5 were seen.
ROUNDING, ROUNDING_16_BITS = 5e-5, 0.1
CHUNK = 8  # tokens, in place of thousands, for models that cut their attention so (Llama 4): rows here are short
NOISE = 4.0  # later rows may differ that many times more than the first, which nothing can leak into

_postponed = False


def install() -> None:
    """After `verl.workers.engine.fsdp`: an engine that is to be trained is checked once it is built."""
    from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead

    original = FSDPEngineWithLMHead.initialize

    @functools.wraps(original)
    def initialize(self):
        original(self)
        if not _postponed:
            check(self)

    FSDPEngineWithLMHead.initialize = initialize


def keep_forwards() -> None:
    """After `verl.models.transformers.monkey_patch`: remembers the forward of a class that gets verl's fused head."""
    from verl.models.transformers import monkey_patch

    original = monkey_patch.patch_forward_with_backends

    @functools.wraps(original)
    def patch_forward_with_backends(model, *args, **kwargs):
        forward = type(model).forward
        if not forward.__module__.startswith("verl."):
            type(model)._forward_before_verl = forward
        return original(model, *args, **kwargs)

    monkey_patch.patch_forward_with_backends = patch_forward_with_backends


@contextmanager
def postponed() -> Iterator[None]:
    """Engines that are built inside are not checked: what builds them changes them first."""
    global _postponed
    _postponed = True
    try:
        yield
    finally:
        _postponed = False


def check(engine, without_dropout: bool = False) -> None:
    """BadInput, or a warning, where the engine's log-probs are not the model's, or, `without_dropout`, are drawn in
    training. A collective call of all workers."""
    mode = os.environ.get(CHECK_VARIABLE, "off") if DEVICE_VARIABLE in os.environ else "off"
    if mode == "off" or engine.engine_config.forward_only or engine.model_config.model_type != "language_model":
        return
    start = time.monotonic()
    fault = fault_of(engine) or (_drawn(engine) if without_dropout else None)
    sentence = fault or doubt_of(engine)
    log.debug(f"the engine's log-probs were checked in {time.monotonic() - start:.2f} s.")
    if fault is not None and mode == "stop":
        raise BadInput(fault)
    if sentence and torch.distributed.get_rank() == 0:
        log.warning(sentence)


def fault_of(engine) -> str | None:
    """One sentence that names the setting which mends it; None where together and alone, fused and plain agree."""
    if engine.model_config.use_fused_kernels and hasattr(engine.module.get_output_embeddings(), "lora_A"):
        # an adapter starts at 0: nothing to measure
        return "the fused head does not see the adapter of lm_head in target_modules; set use_fused_kernels=false."
    with _configured(engine, "attention_chunk_size", CHUNK):
        return _measured(engine)


def _measured(engine) -> str | None:
    settings = engine.model_config
    fused, packed = settings.use_fused_kernels, settings.use_remove_padding
    some = _rows(engine)
    try:
        with _own_forward(engine) if fused else nullcontext():
            plain = log_probs(engine, some, len(PROMPTS), fused=False)
    except Exception as error:  # whatever the model's code raises of inputs that it does not take
        return (
            f"the engine cannot compute log-probs of this model ({_reason(error)}); set another attn_implementation or "
            "use_remove_padding, or sp3f.check.engine=off if it is rows like those of your data that it takes."
        )
    if not all(row.isfinite().all() for row in plain):
        return "the model gives log-probs that are not finite; look at its weights, or set another dtype."
    tolerance = _tolerance(engine)
    together = plain
    if fused:
        try:
            together = log_probs(engine, some, len(PROMPTS), fused=True)
        except Exception as error:
            return f"verl's fused head does not fit this model ({_reason(error)}); set use_fused_kernels=false."
        difference = max(_differences(engine, together, plain))
        if not difference <= tolerance:
            return (
                f"verl's fused head gives other log-probs than the model itself, {difference:.2g} nats a token in the "
                "mean: it leaves out what the model does after or beside its head; set use_fused_kernels=false."
            )
    alone = log_probs(engine, some, 1, fused)
    first, *others = _differences(engine, together, alone)
    if first <= tolerance and max(others) <= tolerance + NOISE * first:
        return None
    how = "packed" if packed else "padded"
    mend = "use_remove_padding=false" if packed else "a micro-batch of one row"
    return (
        f"rows that are {how} together get other log-probs than each alone, {max(first, *others):.2g} nats a token in "
        f"the mean: a layer of this model takes them for one row; set {mend}."
    )


def doubt_of(engine) -> str | None:
    """One sentence where the model's plainest attention gives other log-probs than the run's; None too where the model
    cannot be computed with it."""
    fused, some = engine.model_config.use_fused_kernels, _rows(engine)
    with _own_forward(engine) if fused else nullcontext():
        of_the_run = log_probs(engine, some, len(PROMPTS), fused=False)
        try:
            with _configured(engine, "_attn_implementation", "eager"):
                plain = log_probs(engine, some, len(PROMPTS), fused=False)
        except Exception as error:  # whatever the model's code raises there
            log.debug(f"the run's attention was not compared with the model's own: {_reason(error)}")
            return None
    difference = max(_differences(engine, of_the_run, plain))
    if difference <= _tolerance(engine):
        return None
    return (
        f"the run's attention gives other log-probs than the model's own, {difference:.2g} nats a token in the mean: "
        "it leaves out what the model does beside it (a soft cap, say); set override_config.attn_implementation=eager "
        "to train on what the model, and vLLM, compute."
    )


def _tolerance(engine) -> float:
    return ROUNDING if getattr(engine, "_autocast_dtype", None) == torch.float32 else ROUNDING_16_BITS


def _drawn(engine) -> str | None:
    """One sentence where two passes in training mode differ: a model may take its dropout from a place of its own."""
    if not dropout.declared(engine.model_config.hf_config):
        return None
    some, fused = _rows(engine), engine.model_config.use_fused_kernels
    one, other = (log_probs(engine, some, len(PROMPTS), fused, engine.train_mode) for _ in range(2))
    if not max(_differences(engine, one, other)):
        return None
    return (
        "this model goes on with the dropout of its config in training; set its rates to 0 in model.override_config, "
        "or sp3f.preference.dropout=true."
    )


@contextmanager
def _configured(engine, name: str, value: Any) -> Iterator[None]:
    """Another value in every config of the model that has one."""
    from transformers import PreTrainedConfig

    configs = {id(config): config for module in engine.module.modules() if (config := getattr(module, "config", None))}
    kept = [
        (config, getattr(config, name, None)) for config in configs.values() if isinstance(config, PreTrainedConfig)
    ]
    kept = [(config, before) for config, before in kept if before is not None]
    for config, _ in kept:
        setattr(config, name, value)
    try:
        yield
    finally:
        for config, before in kept:
            setattr(config, name, before)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"


@contextmanager
def _own_forward(engine) -> Iterator[None]:
    """The model's class with its own forward, and the engine with verl's inputs."""
    owner = next(
        kind
        for module in engine.module.modules()
        for kind in type(module).__mro__
        if "_forward_before_verl" in vars(kind)
    )
    replaced, prepare = owner.forward, vars(engine).pop("prepare_model_inputs", None)
    owner.forward = owner._forward_before_verl
    try:
        yield
    finally:
        owner.forward = replaced
        if prepare is not None:
            engine.prepare_model_inputs = prepare


def _rows(engine) -> dict[str, torch.Tensor]:
    """A prompt and a response each, of ordinary tokens; the second row has the prompt of the first."""
    tokenizer, config = engine.model_config.tokenizer, engine.model_config.hf_config.get_text_config()
    added = set(tokenizer.added_tokens_decoder) | set(tokenizer.all_special_ids) if tokenizer is not None else set()
    known = min(config.vocab_size, len(tokenizer) if tokenizer is not None else config.vocab_size)
    ordinary = torch.tensor([token for token in range(known) if token not in added] or [0])
    generator = torch.Generator().manual_seed(1)

    def some(count: int) -> torch.Tensor:
        return ordinary[torch.randint(len(ordinary), (count,), generator=generator)]

    prompts = [some(count) for count in PROMPTS]
    prompts[1] = prompts[0]
    ids = [torch.cat([prompt, some(count)]) for prompt, count in zip(prompts, RESPONSES, strict=True)]
    return rows(ids, PROMPTS, [0, 0, 1])


def rows(ids: Sequence[torch.Tensor], prompts: Sequence[int], groups: Sequence[int]) -> dict[str, torch.Tensor]:
    """Rows for an engine, of token ids and how many of each are the prompt's; rows of a group may share theirs."""

    def nested(parts: list[torch.Tensor]) -> torch.Tensor:
        return torch.nested.as_nested_tensor(parts, layout=torch.jagged)

    return {
        "input_ids": nested(list(ids)),
        "position_ids": nested([torch.arange(len(row)) for row in ids]),
        "loss_mask": nested(
            [(torch.arange(len(row)) >= prompt).long() for row, prompt in zip(ids, prompts, strict=True)]
        ),
        "group": torch.tensor(groups),
    }


def log_probs(
    engine, rows: dict[str, torch.Tensor], micro_batch: int, fused: bool, mode: Callable | None = None
) -> list[torch.Tensor]:
    """Of the response tokens of each row, through the engine, `micro_batch` rows at a time. mode: or eval_mode."""
    from verl.utils import tensordict_utils as tu

    settings = {
        "temperature": 1.0,
        "calculate_entropy": False,
        "use_dynamic_bsz": False,
        "micro_batch_size_per_gpu": micro_batch,
        "use_remove_padding": engine.model_config.use_remove_padding,
        "use_fused_kernels": fused,
        "pad_token_id": getattr(engine.model_config.tokenizer, "pad_token_id", None) or 0,
    }
    kept: list[torch.Tensor] = []

    def keep(model_output, data, dp_group=None):
        kept.extend(row.detach().float().cpu() for row in model_output["log_probs"].unbind())
        return model_output["log_probs"].values().sum() * 0, {}

    with (mode or engine.eval_mode)():
        engine.forward_backward_batch(tu.get_tensordict(dict(rows), settings), keep, forward_only=True)
    return [row[:-1][mask[1:].bool()] for row, mask in zip(kept, rows["loss_mask"].unbind(), strict=True)]


def _differences(engine, one: list[torch.Tensor], other: list[torch.Tensor]) -> list[float]:
    """Root mean square of each row's differences, the largest of all workers."""
    squares = torch.stack([(a - b).square().mean().sqrt() for a, b in zip(one, other, strict=True)])
    squares = squares.nan_to_num(nan=float("inf")).to(next(engine.module.parameters()).device)
    torch.distributed.all_reduce(squares, op=torch.distributed.ReduceOp.MAX)
    return squares.tolist()
