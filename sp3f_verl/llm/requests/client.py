"""One way to ask a model: a chat completion from any OpenAI-compatible server, with retries, limits and deadlines."""

import asyncio
import dataclasses
import functools
import random
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import openai

from sp3f_verl.characters import whole
from sp3f_verl.errors import one_line
from sp3f_verl.llm.outcome import (
    ENDS_THE_RUN,
    AskFailed,
    AuthenticationFailed,
    Completion,
    FailureKind,
    Fault,
    Usage,
)
from sp3f_verl.llm.requests.endpoint import AnswerTooLarge, Endpoint, officials, read_key, url_remedy
from sp3f_verl.llm.requests.failures import read_failure
from sp3f_verl.llm.requests.rate_limit import RateLimit
from sp3f_verl.llm.requests.replies import parse_json, read_completion, read_context_length, read_first_model
from sp3f_verl.llm.requests.retry import RETRIED, backoff_seconds, retry_after_seconds
from sp3f_verl.llm.requests.secrets import Secrets

SAME_SHAPE = 3  # answers that are none for one reason, after which a server is taken to mean it
PASSED_OVER = 5.0  # seconds for which a URL that failed to connect is left to the others, where there are others

T = TypeVar("T")


class Client:
    """Asks an endpoint, from one event loop: the first that uses it. Any other gets a RuntimeError.

    rate_limit: limits per minute, to be shared by the clients of one account. seed: of the waits' random part.
    BadInput where the endpoint's environment variable holds no key.
    """

    def __init__(self, endpoint: Endpoint, rate_limit: RateLimit | None = None, seed: int | None = None):
        self._endpoint, self._rate_limit, self._rng = endpoint, rate_limit or RateLimit(), random.Random(seed)
        self._key, self._headers = read_key(endpoint.api_key_env), endpoint.read_headers()
        self.secrets = Secrets(endpoint.secrets(self._key, self._headers))
        self._slots = asyncio.Semaphore(endpoint.concurrency)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._officials: list[openai.AsyncOpenAI] = []
        self._passed_over: dict[int, float] = {}  # index of the URL, until when
        self._model: asyncio.Task[tuple[str | Fault, list[Fault]]] | None = None
        self._closed = False

    async def ask(
        self,
        messages: list[dict[str, Any]],
        *,
        max_tokens: int,
        temperature: float | None = None,
        top_p: float | None = None,
        top_logprobs: int | None = None,
        seed: int | None = None,
        stop: list[str] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        deadline: float | None = None,
        affinity: int = 0,
        on_retry: Callable[[FailureKind], None] | None = None,
        estimated_tokens: int = 0,
    ) -> Completion:
        """The model's answer; AskFailed (AuthenticationFailed) where there is none, after the retries that may help.

        extra_body: fields beside these or in their place; None takes one away, as in {"max_tokens": None,
            "max_completion_tokens": 512} for a server that wants the newer name.
        deadline: the event loop's time at which to give up, wherever the request then is.
        affinity: requests of one number go to one URL, whose prefix cache then serves them; a retry goes to the next.
        on_retry: called with the failure before each retry. estimated_tokens: prompt and answer, for the rate limit.
        """
        loop = self._bind()
        started, retried = loop.time(), []  # the faults before the last
        sampling = {"temperature": temperature, "top_p": top_p, "seed": seed, "stop": stop}
        if top_logprobs is not None:
            sampling |= {"logprobs": True, "top_logprobs": top_logprobs}
        try:
            async with asyncio.timeout_at(deadline) as limit, self._slots:
                if deadline is not None:
                    await asyncio.sleep(0)  # one already past ends it here, before anything is sent
                body = chat_body(await self.model(), messages, max_tokens, sampling, extra_body)
                attempt = functools.partial(self._complete, body, affinity, estimated_tokens)
                got = await self._retry(attempt, retried, on_retry)
        except TimeoutError:
            if not limit.expired():
                raise
            got = Fault(FailureKind.DEADLINE, "the deadline passed before an answer came")
        if isinstance(got, Completion):
            return dataclasses.replace(got, wasted=_usage_of(retried)) if retried else got
        # Raised here and not where it was caught: the exceptions below hold the request, and with it the key.
        raise _failure(got, retried, loop.time() - started)

    async def model(self) -> str:
        """The endpoint's model, or the first that its first URL serves: asked for once, by all who wait together.

        AskFailed where that fails; the next call then asks again.
        """
        if self._endpoint.model is not None:
            return self._endpoint.model
        loop = self._bind()
        if self._model is None:
            self._model = loop.create_task(self._first_model())
        task = self._model
        started = loop.time()
        got, retried = await asyncio.shield(task)  # one waiter's deadline does not end it for the others
        if isinstance(got, str):
            return got
        if self._model is task:
            self._model = None
        raise _failure(got, retried, loop.time() - started)

    async def context_length(self) -> int | None:
        """Tokens that fit into the model's context, prompt and answer together, where its server says (vLLM does)."""
        self._bind()
        got = await self._answer(self._officials[0].get("/models", cast_to=str))
        return None if isinstance(got, Fault) else read_context_length(got, await self.model())

    async def get(self, path: str) -> str:
        """Body of GET of the path under the first URL, after the retries that may help; else AskFailed."""
        self._bind()
        return await self._insist(lambda _: self._answer(self._officials[0].get(path, cast_to=str)))

    async def post(self, path: str, body: Any) -> str:
        """The same for a POST of JSON, but sent once: what it makes may have been made although no answer came."""
        self._bind()
        return self._without_failure(await self._answer(self._officials[0].post(path, body=body, cast_to=str)), [])

    async def upload(self, path: str, file: Path, fields: Mapping[str, str]) -> str:
        """The same for a form with a file, with retries: a file uploaded twice costs nothing."""
        self._bind()

        async def attempt(_: int) -> str | Fault:
            with file.open("rb") as opened:  # anew: a retry begins at its start
                files = [("file", (file.name, opened, "application/jsonl"))]
                options = {"headers": {"Content-Type": "multipart/form-data"}}
                form = {"body": dict(fields), "files": files, "options": options, "cast_to": str}
                return await self._answer(self._officials[0].post(path, **form))

        return await self._insist(attempt)

    async def close(self) -> None:
        """Closes the connections; requests in flight fail. It cannot be used again."""
        self._closed = True
        if self._model is not None:
            self._model.cancel()
        for official in self._officials:
            await official.close()

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    def _bind(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        if self._closed:
            raise RuntimeError("This Client is closed: make another one.")
        if self._loop is None:
            self._loop = loop
            self._officials = officials(self._endpoint, self._key, self._headers)
        if self._loop is not loop:
            raise RuntimeError("This Client's connections belong to another event loop: make one Client per loop.")
        return loop

    async def _insist(self, attempt: Callable[[int], Awaitable[str | Fault]]) -> str:
        retried: list[Fault] = []
        return self._without_failure(await self._retry(attempt, retried), retried)

    @staticmethod
    def _without_failure(got: str | Fault, retried: list[Fault]) -> str:
        if isinstance(got, Fault):
            raise _failure(got, retried, 0.0)
        return got

    async def _retry(
        self,
        attempt: Callable[[int], Awaitable[T | Fault]],
        retried: list[Fault],
        on_retry: Callable[[FailureKind], None] | None = None,
    ) -> T | Fault:
        """What the attempt number 0, 1, ... ends in; retried gets the failure before each retry."""
        while True:
            got = await attempt(len(retried))
            if not (isinstance(got, Fault) and got.kind in RETRIED and len(retried) < self._endpoint.max_retries):
                return got
            last = [*retried, got][-SAME_SHAPE:]
            same = {fault.message for fault in last if fault.kind is FailureKind.INVALID_RESPONSE}
            if len(last) == SAME_SHAPE and len(same) == 1 and last[0].kind is last[1].kind is got.kind:
                return got
            if on_retry is not None:
                on_retry(got.kind)
            retry_after = min(got.retry_after or 0.0, self._endpoint.retry_after_ceiling)
            # The server's wait is the same for all that it turned away: the random part keeps them apart.
            await asyncio.sleep(retry_after + backoff_seconds(0 if retry_after else len(retried), self._rng))
            retried.append(got)

    async def _complete(self, body: dict[str, Any], affinity: int, tokens: int, retries: int) -> Completion | Fault:
        await self._rate_limit.turn(tokens)
        loop = asyncio.get_running_loop()
        started = loop.time()
        url = self._reachable(affinity + retries)
        got = await self._answer(self._officials[url].post("/chat/completions", body=body, cast_to=str))
        if isinstance(got, str):
            got = read_completion(got, loop.time() - started, retries, body["model"])
        got = self._told(got, url)
        if isinstance(got, Completion):
            self._rate_limit.settle(tokens, got.usage.prompt_tokens + got.usage.completion_tokens)
        elif got.kind is FailureKind.CONNECTION:
            self._passed_over[url] = loop.time() + PASSED_OVER
        elif got.kind is FailureKind.RATE_LIMITED and got.retry_after is not None:
            self._rate_limit.hold(min(got.retry_after, self._endpoint.retry_after_ceiling))
        return got

    def _told(self, got: Completion | Fault, url: int) -> Completion | Fault:
        """The outcome without the key, which parts of a stream or of a content may hold only when they are joined; a
        fault that a wrong URL may have made, with what to write in its place."""
        if isinstance(got, Completion):
            text, model = self.secrets.out_of_answer(got.text), self.secrets.out_of_answer(got.model)
            return got if (text, model) == (got.text, got.model) else dataclasses.replace(got, text=text, model=model)
        return self._with_remedy(got._replace(message=self.secrets.without(got.message)), url)

    def _with_remedy(self, fault: Fault, url: int) -> Fault:
        if fault.kind not in (FailureKind.NOT_FOUND, FailureKind.INVALID_RESPONSE):
            return fault
        remedy = url_remedy(self._endpoint.base_urls[url], fault)
        return fault._replace(message=fault.message + remedy) if remedy not in fault.message else fault

    async def _first_model(self) -> tuple[str | Fault, list[Fault]]:
        """(model or failure, failures before each retry)"""

        async def attempt(_: int) -> str | Fault:
            got = await self._answer(self._officials[0].get("/models", cast_to=str))
            got = got if isinstance(got, Fault) else read_first_model(self.secrets.without(got))
            return self._with_remedy(got, 0) if isinstance(got, Fault) else got

        retried: list[Fault] = []
        return await self._retry(attempt, retried), retried

    async def _answer(self, request: Awaitable[str]) -> str | Fault:
        """Body of a successful response, within the time of one attempt."""
        try:
            async with asyncio.timeout(self._endpoint.request_timeout):
                return self.secrets.out_of_answer(await request)
        except AnswerTooLarge as error:
            return Fault(FailureKind.INVALID_RESPONSE, str(error))
        # Before TimeoutError, which some of aiohttp's are, too; its transport calls every broken connection a timeout.
        except (openai.APIConnectionError, aiohttp.ClientError) as error:
            cause = self.secrets.without(str(error.__cause__ or error))
            return Fault(FailureKind.CONNECTION, one_line(cause) or "the connection broke")
        except TimeoutError:
            return Fault(FailureKind.TIMEOUT, f"no complete answer within {self._endpoint.request_timeout:g} s")
        except openai.APIStatusError as error:
            body = self.secrets.without(error.response.text)
            fault = read_failure(error.status_code, body, parse_json(body))
            if error.response.is_redirect:
                location = self.secrets.without(str(error.response.headers.get("location", "")))
                where = one_line(location.partition("?")[0].removesuffix("/chat/completions"))
                fault = fault._replace(message=f"{fault.message} (it redirects to {where}: write that as base_url)")
            return fault._replace(retry_after=retry_after_seconds(error.response.headers, datetime.now(UTC)))

    def _reachable(self, start: int) -> int:
        """Index of the first URL from `start` on that did not just fail to connect; of the one at start if all did."""
        number, now = len(self._officials), asyncio.get_running_loop().time()
        indices = [(start + step) % number for step in range(number)]
        return next((url for url in indices if self._passed_over.get(url, now) <= now), indices[0])


def chat_body(
    model: str,
    messages: list[dict[str, Any]],
    max_tokens: int,
    sampling: Mapping[str, Any],
    extra: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The JSON of a chat completion's request: extra in the place of the others, and without what is None."""
    # Some servers stream unless they are told not to.
    body = {
        "model": model,
        "messages": messages,
        "max_tokens": max_tokens,
        "stream": False,
        **sampling,
        **(extra or {}),
    }
    return {name: whole(value) for name, value in body.items() if value is not None}


def _failure(fault: Fault, retried: list[Fault], seconds: float) -> AskFailed:
    kind = AuthenticationFailed if fault.kind in ENDS_THE_RUN else AskFailed
    return kind(fault.kind, fault.message, len(retried), seconds, _usage_of([*retried, fault]))


def _usage_of(faults: list[Fault]) -> Usage:
    return sum((fault.usage for fault in faults), Usage())
