"""verl's reward worker, where the run serves a judge. A module of its own: what reward_manager.py imports would close a
circle when verl imports its reward loop first."""

import functools


def ask_the_manager() -> None:
    """Where verl serves a reward model, its reward worker takes that for the whole reward and asks no reward manager
    (reward_loop.py:compute_score). Ours asks the served model itself: as a judge."""
    from verl.experimental.reward_loop.reward_loop import RewardLoopWorker

    original = RewardLoopWorker.compute_score

    @functools.wraps(original)
    async def compute_score(self, data):
        if self.config.reward.reward_manager.name == "sp3f":
            return await self.reward_manager.run_single(data)
        return await original(self, data)

    RewardLoopWorker.compute_score = compute_score
