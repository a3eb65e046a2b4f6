"""Attention of packed rows one sequence at a time, in place of one dense mask over all of them.

For packed rows transformers' sdpa makes a mask of (positions, positions) and computes what it masks: quadratic in the
micro-batch. Here every sequence attends to itself only, by torch's causal kernel and without a mask. Sequences that
share a prompt (positions.py) attend to the one copy of it.

With flash-attention the same is one call for all sequences: its queries are a sequence's own positions, its keys those
of the prompt and its own, and its causal mask is aligned at the end of both (flash-attn from 2.1 on).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.nn.functional import scaled_dot_product_attention

NAMES = {"sdpa": "sp3f_packed", "flash_attention_2": "sp3f_packed_flash"}  # whose place -> our name
FULL = "full_attention"  # transformers' name of a layer without a window
MODELS = ("cohere", "gemma", "llama", "mistral", "qwen2", "qwen3")  # each is tested against its own sdpa


def sequences(position_ids: torch.Tensor) -> list[tuple[slice, slice]]:
    """(shared prompt, own positions) of every sequence of packed `position_ids` (positions,).

    A sequence begins where positions do not go on by one. One that begins at p > 0 shares the first p positions of the
    last that began at 0.
    """
    starts = [0, *((position_ids.diff() != 1).nonzero()[:, 0] + 1).tolist()]
    parts, first = [], 0
    for start, end in zip(starts, [*starts[1:], len(position_ids)], strict=True):
        shared = int(position_ids[start])
        first = first if shared else start
        parts.append((slice(first, first + shared), slice(start, end)))
    return parts


class Layout(NamedTuple):
    """Of packed rows for flash-attention. keys: (all keys,) the position of each; bounds: (sequences + 1,), int32."""

    keys: torch.Tensor
    query_bounds: torch.Tensor
    key_bounds: torch.Tensor
    longest_queries: int
    longest_keys: int


def layout(position_ids: torch.Tensor) -> Layout:
    parts = sequences(position_ids.cpu())
    queries = torch.tensor([0, *(own.stop - own.start for _, own in parts)])
    keys = torch.tensor([0, *(own.stop - own.start + prompt.stop - prompt.start for prompt, own in parts)])
    at = torch.cat([torch.arange(part.start, part.stop) for pair in parts for part in pair])
    device = position_ids.device
    bounds = [lengths.cumsum(0).to(device, torch.int32) for lengths in (queries, keys)]
    return Layout(at.to(device), *bounds, int(queries.max()), int(keys.max()))


_last: dict[Callable, tuple[torch.Tensor, object]] = {}


def _once(make: Callable, position_ids: torch.Tensor):
    """`make` of the positions, once for all layers of a forward: they get the same tensor, and it asks the device."""
    if make not in _last or _last[make][0] is not position_ids:
        _last[make] = position_ids, make(position_ids.view(-1))
    return _last[make][1]


def _check(query, attention_mask, position_ids) -> None:
    if len(query) != 1 or attention_mask is not None or position_ids is None:
        raise RuntimeError("sp3f_verl: the attention of packed rows takes packed rows and their position_ids only.")


def packed_attention(module, query, key, value, attention_mask, dropout=0.0, scaling=None, position_ids=None, **_):
    """transformers' attention interface: (1, heads, positions, width) -> ((1, positions, heads, width), None)."""
    _check(query, attention_mask, position_ids)
    packed, outputs = (query, key, value), []
    for prompt, rest in _once(sequences, position_ids):
        # the prompt's queries too, where it is another's: the causal kernel wants a square
        parts = [torch.cat([tensor[:, :, prompt], tensor[:, :, rest]], 2) for tensor in packed]
        output = scaled_dot_product_attention(*parts, dropout_p=dropout, scale=scaling, is_causal=True, enable_gqa=True)
        outputs.append(output[:, :, prompt.stop - prompt.start :])
    return torch.cat(outputs, 2).transpose(1, 2).contiguous(), None


def flash_attention(module, query, key, value, attention_mask, dropout=0.0, scaling=None, position_ids=None, **_):
    """The same by flash-attn's kernel for sequences of many lengths."""
    from flash_attn import flash_attn_varlen_func

    _check(query, attention_mask, position_ids)
    at = _once(layout, position_ids)
    query, key, value = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    output = flash_attn_varlen_func(
        query.contiguous(),
        key[at.keys],
        value[at.keys],
        at.query_bounds,
        at.key_bounds,
        at.longest_queries,
        at.longest_keys,
        dropout_p=dropout,
        softmax_scale=scaling,
        causal=True,
    )
    return output[None], None


def install(engine, flash: bool = False) -> bool:
    """Give this process's engine that attention. False where it keeps its own: neither sdpa nor, with `flash`,
    flash_attention_2; rows that are not packed, sequence parallelism, padding to fixed lengths, or a model that is not
    known to have full attention only."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    config = engine.module.config
    packed = engine.model_config.use_remove_padding and not (engine.use_ulysses_sp or engine.pad_to_length)
    windowed = getattr(config, "sliding_window", None) or set(getattr(config, "layer_types", None) or ()) - {FULL}
    takes = ("sdpa", "flash_attention_2") if flash else ("sdpa",)
    if not packed or windowed or config.model_type not in MODELS or config._attn_implementation not in takes:
        return False
    name = NAMES[config._attn_implementation]
    function = packed_attention if config._attn_implementation == "sdpa" else flash_attention
    ALL_ATTENTION_FUNCTIONS.register(name, function)
    config._attn_implementation = name  # no mask is registered under this name, so transformers makes none
    return True
