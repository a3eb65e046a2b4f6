"""Self-distillation with a privileged teacher (COPSD) on verl's actor: the loss, and how verl is told of it.

verl's engine hands its logits to a loss while they exist, where a batch says `distillation_use_topk`; the loss is then
called again with what it answered. verl's own loss there is a forward KL over the teacher's top k, without the rest of
the vocabulary and with the logits of sampling; this one is losses/distill.py.
"""

import functools

import torch
from verl.trainer.ppo.core_algos import agg_loss
from verl.utils import tensordict_utils as tu
from verl.utils.config import omega_conf_to_dataclass
from verl.utils.metric import AggregationType, Metric
from verl.workers.utils.losses import ppo_loss
from verl.workers.utils.padding import no_padding_2_padding

from sp3f_verl import languages
from sp3f_verl.losses.distill import Distilled, distilled, sampled
from sp3f_verl.training.distill.settings import Distill
from sp3f_verl.verl_bridge.rl.teacher import IDS, LOGPS, distill_of

PREFIX = "distill_"
TOTALS = "distill/total"  # sums over tokens, of which the trainer makes means


def distill_loss(
    model_output=None, data=None, dp_group=None, student_logits=None, *, config, settings: Distill, temperature: float
):
    """verl's contract of a loss: with `student_logits` (1, tokens, V) what is measured of each token, afterwards the
    scalar and its metrics. config: of the actor. temperature: by which verl divided the logits."""
    if student_logits is not None:
        return _of_logits(student_logits[0], data, settings, temperature)
    if settings.support == "sampled":
        model_output = model_output | _of_log_probs(model_output["log_probs"], data, settings)
    taught = no_padding_2_padding(_taught(data), data).bool() & _padded(data["response_mask"]).bool()
    measured = {name: no_padding_2_padding(model_output[PREFIX + name], data) for name in Distilled._fields}
    config.global_batch_info.update({name: data[name] for name in ("dp_size", "batch_num_tokens", "global_batch_size")})
    config.global_batch_info["loss_scale_factor"] = config.loss_scale_factor
    loss = agg_loss(
        loss_mat=measured["losses"], loss_mask=taught, loss_agg_mode=config.loss_agg_mode, **config.global_batch_info
    )
    metrics = {"distill/loss": Metric(value=loss.detach(), aggregation=AggregationType.SUM)}
    metrics |= _totals(measured, taught, data)
    if settings.reward_coef:
        policy_loss, of_policy = ppo_loss(config, model_output, data, dp_group)
        loss, metrics = loss + settings.reward_coef * policy_loss, metrics | of_policy
    return loss, metrics


