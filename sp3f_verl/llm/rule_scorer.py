"""Scores of candidates without a reward model: a reward of recipes/rewards.yaml, by the rules of training."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sp3f_verl.data.prompts import Prompts
from sp3f_verl.errors import BadInput
from sp3f_verl.llm.ask import Status
from sp3f_verl.llm.score import Score
from sp3f_verl.reward_presets import reward_presets
from sp3f_verl.rewards import UnsupportedLanguage, language_share
from sp3f_verl.rewards.answers.checkers import MATH, REDUCED
from sp3f_verl.rewards.terms import TERMS, rule_terms
from sp3f_verl.rewards.weights import active, total


def by_rules() -> dict[str, dict]:
    """The presets that no judge has a part in."""
    presets = reward_presets().items()
    return {name: kept for name, kept in presets if all(TERMS[term].function for term in active(kept["weights"]))}


class RuleScorer:
    """As `llm.score.Scorer`, but `raw` is the reward: the weighted sum of rule terms of a preset. Nothing is stored."""

    def __init__(self, preset: str, prompts: Prompts):
        """BadInput where a prompt has no gold answer, or a language that counts cannot be told from others."""
        self.model, self._prompts, settings = f"reward {preset}", prompts, by_rules()[preset]
        self._weights: Mapping[str, float] = settings["weights"]
        self._threshold, self._checker = settings["language_threshold"], REDUCED if settings["reduced"] else MATH
        terms = active(self._weights)
        for prompt_id, code in prompts:
            if prompts.gold(prompt_id, code) is None:
                raise BadInput(
                    f"--prompts: {prompt_id!r} in {code!r} has no gold answer, which --reward compares with; give "
                    "every prompt a ground_truth (or reward_model.ground_truth), or name a reward model by --model."
                )
        if any(TERMS[name].of_language for name in terms):
            for code in prompts.languages:
                try:
                    language_share("", code, prompts.languages)
                except UnsupportedLanguage as error:
                    raise BadInput(
                        f"--reward {preset}: {error}; take one without a language, such as acc_parseable."
                    ) from None

    def __enter__(self) -> "RuleScorer":
        return self

    def __exit__(self, *exception: object) -> None: ...

    def scores(self, items: Iterable[tuple[str, int, list[dict[str, Any]]]]) -> Iterator[Score]:
        """A score for each (language:id, number, messages that end with the candidate)."""
        for name, number, messages in items:
            code, _, prompt_id = name.partition(":")
            gold, text = self._prompts.gold(prompt_id, code), messages[-1]["content"]
            others = self._prompts.languages
            terms = rule_terms(text, gold, code, self._threshold, others, checker=self._checker)
            yield Score(name, number, total(terms, self._weights), 0, Status.OK)
