"""Prompts that rows share are computed once, and every row still gets the attention of a row that stands alone."""

import sys
from importlib.machinery import ModuleSpec
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForCausalLM

from sp3f_verl.training.preference import attention
from sp3f_verl.training.preference.positions import positions
from sp3f_verl.training.preference.tokens import Group, batch_of

VOCABULARY = 40


def drawn(draw: np.random.Generator, prompt: int, responses) -> Group:
    def ids(length):
        return draw.integers(0, VOCABULARY, length, dtype=np.int32)

    return Group(ids(prompt), tuple(ids(length) for length in responses))


GROUPS = st.lists(
    st.tuples(st.integers(1, 6), st.lists(st.integers(1, 6), min_size=2, max_size=3)), min_size=1, max_size=4
)


@given(sizes=GROUPS, seed=st.integers(0, 99), share=st.booleans())
def test_every_row_is_found_again_and_every_response_token_in_its_place(sizes, seed, share):
    draw = np.random.default_rng(seed)
    groups = [drawn(draw, prompt, responses) for prompt, responses in sizes]
    batch = batch_of(groups, range(len(groups)), [1.0] * len(groups))
    ids, mask, offsets = batch["input_ids"].values(), batch["loss_mask"].values(), batch["input_ids"].offsets()
    places = positions(ids, mask, offsets, batch["group"], share)
    kept, at = ids[places.kept], batch["position_ids"].values()[places.kept]

    rows = [torch.from_numpy(np.concatenate([g.prompt, part])) for g in groups for part in g.responses]
    seen = attention.sequences(at)
    assert len(seen) == len(rows)
    for (prompt, rest), row in zip(seen, rows, strict=True):
        assert torch.equal(torch.cat([kept[prompt], kept[rest]]), row)
        assert torch.equal(torch.cat([at[prompt], at[rest]]), torch.arange(len(row)))
    assert torch.equal(places.place + 1, mask.nonzero()[:, 0])
    assert torch.equal(kept[places.source], ids[places.place]) and (
        torch.equal(at[places.source], batch["position_ids"].values()[places.place])
    )
    assert places.lengths == tuple(len(part) for group in groups for part in group.responses)
    once = sum(len(g.prompt) + sum(map(len, g.responses)) for g in groups)
    assert len(places.kept) == (once if share else len(ids))


def test_a_repeated_group_or_another_prompt_shares_nothing():
    """A group that fills up a batch follows itself; rows of one group with other prompts are left as they are."""
    group = drawn(np.random.default_rng(0), 3, (2, 2))
    batch = batch_of([group], [0, 0], [1.0, 0.0])
    ids, mask, offsets = batch["input_ids"].values(), batch["loss_mask"].values(), batch["input_ids"].offsets()
    assert len(positions(ids, mask, offsets, torch.tensor([0, 0, 1, 1]), True).kept) == 2 * (3 + 4)
    other = ids.clone()
    other[offsets[1]] = (other[0] + 1) % VOCABULARY
    assert len(positions(other, mask, offsets, torch.tensor([0, 0, 1, 1]), True).kept) == 2 * (3 + 4) + 3


def engine_of(model, **changes):
    settings = {"use_remove_padding": True}
    fields = {"module": model, "model_config": SimpleNamespace(**settings), "use_ulysses_sp": False}
    return SimpleNamespace(**{**fields, "pad_to_length": False, **changes})


def tiny(kind: str, **changes):
    settings = {"vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0}
    window = {"sliding_window": None} if kind == "mistral" else {}
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **{**settings, **heads, **window, **changes})
    return AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").float()


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("own", ["sdpa", "flash_attention_2"])
@pytest.mark.parametrize("kind", attention.MODELS)
def test_a_models_logits_and_gradients_are_those_of_its_own_attention(kind, own, checkpointing, monkeypatch):
    package = SimpleNamespace(flash_attn_varlen_func=emulated, __spec__=ModuleSpec("flash_attn", None))
    monkeypatch.setitem(sys.modules, "flash_attn", package)
    model = tiny(kind)
    draw = np.random.default_rng(1)
    groups = [drawn(draw, 5, (7, 3, 1)), drawn(draw, 1, (4, 9, 2))]
    batch = batch_of(groups, range(2), [1.0, 1.0])
    ids = batch["input_ids"]
    at = positions(ids.values(), batch["loss_mask"].values(), ids.offsets(), batch["group"], True)

    def gradients(logits):
        (logits.log_softmax(-1) * torch.linspace(-1, 1, logits.numel()).view(logits.shape)).sum().backward()
        gradient = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
        model.zero_grad()
        return gradient

    alone = torch.cat([model(row[None]).logits[0] for row in ids.unbind()])[at.place]
    theirs = gradients(alone)
    model.config._attn_implementation = own
    assert attention.install(engine_of(model), flash=True)
    if checkpointing:
        model.train().gradient_checkpointing_enable({"use_reentrant": False})
    packed = ids.values()[None, at.kept], batch["position_ids"].values()[None, at.kept]
    shared = model(packed[0], position_ids=packed[1], use_cache=False).logits[0][at.source]
    torch.testing.assert_close(shared, alone, rtol=1e-4, atol=1e-5)
    ours = gradients(shared)
    assert (ours - theirs).norm() < 1e-5 * theirs.norm()


def emulated(
    query, key, value, query_bounds, key_bounds, longest_queries, longest_keys, *, dropout_p, softmax_scale, causal
):
    """flash_attn_varlen_func as its documentation has it: (tokens, heads, width) each, sequences one after the other,
    the causal mask aligned at the lower right."""
    assert causal and dropout_p == 0 and query_bounds.dtype == key_bounds.dtype == torch.int32
    assert (query_bounds.diff().max(), key_bounds.diff().max()) == (longest_queries, longest_keys)
    outputs, groups = [], query.shape[1] // key.shape[1]
    for a, b, c, d in zip(query_bounds, query_bounds[1:], key_bounds, key_bounds[1:], strict=False):
        keys, values = (part[c:d].repeat_interleave(groups, 1) for part in (key, value))
        scores = torch.einsum("qhw,khw->hqk", query[a:b], keys) * softmax_scale
        seen = torch.ones(b - a, d - c).tril(int((d - c) - (b - a))).bool()
        weights = scores.masked_fill(~seen, -torch.inf).softmax(-1)
        outputs.append(torch.einsum("hqk,khw->qhw", weights, values))
    return torch.cat(outputs)


def test_where_an_engine_keeps_its_own_attention():
    for model, changes in (
        (tiny("qwen2", use_sliding_window=True, sliding_window=4, max_window_layers=1), {}),
        (tiny("mistral", sliding_window=4), {}),
        (tiny("olmo2"), {}),
        (tiny("qwen3"), {"use_ulysses_sp": True}),
        (tiny("qwen3"), {"pad_to_length": True}),
        (tiny("qwen3"), {"model_config": SimpleNamespace(use_remove_padding=False)}),
    ):
        assert not attention.install(engine_of(model, **changes))
        assert model.config._attn_implementation == "sdpa"
    flash = tiny("qwen3")
    flash.config._attn_implementation = "flash_attention_2"
    assert not attention.install(engine_of(flash))
    eager = tiny("qwen3")
    eager.set_attn_implementation("eager")
    assert not attention.install(engine_of(eager))


def test_padded_rows_are_refused_not_mixed_up():
    model = tiny("llama")
    assert attention.install(engine_of(model))
    with pytest.raises(RuntimeError, match="packed rows"):
        model(torch.zeros(2, 3, dtype=torch.long))
