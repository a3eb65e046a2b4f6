"""One question to one model: rendered, sent, read, asked again where the answer holds no verdict, counted and paid."""

import contextlib
import dataclasses
import random
import re
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sp3f_verl.errors import one_line
from sp3f_verl.judge.base import NO_USAGE, Asked, Run
from sp3f_verl.judge.metrics import CUT_OFF, MALFORMED, REMEDIES
from sp3f_verl.judge.questions.kinds import KINDS
from sp3f_verl.judge.questions.prompt import Prompt, render
from sp3f_verl.judge.questions.sanitize import neutralise, new_fence, shorten
from sp3f_verl.judge.settings import LEAST_CHARS, JudgeSettings
from sp3f_verl.llm.outcome import AskFailed, AuthenticationFailed, Completion, FailureKind, Usage
from sp3f_verl.llm.requests.client import Client
from sp3f_verl.llm.store import request_key

PROBE = "How much is 3 + 3? (a first question, to see whether the judge answers)"

FITS_NOT = "the question fits no context, however short its responses are shown"
GUESSES = 3  # times that a question is halved because its length may be what a 400 means


@dataclass(frozen=True)
class Context:
    """What the judge is told about a group, made safe to show."""

    id: str
    query: str
    solution: str | None
    language: str
    fence: str | None = None  # of all questions of the group; None: each has its own

    @classmethod
    def of(
        cls,
        row: Mapping[str, Any],
        reference: str | None,
        fence: str | None = None,
        control_tokens: re.Pattern[str] | None = None,
    ) -> "Context":
        """From a canonical row. `reference`: the field that is shown as the solution; None: the judge sees none."""
        solution = neutralise(row[reference], control_tokens) if reference else None
        return cls(row["id"], neutralise(row["query_en"], control_tokens), solution, row["language"], fence)


@dataclass(frozen=True)
class Rendered:
    """A question as it is sent: `size` in UTF-8 bytes, `tokens` as estimated from it, `limit` of a response's
    characters, and whether that cut one."""

    messages: list[dict[str, str]]
    size: int
    tokens: int
    limit: int
    was_cut: bool


