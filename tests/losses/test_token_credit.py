"""A_t by hand, and where it is A exactly."""

import math

import pytest
import torch

from sp3f_verl.losses.token_credit import credited


def test_by_hand():
    """strength .5, clip .2: e^.1 = 1.105; e^-.1 = .905; e^.5 and e^-.5 are clipped to 1.2 and .8."""
    advantages = torch.tensor([2.0, 2.0, 2.0, 2.0, -2.0, -2.0, -2.0, 0.0])
    delta = torch.tensor([0.1, -0.1, 0.5, -0.5, 0.1, -0.1, -0.5, 3.0])
    found = credited(advantages, delta, strength=0.5, clip=0.2)
    up, down = math.exp(0.1), math.exp(-0.1)
    assert found.weights.tolist() == pytest.approx([up, down, 1.2, 0.8, down, up, 1.2, 1.0])
    expected = [1 + up, 1 + down, 2.2, 1.8, -1 - down, -1 - up, -2.2, 0.0]
    assert found.advantages.tolist() == pytest.approx(expected)
    assert found.clipped.tolist() == [False, False, True, True, False, False, True, False]


@pytest.mark.parametrize(("delta", "strength"), [(0.0, 1.0), (5.0, 0.0), (math.nan, 0.7), (math.inf, 0.7)])
def test_it_is_the_advantage_of_the_sequence_exactly(delta, strength):
    """A teacher that reads what the student read, a schedule at its end, a teacher that did not answer."""
    advantages = torch.randn(100, generator=torch.Generator().manual_seed(1))
    found = credited(advantages, torch.full((100,), delta), strength, 0.2)
    assert torch.equal(found.advantages, advantages)


def test_the_sign_is_the_rewards():
    generator = torch.Generator().manual_seed(2)
    advantages, delta = torch.randn(1000, generator=generator), 20 * torch.randn(1000, generator=generator)
    found = credited(advantages, delta, strength=1.0, clip=0.2)
    assert torch.equal(found.advantages.sign(), advantages.sign())
    assert ((found.advantages / advantages - 1).abs() < 0.2 + 1e-6).all()
    assert credited(torch.ones(1), torch.tensor([200.0]), 1.0, 0.2).advantages.isfinite().all()
