"""What comes of asking a model: an answer, or one of eleven kinds of failure. Reads the bodies of both."""

import enum
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

MOST_TOKENS = 10**9  # of a request; a server that counts more counts wrongly
LONGEST_MESSAGE = 200  # characters of what a server says that are repeated: it is untrusted
_TOO_LONG = (  # OpenAI and vLLM, vLLM, SGLang, llama.cpp: only the first gives it a code
    "maximum context length",
    "maximum model length",
    "model's context length",
    "available context size",
)


class FailureKind(enum.StrEnum):
    """Why there is no answer. DEADLINE is the asker's own limit, the others are what happened outside."""

    TIMEOUT = "timeout"  # no answer within the time of one attempt
    CONNECTION = "connection"  # no connection, or it broke
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    BAD_REQUEST = "bad_request"
    AUTHENTICATION = "authentication"
    NOT_FOUND = "not_found"  # no such model, or no such API at this URL
    INVALID_RESPONSE = "invalid_response"  # an answer that is no chat completion
    REFUSED = "refused"  # content filter, or the model's refusal
    TOO_LONG = "too_long"  # prompt and max_tokens exceed the model's context
    DEADLINE = "deadline"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens: of the prompt, those of it that came from the server's prefix cache, and generated ones."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.cached_tokens + other.cached_tokens,
            self.completion_tokens + other.completion_tokens,
        )


@dataclass(frozen=True, slots=True)
class Completion:
    """A model's answer.

    finish_reason: "stop", "length", ...; with "length" the text may be empty, where all went into reasoning.
    top_logprobs: log-probabilities (natural log) of the FIRST generated token by token text, None where none came.
        Different tokens that decode to one text are added up: logaddexp.
    seconds: of the successful attempt alone; retries: attempts before it.
    """

    text: str
    finish_reason: str | None
    usage: Usage
    top_logprobs: Mapping[str, float] | None
    model: str
    seconds: float
    retries: int


class AskFailed(Exception):
    """No answer. `str()` is one line that holds no key, header or credentials.

    kind: of the last attempt's failure; retries: attempts before it; seconds: since `ask` was called, with all waits.
    """

    def __init__(self, kind: FailureKind, message: str, retries: int = 0, seconds: float = 0.0):
        super().__init__(kind, message, retries, seconds)  # these arguments are what unpickling calls it with
        self.kind, self.retries, self.seconds = kind, retries, seconds

    def __str__(self) -> str:
        retries = f" after {self.retries} {'retry' if self.retries == 1 else 'retries'}" if self.retries else ""
        return f"{self.kind}{retries} ({self.seconds:.1f} s): {self.args[1]}"


class AuthenticationFailed(AskFailed):
    """The server does not take the key (401): no later request will fare better."""


class Fault(NamedTuple):
    """One attempt's failure. retry_after: seconds that the server asks to wait, None where it does not."""

    kind: FailureKind
    message: str
    retry_after: float | None = None


def one_line(text: str) -> str:
    """The first 200 characters as one printable line."""
    printable = "".join(char if char.isprintable() else " " for char in text[: 5 * LONGEST_MESSAGE])
    line = " ".join(printable.split())
    return line if len(line) <= LONGEST_MESSAGE else line[: LONGEST_MESSAGE - 3] + "..."


