"""A kind of judge of a user's own: this class, and the YAML that tests/judge/test_own_kind.py writes."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from sp3f_verl.errors import BadInput
from sp3f_verl.judge.base import Judge, Judged, Run
from sp3f_verl.judge.questions.schedule import all_pairs
from sp3f_verl.judge.settings import JudgeSettings
from sp3f_verl.judge.verdicts.verdict import Verdict
from sp3f_verl.settings import Text, Whole, mend


class LongerSettings(JudgeSettings):
    margin: Annotated[Whole, Field(ge=0), mend("set it to characters from 0")] = 0
    word: Text | None = None


class LongerWins(Judge):
    """Prefers the response that is longer by more than `margin` characters."""

    Settings = LongerSettings

    def needed_fields(self) -> tuple[str, ...]:
        return ("query_en",)

    async def open(self, run: Run) -> None:
        if self.settings.word == "closed":
            raise BadInput("judge=longer is closed today; come again tomorrow.")

    async def judge(self, responses: Sequence[str], row: Mapping[str, Any]) -> Judged:
        n = len(responses)
        return Judged.of(n, [(i, j, self._verdict(responses[i], responses[j])) for i, j in all_pairs(n)])

    def _verdict(self, a: str, b: str) -> Verdict:
        if abs(len(a) - len(b)) <= self.settings.margin:
            return Verdict.TIE
        return Verdict.A if len(a) > len(b) else Verdict.B


class NoJudge:
    """Not a subclass."""
