"""The judges that ask a model: SP3F's (arXiv 2601.18722), which sees the English reference solution, and its ablations.

`OpenAIJudge`, `LocalJudge` and `PolicyJudge` differ only in where the model is.
"""

import asyncio
import functools
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from sp3f_verl.errors import BadInput
from sp3f_verl.judge.base import Asked, Judge, Judged, Run
from sp3f_verl.judge.budget import OverBudget
from sp3f_verl.judge.group import Group
from sp3f_verl.judge.questions.client import JudgeClient
from sp3f_verl.judge.questions.dispatch import Dispatcher
from sp3f_verl.judge.questions.kinds import KINDS, Shown
from sp3f_verl.judge.questions.prompt import Prompt
from sp3f_verl.judge.questions.sanitize import control_tokens
from sp3f_verl.llm.outcome import AskFailed, FailureKind
from sp3f_verl.llm.price import longest_answer
from sp3f_verl.llm.requests.client import Client
from sp3f_verl.llm.requests.endpoint import VARIABLE, Endpoint
from sp3f_verl.llm.requests.rate_limit import RateLimit
from sp3f_verl.log import log

# of a question that the group's deadline came before
LATE = Asked(None, FailureKind.DEADLINE.value, "sp3f.judge.group_seconds were over")

MENDS = {
    FailureKind.AUTHENTICATION: "mend its key",
    FailureKind.NO_MONEY: "pay into the account, or name another key or judge,",
}  # of a judge that does not answer; of any other failure the URL or model may be wrong, too