class JudgeClient:
    """Puts the questions of all groups of a run to one model."""

    def __init__(self, settings: JudgeSettings, prompt: Prompt, llm: Client, run: Run):
        self.settings, self.prompt, self.llm = settings, prompt, llm
        self.metrics, self.budget, self.store = run.metrics, run.budget, run.store
        self.context_tokens = settings.context_tokens
        self._fences = random.SystemRandom()
        self.kind = KINDS[prompt.kind]
        self.sampling = {
            "max_tokens": self.kind.longest or settings.max_tokens,
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "top_logprobs": self.kind.top_logprobs,
            "extra_body": settings.extra_body or None,
        }
        self._longest_answer = settings.longest_answer()
        self.longest_answered = 0  # bytes of the longest question that has an answer

    async def probe(self) -> str | None:
        """Asks the prompt about two short responses, with all that the run sends, and the server for its context.

        What speaks against the judge all the same, as a sentence: answers without a verdict. Raises AskFailed
        and OverBudget.
        """
        if self.context_tokens is None:
            self.context_tokens = await self.llm.context_length()
        responses = ["3 + 3 = 6, so \\answer{6}", "3 + 3 = 9, so \\answer{9}"]
        responses = responses[: 2 if self.kind.labels(2) else 1]
        context = Context("probe", PROBE, responses[0] if self.prompt.privileged else None, "en")
        rendered = self._fit(context, responses, LEAST_CHARS)
        if rendered is None:
            return "no short question fits its context; lower sp3f.judge.max_tokens, or give it a longer context"
        for _ in range(1 + (self.settings.malformed_retries if self.settings.probe == "stop" else 0)):
            completion = await self._paid(rendered, [])
            if self.kind.read(completion, len(responses)) is not None:
                return None
            if self.kind.top_logprobs or self.kind.is_cut_off(completion):
                break  # the next answer would lack the same
        if self.kind.is_cut_off(completion):
            return REMEDIES[CUT_OFF]
        if self.kind.top_logprobs:
            if not completion.top_logprobs:
                return "it gives no log-probabilities (top_logprobs); use sp3f.judge.verdict=text or another server"
            first = max(completion.top_logprobs, key=completion.top_logprobs.get)
            return f"its first token is {first!r} and no A or B; turn its thoughts off, or use sp3f.judge.verdict=text"
        return (
            f"its answer to a short question holds no verdict ({one_line(completion.text)!r}); mend its prompt or "
            "model, or set sp3f.judge.probe=warn to go on"
        )

    async def ask(self, context: Context, responses: Sequence[str], deadline: float, affinity: int = 0) -> Asked:
        """The judge's answer about `responses` (neutralised, in the order in which they are shown).

        Never raises for a failure of the model or the way to it: that is one without a value. Raises
        AuthenticationFailed and OverBudget, which end the run.
        """
        limit, malformed, so_far = self.settings.response_chars, 0, Asked(None)
        counted_short, guesses = False, 0
        while True:
            rendered = self._fit(context, responses, limit)
            if rendered is None:
                return replace(so_far, failure=FailureKind.TOO_LONG.value, answer=FITS_NOT)
            limit = rendered.limit
            if self.kind.of_pairs and len({shorten(response, limit)[0] for response in responses}) == 1:
                return replace(so_far, value=self.kind.tie, answer="")  # shown so short, they are equal
            if rendered.was_cut and not counted_short:
                self.metrics.shortened += 1
                counted_short = True
            retried: list[str] = []
            try:
                completion, calls = await self._complete(context, responses, rendered, retried, deadline, affinity)
            except AuthenticationFailed:
                raise
            except AskFailed as error:
                so_far = replace(so_far, usage=so_far.usage + error.usage, retries=(*so_far.retries, *retried))
                shorter = min(limit, max(map(len, responses))) // 2
                # The server knows what the estimate does not, but says it in words of which not all are known.
                may_be_too_long = error.kind is FailureKind.BAD_REQUEST and rendered.size > self.longest_answered > 0
                guess = may_be_too_long and shorter >= LEAST_CHARS and guesses < GUESSES
                if not (guess or error.kind is FailureKind.TOO_LONG):
                    return replace(so_far, failure=error.kind.value, answer=error.args[1])
                limit, guesses = shorter, guesses + guess
                continue
            so_far = replace(
                so_far,
                answer=completion.text,
                usage=so_far.usage + completion.usage + completion.wasted,
                seconds=completion.seconds,
                calls=so_far.calls + calls,
                retries=(*so_far.retries, *retried),
            )
            value = self.kind.read(completion, len(responses))
            if value is not None:
                return replace(so_far, value=value)
            if self.kind.is_cut_off(completion):
                return replace(so_far, failure=CUT_OFF)
            self.metrics.malformed += calls
            malformed += 1
            if malformed > self.settings.malformed_retries:
                return replace(so_far, failure=MALFORMED)

    def _fit(self, context: Context, responses: Sequence[str], limit: int) -> Rendered | None:
        """The question with its responses as long as they may be; None where nothing sensible fits."""
        while limit >= LEAST_CHARS:
            shown, cut = zip(*(shorten(response, limit) for response in responses), strict=True)
            fence = context.fence or new_fence(self._fences, (context.query, context.solution or "", *shown))
            messages = render(
                self.prompt, query=context.query, solution=context.solution, responses=list(shown), fence=fence,
                language=context.language,
            )  # fmt: skip
            if self.settings.system_part == "user":
                messages = [{"role": "user", "content": "\n\n".join(message["content"] for message in messages)}]
            size = sum(len(message["content"].encode(errors="replace")) for message in messages)
            tokens = int(size / self.settings.bytes_per_token) + 1
            if self.context_tokens is None or tokens + self._longest_answer <= self.context_tokens:
                return Rendered(messages, size, tokens, limit, any(cut))
            limit = min(limit, max(map(len, responses))) // 2
        return None

    async def _complete(
        self,
        context: Context,
        responses: Sequence[str],
        rendered: Rendered,
        retried: list[str],
        deadline: float,
        affinity: int,
    ) -> tuple[Completion, int]:
        """(completion, calls made): from the store, with the tokens and seconds it took then, or from the model."""
        key = None
        if self.store is not None:
            model = await self.llm.model()
            question = (context.query, context.solution, context.language, list(responses), rendered.limit, 0)
            version = self.prompt.version + ("" if self.settings.system_part == "system" else " in the user's turn")
            key = request_key(model, version, question, self.sampling)
            if (kept := self._kept(key)) is not None:
                completion = Completion(**{**kept, "usage": Usage(*kept["usage"]), "retries": 0})
                if self.kind.read(completion, len(responses)) is not None:  # what holds no verdict is asked again
                    self.metrics.stored += 1
                    return completion, 0
        completion = await self._paid(rendered, retried, deadline=deadline, affinity=affinity)
        self.metrics.calls += 1
        self.metrics.seconds.append(completion.seconds)
        if key is not None and self.kind.read(completion, len(responses)) is not None:
            kept = {name: getattr(completion, name) for name in ("text", "finish_reason", "model", "seconds")}
            kept["usage"] = dataclasses.astuple(completion.usage)
            kept["top_logprobs"] = None if completion.top_logprobs is None else dict(completion.top_logprobs)
            with contextlib.suppress(sqlite3.Error):  # a full disk costs the record of an answer, not the answer
                self.store.put(key, kept)
        return completion, 1

    async def _paid(self, rendered: Rendered, retried: list[str], **when: Any) -> Completion:
        """The model's answer, held against the budget before and booked after; retried gets the failure before each
        retry. Raises AskFailed and OverBudget."""

        def on_retry(kind: FailureKind) -> None:
            self.metrics.retries[kind.value] += 1
            retried.append(kind.value)

        price = self.settings.known_price()
        # no tokenizer makes more tokens of a text than it has bytes; a template adds a few a message
        sent = rendered.size + 16 * len(rendered.messages)
        most = price.usd(Usage(sent, 0, self.settings.most_generated())) if price else 0.0
        self.budget.hold(most)
        paid, usage, estimated = 0.0, NO_USAGE, rendered.tokens + self._longest_answer
        try:
            completion = await self.llm.ask(
                rendered.messages, **self.sampling, estimated_tokens=estimated, on_retry=on_retry, **when
            )
            usage = completion.usage + completion.wasted
            if price:  # a server that does not count its tokens is taken to have used the most that it could
                paid = most if completion.usage == NO_USAGE else price.usd(usage)
        except AskFailed as error:
            usage = error.usage  # what is no answer may be paid for
            paid = price.usd(usage) if price else 0.0
            raise
        finally:
            self.budget.pay(most, paid)
            self.metrics.usage += usage
            self.metrics.usd += paid
        self.longest_answered = max(self.longest_answered, rendered.size)
        return completion

    def _kept(self, key: str) -> dict[str, Any] | None:
        with contextlib.suppress(sqlite3.Error):  # as if it were not there
            return self.store.get(key)
        return None
