"""All judges of a run behind one door: the only place that asks, so that limits, budget and counts hold for the run.

    desk = Desk(JudgeSettings.from_mapping({"name": "openai", "base_url": "http://localhost:8000/v1"}))
    await desk.open()
    judged = await desk.judge(responses, row)     # as many groups at once as there are
    metrics = desk.take_step()
    await desk.close()

In training it lives in one Ray actor (verl_bridge/rl/judge_in_trainer.py).
"""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sp3f_verl.judge import make_judge
from sp3f_verl.judge.base import Asked, GroupNotJudged, Judge, Judged, JudgeStopped, Run, average
from sp3f_verl.judge.budget import Budget, OverBudget
from sp3f_verl.judge.metrics import ScoredGroup, StepMetrics
from sp3f_verl.judge.settings import JudgeSettings
from sp3f_verl.judge.transcript import TranscriptWriter, entries
from sp3f_verl.llm.outcome import AuthenticationFailed
from sp3f_verl.llm.store import Store

ENOUGH = 64  # questions after which the share of failures says something while a step is going on
ENOUGH_AT_END = 16
MARGIN = 1.2  # a step may cost so many times what the dearest one did so far
ENDS_THE_RUN = (AuthenticationFailed, OverBudget, JudgeStopped)


class Desk:
    """`open` it once in the event loop that uses it, then `judge` groups."""

    def __init__(self, settings: JudgeSettings):
        self.settings = settings
        self.judges = [make_judge(member) for member in settings.members()]
        self.stop_reason: str | None = None
        self.run = Run(budget=Budget(settings.budget_usd))
        self._asks_models = any(judge.asks_a_model for judge in self.judges)
        self._transcript: TranscriptWriter | None = None
        self._dearest_step = self._paid_before = 0.0

    @property
    def metrics(self) -> StepMetrics:
        """Counts since the last step."""
        return self.run.metrics

    @property
    def budget(self) -> Budget:
        return self.run.budget

    async def open(
        self,
        served: Mapping[str, Sequence[str]] | None = None,
        control_tokens: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Open every judge; those that ask a model ask it one short question, before anything depends on an answer.

        served: base URLs of the models that the run itself serves, by `Judge.served_by` ("reward_model", "rollout").
        control_tokens: what their tokenizers read as no text; of other models the common families' are known.
        Raises BadInput for an endpoint that is missing, refuses the key, or does not know the model, and for a budget
        that earlier runs used up.
        """
        settings = self.settings
        self.run.served, self.run.control_tokens = served or {}, control_tokens or {}
        if settings.spending_file and self._asks_models:
            self.run.budget = Budget(settings.budget_usd, Path(settings.spending_file))
        self._transcript = TranscriptWriter(settings.transcript, settings.seed)
        if settings.store:
            self.run.store = Store(Path(settings.store))
        for judge in self.judges:
            await judge.open(self.run)
        self._paid_before = self.budget.spent

    async def judge(self, responses: Sequence[str], row: Mapping[str, Any]) -> Judged:
        """Win rates of a group, averaged over the judges by weight, and the records of all of them.

        Raises GroupNotJudged for this group, JudgeStopped once the judges answer no more.
        """
        if self.stop_reason:
            raise JudgeStopped(self.stop_reason)
        try:
            async with asyncio.TaskGroup() as together:
                tasks = [together.create_task(self._judge(judge, responses, row)) for judge in self.judges]
        except BaseExceptionGroup as errors:
            error = next((error for error in errors.exceptions if isinstance(error, ENDS_THE_RUN)), None)
            if error is not None:
                self._stop(
                    f"a judge takes no more questions ({error}); mend its key or account and start the same command to "
                    "go on."
                    if isinstance(error, AuthenticationFailed)
                    else str(error)
                )
                raise JudgeStopped(self.stop_reason) from None
            self._stop_where_most_fails(ENOUGH)
            raise errors.exceptions[0] from None
        self._stop_where_most_fails(ENOUGH)
        return average([task.result() for task in tasks], [judge.settings.weight for judge in self.judges])

    async def _judge(self, judge: Judge, responses: Sequence[str], row: Mapping[str, Any]) -> Judged:
        try:
            judged = await judge.judge(responses, row)
        except GroupNotJudged as error:
            self._log(judge, error.records, row)
            raise
        self._log(judge, judged.records, row)
        return judged

    def _log(self, judge: Judge, records: Sequence[Asked], row: Mapping[str, Any]) -> None:
        if records and self._transcript is not None and self._transcript.wants():
            self._transcript.write(entries(records, row, judge))

    def observe(self, group: ScoredGroup) -> None:
        self.metrics.observe(group)

    def take_step(self) -> dict[str, float]:
        """The metrics since the last call, which begin anew; stops the judges where too much of the step failed."""
        self._stop_where_most_fails(ENOUGH_AT_END)
        paid = self.budget.spent - self._paid_before
        self._dearest_step, self._paid_before = max(self._dearest_step, paid), self.budget.spent
        metrics = self.metrics.of_groups()
        if self._asks_models:
            metrics |= self.metrics.of_questions()
            if any(judge.settings.known_price() for judge in self.judges):
                metrics |= {"judge/usd": self.metrics.usd, "judge/usd_total": self.budget.spent}
            self.budget.write()
        if self.run.store is not None:
            self.run.store.checkpoint()  # nobody closes it in a run that is killed
        self.metrics.start_step()
        return metrics

    def last_affordable(self) -> str | None:
        """A sentence where the budget may not last for another step like the dearest so far."""
        if self.budget.allows(self._dearest_step * MARGIN):
            return None
        return (
            f"the judge has cost {self.budget.spent:.4f} USD, and another step could pass sp3f.judge.budget_usd="
            f"{self.budget.limit:g}; raise it and start the same command to go on."
        )

    async def close(self) -> None:
        self.budget.write()
        for judge in self.judges:
            await judge.close()
        if self.run.store is not None:
            self.run.store.close()

    def _stop(self, reason: str) -> None:
        self.stop_reason = self.stop_reason or reason
        self.budget.write()

    def _stop_where_most_fails(self, enough: int) -> None:
        share, ceiling = self.metrics.failure_share(), self.settings.failure_ceiling
        if self.metrics.questions >= enough and share > ceiling:
            kinds = ", ".join(f"{kind}: {count}" for kind, count in self.metrics.failed.most_common(3))
            if reason := self.metrics.reasons.commonest():
                kinds += f"; most often: {reason}"
            self._stop(
                f"{share:.0%} of this step's {self.metrics.questions} questions to the judge failed ({kinds}), more "
                f"than sp3f.judge.failure_ceiling={ceiling:g} allows; mend the judge and start the same command to go "
                "on."
            )
