"""`sp3f.rollout.trust_rollout_log_probs`: the pass that computes old log-probs is made every so many steps only.

It is verl's bypass mode: the rollout's own log-probs are those of the old policy, the ratio is pi / pi_rollout, and
PPO's clip truncates it. A forward pass a step is saved: a fifth to a quarter of its training, with one update a batch.
But nobody then sees whether the servers serve the trained weights. So the first step, and every `check_every`-th after
it, makes the pass all the same: its log-probs are used, and `training/rollout_probs_diff_max` is logged.
"""

import functools


def is_due(step: int, check_every: int) -> bool:
    """step: from 1 on."""
    return (step - 1) % check_every == 0


def checked_now_and_then(original):
    @functools.wraps(original)
    def _compute_old_log_prob(self, batch, metrics):
        settings = (self.config.get("sp3f") or {}).get("rollout") or {}
        if not settings.get("trust_rollout_log_probs") or not is_due(self.global_steps, settings["check_every"]):
            return original(self, batch, metrics)
        correction = self.config.algorithm.rollout_correction
        correction.bypass_mode = False
        try:
            return original(self, batch, metrics)
        finally:
            correction.bypass_mode = True

    return _compute_old_log_prob
