"""What verl's PPO trainers (sync, colocate_async, separate_async) lack for the recipes, added to their base class.

verl's V1 trainer logs `reward_extra_info` in validation only. `_compute_metrics` is wrapped so that every reward term
is logged in training too, over all rows and per language. Both wraps are no-ops for a run without the `sp3f` config.
"""

import functools
from collections import defaultdict
from collections.abc import Iterable, Mapping
from numbers import Number

OF_A_GROUP = ("judge_", "group_")


def term_metrics(infos: Iterable[Mapping[str, float]], languages: Iterable[str]) -> dict[str, float]:
    """`reward/<term>/mean` over all rows and, for the terms of a response, `reward/<term>/<language>`.

    What is told of a whole group has no value per language. A language share of -1 means "undefined" and is left out.
    """
    values: dict[str, list[float]] = defaultdict(list)
    for info, language in zip(infos, languages, strict=True):
        for term, value in info.items():
            if isinstance(value, Number) and not (term.endswith("_share") and value < 0):
                values[f"reward/{term}/mean"].append(float(value))
                if not term.startswith(OF_A_GROUP):
                    values[f"reward/{term}/{language}"].append(float(value))
    return {name: sum(each) / len(each) for name, each in values.items()}


def install() -> None:
    from verl.trainer.ppo.v1.trainer_base import PPOTrainer

    PPOTrainer._compute_metrics = _with_terms(PPOTrainer._compute_metrics)
    PPOTrainer._build_replay_buffer = _with_poll_interval(PPOTrainer._build_replay_buffer)


def _with_terms(original):
    @functools.wraps(original)
    def _compute_metrics(self, batch, metrics, *args, **kwargs):
        original(self, batch, metrics, *args, **kwargs)
        if self.config.get("sp3f") is None or self.config.reward.reward_manager.name != "sp3f":
            return
        import transfer_queue as tq

        keys = [key for key, tag in zip(batch.keys, batch.tags, strict=True) if not tag.get("is_padding", False)]
        if not keys:
            return
        fields = ["extra_fields", "language"]
        data = tq.kv_batch_get(keys=keys, partition_id=batch.partition_id, select_fields=fields)
        infos = [extra.get("reward_extra_info") or {} for extra in data.pop("extra_fields").tolist()]
        metrics.update(term_metrics(infos, data.pop("language").tolist()))

    return _compute_metrics


def _with_poll_interval(original):
    """verl polls its replay buffer every 2 s, which is most of a step of a tiny model."""

    @functools.wraps(original)
    def _build_replay_buffer(self):
        buffer = original(self)
        seconds = (self.config.get("sp3f") or {}).get("replay_poll_seconds")
        if seconds is not None:
            buffer.poll_interval = float(seconds)
        return buffer

    return _build_replay_buffer
