"""Reward manager `sp3f`: rule terms of every response and the judge's win rates within the group, summed by weight.

Called by `verl_bridge.rl.group` with all rollouts of a prompt (n rows in, n scores out), and by verl itself with one.
"""

import asyncio
import inspect
import time
from collections.abc import Mapping, Sequence
from numbers import Real

from sp3f_verl.data.rows import canonical
from sp3f_verl.judge.base import Judged
from sp3f_verl.judge.metrics import ScoredGroup
from sp3f_verl.judge.verdicts.win_rates import NEUTRAL
from sp3f_verl.rewards.answers.checkers import MATH, REDUCED, checker_of, load_checkers
from sp3f_verl.rewards.fidelity.thinking import parts
from sp3f_verl.rewards.leakage import leakage
from sp3f_verl.rewards.terms import LENGTH_LIMITS, rule_terms_async
from sp3f_verl.rewards.weights import active, total, weights_at
from sp3f_verl.verl_bridge.rl.group import SESSIONS, STEP, VALIDATE
from sp3f_verl.verl_bridge.rl.judge_in_trainer import judge_actor, settings_of
from sp3f_verl.verl_bridge.rl.settings import read
from sp3f_verl.verl_bridge.rl.validation import validation_info


def compared(responses: Sequence[str], terms: Sequence[Mapping[str, float]]) -> list[str]:
    """The thoughts that are asked about: of right answers that were thought and given in the language; "" of others."""
    return [
        parts(response)[0] if term["accuracy_in_language"] else ""
        for response, term in zip(responses, terms, strict=True)
    ]


def consistency(terms: Sequence[Mapping[str, float]], judgement: Judged) -> list[float]:
    """The term `consistency` of each response. Where the judge failed it is the mean of the group's others, so that it
    moves no advantage between them; the original made it 0, the worst there is."""
    asked = [bool(term["accuracy_in_language"]) for term in terms]
    known = [rate for rate, valid, own in zip(judgement.rates, judgement.valid, asked, strict=True) if own and valid]
    neutral = sum(known) / len(known) if known else NEUTRAL
    return [
        0.0 if not own else rate if valid else neutral
        for rate, valid, own in zip(judgement.rates, judgement.valid, asked, strict=True)
    ]


