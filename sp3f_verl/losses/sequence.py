"""From the log-probs of tokens to those of sequences."""

import torch

from sp3f_verl.errors import BadInput


def sequence_logps(
    token_logps: torch.Tensor, mask: torch.Tensor, offsets: torch.Tensor | None = None, normalise: bool = False
) -> torch.Tensor:
    """log pi(z|x) = sum over the tokens t of z of log pi(z_t | x, z_<t); or its mean over tokens.

    token_logps: (batch, time), or (tokens,) packed with `offsets` (batch + 1,), row i at offsets[i]:offsets[i + 1].
    mask: same shape; 1 for a token of the response z, 0 for prompt and padding. A masked log-prob may be anything, NaN
    and infinity included: it has no part in value or gradient.
    normalise: divide by the number of response tokens (as SimPO and IPO do; 0 for an empty response).

    Answers (batch,). Sums in fp32 for half types. Pass token_logps minus the reference's to get a log-ratio: to
    subtract per token before summing loses fewer digits than to subtract two sums.
    """
    if token_logps.shape != mask.shape:
        shapes = f"{tuple(token_logps.shape)} and {tuple(mask.shape)}"
        raise BadInput(f"sequence_logps: token_logps and mask differ in shape ({shapes}); give one flag a token.")
    dtype = torch.float32 if token_logps.dtype in (torch.float16, torch.bfloat16) else token_logps.dtype
    mask = mask.bool()
    kept = token_logps.to(dtype).where(mask, 0)
    if offsets is None:
        totals, counts = kept.sum(-1), mask.sum(-1)
    else:
        rows = len(offsets) - 1
        row = torch.repeat_interleave(torch.arange(rows, device=kept.device), offsets.diff())
        totals = kept.new_zeros(rows).index_add(0, row, kept)
        counts = torch.zeros(rows, dtype=torch.long, device=kept.device).index_add(0, row, mask.long())
    return totals / counts.clamp(min=1) if normalise else totals
