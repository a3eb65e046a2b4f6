"""Counts against what a model really has, computes and keeps."""

import pytest
import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode

from sp3f_verl.cost.model import ModelSize
from sp3f_verl.errors import BadInput

TOKENS = 64
SHAPES = {  # hidden, intermediate, query heads, key heads
    "heads of their own": (512, 1408, 8, 8),
    "grouped heads": (512, 1408, 8, 4),
    "wide": (512, 4096, 8, 2),
}
KINDS = {"llama": transformers.LlamaConfig, "qwen2": transformers.Qwen2Config, "qwen3": transformers.Qwen3Config}


def config_of(kind: str, shape: str, layers: int = 2, **more):
    hidden, intermediate, heads, key_heads = SHAPES[shape]
    return KINDS[kind](
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_attention_heads=heads,
        num_key_value_heads=key_heads,
        num_hidden_layers=layers,
        vocab_size=1000,
        **more,
    )


def model_of(config, dtype=torch.float32, attention="sdpa"):
    return transformers.AutoModelForCausalLM.from_config(config, attn_implementation=attention).to(dtype)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_forward_flops_are_those_that_torch_counts(kind, tied):
    """torch counts the whole square of attention scores, the formula the causal half."""
    config = config_of(kind, "grouped heads", tie_word_embeddings=tied)
    size, model = ModelSize.of_config(config), model_of(config, attention="eager")
    with FlopCounterMode(display=False) as counter:
        model(input_ids=torch.zeros(1, TOKENS, dtype=torch.long), use_cache=False)
    other_half = 2 * size.layers * size.attention * TOKENS**2
    assert counter.get_total_flops() == pytest.approx(size.forward_flops([TOKENS]) + other_half, rel=0.01)
    assert size.parameters == sum(weight.numel() for weight in model.parameters())


def saved_bytes(config) -> int:
    """What autograd keeps of a forward pass, without the weights."""
    model = model_of(config, torch.bfloat16)
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model.model(input_ids=torch.zeros(1, TOKENS, dtype=torch.long), use_cache=False)
    return sum(kept.values())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_activations_are_those_that_autograd_keeps(kind, shape):
    of_a_layer = (saved_bytes(config_of(kind, shape, 3)) - saved_bytes(config_of(kind, shape, 1))) / 2 / TOKENS
    assert ModelSize.of_config(config_of(kind, shape)).activation_bytes() == pytest.approx(of_a_layer, rel=0.15)


def test_a_token_goes_through_its_share_of_the_experts():
    shape = dict(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, vocab_size=100)
    one = transformers.MixtralConfig(num_local_experts=1, num_experts_per_tok=1, **shape)
    eight = transformers.MixtralConfig(num_local_experts=8, num_experts_per_tok=1, **shape)
    routers = 2 * 64 * (8 - 1)  # a row an expert and layer
    few, many = ModelSize.of_config(one), ModelSize.of_config(eight)
    assert many.active == few.active + routers and many.parameters > 4 * few.active


def test_a_folder_without_a_config_is_a_sentence(tmp_path):
    with pytest.raises(BadInput, match="has no config that loads"):
        ModelSize.of(str(tmp_path))
