"""Divergences against plain autograd on the full vocabulary, in float64; what is a bucket is not dropped."""

import math

import pytest
import torch
import torch.nn.functional as F

from sp3f_verl.errors import BadInput
from sp3f_verl.losses.distill import CHUNK, Divergence, distilled, divergence, sampled

TOKENS, VOCABULARY = 7, 23
KINDS = ("forward_kl", "reverse_kl", "jsd")


def drawn(seed: int, tokens: int = TOKENS, dtype=torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (1.5 * torch.randn(tokens, VOCABULARY, generator=generator, dtype=torch.float64)).to(dtype)


def plain(logits: torch.Tensor, teacher: torch.Tensor, kind: str, b: float) -> torch.Tensor:
    """The definition, of probabilities."""
    p, q = teacher.double().softmax(-1), logits.double().softmax(-1)
    mixture = (1 - b) * q + b * p
    kl = {"forward_kl": (p, q, 1.0), "reverse_kl": (q, p, 1.0)}
    terms = [kl[kind]] if kind in kl else [(p, mixture, b), (q, mixture, 1 - b)]
    return sum(weight * (first * (first / second).log()).sum(-1) for first, second, weight in terms)


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found.double(), expected.double(), rtol=1e-6, atol=1e-6)


def gradient(losses: torch.Tensor, of: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(losses.sum(), of)[0]


def named(teacher: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """ids and log-probs of its k most likely tokens, as a server answers."""
    logps, ids = teacher.log_softmax(-1).topk(k)
    return ids, logps


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("b", [0.1, 0.5])
def test_the_whole_vocabulary_is_the_plain_divergence(kind, b):
    logits, teacher = drawn(1).requires_grad_(), drawn(2)
    settings = Divergence(divergence=kind, b=b, support="full")
    found = distilled(logits, *named(teacher, settings.asked(VOCABULARY)), settings)
    reference = logits.detach().double().requires_grad_()
    expected = plain(reference, teacher, kind, b)
    close(found.losses, expected)
    close(gradient(found.losses, logits), gradient(expected, reference))
    for entropy, own in ((found.teacher_entropy, teacher), (found.student_entropy, logits.detach())):
        close(entropy, torch.distributions.Categorical(logits=own.double()).entropy())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 5, VOCABULARY - 1])
def test_the_tail_is_one_bucket(kind, k):
    """Against probabilities that are added up by hand; dropping the tail would give another number."""
    logits, teacher = drawn(3).requires_grad_(), drawn(4)
    # what a teacher's log-probs in fp32 leave for a rest of 1e-4 has three digits: that is not what is asked here
    ids, logps = named(teacher.double() if k == VOCABULARY - 1 else teacher, k)
    found = distilled(logits, ids, logps, Divergence(divergence=kind, k=k))
    reference = logits.detach().double().requires_grad_()

    def bucketed(of: torch.Tensor) -> torch.Tensor:
        shares = of.double().softmax(-1).gather(-1, ids)
        return torch.cat([shares, 1 - shares.sum(-1, keepdim=True)], -1).log()

    expected = plain(bucketed(reference), bucketed(teacher), kind, 0.5)
    close(found.losses, expected)
    close(gradient(found.losses, logits), gradient(expected, reference))
    assert (found.divergence <= plain(logits.detach(), teacher, kind, 0.5) + 1e-6).all(), "less is known"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 5, VOCABULARY])
def test_a_teacher_that_says_the_same_teaches_nothing(kind, k):
    logits = drawn(5).requires_grad_()
    found = distilled(logits, *named(logits.detach(), k), Divergence(divergence=kind, k=k))
    assert found.losses.abs().max() < 1e-6 and gradient(found.losses, logits).abs().max() < 1e-6


def test_rows_of_the_teacher_that_are_shifted_by_one_do_teach():
    logits = drawn(6)
    ids, logps = named(logits, VOCABULARY)
    found = distilled(logits, ids.roll(1, 0), logps.roll(1, 0), Divergence(support="full"))
    assert (found.losses > 0.1).all()


