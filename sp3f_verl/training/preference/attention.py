"""Attention of packed rows one sequence at a time, in place of one dense mask over all of them.

For packed rows transformers' sdpa makes a mask of (positions, positions) and computes what it masks: quadratic in the
micro-batch. Here every sequence attends to itself only, by torch's causal kernel and without a mask. Sequences that
share a prompt (positions.py) attend to the one copy of it.
"""

import torch
from torch.nn.functional import scaled_dot_product_attention

NAME = "sp3f_packed"
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


def packed_attention(module, query, key, value, attention_mask, dropout=0.0, scaling=None, position_ids=None, **_):
    """transformers' attention interface: (1, heads, positions, width) -> ((1, positions, heads, width), None)."""
    if len(query) != 1 or attention_mask is not None or position_ids is None:
        raise RuntimeError(f"sp3f_verl: the attention {NAME} takes packed rows and their position_ids only.")
    packed, outputs = (query, key, value), []
    for prompt, rest in sequences(position_ids.view(-1)):
        # the prompt's queries too, where it is another's: the causal kernel wants a square
        parts = [torch.cat([tensor[:, :, prompt], tensor[:, :, rest]], 2) for tensor in packed]
        output = scaled_dot_product_attention(*parts, dropout_p=dropout, scale=scaling, is_causal=True, enable_gqa=True)
        outputs.append(output[:, :, prompt.stop - prompt.start :])
    return torch.cat(outputs, 2).transpose(1, 2).contiguous(), None


def install(engine) -> bool:
    """Give this process's engine that attention. False where it keeps its own: not sdpa, rows that are not packed,
    sequence parallelism, padding to fixed lengths, or a model that is not known to have full attention only."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    config = engine.module.config
    packed = engine.model_config.use_remove_padding and not (engine.use_ulysses_sp or engine.pad_to_length)
    windowed = getattr(config, "sliding_window", None) or set(getattr(config, "layer_types", None) or ()) - {FULL}
    if not packed or windowed or config.model_type not in MODELS or config._attn_implementation != "sdpa":
        return False
    ALL_ATTENTION_FUNCTIONS.register(NAME, packed_attention)
    config._attn_implementation = NAME  # no mask is registered under this name, so transformers makes none
    return True
