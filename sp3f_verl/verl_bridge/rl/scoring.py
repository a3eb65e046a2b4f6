"""The scores of a group: rule terms of every response and what the run's judges say, summed by weight."""

import asyncio
import inspect
import time
from collections.abc import Callable
from numbers import Real

from omegaconf import DictConfig

from sp3f_verl.judge.base import Judged
from sp3f_verl.judge.metrics import ScoredGroup
from sp3f_verl.judge.questions.kinds import JUDGED_TERMS
from sp3f_verl.judge.verdicts.win_rates import NEUTRAL
from sp3f_verl.rewards.answers.checkers import MATH, REDUCED, checker_of, load_checkers
from sp3f_verl.rewards.leakage import leakage
from sp3f_verl.rewards.terms import LENGTH_LIMITS, rule_terms_async
from sp3f_verl.rewards.weights import active, total, weights_at
from sp3f_verl.verl_bridge.rl.judge_in_trainer import judge_actor, settings_of
from sp3f_verl.verl_bridge.rl.settings import read


class Scoring:
    """total = sum of weight x term (SP3F section 3; SPEC 1c), the weights being those of the training step."""

    def __init__(self, config: DictConfig, compute_score: Callable | None):
        """ValueError where a weight has a term that only a judge gives, and there is none."""
        settings, reward = config.sp3f, read(config, "reward")
        self.weights, self.threshold = reward.weights, reward.language_threshold
        # verl hands in a function of its own where the user gives none
        self.custom = compute_score if config.reward.custom_reward_function.path is not None else None
        self.checkers = load_checkers(reward.checkers)
        self.checker = REDUCED if reward.reduced else MATH  # of rows that name none
        self.length_limits = reward.length_limits or LENGTH_LIMITS
        self.languages = tuple(settings.get("languages") or ())
        self.measures_leakage = bool(settings.get("distill") or settings.get("token_credit"))
        self.judge = judge_actor(config)
        self.question = settings_of(config).question
        if self.judge is None and (missing := JUDGED_TERMS & active(self.weights)):
            raise ValueError(f"judge=none leaves the reward term {min(missing)!r} without a value; set it to 0.")

    async def of_group(
        self, responses: list[str], row: dict, judged: bool, step: int = 0
    ) -> tuple[list[float], list[dict]]:
        """Scores (n,) and one flat dict of numbers a response, with the same keys for every response."""
        start, n, question = time.perf_counter(), len(responses), self.question
        is_judged = judged and n > 1 and self.judge is not None
        asked = row if is_judged else None
        scoring = asyncio.gather(*(self._rule_terms(response, row) for response in responses))
        if question.after_rules:
            rules = await scoring
            judgement = await self._judged(question.asked_about(responses, rules), asked)
        else:
            rules, judgement = await asyncio.gather(scoring, self._judged(responses, asked))
        of_group = {"group_size": float(n), "group_seconds": time.perf_counter() - start}
        values = question.term_values(judgement.rates, judgement.valid, rules)
        infos = [
            {**terms, "judge": NEUTRAL, question.term: value, "judge_valid": float(valid), **of_group}
            for terms, value, valid in zip(rules, values, judgement.valid, strict=True)
        ]
        weights = weights_at(self.weights, step)
        scores = [total(info, weights) for info in infos]
        if is_judged:
            correct = [info["accuracy"] >= 0.5 for info in infos]
            chars = [len(response) for response in responses]
            await self.judge.observe.remote(ScoredGroup(judgement.comparisons, correct, scores, chars))
        return scores, infos

    async def _rule_terms(self, text: str, row: dict) -> dict[str, float]:
        """And with them what verl's reward.custom_reward_function says."""
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

    async def _judged(self, texts: list[str], row: dict | None) -> Judged:
        """What the run's judges say; neutral where they are not asked."""
        if row is None:
            return Judged([NEUTRAL] * len(texts), [], [0] * len(texts))
        return await self.judge.judge.remote(texts, row)
