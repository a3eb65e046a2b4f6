"""The head that computes response tokens only gives the log-probs and gradients of log_softmax over everything."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sp3f_verl.training.preference import response_head as head
from sp3f_verl.training.preference.positions import Positions, Tie, ties

LENGTHS = st.lists(st.integers(0, 600), min_size=1, max_size=2).flatmap(
    lambda few: st.sampled_from([few, [*few, 0, 3], [*few, 1, 257]])
)


def problem(lengths, seed):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(sum(lengths), 8, generator=generator, requires_grad=True)
    weight = torch.randn(50, 8, generator=generator, requires_grad=True)
    return hidden, weight, torch.randint(0, 50, (sum(lengths),), generator=generator), generator


def check(lengths, ties, derivative, hidden, weight, labels):
    log_probs = head.ResponseLogProbs.apply(hidden, weight, labels, lengths, ties)
    expected = (hidden @ weight.t()).log_softmax(-1).gather(-1, labels[:, None])[:, 0]
    torch.testing.assert_close(log_probs, expected, rtol=1e-5, atol=1e-5)
    ours = torch.autograd.grad((log_probs * derivative).sum(), (hidden, weight), retain_graph=True)
    theirs = torch.autograd.grad((expected * derivative).sum(), (hidden, weight))
    again = torch.autograd.grad((log_probs * derivative).sum(), (hidden, weight))  # what was built is used up
    for a, b, c in zip(ours, theirs, again, strict=True):
        assert (a - b).norm() <= 1e-5 * b.norm() and (c - b).norm() <= 1e-5 * b.norm()


def counting(monkeypatch) -> list:
    """A list that grows with every slice of logits that is computed."""
    seen, original = [], head._chunk
    monkeypatch.setattr(head, "_chunk", lambda *a: seen.append(a[3]) or original(*a))
    return seen


@given(lengths=LENGTHS, seed=st.integers(0, 99), tied=st.sampled_from([None, "sums", "means"]), data=st.data())
def test_log_probs_and_gradients_whatever_is_known_of_the_derivative(lengths, seed, tied, data):
    """Ties that are true, ties that are not, and none."""
    hidden, weight, labels, generator = problem(lengths, seed)
    known = ties(lengths, tied) if len(lengths) % 2 == 0 else ties(lengths, None)
    factors = torch.randn(len(lengths), generator=generator).tolist()
    rows = [torch.full((length,), factors[tie.index] * tie.scale) for length, tie in zip(lengths, known, strict=True)]
    true, other = torch.cat(rows), torch.randn(sum(lengths), generator=generator)
    derivative = data.draw(st.sampled_from([true, other]))
    for given_ties in (None, known):
        check(lengths, given_ties, derivative, hidden, weight, labels)


@pytest.mark.parametrize(
    ("tied", "derivatives", "passes"),
    [
        ("sums", (2.0, -2.0, 0.0, 0.0), 1),
        ("sums", (2.0, -1.0, 3.0, -3.0), 2),  # an anchor on the first response
        ("means", (2.0 / 300, -2.0 / 5, 1.0, -7.0), 1),
        ("means", (2.0, -2.0, 1.0, -7.0), 2),
        (None, (2.0, -1.0, 3.0, 0.5), 1),
    ],
)
def test_logits_are_computed_once_where_the_derivative_is_as_foreseen(tied, derivatives, passes, monkeypatch):
    lengths = [300, 5, 70, 10]
    hidden, weight, labels, _ = problem(lengths, 0)
    seen = counting(monkeypatch)
    log_probs = head.ResponseLogProbs.apply(hidden, weight, labels, lengths, ties(lengths, tied))
    derivative = torch.cat([torch.full((n,), value) for n, value in zip(lengths, derivatives, strict=True)])
    log_probs.backward(derivative)
    assert sum(len(range(*part.indices(sum(lengths)))) for part in seen) == passes * sum(lengths)
    assert max(len(range(*part.indices(sum(lengths)))) for part in seen) <= head.CHUNK


def test_a_derivative_that_is_not_finite_reaches_the_gradient():
    """verl skips the update of a step whose gradient norm is not finite: it must not be lost on the way."""
    hidden, weight, labels, _ = problem([4, 4], 0)
    log_probs = head.ResponseLogProbs.apply(hidden, weight, labels, [4, 4], ties([4, 4], "sums"))
    log_probs.backward(torch.full((8,), float("nan")))
    assert weight.grad.isnan().any() and hidden.grad.isnan().any()


def stand_in(place, count, lengths) -> head.ResponseHead:
    places = torch.tensor(place, dtype=torch.long)
    return head.ResponseHead(Positions(torch.arange(count), places, places, lengths), ties(lengths, None))


def test_a_frozen_head_gets_no_gradient_and_bf16_gives_fp32(monkeypatch):
    """LoRA: the weight does not train, nothing of its size is kept, and logits are computed once for any derivative."""
    hidden = torch.randn(1, 4, 8, dtype=torch.bfloat16, requires_grad=True)
    weight = torch.randn(9, 8, dtype=torch.bfloat16)
    seen = counting(monkeypatch)
    log_probs, entropy = stand_in([0, 1, 3], 4, (3,))(hidden, weight, torch.tensor([[1, 2, 5, 3]]))
    assert log_probs.dtype == torch.float32 and log_probs[0, 2] == 0 and entropy is None
    (log_probs * torch.tensor([1.0, -2.0, 9.0, 3.0])).sum().backward()
    assert len(seen) == 1 and weight.grad is None
    assert hidden.grad.dtype == torch.bfloat16 and hidden.grad[0, 2].abs().sum() == 0
    exact = hidden.detach().float().requires_grad_()
    logps = (exact @ weight.float().t()).log_softmax(-1)[0, [0, 1, 3], [1, 2, 3]]
    (logps * torch.tensor([1.0, -2.0, 3.0])).sum().backward()
    torch.testing.assert_close(hidden.grad.float(), exact.grad, rtol=0.05, atol=0.05)


def test_nothing_is_built_without_gradients_nor_where_it_costs_more_than_it_saves(monkeypatch):
    weight = torch.randn(50, 8, requires_grad=True)
    size = weight.numel() * weight.element_size()
    assert head.pays_once(weight, head.ONCE_TOKENS * 2, {0, 1})
    assert not head.pays_once(weight, head.ONCE_TOKENS * 2 - 1, {0, 1})
    assert head.pays_once(weight.detach(), 1, {0, 1})
    monkeypatch.setattr(head, "ONCE_BYTES", 2 * size - 1)
    assert head.pays_once(weight, 1000, {0}) and not head.pays_once(weight, 1000, {0, 1})
    with torch.no_grad():
        assert not head.pays_once(weight, 1000, {0})


def test_rows_without_response_tokens_have_part_in_nothing():
    assert ties((0, 3), "means") == [Tie(0, 1.0), Tie(0, -1 / 3)]
    hidden = torch.randn(1, 2, 8, requires_grad=True)
    weight = torch.randn(9, 8, requires_grad=True)
    log_probs, _ = stand_in([], 2, (0,))(hidden, weight, torch.tensor([[1, 2]]))
    (log_probs.sum() + 0 * hidden.sum()).backward()
    assert not log_probs.any() and not hidden.grad.any() and not weight.grad.any()


def test_another_temperature_is_refused():
    with pytest.raises(ValueError, match=r"temperature 1, not 0\.7"):
        stand_in([], 1, (0,))(torch.zeros(1, 1, 2), torch.zeros(3, 2), torch.zeros(1, 1, dtype=torch.long), 0.7)
