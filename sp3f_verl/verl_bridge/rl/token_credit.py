"""`sp3f.token_credit=rlsd` in verl's trainer: the advantage of a sequence, divided among its tokens by a teacher."""

import functools
from collections.abc import Mapping, Sequence

import torch
import transfer_queue as tq
from tensordict import TensorDict
from verl.workers.utils.padding import response_from_nested

from sp3f_verl.losses.token_credit import credited
from sp3f_verl.verl_bridge.rl.teacher import LOGPS, token_credit_of


def with_token_credit(original):
    """`PPOTrainer._compute_advantage`: verl's advantages, then the teacher's weights on them."""

    @functools.wraps(original)
    def _compute_advantage(self, batch, metrics):
        batch = original(self, batch, metrics)
        settings = token_credit_of(self.config)
        strength = settings.strength_at(self.global_steps) if settings else 0.0
        if strength == 0:
            return batch
        where = {"keys": batch.keys, "partition_id": batch.partition_id}
        fields = ["advantages", "response_mask", "rollout_log_probs", LOGPS, "language"]
        data = tq.kv_batch_get(**where, select_fields=fields)
        languages = data.pop("language").tolist()
        real = [not tag.get("is_padding", False) for tag in batch.tags]
        advantages, of_the_step = divided(data, strength, settings.clip, languages, real)
        metrics.update(of_the_step)
        return tq.kv_batch_put(**where, fields=TensorDict({"advantages": advantages}, batch_size=len(batch)))

    return _compute_advantage


def divided(
    data: Mapping[str, torch.Tensor], strength: float, clip: float, languages: Sequence[str], real: Sequence[bool]
) -> tuple[torch.Tensor, dict[str, float]]:
    """(advantages, metrics) of rows as verl keeps them: nested, of responses; `teacher_logprobs` of whole sequences.

    real: not a row that fills up the batch.
    """
    mask = data["response_mask"]
    delta = response_from_nested(data[LOGPS], mask).values()[:, 0] - data["rollout_log_probs"].values()
    credit = credited(data["advantages"].values(), delta, strength, clip)
    advantages = torch.nested.nested_tensor_from_jagged(credit.advantages, mask.offsets())
    lengths = mask.offsets().diff()
    counted = mask.values().bool() & torch.tensor(real).repeat_interleave(lengths)
    return advantages, _metrics(credit, delta, counted, lengths, languages) | {"token_credit/strength": strength}


def _metrics(credit, delta, counted, lengths, languages) -> dict[str, float]:
    known = counted & delta.isfinite()
    rows = torch.arange(len(lengths)).repeat_interleave(lengths)
    taught = set(rows[known].tolist())
    metrics = {"token_credit/failed": float(len(set(rows[counted].tolist()) - taught))}  # of an empty response, nothing
    if not taught:
        return metrics
    for name, flags in (("up", credit.weights > 1), ("down", credit.weights < 1), ("clipped", credit.clipped)):
        metrics[f"token_credit/{name}"] = flags[known].float().mean().item()
    metrics["token_credit/delta/mean"] = delta[known].mean().item()
    for language in sorted({languages[row] for row in taught}):
        own = torch.tensor([one == language for one in languages])[rows] & known
        metrics[f"token_credit/delta/{language}"] = delta[own].mean().item()
    return metrics