def register() -> None:
    """Called once verl's registry is there (see hooks.py)."""
    from verl.experimental.reward_loop.reward_manager import register as register_with_verl
    from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase

    @register_with_verl("sp3f")
    class SP3FRewardManager(RewardManagerBase):
        """total = sum of weight x term (SP3F section 3; SPEC 1c), the weights being those of the training step."""

        def __init__(self, config, tokenizer, compute_score, reward_router_address=None, reward_model_tokenizer=None):
            super().__init__(config, tokenizer, compute_score)
            settings = config.sp3f
            reward = read(config, "reward")
            self.weights, self.threshold = reward.weights, reward.language_threshold
            # verl hands in a function of its own where the user gives none
            self.custom = compute_score if config.reward.custom_reward_function.path is not None else None
            self.checkers = load_checkers(reward.checkers)
            self.checker = REDUCED if reward.reduced else MATH  # of rows that name none
            self.length_limits = reward.length_limits or LENGTH_LIMITS
            self.languages = tuple(settings.get("languages") or ())
            self.measures_leakage = bool(settings.get("distill") or settings.get("token_credit"))
            self.judge = judge_actor(config)
            self.judged_term = settings_of(config).term
            if self.judge is None and (missing := {"judge", "consistency"} & active(self.weights)):
                raise ValueError(f"judge=none leaves the reward term {min(missing)!r} without a value; set it to 0.")

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
            scores, infos = await self.score_group(responses, row, judged, step)
            if validate:
                lengths = data.non_tensor_batch["response_len"]
                infos = [
                    validation_info(info, row["language"], length) for info, length in zip(infos, lengths, strict=True)
                ]
            if not whole_group:
                return {"reward_score": scores[0], "reward_extra_info": infos[0]}
            return {"reward_score": scores, "reward_extra_info": infos}

        async def score_group(
            self, responses: list[str], row: dict, judged: bool, step: int = 0
        ) -> tuple[list[float], list[dict]]:
            """Scores (n,) and one flat dict of numbers a response, with the same keys for every response."""
            start, n = time.perf_counter(), len(responses)
            is_judged = judged and n > 1 and self.judge is not None
            scoring = asyncio.gather(*(self._terms(response, row) for response in responses))
            if self.judged_term == "consistency":
                terms = await scoring
                judgement = await self._judged(compared(responses, terms), row if is_judged else None)
            else:
                terms, judgement = await asyncio.gather(scoring, self._judged(responses, row if is_judged else None))
            seconds = time.perf_counter() - start
            of_group = {"group_size": float(n), "group_seconds": seconds}
            judged_terms = self._of_judge(terms, judgement)
            infos = [
                {**term, **own, "judge_valid": float(valid), **of_group}
                for term, own, valid in zip(terms, judged_terms, judgement.valid, strict=True)
            ]
            weights = weights_at(self.weights, step)
            scores = [total(info, weights) for info in infos]
            if is_judged:
                correct = [info["accuracy"] >= 0.5 for info in infos]
                chars = [len(response) for response in responses]
                await self.judge.observe.remote(ScoredGroup(judgement.comparisons, correct, scores, chars))
            return scores, infos

        async def _terms(self, text: str, row: dict) -> dict[str, float]:
            """The rule terms, and with them what verl's reward.custom_reward_function says."""
            gold = row["reward_model"]["ground_truth"]
            options = {"checker": checker_of(row["extra_info"], self.checkers, self.checker), "checkers": self.checkers}
            options["length_limits"] = self.length_limits
            terms = await rule_terms_async(text, gold, row["language"], self.threshold, self.languages, **options)
            if self.measures_leakage:
                prompt = "\n".join(message["content"] for message in row["prompt"])
                terms |= leakage(text, prompt, row["solution_en"], row["language"])
            return terms if self.custom is None else {**terms, **await self._custom(text, gold, row)}

        async def _custom(self, text: str, gold: str, row: dict) -> dict[str, float]:
            """Called as verl's naive manager calls it; numbers beside its score are logged as `custom_<name>`."""
            arguments = {"data_source": row["data_source"], "solution_str": text, "ground_truth": gold}
            arguments["extra_info"] = dict(row["extra_info"])
            if inspect.iscoroutinefunction(self.custom):
                result = await self.custom(**arguments)
            else:
                result = await asyncio.to_thread(self.custom, **arguments)
            result = dict(result) if isinstance(result, dict) else {"score": result}
            score = float(result.pop("score"))
            numbers = {f"custom_{name}": float(value) for name, value in result.items() if isinstance(value, Real)}
            return {"custom": score, **numbers}

        def _of_judge(self, terms: list[dict[str, float]], judgement: Judged) -> list[dict[str, float]]:
            """The term that the run's judge gives; the other one is neutral."""
            if self.judged_term == "judge":
                return [{"judge": rate} for rate in judgement.rates]
            return [{"judge": NEUTRAL, "consistency": rate} for rate in consistency(terms, judgement)]

        async def _judged(self, responses: list[str], row: dict | None) -> Judged:
            """What the run's judges say; neutral where they are not asked."""
            if row is None:
                return Judged([NEUTRAL] * len(responses), [], [0] * len(responses))
            return await self.judge.judge.remote(responses, row)

        def _texts(self, data) -> list[str]:
            lengths = data.non_tensor_batch["response_len"]
            ids = [row[: int(length)] for row, length in zip(data.batch["responses"], lengths, strict=True)]
            return self.tokenizer.batch_decode(ids, skip_special_tokens=True)
