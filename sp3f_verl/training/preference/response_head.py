"""Log-probs of response tokens only, in place of a head that multiplies every position with the vocabulary.

verl's fused head does so, prompts too, and computes an entropy that no loss here reads. Prompts are a large share of a
pair's positions, and the head of a small model most of its work.

Logits are computed once, not twice: a loss of summed or mean log-probs has one derivative for all tokens of a row, so a
row's gradients are built where its logits are made, and backward only scales them. A gradient of the head's weight is
as large as the weight; the two rows of a pair share one, since their derivatives are known but for one factor.
"""

import math
from collections.abc import Sequence

import torch

from sp3f_verl.training.preference.positions import Positions, Tie

CHUNK = 256  # tokens whose logits exist at a time
# logits are computed twice where the kept gradients of the weight would take more bytes than this,
ONCE_BYTES = 256 * 2**20
# and where one of them stands for fewer tokens than this, so that it would cost more than it saves
ONCE_TOKENS = 64


class ResponseLogProbs(torch.autograd.Function):
    """(hidden (n, width), weight (vocabulary, width), labels (n,)) -> log softmax(hidden weight^T)[labels], fp32 (n,).

    lengths: tokens of each row, n in all. ties: one a row, or None. With ties, forward builds gradients for derivatives
    of that kind; should they turn out to be others, backward computes the logits again.
    """

    @staticmethod
    def forward(ctx, hidden, weight, labels, lengths: Sequence[int], ties: Sequence[Tie] | None):
        once, (wants_hidden, wants_weight, *_) = ties is not None, ctx.needs_input_grad
        of_hidden = torch.empty_like(hidden) if once and wants_hidden else None
        of_weight = {tie.index: torch.zeros_like(weight) for tie in ties} if once and wants_weight else None
        log_probs = hidden.new_empty(len(labels), dtype=torch.float32)
        for row, part in _chunks([len(labels)] if of_weight is None else lengths):
            into = (None, 1.0) if of_weight is None else (of_weight[ties[row].index], ties[row].scale)
            log_probs[part] = _chunk(hidden, weight, labels, part, None, of_hidden, *into)
        ctx.save_for_backward(hidden, weight, labels)
        ctx.lengths, ctx.ties, ctx.built = lengths, ties, (of_hidden, of_weight) if once else None
        return log_probs

    @staticmethod
    def backward(ctx, gradient):
        built, ctx.built = ctx.built, None  # scaled in place: good for one backward
        if built:
            of_hidden, of_weight = built
            factors = {} if of_weight is None else _factors(gradient, ctx.lengths, ctx.ties)
            if factors is not None:
                of_hidden = None if of_hidden is None else of_hidden.mul_(gradient[:, None])
                return of_hidden, _weighted_sum(of_weight, factors), None, None, None
            del built, of_hidden, of_weight
        hidden, weight, labels = ctx.saved_tensors
        of_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        of_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        for _, part in _chunks([len(labels)]):
            _chunk(hidden, weight, labels, part, gradient, of_hidden, of_weight, 1.0)
        return of_hidden, of_weight, None, None, None


def _chunk(hidden, weight, labels, part, gradient, of_hidden, of_weight, scale) -> torch.Tensor:
    """Log-probs of a slice of tokens. Their gradients, times `gradient` where given, are put into that slice of
    `of_hidden` and, times `scale`, added to `of_weight`; None where one is not wanted."""
    hidden, labels = hidden[part], labels[part, None]
    logits = (hidden @ weight.t()).float()
    chosen, top = logits.gather(-1, labels), logits.amax(-1, keepdim=True)
    total = logits.sub_(top).exp_().sum(-1, keepdim=True)
    if of_hidden is not None or of_weight is not None:
        scaled = torch.ones_like(total) if gradient is None else gradient[part, None]
        of_logits = logits.mul_(-scaled / total).scatter_add_(-1, labels, scaled).to(hidden.dtype)
        if of_hidden is not None:
            torch.mm(of_logits, weight, out=of_hidden[part])
        if of_weight is not None:
            of_weight.addmm_(of_logits.t(), hidden, alpha=scale)
    return (chosen - top - total.log())[:, 0]


def _chunks(lengths):
    """(row, slice) of at most CHUNK tokens; the chunks of a row are about equally long."""
    start = 0
    for row, length in enumerate(lengths):
        size = -(-length // max(1, -(-length // CHUNK)))
        for begin in range(0, length, max(1, size)):
            yield row, slice(start + begin, start + min(begin + size, length))
        start += length


def _factors(gradient, lengths, ties) -> dict[int, float] | None:
    """The unknown of each tie; None where the derivative is not what the ties say."""
    factors = {}
    for row, tie in zip(gradient.split(lengths), ties, strict=True):
        if len(row):
            factor = row[0].item() / tie.scale
            known = factors.setdefault(tie.index, factor)
            if not (row == row[0]).all() or not math.isclose(known, factor, rel_tol=1e-6):
                return None
    return factors


def _weighted_sum(tensors, factors) -> torch.Tensor | None:
    total = None
    for index, tensor in (tensors or {}).items():
        factor = factors.get(index, 0.0)
        total = tensor.mul_(factor) if total is None else total.add_(tensor, alpha=factor)
    return total


class ResponseHead(torch.nn.Module):
    """Called as verl's `FusedLinearForPPO` is, for one forward of packed rows; answers (log-probs, None), 0 where no
    response token is predicted."""

    def __init__(self, positions: Positions, ties: list[Tie]):
        super().__init__()
        self.positions, self.ties = positions, ties

    def forward(self, hidden_states, vocab_weights, input_ids, temperature=1.0):
        if temperature != 1.0:
            raise ValueError(f"log-probs of preference training have temperature 1, not {temperature}.")
        at, labels = self.positions, input_ids.flatten()
        hidden = hidden_states.flatten(0, -2).index_select(0, at.source)
        ties = self.ties if pays_once(vocab_weights, len(at.place), {tie.index for tie in self.ties}) else None
        logps = ResponseLogProbs.apply(hidden, vocab_weights, labels[at.place], at.lengths, ties)
        log_probs = torch.zeros(len(labels), dtype=torch.float32, device=labels.device).index_put((at.place,), logps)
        return log_probs.view(input_ids.shape), None


def pays_once(weight: torch.Tensor, tokens: int, unknowns: set[int]) -> bool:
    """Do the gradients that are built in forward save more than they cost?"""
    if not torch.is_grad_enabled():
        return False
    kept = len(unknowns) if weight.requires_grad else 0  # LoRA: nothing but the gradient of the hidden states
    return kept * weight.numel() * weight.element_size() <= ONCE_BYTES and tokens >= ONCE_TOKENS * kept
