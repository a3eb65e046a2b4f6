"""Losses against values derived by hand, the paper's pseudo-code, TRL's formulas, and numerical gradients."""

import ast
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from sp3f_verl import losses as L
from sp3f_verl.errors import BadInput
from sp3f_verl.losses.shapes import EXPONENT_LIMIT, exponential

REAL, GENERATED, PROTO = -10.0, -12.0, -15.0  # SPEC 6.4
OPPONENT = (-11.0, -11.5, -14.0)


def doubles(*values: float) -> list[torch.Tensor]:
    return [torch.tensor([value], dtype=torch.float64, requires_grad=True) for value in values]


def randoms(count: int, batch: int = 1000, spread: float = 10.0, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(count, batch, generator=generator, dtype=torch.float64) * spread - 40
    return [tensor.clone().requires_grad_() for tensor in drawn]


def same(loss: torch.Tensor, expected: torch.Tensor, inputs: list[torch.Tensor]) -> None:
    """Equal losses and equal gradients of their means, to 1e-6 (they are exact to fp64 rounding)."""
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-9)
    ours = torch.autograd.grad(loss.mean(), inputs, retain_graph=True, allow_unused=True)
    theirs = torch.autograd.grad(expected.mean(), inputs, retain_graph=True, allow_unused=True)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(
            torch.zeros(1) if a is None else a, torch.zeros(1) if b is None else b, rtol=1e-9, atol=1e-9
        )


@pytest.mark.parametrize(
    ("loss_type", "value", "gradients"),
    [
        # .126928 + .1 * .048587; slopes -sigmoid(-2), sigmoid(-2) - .1 sigmoid(-3), .1 sigmoid(-3)
        ("logistic", 0.131787, (-0.119203, 0.114460, 0.004743)),
        # exp(-2) + .1 exp(-3) = .135335 + .004979
        ("exponential", 0.140314, (-0.135335, 0.130357, 0.004979)),
    ],
)
def test_tspin_by_hand(loss_type, value, gradients):
    inputs = doubles(REAL, GENERATED, PROTO)
    out = L.tspin_loss(*inputs, alpha=1.0, beta=0.1, loss_type=loss_type)
    assert out.losses.item() == pytest.approx(value, abs=1e-6)
    derivatives = [tensor.item() for tensor in torch.autograd.grad(out.losses.sum(), inputs)]
    assert derivatives == pytest.approx(gradients, abs=1e-6)
    assert [out.real_rewards.item(), out.generated_rewards.item(), out.proto_rewards.item()] == [REAL, GENERATED, PROTO]


def test_tspin_ref_and_spin_by_hand():
    policy, opponent = doubles(REAL, GENERATED, PROTO), doubles(*OPPONENT)
    # u = 1 - (-.5) = 1.5, v = -.5 - (-1) = .5
    assert L.tspin_ref_loss(*policy, *opponent).losses.item() == pytest.approx(0.248821, abs=1e-6)
    # z = .1 * 1.5
    out = L.spin_loss(*policy[:2], *opponent[:2], beta=0.1)
    assert out.losses.item() == pytest.approx(0.620957, abs=1e-6)
    assert (out.real_rewards.item(), out.generated_rewards.item()) == pytest.approx((0.1, -0.05))
    assert L.spin_loss(*policy[:2], *opponent[:2], loss_type="hinge").losses.item() == pytest.approx(0.85)


def test_without_history_tspin_is_the_pair_loss_without_a_reference():
    real, generated = doubles(REAL, GENERATED)
    alone = L.tspin_loss(real, generated, None, beta=0)
    assert alone.losses.item() == pytest.approx(-math.log(1 / (1 + math.exp(-2))), abs=1e-9)
    assert alone.proto_rewards is None and not alone.saturated_history.any()
    zero = torch.zeros(1, dtype=torch.float64)
    assert alone.losses.item() == L.dpo_loss(real, generated, zero, zero, beta=1.0).losses.item()
    proto = torch.full((1,), PROTO, dtype=torch.float64)
    assert L.tspin_loss(real, generated, proto, beta=0).losses.item() == alone.losses.item()


@pytest.mark.parametrize(("loss_type", "at_zero"), [("logistic", math.log(2)), ("exponential", 1.0)])
def test_equal_generated_and_proto_add_a_constant_whose_gradients_cancel(loss_type, at_zero):
    """y' = y0: the second term is beta l(0) (.0693147 at beta .1), and its two slopes act on one response."""
    both = torch.tensor([GENERATED], dtype=torch.float64, requires_grad=True)
    real = torch.tensor([REAL], dtype=torch.float64)
    with_history = L.tspin_loss(real, both, both, beta=0.1, loss_type=loss_type).losses
    without = L.tspin_loss(real, both, None, beta=0, loss_type=loss_type).losses
    assert (with_history - without).item() == pytest.approx(0.1 * at_zero, abs=1e-9)
    assert torch.autograd.grad((with_history - without).sum(), both)[0].item() == pytest.approx(0, abs=1e-12)


