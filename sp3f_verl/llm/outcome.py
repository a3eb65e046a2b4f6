"""What comes of asking a model: an answer, or one of thirteen kinds of failure."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


class FailureKind(enum.StrEnum):
    """Why there is no answer. DEADLINE is the asker's own limit, the others are what happened outside."""

    TIMEOUT = "timeout"  # no answer within the time of one attempt
    CONNECTION = "connection"  # no connection, or it broke
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    BAD_REQUEST = "bad_request"
    AUTHENTICATION = "authentication"  # a key that is not taken, whatever the status
    NO_MONEY = "no_money"  # an account or a key with nothing left on it
    FORBIDDEN = "forbidden"  # 403 without a reason that is known
    NOT_FOUND = "not_found"  # no such model, or no such API at this URL
    INVALID_RESPONSE = "invalid_response"  # what is no chat completion, or no whole answer
    REFUSED = "refused"  # content filter, or the model's refusal: only where it says so
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


NO_USAGE = Usage()


@dataclass(frozen=True, slots=True)
class Completion:
    """A model's answer.

    finish_reason: "length" where a limit cut the answer off, in whatever words the server said it (the text may be
        empty, where all went into reasoning); else the server's word for an answer that is whole, or None.
    top_logprobs: log-probabilities (natural log) of the FIRST generated token by token text, None where none came.
        Different tokens that decode to one text are added up: logaddexp.
    seconds: of the successful attempt alone; retries: attempts before it. wasted: tokens that those cost.
    """

    text: str
    finish_reason: str | None
    usage: Usage
    top_logprobs: Mapping[str, float] | None
    model: str
    seconds: float
    retries: int
    wasted: Usage = NO_USAGE


class AskFailed(Exception):
    """No answer. `str()` is one line that holds no key, header or credentials.

    kind: of the last attempt's failure; retries: attempts before it; seconds: since `ask` was called, with all waits.
    usage: tokens that the attempts cost, where a server counted them for what is no answer.
    """

    def __init__(
        self, kind: FailureKind, message: str, retries: int = 0, seconds: float = 0.0, usage: Usage = NO_USAGE
    ):
        super().__init__(kind, message, retries, seconds, usage)  # these arguments are what unpickling calls it with
        self.kind, self.retries, self.seconds, self.usage = kind, retries, seconds, usage

    def __str__(self) -> str:
        retries = f" after {self.retries} {'retry' if self.retries == 1 else 'retries'}" if self.retries else ""
        return f"{self.kind}{retries} ({self.seconds:.1f} s): {self.args[1]}"


class AuthenticationFailed(AskFailed):
    """The server does not take the key, or the account has no money: no later request will fare better."""


ENDS_THE_RUN = frozenset({FailureKind.AUTHENTICATION, FailureKind.NO_MONEY})  # of AuthenticationFailed


class Fault(NamedTuple):
    """One attempt's failure. retry_after: seconds that the server asks to wait, None where it does not. usage: what it
    cost all the same."""

    kind: FailureKind
    message: str
    retry_after: float | None = None
    usage: Usage = NO_USAGE
