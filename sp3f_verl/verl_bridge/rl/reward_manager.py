"""Reward manager `sp3f`, which hands a group's responses to `scoring`.

Called by `verl_bridge.rl.group` with all rollouts of a prompt (n rows in, n scores out), and by verl itself with one.
"""

from sp3f_verl.data.rows import canonical
from sp3f_verl.verl_bridge.rl.group import SESSIONS, STEP, VALIDATE
from sp3f_verl.verl_bridge.rl.scoring import Scoring
from sp3f_verl.verl_bridge.rl.validation import validation_info


def register() -> None:
    """Called once verl's registry is there (see hooks.py)."""
    from verl.experimental.reward_loop.reward_manager import register as register_with_verl
    from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase

    @register_with_verl("sp3f")
    class SP3FRewardManager(RewardManagerBase):
        def __init__(self, config, tokenizer, compute_score, reward_router_address=None, reward_model_tokenizer=None):
            super().__init__(config, tokenizer, compute_score)
            self.scoring = Scoring(config, compute_score)

        async def run_single(self, data) -> dict:
            rows = data.non_tensor_batch
            whole_group = SESSIONS in rows
            first = {key: value[0] for key, value in rows.items()}
            if not whole_group:  # verl itself calls: the last sequence of one trajectory is what is rewarded
                data = data[-1:]
            responses = await self.loop.run_in_executor(None, self._texts, data)
            row = canonical(first)
            validate = bool(first.get(VALIDATE, False))
            judged, step = whole_group and not validate, int(first.get(STEP, 0))
            scores, infos = await self.scoring.of_group(responses, row, judged, step)
            if validate:
                lengths = data.non_tensor_batch["response_len"]
                infos = [
                    validation_info(info, row["language"], length) for info, length in zip(infos, lengths, strict=True)
                ]
            if not whole_group:
                return {"reward_score": scores[0], "reward_extra_info": infos[0]}
            return {"reward_score": scores, "reward_extra_info": infos}

        def _texts(self, data) -> list[str]:
            lengths = data.non_tensor_batch["response_len"]
            ids = [row[: int(length)] for row, length in zip(data.batch["responses"], lengths, strict=True)]
            return self.tokenizer.batch_decode(ids, skip_special_tokens=True)