def test_tspin_equals_the_papers_listing_on_random_inputs():
    inputs = randoms(3)

    def listing(real, generated, proto, alpha, beta):  # App. D
        current = -F.logsigmoid(alpha * (real - generated))
        history = -F.logsigmoid(alpha * (generated - proto))
        return current + beta * history

    for alpha, beta in ((1.0, 0.1), (0.3, 1.0), (1.0, 0.5)):
        same(L.tspin_loss(*inputs, alpha=alpha, beta=beta).losses, listing(*inputs, alpha, beta), inputs)


def test_dpo_types_equal_trls_formulas_on_random_inputs():
    """trl/trainer/dpo_trainer.py: sigmoid, hinge, ipo and robust, written down from there."""
    inputs = randoms(4)
    pc, pr, rc, rr = inputs
    delta = (pc - rc) - (pr - rr)
    for beta, e in ((0.1, 0.0), (0.5, 0.2)):
        z = beta * delta
        good, bad = F.logsigmoid(z), F.logsigmoid(-z)
        same(L.dpo_loss(*inputs, beta=beta, label_smoothing=e).losses, -good * (1 - e) - bad * e, inputs)
        robust = L.dpo_loss(*inputs, beta=beta, loss_type="robust", label_smoothing=e).losses
        same(robust, (-good * (1 - e) + bad * e) / (1 - 2 * e), inputs)
        same(L.dpo_loss(*inputs, beta=beta, loss_type="hinge").losses, torch.relu(1 - z), inputs)
        same(L.dpo_loss(*inputs, beta=beta, loss_type="ipo").losses, (delta - 1 / (2 * beta)) ** 2, inputs)
        out = L.dpo_loss(*inputs, beta=beta)
        torch.testing.assert_close(out.chosen_rewards - out.rejected_rewards, z.detach(), rtol=1e-9, atol=1e-9)
    same(L.simpo_loss(pc, pr, beta=2.0, margin=0.5).losses, -F.logsigmoid(2 * (pc - pr) - 0.5), [pc, pr])


def test_dpo_by_hand_and_at_the_reference():
    """beta .1, delta 20: z = 2. At the reference z = 0, whatever the log-probs: log 2, and beta/2 pulls each side."""
    out = L.dpo_loss(*doubles(-10.0, -40.0, -20.0, -30.0))
    assert out.losses.item() == pytest.approx(0.126928, abs=1e-6)
    assert (out.chosen_rewards.item(), out.rejected_rewards.item()) == pytest.approx((1, -1))
    inputs = doubles(-123.0, -456.0)
    start = L.dpo_loss(*inputs, *doubles(-123.0, -456.0)).losses
    assert start.item() == pytest.approx(math.log(2))
    assert [tensor.item() for tensor in torch.autograd.grad(start.sum(), inputs)] == pytest.approx([-0.05, 0.05])
    anchored = L.with_nll_anchor(torch.tensor([0.5]), torch.tensor([-2.0]), 0.25)
    assert anchored.item() == 1.0


@pytest.mark.parametrize(
    ("loss_type", "slope"), [("logistic", lambda z: -torch.sigmoid(-z)), ("exponential", lambda z: -(-z).exp())]
)
def test_the_gradient_has_the_form_of_equation_8(loss_type, slope):
    """Numerical derivatives of the loss through a model: theta -> L(y), L(y'), L(y0), central differences in fp64."""
    generator = torch.Generator().manual_seed(3)
    weights = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    theta = torch.randn(5, generator=generator, dtype=torch.float64)
    alpha, beta, step = 0.7, 0.3, 1e-6

    def logps(theta):
        return torch.tanh(weights @ theta) * 3

    def loss(theta):
        return L.tspin_loss(*[tensor[None] for tensor in logps(theta)], alpha, beta, loss_type).losses.sum()

    numeric = torch.stack(
        [(loss(theta + step * e) - loss(theta - step * e)) / (2 * step) for e in torch.eye(5, dtype=torch.float64)]
    )
    dy, dg, d0 = torch.autograd.functional.jacobian(logps, theta)
    real, generated, proto = logps(theta)
    u, v = real - generated, generated - proto
    expected = alpha * (slope(alpha * u) * (dy - dg) + beta * slope(alpha * v) * (dg - d0))
    torch.testing.assert_close(numeric, expected, rtol=1e-6, atol=1e-8)


