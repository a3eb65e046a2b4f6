"""Divergences of a student's next-token distribution from a teacher's, one number a token, and the student's gradient.

Symbols: p_T teacher, p_S student, V vocabulary, K the tokens that the teacher's `ids` name (its most likely ones), and
    forward_kl  KL(p_T || p_S)        reverse_kl  KL(p_S || p_T)
    jsd         b KL(p_T || m) + (1 - b) KL(p_S || m),  m = (1 - b) p_S + b p_T,  0 < b < 1
Over all of V, over K + 1 outcomes (the tokens of K, and the rest of V as one bucket: by the data-processing inequality
never more than over V, and 0 only where the buckets agree), or from the one token that was sampled.

A limit is per token, after the sum over V: cutting each term of the sum, as COPSD's released code does, changes which
token is learnt.
"""

from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field, model_validator
from torch.utils.checkpoint import checkpoint

from sp3f_verl.errors import BadInput
from sp3f_verl.settings import Number, Settings, Whole, mend

FLOOR = -1e4  # nats: stands for log 0, so that 0 times it is 0
CHUNK = 512  # tokens whose logits exist in fp32 at a time

Kind = Literal["forward_kl", "reverse_kl", "jsd"]


class Divergence(Settings):
    """What is minimised: `divergence` on `support`."""

    divergence: Kind = "forward_kl"
    b: Annotated[Number, Field(gt=0, lt=1), mend("set it above 0 and below 1")] = 0.5
    """jsd only."""
    support: Literal["full", "topk", "sampled"] = "topk"
    """Tokens that the teacher is asked for: the whole vocabulary, the `k` most likely ones, or the sampled one."""
    k: Annotated[Whole, Field(ge=1), mend("set it to a whole number, at least 1")] = 64
    token_limit: Annotated[Number | None, Field(gt=0), mend("set it to nats above 0, or null")] = None
    """A token's divergence counts at most so much; null: no limit."""

    @model_validator(mode="after")
    def _has_an_estimator(self):
        if self.support == "sampled" and self.divergence != "reverse_kl":
            raise BadInput(
                f"sp3f.distill.support=sampled estimates the reverse KL alone, not {self.divergence}; set "
                "sp3f.distill.divergence=reverse_kl, or support=topk."
            )
        return self

    def asked(self, vocabulary: int) -> int:
        """How many of the teacher's log-probs a token takes beside the sampled one's own."""
        return {"full": vocabulary, "topk": min(self.k, vocabulary), "sampled": 0}[self.support]


class Distilled(NamedTuple):
    """Of each token. Everything but `losses` is detached."""

    losses: torch.Tensor  # what is minimised, its gradient the student's
    divergence: torch.Tensor  # nats, before the limit
    teacher_entropy: torch.Tensor  # of the buckets: at most the whole entropy; of a sampled token -log p
    student_entropy: torch.Tensor


def divergence(teacher: torch.Tensor, student: torch.Tensor, kind: Kind, b: float = 0.5) -> torch.Tensor:
    """(..., outcomes) log-probs of both, each adding up to 1 -> (...). Finite for any, log 0 included."""
    teacher, student = (logps.clamp(min=FLOOR) for logps in (teacher, student))
    if kind == "forward_kl":
        return _kl(teacher, student)
    if kind == "reverse_kl":
        return _kl(student, teacher)
    weights = torch.tensor([b, 1 - b], dtype=student.dtype, device=student.device).log()
    mixture = torch.logaddexp(teacher + weights[0], student + weights[1])
    return b * _kl(teacher, mixture) + (1 - b) * _kl(student, mixture)


def _kl(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    return (first.exp() * (first - second)).sum(-1)


def _entropy(logps: torch.Tensor) -> torch.Tensor:
    logps = logps.detach().clamp(min=FLOOR)
    return -(logps.exp() * logps).sum(-1)


def student_buckets(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """logits (tokens, V), ids (tokens, K) distinct -> log-probs (tokens, K + 1) of K and of the rest; (tokens, V) where
    K is V. The rest is summed, not subtracted from 1: small shares keep their digits and their gradient."""
    total = logits.logsumexp(-1, keepdim=True)
    named = logits.gather(-1, ids) - total
    if ids.shape[-1] == logits.shape[-1]:
        return named
    rest = logits.scatter(-1, ids, -torch.inf).logsumexp(-1, keepdim=True) - total
    return torch.cat([named, rest], -1)


def teacher_buckets(logps: torch.Tensor, vocabulary: int) -> torch.Tensor:
    """logps (tokens, K) of the teacher's named tokens -> (tokens, K + 1) with the rest; as they are where K is V."""
    if logps.shape[-1] == vocabulary:
        return logps
    rest = torch.log1p(-logps.double().exp().sum(-1, keepdim=True).clamp(max=1.0)).clamp(min=FLOOR)
    return torch.cat([logps, rest.to(logps.dtype)], -1)


def distilled(
    logits: torch.Tensor, ids: torch.Tensor, logps: torch.Tensor, settings: Divergence, temperature: float = 1.0
) -> Distilled:
    """logits (tokens, V) of the student, divided by `temperature` (as verl's are by that of sampling); ids and logps
    (tokens, K) of the teacher, at temperature 1. The student is compared at temperature 1.

    A chunk of tokens at a time; its logits are computed again in backward in place of being kept in fp32.
    """

    def of(chunk: torch.Tensor, ids: torch.Tensor, logps: torch.Tensor) -> tuple[torch.Tensor, ...]:
        student = student_buckets(_at_least_fp32(chunk) * temperature, ids)
        teacher = teacher_buckets(_at_least_fp32(logps), chunk.shape[-1])
        each = divergence(teacher, student, settings.divergence, settings.b)
        return _limited(each, settings.token_limit), each.detach(), _entropy(teacher), _entropy(student)

    chunks = zip(*(tensor.split(CHUNK) for tensor in (logits, ids.long(), logps)), strict=True)
    parts = [checkpoint(of, *chunk, use_reentrant=False) for chunk in chunks]
    return Distilled(*map(torch.cat, zip(*parts, strict=True)))


def sampled(student: torch.Tensor, teacher: torch.Tensor, limit: float | None = None) -> Distilled:
    """From the sampled token alone, a policy gradient: log-probs (tokens,) of both, of a token that the student drew.

    Its value is log p_S - log p_T, whose mean is the reverse KL; its gradient is that value times grad log p_S, whose
    mean is the gradient of the reverse KL (the gradient of the value itself has mean 0).
    """
    student, teacher = _at_least_fp32(student), _at_least_fp32(teacher).clamp(min=FLOOR)
    value = (student - teacher).detach()
    reward = value if limit is None else value.clamp(-limit, limit)
    losses = reward * (1 + student - student.detach())
    return Distilled(losses, value, -teacher.detach(), -student.detach())


def _limited(each: torch.Tensor, limit: float | None) -> torch.Tensor:
    return each if limit is None else each.clamp(max=limit)


def _at_least_fp32(x: torch.Tensor) -> torch.Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
