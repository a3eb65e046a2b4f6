"""The judges that ask a model: SP3F's (arXiv 2601.18722), which sees the English reference solution, and its ablations.

`OpenAIJudge`, `LocalJudge` and `PolicyJudge` differ only in where the model is.
"""

import asyncio
import functools
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from sp3f_verl.data.rows import REFERENCE
from sp3f_verl.errors import BadInput
from sp3f_verl.judge.aggregate import NEUTRAL
from sp3f_verl.judge.base import GroupNotJudged, Judge, Judged, Record, Run
from sp3f_verl.judge.dispatch import Dispatcher
from sp3f_verl.judge.jamming import Jam, find_jam, from_other_order, is_of_the_way, lost_by
from sp3f_verl.judge.plan import Plan, Question, compare, is_settled, make_plan
from sp3f_verl.judge.prompt import Prompt
from sp3f_verl.judge.question import Answer, Context, JudgeClient
from sp3f_verl.judge.sanitize import neutralise, new_fence, shorten
from sp3f_verl.judge.settings import GROUP_SCHEDULES
from sp3f_verl.judge.verdict import Verdict
from sp3f_verl.llm.outcome import AskFailed, FailureKind
from sp3f_verl.llm.price import longest_answer
from sp3f_verl.llm.requests.client import Client
from sp3f_verl.llm.requests.endpoint import VARIABLE, Endpoint
from sp3f_verl.llm.requests.rate_limit import RateLimit
from sp3f_verl.log import log
from sp3f_verl.rewards.text import strip_think