def test_the_student_is_compared_at_temperature_1():
    logits, teacher = drawn(7), drawn(8)
    ids, logps = named(teacher, 5)
    close(
        distilled(logits / 1.7, ids, logps, Divergence(k=5), temperature=1.7).losses,
        distilled(logits, ids, logps, Divergence(k=5)).losses,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_what_has_no_probability_stays_finite(kind):
    logits, teacher = drawn(9), drawn(10)
    logits[:, 3], teacher[:, 4] = -math.inf, -math.inf
    logits.requires_grad_()
    for k in (2, VOCABULARY):
        found = distilled(logits, *named(teacher, k), Divergence(divergence=kind, k=k))
        assert found.losses.isfinite().all() and gradient(found.losses, logits).isfinite().all()
    certain = torch.full((1, VOCABULARY), -math.inf)
    certain[0, 0] = 0.0
    assert divergence(certain, certain, kind).item() == 0


def test_the_limit_is_of_a_token_and_not_of_a_term():
    """One token at 5 nats, made of terms of which none is the limit's."""
    logits, teacher = drawn(11).requires_grad_(), drawn(12)
    plain_losses = distilled(logits, *named(teacher, VOCABULARY), Divergence(support="full")).losses
    limit = plain_losses.median().item()
    found = distilled(logits, *named(teacher, VOCABULARY), Divergence(support="full", token_limit=limit))
    close(found.losses, plain_losses.clamp(max=limit))
    moved = gradient(found.losses, logits).abs().sum(-1) > 0
    assert moved.tolist() == (plain_losses < limit).logical_or(plain_losses == limit).tolist()


def test_chunks_change_nothing():
    logits, teacher = drawn(13, CHUNK + 3).requires_grad_(), drawn(14, CHUNK + 3)
    ids, logps = named(teacher, 5)
    found = distilled(logits, ids, logps, Divergence(k=5))
    one_by_one = [distilled(logits[i : i + 1], ids[i : i + 1], logps[i : i + 1], Divergence(k=5)) for i in (0, CHUNK)]
    close(found.losses[[0, CHUNK]], torch.cat([each.losses for each in one_by_one]))
    expected = plain(logits.double(), teacher, "forward_kl", 0.5)
    assert (found.losses <= expected + 1e-6).all() and gradient(found.losses, logits).isfinite().all()


def test_the_sampled_token_estimates_value_and_gradient_of_the_reverse_kl():
    """Its mean over all tokens that could be drawn, weighed by their probabilities, is exact."""
    logits, teacher = drawn(15, 1, torch.float64).requires_grad_(), drawn(16, 1, torch.float64)
    student = logits.log_softmax(-1)[0]
    found = sampled(student, teacher.log_softmax(-1)[0])
    shares = student.detach().exp()
    expected = F.kl_div(teacher.log_softmax(-1), logits.log_softmax(-1), log_target=True, reduction="sum")
    close((shares * found.divergence).sum(), expected)
    close(gradient(shares * found.losses, logits), gradient(expected, logits))


def test_settings_at_fault_are_one_sentence():
    for settings, sentence in (
        ({"support": "sampled"}, "set sp3f.distill.divergence=reverse_kl"),
        ({"divergence": "forward_lk"}, "did you mean 'forward_kl'"),
        ({"b": 1}, "x.b=1; set it above 0 and below 1."),
        ({"k": 0}, "x.k=0; set it to a whole number, at least 1."),
        ({"token_limit": 0}, "x.token_limit=0; set it to nats above 0, or null."),
    ):
        with pytest.raises(BadInput) as error:
            Divergence.read(settings, "x")
        assert sentence in str(error.value)
    assert [Divergence(divergence="reverse_kl", support=name).asked(50) for name in ("full", "topk", "sampled")] == [
        *(50, 50, 0)
    ]
