"""What a model is asked, and what comes of it: the values that every backend takes and gives."""

import enum
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sp3f_verl.llm.outcome import NO_USAGE, FailureKind, Usage
from sp3f_verl.llm.requests.replies import WHOLE
from sp3f_verl.llm.store import request_key

VERSION = 2  # of stored answers; those without one may be what is no answer any more


class Status(enum.StrEnum):
    """What an answer is good for. OFF_LANGUAGE is set by callers alone: only they know the language they wanted."""

    OK = "ok"
    ERROR = "error"  # no answer, after the retries that may help
    TRUNCATED = "truncated"  # cut off at max_tokens; the text is what there is
    REFUSED = "refused"  # a content filter, or the model itself: an answer, if no text
    OFF_LANGUAGE = "off_language"


@dataclass(frozen=True, slots=True)
class Ask:
    """One question, and how its answer is drawn. None leaves a choice to the server.

    id: the row's; it names the answer and is no part of the question. messages: as the chat API has them.
    max_tokens: of the answer. number: which of several answers to the same messages this is, from 0.
    extra: fields of the request beside these, such as {"top_k": 20}; for vLLM fields of SamplingParams, and
        "chat_template_kwargs".
    """

    id: str
    messages: list[dict[str, Any]]
    max_tokens: int
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    number: int = 0
    stop: tuple[str, ...] = ()
    extra: Mapping[str, Any] | None = None

    @property
    def own_seed(self) -> int | None:
        """The seed of this number's answer: equal seeds would draw equal answers.

        The seed itself for number 0, and 31 bits of a hash for the others: seed + number would make number 1 of
        seed 4 the same as number 0 of seed 5.
        """
        if self.seed is None or self.number == 0:
            return self.seed
        return int.from_bytes(hashlib.sha256(f"{self.seed}:{self.number}".encode()).digest()[:4]) >> 1

    @property
    def sampling(self) -> dict[str, Any]:
        """The request's fields that say how the answer is drawn; None where the server chooses."""
        return {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "seed": self.own_seed,
            "stop": list(self.stop) or None,
        }

    def key(self, model: str) -> str:
        """Key in the store: the model and all that shapes the answer; not the id, so equal questions are asked once."""
        sampling = [self.max_tokens, self.temperature, self.top_p, self.seed, self.number, list(self.stop)]
        return request_key("ask", model, self.messages, sampling, dict(self.extra or {}))


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an Ask. text is None where there is none (error, refused): a failure's message is never a text.

    finish_reason: the server's word: "stop", "length", ... model: the one that says it answered.
    failure: None where there is a text; message: one line of what the server said about the failure.
    reused: from the store, or the answer to an equal question of the same run: it cost nothing. wasted: tokens of the
        attempts before it, which a server counted for what was no answer.
    """

    id: str
    number: int
    status: Status
    text: str | None
    finish_reason: str | None
    usage: Usage
    model: str
    failure: FailureKind | None = None
    message: str = ""
    reused: bool = False
    wasted: Usage = NO_USAGE

    def stored(self) -> dict[str, Any]:
        """The value that the store keeps."""
        usage = self.usage
        return {
            "status": self.status,
            "text": self.text,
            "finish_reason": self.finish_reason,
            "usage": [usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens],
            "model": self.model,
            "failure": self.failure,
            "said": self.message,
            "version": VERSION,
        }

    @classmethod
    def from_stored(cls, ask: Ask, value: Mapping[str, Any]) -> "Answer | None":
        """The stored answer, as the answer to this ask; None where it is no answer, which earlier versions kept.
        KeyError or ValueError where the value is something else."""
        if "version" not in value:
            reason, message = (value["finish_reason"] or "").lower(), value["said"]
            if value["text"] is None and message.startswith(("HTTP 403", "the message has no content")):
                return None
            if value["text"] is not None and reason and reason not in WHOLE and reason != "length":
                return None
        return cls(
            ask.id,
            ask.number,
            Status(value["status"]),
            value["text"],
            value["finish_reason"],
            Usage(*value["usage"]),
            value["model"],
            FailureKind(value["failure"]) if value["failure"] else None,
            value["said"],
            reused=True,
        )


def answered(ask: Ask, text: str, finish_reason: str | None, usage: Usage, model: str) -> Answer:
    """The answer of a model that said something."""
    status = Status.TRUNCATED if finish_reason == "length" else Status.OK
    return Answer(ask.id, ask.number, status, text, finish_reason, usage, model)


def failed(ask: Ask, kind: FailureKind, message: str, model: str, usage: Usage | None = None) -> Answer:
    """The answer where there is no text: refused where the model or a filter would not, else an error."""
    status = Status.REFUSED if kind is FailureKind.REFUSED else Status.ERROR
    finish_reason = "content_filter" if status is Status.REFUSED else None
    return Answer(ask.id, ask.number, status, None, finish_reason, usage or NO_USAGE, model, kind, message)