def _parse_json(body: str) -> Any:
    """The JSON value, None for anything else (and for `null`)."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def read_completion(body: str, seconds: float, retries: int, model: str) -> Completion | Fault:
    """The answer in the body of a successful response, or why it is none."""
    data = _parse_json(body)
    match data:
        case {"choices": [{"message": dict(message)} as choice, *_]}:
            text, finish_reason = message.get("content"), choice.get("finish_reason")
        case _:
            return Fault(FailureKind.INVALID_RESPONSE, f"no chat completion: {_server_message(data, body)[0]}")
    if finish_reason == "abort":  # vLLM, where the server was paused or its weights were changed
        return Fault(FailureKind.SERVER_ERROR, "the server broke the answer off")
    if finish_reason == "content_filter" or message.get("refusal"):
        refusal = message.get("refusal") or "stopped by the content filter"
        return Fault(FailureKind.REFUSED, one_line(str(refusal)))
    if text is None and finish_reason == "length":
        text = ""  # a reasoning model that ran out of max_tokens before its answer has not refused
    if text is None:
        return Fault(FailureKind.REFUSED, "the message has no content")
    try:
        top_logprobs = _first_token_logprobs(choice.get("logprobs"))
    except (KeyError, TypeError, ValueError, AttributeError):
        return Fault(FailureKind.INVALID_RESPONSE, "logprobs that are none")
    if not isinstance(text, str) or not isinstance(finish_reason, str | None):
        return Fault(FailureKind.INVALID_RESPONSE, "a message whose content or finish_reason is no text")
    served = data.get("model")
    model = served if isinstance(served, str) and served else model
    return Completion(text, finish_reason, _usage(data.get("usage")), top_logprobs, model, seconds, retries)


def read_first_model(body: str) -> str | Fault:
    """The first name in the body of GET /models."""
    match data := _parse_json(body):
        case {"data": [{"id": str(name)}, *_]} if name:
            return name
    return Fault(FailureKind.INVALID_RESPONSE, f"no list of models: {_server_message(data, body)[0]}")


def read_context_length(body: str, model: str) -> int | None:
    """vLLM's `max_model_len` of the model in the body of GET /models; None where it is not said."""
    match _parse_json(body):
        case {"data": list(models)}:
            cards = [card for card in models if isinstance(card, dict) and card.get("id") == model]
            length = cards[0].get("max_model_len") if cards else None
            return length if isinstance(length, int) and length > 0 else None
    return None


def read_failure(status: int, body: str) -> Fault:
    """What an HTTP status other than success means, with the server's words."""
    message, code = _server_message(_parse_json(body), body)
    return Fault(_kind_of(status, message.lower(), code), f"HTTP {status}: {message}" if message else f"HTTP {status}")


def _kind_of(status: int, message: str, code: object) -> FailureKind:
    if status == 400 and code == "content_filter":  # Azure
        return FailureKind.REFUSED
    too_long = code == "context_length_exceeded" or any(phrase in message for phrase in _TOO_LONG)
    if status == 413 or (status == 400 and too_long):
        return FailureKind.TOO_LONG
    if status >= 500:
        return FailureKind.SERVER_ERROR
    if status < 400:  # a redirect, which is not followed: the key is for this address only
        return FailureKind.NOT_FOUND
    return {
        401: FailureKind.AUTHENTICATION,
        403: FailureKind.REFUSED,  # also what some gateways say to a text that they do not like
        404: FailureKind.NOT_FOUND,
        408: FailureKind.TIMEOUT,
        409: FailureKind.SERVER_ERROR,
        429: FailureKind.RATE_LIMITED,
    }.get(status, FailureKind.BAD_REQUEST)


def _server_message(data: Any, body: str) -> tuple[str, object]:
    """(message, code) of `{"error": {...}}` (OpenAI), `{"message": ...}` (vLLM) or `{"detail": ...}` (FastAPI)."""
    error = data.get("error") or data if isinstance(data, dict) else body
    if not isinstance(error, dict):
        return one_line(str(error)), None
    return one_line(str(error.get("message") or error.get("detail") or body)), error.get("code")


def _first_token_logprobs(logprobs: Any) -> dict[str, float] | None:
    if not logprobs or not logprobs.get("content"):
        return None
    merged: dict[str, float] = {}
    for entry in logprobs["content"][0]["top_logprobs"]:
        token, logprob = str(entry["token"]), float(entry["logprob"])
        if math.isnan(logprob):
            raise ValueError("a log-probability that is no number")
        merged[token] = _logaddexp(merged[token], logprob) if token in merged else logprob
    return merged


def _logaddexp(a: float, b: float) -> float:
    high, low = max(a, b), min(a, b)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))


def _usage(usage: Any) -> Usage:
    """Servers leave out any of it: what is no count is 0."""

    def count(mapping: Any, name: str) -> int:
        value = mapping.get(name) if isinstance(mapping, dict) else None
        return value if type(value) is int and 0 < value < MOST_TOKENS else 0

    details = usage.get("prompt_tokens_details") if isinstance(usage, dict) else None
    return Usage(count(usage, "prompt_tokens"), count(details, "cached_tokens"), count(usage, "completion_tokens"))
