"""All judges of a run behind one door: the only place that asks, so that limits, budget and counts hold for the run.

In training it lives in one Ray actor (verl_bridge/judge_actor.py); `sp3f judge-check` uses it as it is.
"""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sp3f_verl.errors import BadInput
from sp3f_verl.judge.budget import Ledger, OverBudget
from sp3f_verl.judge.dispatch import Dispatcher
from sp3f_verl.judge.judged import Judged, average
from sp3f_verl.judge.metrics import GroupRecord, StepPanel
from sp3f_verl.judge.model_judge import ModelJudge
from sp3f_verl.judge.query import Asking
from sp3f_verl.judge.reference import ReferenceJudge
from sp3f_verl.judge.settings import JudgeSettings
from sp3f_verl.judge.transcript import TranscriptWriter
from sp3f_verl.llm.client import Client
from sp3f_verl.llm.endpoint import Endpoint
from sp3f_verl.llm.outcome import AskFailed, AuthenticationFailed
from sp3f_verl.llm.rate_limit import Pace
from sp3f_verl.llm.store import Store

ENOUGH = 64  # questions after which the share of failures says something while a step is going on
ENOUGH_AT_END = 16
MARGIN = 1.2  # a step may cost so many times what the dearest one did so far


class JudgeStopped(RuntimeError):
    """The judges answer no more: wrong key, budget, or too many failures. The message is one sentence."""


class Desk:
    """`open` it once in the event loop that uses it, then `judge` groups, as many at once as there are."""

    def __init__(self, settings: JudgeSettings):
        self.settings = settings
        self.panel = StepPanel()
        self.stop_reason: str | None = None
        self.ledger = Ledger(settings.budget_usd)
        self._members: list[tuple[float, ModelJudge | ReferenceJudge]] = []
        self._clients: list[Client] = []
        self._store: Store | None = None
        self._dearest_step = self._paid_before = 0.0

    async def open(self, served: Mapping[str, Sequence[str]] | None = None) -> None:
        """Make the judges and ask each model one short question, before anything depends on an answer.

        served: base URLs by judge name ("local", "policy"), for models that the run itself serves.
        Raises BadInput for an endpoint that is missing, refuses the key, or does not know the model, and for a budget
        that earlier runs used up.
        """
        settings = self.settings
        if settings.spending_file and settings.asks_a_model:
            self.ledger = Ledger(settings.budget_usd, Path(settings.spending_file))
            self._paid_before = self.ledger.spent
        transcript = TranscriptWriter(**vars(settings.transcript), seed=settings.seed)
        if settings.store:
            self._store = Store(Path(settings.store))
        for member in settings.members():
            if member.name == "reference":
                self._members.append((member.weight, ReferenceJudge()))
                continue
            urls = member.base_urls() or tuple((served or {}).get(member.name, ()))
            if not urls:
                raise BadInput(f"judge={member.name} has no server; {_NO_SERVER[member.name]}.")
            endpoint = Endpoint(
                urls, member.model, member.api_key_env, member.request_seconds, member.retries, member.concurrency
            )
            client = Client(endpoint, Pace(member.requests_per_minute, member.tokens_per_minute), seed=member.seed)
            self._clients.append(client)
            asking = Asking(member, client, self.ledger, self._store)
            asking.panel = self.panel
            await self._probe(asking)
            self._members.append((member.weight, ModelJudge(asking, Dispatcher(member.concurrency), transcript)))

    async def _probe(self, asking: Asking) -> None:
        settings = asking.settings
        try:
            if asking.context_tokens is None:
                asking.context_tokens = await asking.client.context_length()
            sampling = {**asking.sampling, "max_tokens": min(16, asking.sampling["max_tokens"])}
            await asking.client.ask([{"role": "user", "content": "Answer with the letter A."}], **sampling)
        except AskFailed as error:
            raise BadInput(
                f"judge={settings.name} does not answer ({error}); mend its URL, key or model before the run starts."
            ) from None

    async def judge(self, responses: Sequence[str], row: Mapping[str, Any]) -> Judged:
        """Win rates of a group, averaged over the judges by weight.

        Raises GroupNotJudged for this group, JudgeStopped once the judges answer no more.
        """
        if self.stop_reason:
            raise JudgeStopped(self.stop_reason)
        try:
            async with asyncio.TaskGroup() as together:
                tasks = [together.create_task(judge.judge(responses, row)) for _, judge in self._members]
        except BaseExceptionGroup as errors:
            ends_the_run = (AuthenticationFailed, OverBudget)
            error = next((each for each in errors.exceptions if isinstance(each, ends_the_run)), errors.exceptions[0])
            if isinstance(error, ends_the_run):
                refused = f"a judge takes its key no more ({error}); mend it and start the same command to go on."
                self._stop(str(error) if isinstance(error, OverBudget) else refused)
                raise JudgeStopped(self.stop_reason) from None
            self._stop_where_most_fails(ENOUGH)
            raise error from None
        self._stop_where_most_fails(ENOUGH)
        weights = [weight for weight, _ in self._members]
        return average([task.result() for task in tasks], weights)

    async def models(self) -> list[str]:
        """The model of each judge that asks one, as its endpoint names it."""
        return [await client.model() for client in self._clients]

    def observe(self, record: GroupRecord) -> None:
        self.panel.observe(record)

    def take_step(self) -> dict[str, float]:
        """The metrics since the last call, which begin anew; stops the judges where too much of the step failed."""
        self._stop_where_most_fails(ENOUGH_AT_END)
        paid = self.ledger.spent - self._paid_before
        self._dearest_step, self._paid_before = max(self._dearest_step, paid), self.ledger.spent
        metrics = self.panel.of_groups()
        if self._clients:
            metrics |= self.panel.of_questions()
            if any(member.known_price() for member in self.settings.members()):
                metrics |= {"judge/usd": self.panel.usd, "judge/usd_total": self.ledger.spent}
            self.ledger.write()
        self.panel = StepPanel()
        for _, judge in self._members:
            if isinstance(judge, ModelJudge):
                judge.asking.panel = self.panel
        return metrics

    def last_affordable(self) -> str | None:
        """A sentence where the budget may not last for another step like the dearest so far."""
        if self.ledger.allows(self._dearest_step * MARGIN):
            return None
        return (
            f"the judge has cost {self.ledger.spent:.4f} USD, and another step could pass sp3f.judge.budget_usd="
            f"{self.ledger.budget:g}; raise it and start the same command to go on."
        )

    async def close(self) -> None:
        self.ledger.write()
        for client in self._clients:
            await client.close()
        if self._store is not None:
            self._store.close()

    def _stop(self, reason: str) -> None:
        self.stop_reason = self.stop_reason or reason
        self.ledger.write()

    def _stop_where_most_fails(self, enough: int) -> None:
        share, ceiling = self.panel.failure_share(), self.settings.failure_ceiling
        if self.panel.questions >= enough and share > ceiling:
            kinds = ", ".join(f"{kind}: {count}" for kind, count in self.panel.failed.most_common(3))
            self._stop(
                f"{share:.0%} of this step's {self.panel.questions} questions to the judge failed ({kinds}), more than "
                f"sp3f.judge.failure_ceiling={ceiling:g} allows; mend the judge and start the same command to go on."
            )


_NO_SERVER = {
    "local": "set sp3f.judge.base_url, or reward.reward_model.enable=true with a model_path",
    "policy": "it needs trainer mode sync or colocate_async, whose rollout servers it asks",
}