class ModelJudge(Judge):
    """A model behind OpenAI's chat completions."""

    asks_a_model = True
    no_server: ClassVar[str] = "set sp3f.judge.base_url"  # the mend where it has neither a URL nor a server of the run

    def __init__(self, settings=None):
        super().__init__(settings)
        self.client: JudgeClient | None = None  # there once it is opened
        self._control_tokens: re.Pattern[str] | None = None
        self._dispatcher = Dispatcher(self.settings.concurrency)

    @functools.cached_property
    def prompt(self) -> Prompt:
        return self.settings.load_prompt()

    # -- what it needs ------------------------------------------------------------------------------------------------

    def check(self, place: str) -> None:
        settings = self.settings
        if settings.api_key_env is not None and not VARIABLE.fullmatch(settings.api_key_env):  # the key itself, perhaps
            raise BadInput(
                f"{place}.api_key_env is not the name of an environment variable; give the name, never a key."
            )
        prompt, question = self.prompt, settings.question
        if not question.of_pairs and settings.credit != "both":
            raise BadInput(
                f"{place}.credit={settings.credit} needs pairs, but schedule={settings.schedule} has none; use both."
            )
        if "solution" in KINDS[prompt.kind].optional and prompt.privileged != settings.privileged:
            raise BadInput(
                f"{place}.prompt={settings.prompt}, privileged={str(settings.privileged).lower()} do not agree: "
                "a prompt shows the solution to a privileged judge, and to no other."
            )
        if "solution" in question.needed and not settings.privileged:
            raise BadInput(
                f"{place}.privileged=false, but schedule={settings.schedule} compares with a text; set true."
            )
        if prompt.kind != question.name:
            raise BadInput(
                f"{place}.prompt={settings.prompt} is a prompt of kind {prompt.kind}, but schedule={settings.schedule} "
                f"with verdict={settings.verdict} needs one of kind {question.name}; change one of them."
            )
        costs_dollars = self.served_by is None or settings.base_url or settings.base_url_env
        if settings.budget_usd is not None and costs_dollars and settings.known_price() is None:
            raise BadInput(
                f"{place}.budget_usd={settings.budget_usd:g} needs the price of model {settings.model!r}; give it in "
                f"USD per million tokens, as {place}.price={{input: 0.15, output: 0.6}}."
            )
        if settings.budget_usd is not None and longest_answer(1, settings.extra_body) is None:
            raise BadInput(
                f"{place}.extra_body takes max_tokens away, and budget_usd={settings.budget_usd:g} cannot hold without "
                "a limit; put max_completion_tokens in its place."
            )

    def needed_fields(self) -> tuple[str, ...]:
        question = self.settings.question
        if "query" not in question.needed:
            return ()
        return ("query_en", question.reference) if self.settings.privileged else ("query_en",)

    def needed_variables(self) -> tuple[str, ...]:
        names = (self.settings.api_key_env, None if self.settings.base_url else self.settings.base_url_env)
        return tuple(name for name in names if name)

    def is_served_by_the_run(self) -> bool:
        return not self.base_urls()

    def asks_pairs(self) -> bool:
        return self.settings.question.of_pairs

    def base_urls(self) -> tuple[str, ...]:
        """The endpoint's URLs from `base_url` or the environment (several, with commas, serve one model); empty where
        the run itself serves it. Raises BadInput where that cannot be."""
        urls = self.settings.base_url or os.environ.get(self.settings.base_url_env or "", "")
        if urls.strip():
            return tuple(urls.replace(",", " ").split())
        if self.served_by is not None:
            return ()
        raise BadInput(
            f"judge={self.settings.name} has no URL; set sp3f.judge.base_url, or the environment variable named by "
            f"sp3f.judge.base_url_env ({self.settings.base_url_env}), in the process that asks, too."
        )

    async def model(self) -> str:
        return await self.client.llm.model()

    def label(self) -> str:
        return f"{self.settings.name}:{self.settings.model or 'as served'}"

    def identity(self) -> dict[str, Any]:
        settings = self.settings
        return {
            "model": settings.model,
            "weight": settings.weight,
            "privileged": settings.privileged,
            "verdict": settings.verdict,
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "max_tokens": settings.max_tokens,
            "response_chars": settings.response_chars,
            "malformed_retries": settings.malformed_retries,
            "judge": settings.name,
            "extra_body": settings.extra_body,
            "prompt_version": self.prompt.version,
            "prompt": Path(self.prompt.name).name,
            **({"system_part": settings.system_part} if settings.system_part != "system" else {}),
        }

    # -- asking -------------------------------------------------------------------------------------------------------

    async def open(self, run: Run) -> None:
        settings = self.settings
        urls = self.base_urls() or tuple(run.served.get(self.served_by, ()))
        if self.is_served_by_the_run():
            self._control_tokens = control_tokens(run.control_tokens.get(self.served_by, ()))
        if not urls:
            raise BadInput(f"judge={settings.name} has no server; {self.no_server}.")
        endpoint = Endpoint(
            urls,
            settings.model,
            settings.api_key_env,
            settings.request_seconds,
            settings.retries,
            settings.concurrency,
            headers=settings.headers,
            proxy=settings.proxy,
        )
        rate_limit = RateLimit(settings.requests_per_minute, settings.tokens_per_minute)
        self.client = JudgeClient(settings, self.prompt, Client(endpoint, rate_limit, seed=settings.seed), run)
        try:
            complaint = await self.client.probe()
        except OverBudget as error:
            raise BadInput(str(error)) from None
        except AskFailed as error:
            if "system" in str(error).lower() and "role" in str(error).lower():
                raise BadInput(
                    f"judge={settings.name}: its chat template knows no system role ({error}); set "
                    "sp3f.judge.system_part=user."
                ) from None
            proxy = " or sp3f.judge.proxy" if settings.proxy and error.kind is FailureKind.CONNECTION else ""
            what = MENDS.get(error.kind, f"mend its URL, key or model{proxy}")
            raise BadInput(f"judge={settings.name} does not answer ({error}); {what} before the run starts.") from None
        # what a server lacks for log-probabilities, no later answer has
        if complaint and (settings.probe == "stop" or settings.verdict == "logprob"):
            raise BadInput(f"judge={settings.name}: {complaint}.")
        if complaint:
            log.warning("judge=%s: %s", settings.name, complaint)

    async def close(self) -> None:
        if self.client is not None:
            await self.client.llm.close()

    async def judge(self, responses: Sequence[str], row: Mapping[str, Any]) -> Judged:
        """Raises GroupNotJudged where fewer than `min_valid` of the comparisons have a verdict, and what
        `JudgeClient.ask` raises."""
        deadline = asyncio.get_running_loop().time() + self.settings.group_seconds
        settings, metrics = self.settings, self.client.metrics
        # not before its turn: thousands may wait
        prepared = functools.cache(lambda: Group.of(responses, row, settings, self._control_tokens))

        async def ask(question: Shown) -> Asked:
            group = prepared()
            shown = [group.shown[text] for text in question]
            return await self.client.ask(group.context, shown, deadline, group.affinity)

        answered = await self._dispatcher.run(lambda: prepared().questions, ask, deadline)
        group = prepared()
        asked = {question: answered[question] or LATE for question in group.questions}
        metrics.questions += len(asked)
        for record in asked.values():
            if record.failure:
                metrics.fail(record.failure, record.answer)
        return group.conclude(asked, metrics)


class OpenAIJudge(ModelJudge):
    """Any endpoint that speaks OpenAI's chat completions; it has a URL, and costs dollars."""


class LocalJudge(ModelJudge):
    """A model that vLLM serves on the user's machines: the run itself, as verl's reward model, unless it has a URL."""

    served_by = "reward_model"
    no_server = "set sp3f.judge.base_url, or reward.reward_model.enable=true with a model_path"


class PolicyJudge(ModelJudge):
    """The policy judges its own rollouts, on the servers that made them."""

    served_by = "rollout"
    no_server = "it needs trainer mode sync or colocate_async, whose rollout servers it asks"