CALLS = {
    **{f"dpo {name}": (4, lambda *x, name=name: L.dpo_loss(*x, loss_type=name)) for name in L.DPO_TYPES},
    "dpo conservative": (4, lambda *x: L.dpo_loss(*x, label_smoothing=0.1)),
    "dpo robust smoothed": (4, lambda *x: L.dpo_loss(*x, loss_type="robust", label_smoothing=0.4)),
    "simpo": (2, lambda *x: L.simpo_loss(*x)),
    **{f"spin {name}": (4, lambda *x, name=name: L.spin_loss(*x, loss_type=name)) for name in L.SPIN_TYPES},
    **{f"tspin {name}": (3, lambda *x, name=name: L.tspin_loss(*x, loss_type=name)) for name in L.TSPIN_TYPES},
    **{f"tspin_ref {name}": (6, lambda *x, name=name: L.tspin_ref_loss(*x, loss_type=name)) for name in L.TSPIN_TYPES},
}


@pytest.mark.parametrize("call", CALLS)
def test_gradcheck(call):
    count, loss = CALLS[call]
    inputs = [tensor[:4].detach().requires_grad_() for tensor in randoms(count, spread=2.0, seed=1)]
    assert torch.autograd.gradcheck(lambda *x: loss(*x).losses, inputs)


WITH_AN_OPTIMUM = {"dpo ipo", "dpo conservative", "dpo robust smoothed"}  # these turn round beyond it
FINITE = st.floats(allow_nan=False, allow_infinity=False, width=32) | st.sampled_from(
    [0.0, 1e30, -1e30, 3e38, -3e38, -700.0, 80.0, -80.0]
)


@pytest.mark.parametrize("call", CALLS)
@given(values=st.lists(FINITE, min_size=6, max_size=6))
def test_any_finite_input_gives_a_finite_loss_and_gradient(call, values):
    count, loss = CALLS[call]
    for dtype in (torch.float32, torch.bfloat16):
        inputs = [torch.tensor([value]).clamp(-3e38, 3e38).to(dtype).requires_grad_() for value in values[:count]]
        out = loss(*inputs)
        assert out.losses.dtype == torch.float32 and all(
            torch.isfinite(tensor).all() for tensor in out if tensor is not None
        )
        gradients = torch.autograd.grad(out.losses.sum(), inputs, allow_unused=True)
        assert all(torch.isfinite(tensor).all() for tensor in gradients if tensor is not None)


@pytest.mark.parametrize("call", [name for name in CALLS if name not in WITH_AN_OPTIMUM])
@given(values=st.lists(st.floats(-60, 0), min_size=6, max_size=6), better=st.floats(0.1, 20))
def test_a_likelier_real_response_never_costs_more(call, values, better):
    """All shapes are decreasing in the first log-prob."""
    count, loss = CALLS[call]
    before = doubles(*values[:count])
    after = doubles(values[0] + better, *values[1:count])
    assert loss(*after).losses.item() <= loss(*before).losses.item() + 1e-12


def test_the_exponential_is_exact_up_to_its_clamp_and_joins_there():
    z = torch.linspace(-EXPONENT_LIMIT, 60, 500, dtype=torch.float64)
    torch.testing.assert_close(exponential(z)[0], (-z).exp(), rtol=1e-12, atol=0)
    at = torch.tensor([-(10 - 1e-9), -(10 + 1e-9)], dtype=torch.float64, requires_grad=True)
    values, saturated = exponential(at, limit=10.0)
    slopes = torch.autograd.grad(values.sum(), at)[0]
    torch.testing.assert_close(values[0], values[1], rtol=1e-8, atol=0)
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-8, atol=0)
    assert saturated.tolist() == [False, True]
    worse = exponential(torch.tensor([-20.0, -200.0, -1e30]), limit=10.0)[0]
    assert worse[0] < worse[1] < worse[2], "the loss still tells a bad example from a worse one"


@pytest.mark.parametrize(
    ("loss_type", "advantage", "expected"),
    [
        ("logistic", (0.0, 4.5, 4.7, -4.5, -4.7), (False, False, True, False, True)),
        ("exponential", (0.0, 4.5, 4.7, -79.0, -81.0), (False, False, True, False, True)),
    ],
)
def test_saturation_of_tspin_is_counted_per_term(loss_type, advantage, expected):
    gap, zero = torch.tensor(advantage), torch.zeros(5)
    out = L.tspin_loss(gap, zero, zero, loss_type=loss_type)
    assert tuple(out.saturated.tolist()) == expected and not out.saturated_history.any()
    out = L.tspin_loss(zero, zero, -gap, loss_type=loss_type)
    assert tuple(out.saturated_history.tolist()) == expected and not out.saturated.any()


