"""Reward manager `sp3f`: rule terms of every response and the judge's win rates within the group, summed by weight.

Called by `verl_bridge.group` with all rollouts of a prompt (n rows in, n scores out), and by verl itself with one.
"""

import asyncio
import time

from sp3f_verl.data.rows import canonical
from sp3f_verl.judge.aggregate import NEUTRAL
from sp3f_verl.judge.judged import Judged
from sp3f_verl.judge.panel import GroupRecord
from sp3f_verl.rewards.terms import check_weights, rule_terms_async, total
from sp3f_verl.verl_bridge.group import SESSIONS, VALIDATE
from sp3f_verl.verl_bridge.judge_actor import judge_actor

SHOWN = ("id", "language", "query_en", "solution_en", "translated_solution", "reward_model")  # what a judge may see


def register() -> None:
    """Called once verl's registry is there (see hooks.py)."""
    from verl.experimental.reward_loop.reward_manager import register as register_with_verl
    from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase

    @register_with_verl("sp3f")
    class SP3FRewardManager(RewardManagerBase):
        """total = sum of weight x term (SP3F section 3; SPEC 1c), terms and total in [0, sum of the weights]."""

        def __init__(self, config, tokenizer, compute_score, reward_router_address=None, reward_model_tokenizer=None):
            super().__init__(config, tokenizer, compute_score)
            settings = config.sp3f
            self.weights = dict(settings.reward.weights)
            check_weights(self.weights)
            self.threshold = float(settings.reward.language_threshold)
            self.languages = tuple(settings.get("languages") or ())
            self.judge = judge_actor(config)
            if self.judge is None and self.weights.get("judge"):
                raise ValueError("judge=none leaves the reward term 'judge' without a value; set its weight to 0.")

        async def run_single(self, data) -> dict:
            rows = data.non_tensor_batch
            whole_group = SESSIONS in rows
            first = {key: value[0] for key, value in rows.items()}
            if not whole_group:  # verl itself calls: the last sequence of one trajectory is what is rewarded
                data = data[-1:]
            responses = await self.loop.run_in_executor(None, self._texts, data)
            row = canonical(first)
            validate = bool(first.get(VALIDATE, False))
            scores, infos = await self.score_group(responses, row, judged=whole_group and not validate)
            if not whole_group:
                return {"reward_score": scores[0], "reward_extra_info": infos[0]}
            return {"reward_score": scores, "reward_extra_info": infos}

        async def score_group(self, responses: list[str], row: dict, judged: bool) -> tuple[list[float], list[dict]]:
            """Scores (n,) and one flat dict of numbers a response, with the same keys for every response."""
            start, n = time.perf_counter(), len(responses)
            asked = judged and n > 1 and self.judge is not None
            gold = row["reward_model"]["ground_truth"]
            terms, judgement = await asyncio.gather(
                asyncio.gather(
                    *(
                        rule_terms_async(each, gold, row["language"], self.threshold, self.languages)
                        for each in responses
                    )
                ),
                self._judged(responses, row if asked else None),
            )
            seconds = time.perf_counter() - start
            of_group = {"group_size": float(n), "group_seconds": seconds}
            infos = [
                {**term, "judge": rate, "judge_valid": float(valid), **of_group}
                for term, rate, valid in zip(terms, judgement.rates, judgement.valid, strict=True)
            ]
            scores = [total(info, self.weights) for info in infos]
            if asked:
                correct, chars = [bool(info["accuracy"]) for info in infos], [len(each) for each in responses]
                await self.judge.observe.remote(GroupRecord(judgement.comparisons, correct, scores, chars))
            return scores, infos

        async def _judged(self, responses: list[str], row: dict | None) -> Judged:
            """What the run's judges say; neutral where they are not asked."""
            if row is None:
                return Judged([NEUTRAL] * len(responses), [], [0] * len(responses))
            return await self.judge.judge.remote(responses, {name: row[name] for name in SHOWN})

        def _texts(self, data) -> list[str]:
            lengths = data.non_tensor_batch["response_len"]
            ids = [row[: int(length)] for row, length in zip(data.batch["responses"], lengths, strict=True)]
            return self.tokenizer.batch_decode(ids, skip_special_tokens=True)
