"""A group as a model is asked about it: what is shown of it, which questions that takes, what they come to."""

import functools
import random
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sp3f_verl.judge.base import Asked, GroupNotJudged, Judged
from sp3f_verl.judge.metrics import StepMetrics
from sp3f_verl.judge.questions.client import Context
from sp3f_verl.judge.questions.kinds import Shown, compare, is_settled
from sp3f_verl.judge.questions.sanitize import neutralise, new_fence, shorten
from sp3f_verl.judge.questions.schedule import Pairs
from sp3f_verl.judge.settings import JudgeSettings
from sp3f_verl.judge.verdicts.jamming import find_jam, from_other_order, is_of_the_way, lost_by
from sp3f_verl.judge.verdicts.verdict import Verdict, without_unseen
from sp3f_verl.judge.verdicts.win_rates import NEUTRAL
from sp3f_verl.rewards.text import strip_think


@dataclass(frozen=True)
class Group:
    """texts: each response without its thoughts. shown: how such a text is shown. pairs: of responses, None where the
    questions compare none. affinity: all questions of the group go to one server, where they share a prefix.
    """

    row: Mapping[str, Any]
    settings: JudgeSettings
    texts: list[str]
    shown: dict[str, str]
    context: Context
    questions: list[Shown]
    pairs: Pairs | None
    affinity: int

    @classmethod
    def of(
        cls,
        responses: Sequence[str],
        row: Mapping[str, Any],
        settings: JudgeSettings,
        control_tokens: re.Pattern[str] | None = None,
    ) -> "Group":
        texts = [strip_think(response).strip() for response in responses]
        shown = {text: neutralise(text, control_tokens) for text in texts}
        look = functools.cache(lambda text: _look(shorten(shown[text], settings.response_chars)[0]))
        same: dict[str, str] = {}  # how a text looks to the judge -> the first that looks so
        for text in texts:
            same.setdefault(look(text), text)
        # compared as they are shown: invisible characters say nothing, nor does what is left out
        texts = [same[look(text)] if look(text) else "" for text in texts]
        fence = new_fence(random.SystemRandom(), shown.values()) if settings.fence == "group" else None
        reference = settings.question.reference if settings.privileged else None
        context = Context.of(row, reference, fence, control_tokens)
        rng = random.Random(f"{settings.seed} {row['id']} {sorted(texts)}")
        questions, pairs = settings.question.questions(texts, settings, rng)
        return cls(row, settings, texts, shown, context, questions, pairs, rng.getrandbits(32))

    def conclude(self, asked: Mapping[Shown, Asked], metrics: StepMetrics) -> Judged:
        """The win rates that the answers to all questions come to.

        Raises GroupNotJudged where fewer than `min_valid` of the comparisons have a verdict, or `on_jam` drops it.
        """
        settings, records = self.settings, self._records(asked)
        jammed = self._jammed(asked, metrics)
        values = {question: record.value for question, record in asked.items()}
        conclude = self._of_each if self.pairs is None else self._of_pairs
        judged, share = conclude(values, jammed if settings.on_jam == "loss" else frozenset(), metrics)
        dropped = settings.on_jam == "drop" and jammed
        if share < settings.min_valid or dropped:
            metrics.groups_failed += 1
            kinds = ", ".join(sorted({record.failure for record in records if record.failure}))
            raise GroupNotJudged(
                f"judge {settings.name} gave a verdict on {share:.0%} of the comparisons of prompt {self.row['id']}, "
                + (
                    f"and its failures ({kinds}) gather on {len(jammed)} of {len(self.texts)} responses: "
                    "sp3f.judge.on_jam=drop."
                    if dropped
                    else f"fewer than sp3f.judge.min_valid={settings.min_valid:g} asks for ({kinds})."
                ),
                records,
            )
        rates = judged.rates
        if settings.on_jam == "lowest":
            rates = [min(rates) if index in jammed else rate for index, rate in enumerate(rates)]
        return replace(judged, rates=rates, records=records)

    def _of_pairs(
        self, values: Mapping[Shown, Any], losers: frozenset[int], metrics: StepMetrics
    ) -> tuple[Judged, float]:
        """The rates, and the share of the comparisons that has a verdict."""
        comparisons = compare(self.settings.question, self.texts, self.pairs, values)
        settled, made = [], []
        for i, j, verdict in comparisons:
            (settled if is_settled(self.texts[i], self.texts[j]) else made).append((i, j, verdict))
        metrics.skipped += len(settled)
        credited = lost_by(from_other_order(made), losers)
        judged = Judged.of(len(self.texts), made, self.settings.credit, settled, credited=credited)
        failed = sum(verdict is Verdict.FAILED for _, _, verdict in made)
        return judged, 1 - failed / len(comparisons) if comparisons else 1.0

    def _of_each(self, values: Mapping[Shown, Any], losers: frozenset[int], _) -> tuple[Judged, float]:
        """The rate of each response by its own question, and the share of those whose question has an answer; an empty
        one has the rate 0."""
        each, kind = [values[text,] if text else "" for text in self.texts], self.settings.question
        rates = [
            0.0 if value == "" or index in losers else NEUTRAL if value is None else kind.rate(value, self.row)
            for index, value in enumerate(each)
        ]
        valid = [int(value is not None) for value in each]
        return Judged(rates, [], valid), sum(valid) / len(valid)

    def _jammed(self, asked: Mapping[Shown, Asked], metrics: StepMetrics) -> frozenset[int]:
        """The responses on which failures that a response can cause gather."""
        of_the_question = {
            question: record.failure is not None
            for question, record in asked.items()
            if record.failure is None or not is_of_the_way(record.failure)
        }
        jam = find_jam(of_the_question)
        if jam.concentration:
            metrics.concentration.append(jam.concentration)
        metrics.groups_jammed += bool(jam.responses)
        return frozenset(index for index, text in enumerate(self.texts) if text in jam.responses)

    def _records(self, asked: Mapping[Shown, Asked]) -> list[Asked]:
        price = self.settings.known_price()
        return [
            replace(
                record,
                responses=tuple(map(self.texts.index, question)),
                texts=question,
                usd=price.usd(record.usage) if price else None,
            )
            for question, record in asked.items()
        ]


def _look(shown: str) -> str:
    """What a reader sees of a text; two that look alike are one."""
    return without_unseen(unicodedata.normalize("NFC", shown)).strip()