def test_a_satisfied_hinge_is_saturated_and_ipo_never():
    chosen, zero = torch.tensor([0.0, 9.0, 11.0, 1e6]), torch.zeros(4)
    assert L.dpo_loss(chosen, zero, zero, zero, loss_type="hinge").saturated.tolist() == [False, False, True, True]
    assert not L.dpo_loss(chosen, zero, zero, zero, loss_type="ipo").saturated.any()


def test_sequence_log_probs_packed_and_dense_agree_and_masked_ones_have_no_part():
    dense = torch.tensor([[-1.0, -2.0, math.nan], [-4.0, math.inf, -8.0], [-7.0, -7.0, -7.0]], requires_grad=True)
    mask = torch.tensor([[1, 1, 0], [1, 0, 1], [0, 0, 0]])
    totals = L.sequence_logps(dense, mask)
    assert totals.tolist() == [-3, -12, 0]
    assert torch.autograd.grad(totals.sum(), dense)[0].tolist() == [[1, 1, 0], [1, 0, 1], [0, 0, 0]]
    assert L.sequence_logps(dense, mask, normalise=True).tolist() == [-1.5, -6, 0]
    packed, offsets = dense.reshape(-1), torch.tensor([0, 3, 6, 9])
    assert L.sequence_logps(packed, mask.reshape(-1), offsets).tolist() == [-3, -12, 0]
    assert L.sequence_logps(packed, mask.reshape(-1), offsets, normalise=True).tolist() == [-1.5, -6, 0]
    uneven = L.sequence_logps(torch.tensor([-1.0, -2.0, -4.0]), torch.ones(3), torch.tensor([0, 1, 3]))
    assert uneven.tolist() == [-1, -6]


def test_subtracting_the_reference_per_token_keeps_digits():
    """1,000 tokens near -3 nats, a log-ratio of 0.05 nats in all: fp32 sums lose what per-token differences keep."""
    generator = torch.Generator().manual_seed(0)
    reference = -3 + torch.randn(64, 1000, generator=generator)
    policy = (reference.double() + 5e-5).float()
    exact = (policy.double() - reference.double()).sum(-1)
    mask = torch.ones_like(policy)
    after = L.sequence_logps(policy, mask) - L.sequence_logps(reference, mask)
    before = L.sequence_logps(policy - reference, mask)
    assert (before - exact).abs().max() < 1e-6 < (after - exact).abs().max()


X = torch.zeros(2)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: L.dpo_loss(X, X, X, X, loss_type="sigmoyd"), "did you mean 'sigmoid'"),
        (lambda: L.dpo_loss(X, X, X, X, beta=0), "beta=0"),
        (lambda: L.dpo_loss(X, X, X, X, label_smoothing=0.5), "label_smoothing=0.5"),
        (lambda: L.dpo_loss(X, X, X, X, loss_type="hinge", label_smoothing=0.1), "not defined for hinge"),
        (lambda: L.dpo_loss(X, X, X, X[:1]), "shape"),
        (lambda: L.simpo_loss(X, X[:1]), "shape"),
        (lambda: L.spin_loss(X, X, X, X, beta=math.nan), "beta=nan"),
        (lambda: L.spin_loss(X, X, X, X, loss_type="exponential"), "logistic, hinge"),
        (lambda: L.tspin_loss(X, X, None, beta=0.1), "no proto"),
        (lambda: L.tspin_loss(X, X, X, alpha=0), "alpha=0"),
        (lambda: L.tspin_loss(X, X, X, beta=-1), "beta=-1"),
        (lambda: L.tspin_loss(X, X, X, exponent_limit=100.0), "exponent_limit=100"),
        (lambda: L.tspin_ref_loss(X, X, X, X, X, None), "both or neither"),
        (lambda: L.sequence_logps(X, X[:1]), "shape"),
    ],
)
def test_a_wrong_argument_is_one_sentence(call, sentence):
    with pytest.raises(BadInput) as error:
        call()
    assert sentence in str(error.value) and str(error.value).endswith(".") and "\n" not in str(error.value)


def test_the_room_imports_torch_and_nothing_of_verl():
    code = (
        "import sys, sp3f_verl.losses; "
        "print([m for m in sys.modules if m.split('.')[0] in ('verl', 'ray', 'vllm', 'transformers', 'tensordict')])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120).stdout.strip() == "[]"
    )
    for file in Path(L.__file__).parent.glob("*.py"):
        assert "torch.distributed" not in {
            name.name
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.Import)
            for name in node.names
        }