# of a question that the group's deadline came before
LATE = Answer(None, FailureKind.DEADLINE.value, "sp3f.judge.group_seconds were over")

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
        prompt = self.prompt
        if settings.schedule in GROUP_SCHEDULES and settings.credit != "both":
            raise BadInput(
                f"{place}.credit={settings.credit} needs pairs, but schedule={settings.schedule} has none; use both."
            )
        if prompt.kind != "language" and prompt.privileged != settings.privileged:
            raise BadInput(
                f"{place}.prompt={settings.prompt}, privileged={str(settings.privileged).lower()} do not agree: "
                "a prompt shows the solution to a privileged judge, and to no other."
            )
        pairwise = "pairwise" if settings.verdict == "text" else "token"
        wanted = settings.schedule if settings.schedule in GROUP_SCHEDULES else pairwise
        if prompt.kind != wanted:
            raise BadInput(
                f"{place}.prompt={settings.prompt} is a prompt of kind {prompt.kind}, but schedule={settings.schedule} "
                f"with verdict={settings.verdict} needs one of kind {wanted}; change one of them."
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
        if self.settings.schedule == "language":
            return ()
        return REFERENCE if self.settings.privileged else ("query_en",)

    def needed_variables(self) -> tuple[str, ...]:
        names = (self.settings.api_key_env, None if self.settings.base_url else self.settings.base_url_env)
        return tuple(name for name in names if name)

    def is_served_by_the_run(self) -> bool:
        return not self.base_urls()

    def asks_pairs(self) -> bool:
        return self.settings.schedule not in GROUP_SCHEDULES

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
        except AskFailed as error:
            if "system" in str(error).lower() and "role" in str(error).lower():
                raise BadInput(
                    f"judge={settings.name}: its chat template knows no system role ({error}); set "
                    "sp3f.judge.system_part=user."
                ) from None
            what = MENDS.get(error.kind, "mend its URL, key or model")
            raise BadInput(f"judge={settings.name} does not answer ({error}); {what} before the run starts.") from None

        if complaint and settings.verdict == "logprob":  # what the server lacks, no later answer has
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
        prepared = functools.cache(lambda: self._prepare(responses, row))  # not before its turn: thousands may wait

        async def ask(question: Question) -> Answer:
            group = prepared()
            shown = [group.shown[text] for text in question]
            return await self.client.ask(group.context, shown, deadline, group.affinity)

        answered = await self._dispatcher.run(lambda: prepared().plan.questions, ask, deadline)
        group = prepared()
        answers = {question: answered[question] or LATE for question in group.plan.questions}
        metrics = self.client.metrics
        metrics.questions += len(answers)
        for answer in answers.values():
            if answer.failure:
                metrics.fail(answer.failure, answer.text)
        return self._conclude(group, answers, row)

    def _prepare(self, responses: Sequence[str], row: Mapping[str, Any]) -> "Prepared":
        texts = [strip_think(response).strip() for response in responses]
        shown = {text: neutralise(text) for text in texts}
        same: dict[str, str] = {}  # how a text looks to the judge -> the first that looks so
        for text in texts:
            same.setdefault(self._look(shown[text]), text)
        # compared as they are shown: invisible characters say nothing, nor does what is left out
        texts = [same[look] if (look := self._look(shown[text])) else "" for text in texts]
        fence = new_fence(random.SystemRandom(), shown.values()) if self.settings.fence == "group" else None
        context = Context.of(row, self.settings.privileged, fence)
        rng = random.Random(f"{self.settings.seed} {row['id']} {sorted(texts)}")
        return Prepared(texts, context, shown, make_plan(texts, self.settings, rng), rng.getrandbits(32))

    def _look(self, shown: str) -> str:
        return shorten(shown, self.settings.response_chars)[0].strip()

    def _conclude(self, group: "Prepared", answers: Mapping[Question, Answer], row: Mapping[str, Any]) -> Judged:
        settings, texts = self.settings, group.texts
        records = self._records(texts, answers)
        jam = self._jam(answers)
        if settings.schedule == "language":
            values = [answers[text,].value if text else "" for text in texts]
            valid = [int(value is not None) for value in values]
            rates = [NEUTRAL if value is None else float(value == row["language"]) for value in values]
            if settings.on_jam == "loss":
                rates = [0.0 if text in jam.responses else rate for text, rate in zip(texts, rates, strict=True)]
            result, share = Judged(rates, [], valid, records), sum(valid) / len(texts)
        else:
            values = {question: answer.value for question, answer in answers.items()}
            comparisons = compare(texts, group.plan, values, ranked=settings.schedule == "listwise")
            settled, asked = [], []
            for i, j, verdict in comparisons:
                (settled if is_settled(texts[i], texts[j]) else asked).append((i, j, verdict))
            self.client.metrics.skipped += len(settled)
            jammers = frozenset(index for index, text in enumerate(texts) if text in jam.responses)
            credited = from_other_order(asked)
            result = Judged.of(
                len(texts),
                asked,
                settings.credit,
                settled,
                records,
                credited=lost_by(credited, jammers) if settings.on_jam == "loss" else credited,
            )
            failed = sum(verdict is Verdict.FAILED for _, _, verdict in asked)
            share = 1 - failed / len(comparisons) if comparisons else 1.0
        dropped = settings.on_jam == "drop" and jam.responses
        if share < settings.min_valid or dropped:
            self.client.metrics.groups_failed += 1
            kinds = ", ".join(sorted({answer.failure for answer in answers.values() if answer.failure}))
            raise GroupNotJudged(
                f"judge {settings.name} gave a verdict on {share:.0%} of the comparisons of prompt {row['id']}, "
                + (
                    f"and its failures ({kinds}) gather on {len(jam.responses)} of {len(texts)} responses: "
                    "sp3f.judge.on_jam=drop."
                    if dropped
                    else f"fewer than sp3f.judge.min_valid={settings.min_valid:g} asks for ({kinds})."
                ),
                records,
            )
        if settings.on_jam == "lowest" and jam.responses:
            lowest = min(result.rates)
            rates = [lowest if text in jam.responses else rate for text, rate in zip(texts, result.rates, strict=True)]
            result = replace(result, rates=rates)
        return result

    def _jam(self, answers: Mapping[Question, Answer]) -> Jam:
        jam = find_jam(
            {
                question: answer.failure is not None
                for question, answer in answers.items()
                if answer.failure is None or not is_of_the_way(answer.failure)
            }
        )
        if jam.concentration:
            self.client.metrics.concentration.append(jam.concentration)
        self.client.metrics.groups_jammed += bool(jam.responses)
        return jam

    def _records(self, texts: Sequence[str], answers: Mapping[Question, Answer]) -> list[Record]:
        first = {text: index for index, text in reversed(list(enumerate(texts)))}
        price = self.settings.known_price()
        return [
            Record(
                responses=tuple(first[text] for text in question),
                texts=question,
                value=answer.value,
                answer=answer.text,
                failure=answer.failure,
                usage=answer.usage,
                usd=price.usd(answer.usage) if price else None,
                seconds=answer.seconds,
                calls=answer.calls,
            )
            for question, answer in answers.items()
        ]


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


@dataclass(frozen=True)
class Prepared:
    """A group as it is asked about: each response without its thoughts, and how that text is shown.

    affinity: all questions of the group go to one server, where they share a prefix.
    """

    texts: list[str]
    context: Context
    shown: dict[str, str]
    plan: Plan
    affinity: int
