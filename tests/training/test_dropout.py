"""Preference training is without dropout, wherever a model keeps its rates; its config stays as it was published."""

import pytest
import torch
import transformers

from sp3f_verl.training.preference import dropout

SIZES = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 50}
# kind -> the rates of its config. GPT-2: modules; Llama: a function's argument; Falcon: its config, read in forward
KINDS = {
    "GPT2": {"resid_pdrop": 0.3, "embd_pdrop": 0.3, "attn_pdrop": 0.3},
    "Llama": {"attention_dropout": 0.3, "intermediate_size": 32},
    "Falcon": {"attention_dropout": 0.3, "hidden_dropout": 0.3},
}


@pytest.mark.parametrize("kind", KINDS)
def test_two_passes_in_training_mode_are_the_same(kind):
    config = getattr(transformers, f"{kind}Config")(**SIZES, **KINDS[kind])
    head = "LMHeadModel" if kind == "GPT2" else "ForCausalLM"
    model = getattr(transformers, kind + head)(config).train()
    ids = torch.arange(20)[None]
    with torch.no_grad():
        assert not torch.equal(model(ids).logits, model(ids).logits)
        dropout.switch_off(model)
        assert torch.equal(model(ids).logits, model(ids).logits)
        assert torch.equal(model(ids).logits, model.eval()(ids).logits)
    assert model.config.to_dict() == config.to_dict() and dropout.declared(model.config)


def test_a_config_without_dropout_declares_none():
    assert not dropout.declared(transformers.LlamaConfig())
    nested = transformers.Gemma3Config(text_config={"attention_dropout": 0.1})
    assert dropout.declared(nested)
