"""The judge without a model: of two responses, it prefers the one closer to the privileged reference.

It stands in for the LLM judge of SP3F (privileged: it sees what the policy does not) in tests, on machines without a
model, and as a floor to compare a real judge with. Deterministic, exactly antisymmetric and transitive, exact on ties.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from sp3f_verl.data.rows import REFERENCE
from sp3f_verl.judge.agreement import step_f1, wording
from sp3f_verl.judge.base import Judge, Judged
from sp3f_verl.judge.questions.schedule import all_pairs
from sp3f_verl.judge.verdicts.verdict import Verdict
from sp3f_verl.rewards.answers.accuracy import answers_match
from sp3f_verl.rewards.boxed import extract_boxed
from sp3f_verl.rewards.text import strip_think

Key = tuple[int, Fraction, float]

_EMPTY: Key = (-1, Fraction(0), 0.0)  # below every response that says something


@dataclass(frozen=True)
class Privileged:
    """What the judge may see and the policy may not: the gold answer and a worked solution in English, and, where the
    row has one, a solution in the language in which the response should be."""

    gold: str
    solution_en: str
    solution_own: str | None = None


def boxed_answer_is_gold(response: str, gold: str) -> bool:
    """Whether the response's last boxed answer equals the gold one."""
    return answers_match(extract_boxed(response), gold)


def reference_key(
    response: str, privileged: Privileged, is_correct: Callable[[str, str], bool] = boxed_answer_is_gold
) -> Key:
    """Closeness to the reference, compared lexicographically, greater is closer: (answer, steps, wording).

    answer: 1 where is_correct(response, gold), else 0; -1 for an empty response.
    steps: F1 of numbers and operations with the English solution. Never its words: overlap with English text would
        reward English.
    wording: chrF with the solution in the response's own language; 0 for all where the row has none.
    """
    response = response.strip()
    if not response:
        return _EMPTY
    return (
        int(is_correct(response, privileged.gold)),
        step_f1(response, privileged.solution_en),
        0.0 if privileged.solution_own is None else wording(response, privileged.solution_own),
    )


def judge_group(
    responses: list[str], privileged: Privileged, is_correct: Callable[[str, str], bool] = boxed_answer_is_gold
) -> list[tuple[int, int, Verdict]]:
    """Verdicts (i, j, Verdict) on all ordered pairs of a group, i shown as A; equal keys tie. One key per response."""
    keys = [reference_key(response, privileged, is_correct) for response in responses]
    return [(i, j, _compare(keys[i], keys[j])) for i, j in all_pairs(len(responses))]


class ReferenceJudge(Judge):
    """`judge_group` as a judge of a run, in a thread so that the event loop stays free."""

    def needed_fields(self) -> tuple[str, ...]:
        return (*REFERENCE, "ground_truth")

    async def judge(self, responses: Sequence[str], row: Mapping[str, Any]) -> Judged:
        """Win rates of the responses (n,) to the prompt of a canonical row. Never fails."""
        privileged = Privileged(
            gold=row["reward_model"]["ground_truth"],
            solution_en=row["solution_en"],
            solution_own=row["translated_solution"] or None,
        )

        def is_correct(response: str, gold: str) -> bool:  # as the reward term `accuracy` reads it
            return answers_match(extract_boxed(response), gold, language=row["language"])

        verdicts = await asyncio.to_thread(
            judge_group, [strip_think(response) for response in responses], privileged, is_correct
        )
        return Judged.of(len(responses), verdicts)


def _compare(a: Key, b: Key) -> Verdict:
    if a == b:
        return Verdict.TIE
    return Verdict.A if a > b else Verdict.B
