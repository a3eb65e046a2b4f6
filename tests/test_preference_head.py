"""The head that computes response tokens only gives the log-probs and gradients of log_softmax over everything."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sp3f_verl.verl_bridge.preference import head


@settings(deadline=None)
@given(rows=st.integers(1, 3), length=st.integers(1, 700), share=st.floats(0, 1), seed=st.integers(0, 99))
def test_log_probs_and_gradients_at_the_wanted_positions(rows, length, share, seed):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(rows, length, 8, generator=generator, requires_grad=True)
    weight = torch.randn(50, 8, generator=generator, requires_grad=True)
    labels = torch.randint(0, 50, (rows, length), generator=generator)
    wanted = torch.rand(rows, length, generator=generator) < share
    coefficients = torch.randn(rows, length, generator=generator)

    found, entropy = head.ResponseHead()(hidden, weight, labels.masked_fill(~wanted, head.IGNORED))
    expected = (hidden @ weight.t()).log_softmax(-1).gather(-1, labels[..., None])[..., 0].where(wanted, 0)
    assert entropy is None
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    ours = torch.autograd.grad((found * coefficients).sum(), (hidden, weight))
    theirs = torch.autograd.grad((expected * coefficients).sum(), (hidden, weight))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_a_frozen_head_gets_no_gradient_and_bf16_gives_fp32():
    hidden = torch.randn(1, 4, 8, dtype=torch.bfloat16, requires_grad=True)
    weight = torch.randn(9, 8, dtype=torch.bfloat16)  # LoRA: the head does not train
    found, _ = head.ResponseHead()(hidden, weight, torch.tensor([[1, 2, head.IGNORED, 3]]))
    assert found.dtype == torch.float32 and found[0, 2] == 0
    found.sum().backward()
    assert hidden.grad.dtype == torch.bfloat16 and hidden.grad[0, 2].abs().sum() == 0
    assert weight.grad is None


def test_another_temperature_is_refused():
    with pytest.raises(ValueError, match=r"temperature 1, not 0\.7"):
        head.ResponseHead()(torch.zeros(1, 1, 2), torch.zeros(3, 2), torch.zeros(1, 1, dtype=torch.long), 0.7)
