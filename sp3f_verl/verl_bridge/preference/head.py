"""Log-probs of response tokens only, in place of verl's fused head, in the workers of preference training.

verl's fused head multiplies every position, prompts too, with the vocabulary, and computes an entropy that no loss here
reads. Prompts are a large share of a pair's positions, and the head of a small model most of its work.
"""

import torch
import torch.nn.functional as F

IGNORED = -100  # the label of a position without a log-prob
CHUNK = 256  # positions whose logits exist at a time


class ResponseLogProbs(torch.autograd.Function):
    """(hidden (n, width), weight (vocabulary, width), labels (n,)) -> log softmax(hidden weight^T)[labels], fp32 (n,).

    Logits are computed twice, chunk by chunk, and never kept.
    """

    @staticmethod
    def forward(ctx, hidden, weight, labels):
        log_probs, normalisers = hidden.new_empty(2, len(labels), dtype=torch.float32)
        for part in _chunks(len(labels)):
            logits = (hidden[part] @ weight.t()).float()
            normalisers[part] = logits.logsumexp(-1)
            log_probs[part] = logits.gather(-1, labels[part, None])[:, 0] - normalisers[part]
        ctx.save_for_backward(hidden, weight, labels, normalisers)
        return log_probs

    @staticmethod
    def backward(ctx, gradient):
        hidden, weight, labels, normalisers = ctx.saved_tensors
        of_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        of_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        for part in _chunks(len(labels)):
            of_logits = (hidden[part] @ weight.t()).float().sub_(normalisers[part, None]).exp_()
            of_logits.mul_(-gradient[part, None])
            of_logits.scatter_add_(-1, labels[part, None], gradient[part, None])
            of_logits = of_logits.to(hidden.dtype)
            if of_hidden is not None:
                of_hidden[part] = of_logits @ weight
            if of_weight is not None:
                of_weight.addmm_(of_logits.t(), hidden[part])
        return of_hidden, of_weight, None


class ResponseHead(torch.nn.Module):
    """Stands in for verl's `FusedLinearForPPO`; answers (log-probs, None), 0 at ignored positions."""

    def __init__(self, chunk_size: int = CHUNK, impl_backend: str = "torch"):
        super().__init__()

    def forward(self, hidden_states, vocab_weights, input_ids, temperature=1.0):
        if temperature != 1.0:
            raise ValueError(f"log-probs of preference training have temperature 1, not {temperature}.")
        labels = input_ids.flatten()
        kept = (labels != IGNORED).nonzero()[:, 0]
        hidden = hidden_states.flatten(0, -2).index_select(0, kept)
        found = ResponseLogProbs.apply(hidden, vocab_weights, labels.index_select(0, kept))
        log_probs = torch.zeros(len(labels), dtype=torch.float32, device=labels.device).index_put((kept,), found)
        return log_probs.view(input_ids.shape), None


def install(engine) -> None:
    """Make this process's engine compute log-probs where `loss_mask` wants them. Only for packed rows and verl's fused
    head with the backend torch; others, and sequence parallelism, keep verl's own."""
    from verl.utils.experimental import torch_functional

    settings = engine.model_config
    backend = (settings.fused_kernel_options or {}).get("impl_backend")
    if not (settings.use_fused_kernels and settings.use_remove_padding and backend == "torch") or engine.use_ulysses_sp:
        return
    torch_functional.FusedLinearForPPO = ResponseHead
    original = engine.prepare_model_inputs

    def prepare_model_inputs(micro_batch):
        inputs, arguments = original(micro_batch)
        wanted = micro_batch["loss_mask"].values().roll(-1).bool()  # position t is about token t + 1
        labels = inputs["shift_labels"]
        wanted = F.pad(wanted, (0, labels.shape[-1] - len(wanted)))  # pad_to_length fills up with nothing
        inputs["shift_labels"] = labels.masked_fill(~wanted, IGNORED)
        return inputs, arguments

    engine.prepare_model_inputs = prepare_model_inputs


def _chunks(length: int) -> list[slice]:
    return [slice(start, start + CHUNK) for start in range(0, length, CHUNK)]