def _padded(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to_padded_tensor(0) if tensor.is_nested else tensor


def _taught(data) -> torch.Tensor:
    """(tokens,) has the position a row of the teacher? Rows that fill up a batch have, and no response."""
    return data[LOGPS].values().isfinite().all(-1)


def _of_logits(logits: torch.Tensor, data, settings: Distill, temperature: float) -> dict[str, torch.Tensor]:
    """(1, tokens) each, 0 where there is no row."""
    where = _taught(data).nonzero()[:, 0]
    ids, logps = data[IDS].values()[where], data[LOGPS].values()[where]
    divergences = distilled(logits[where], ids, logps, settings, temperature) if len(where) else None
    return {name: values[None] for name, values in _placed(divergences, where, logits[:, 0]).items()}


def _of_log_probs(log_probs: torch.Tensor, data, settings: Distill) -> dict[str, torch.Tensor]:
    where, student = _taught(data).nonzero()[:, 0], log_probs.values()
    divergences = sampled(student[where], data[LOGPS].values()[where, 0], settings.token_limit)
    return _placed(divergences, where, student)


def _placed(divergences: Distilled | None, where: torch.Tensor, like: torch.Tensor) -> dict[str, torch.Tensor]:
    """0 elsewhere, in the graph of the model: a micro-batch without a row has a gradient, of nothing."""
    nothing = 0 * like.float()
    values = divergences or [nothing[where]] * len(Distilled._fields)
    return {
        PREFIX + name: nothing.index_put((where,), value.float())
        for name, value in zip(Distilled._fields, values, strict=True)
    }


def _totals(measured, taught, data) -> dict[str, Metric]:
    """Over the tokens with a row: their number, and by language their number and divergence. The keys are the same in
    every micro-batch and on every rank, which is what verl adds up by, as means over ranks."""
    samples = (taught.any(-1).sum(), _padded(data["response_mask"]).bool().any(-1).sum())
    totals = {"tokens": taught.sum(), "taught": samples[0], "failed": samples[1] - samples[0]}
    totals |= {name: (measured[name].detach() * taught).sum() for name in Distilled._fields if name != "losses"}
    rows = _languages_of(data, len(taught))
    for code in languages.codes():
        own = taught & torch.tensor([row == code for row in rows], device=taught.device)[:, None]
        totals |= {f"tokens/{code}": own.sum(), f"divergence/{code}": (measured["divergence"].detach() * own).sum()}
    return {
        f"{TOTALS}/{name}": Metric(value=float(value) * data["dp_size"], aggregation=AggregationType.SUM)
        for name, value in totals.items()
    }


def _languages_of(data, count: int) -> list[str]:
    codes = data.get("language", None)
    codes = codes.tolist() if hasattr(codes, "tolist") else codes
    return [codes] * count if isinstance(codes, str) else list(codes or [None] * count)


# ---- in the workers ------------------------------------------------------------------------------------------------


def ask_for_logits() -> None:
    """After `verl.workers.engine_workers`: a worker that trains with this loss asks its engine for the logits."""
    from verl.workers.engine_workers import TrainingWorker

    train = TrainingWorker.train_batch

    @functools.wraps(train)
    def train_batch(self, data):
        if getattr(self.loss_fn, "func", None) is distill_loss:
            settings = self.loss_fn.keywords["settings"]
            of_logits = settings.support != "sampled"
            alone = of_logits and not settings.reward_coef  # then nobody reads log-probs
            tu.assign_non_tensor(data, distillation_use_topk=of_logits, distillation_only=alone)
        return train(self, data)

    TrainingWorker.train_batch = train_batch


# ---- in the trainer ------------------------------------------------------------------------------------------------


def with_distill(original):
    """`PPOTrainer.init`: the actor trains with this loss."""

    @functools.wraps(original)
    def init(self):
        original(self)
        settings = distill_of(self.config)
        if settings is not None:
            role = self.config.actor_rollout_ref
            actor = omega_conf_to_dataclass(role.actor)
            of_sampling = float(role.rollout.temperature)
            loss = functools.partial(distill_loss, config=actor, settings=settings, temperature=of_sampling)
            self.actor_rollout_wg.set_loss_fn(loss)

    return init


def with_means(original):
    """`PPOTrainer._update_actor`: means over tokens in place of totals."""

    @functools.wraps(original)
    def _update_actor(self, batch, metrics):
        batch = original(self, batch, metrics)
        metrics.update(means(metrics))
        return batch

    return _update_actor


def means(metrics: dict[str, float]) -> dict[str, float]:
    """Takes the totals out of the metrics of an update; answers `distill/...`."""
    names = {name.partition(f"{TOTALS}/")[2]: name for name in metrics if f"{TOTALS}/" in name}
    totals = {name: metrics.pop(whole) for name, whole in names.items()}
    if not totals:
        return {}
    tokens = max(totals["tokens"], 1)
    own = {f"distill/{name}": totals[name] / tokens for name in Distilled._fields[1:]}
    own |= {f"distill/{name}": totals[name] for name in ("taught", "failed")}
    for name, value in totals.items():
        code = name.removeprefix("tokens/")
        if code != name and value:
            own[f"distill/divergence/{code}"] = totals[f"divergence/{code}"] / value
    return own
