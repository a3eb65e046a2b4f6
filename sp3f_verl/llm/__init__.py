"""One way to ask a model."""

from sp3f_verl.llm.ask import Answer, Ask, Status
from sp3f_verl.llm.backends.base import Backend
from sp3f_verl.llm.outcome import AskFailed, AuthenticationFailed, Completion, FailureKind, Usage
from sp3f_verl.llm.price import Price
from sp3f_verl.llm.requests.client import Client
from sp3f_verl.llm.requests.endpoint import Endpoint
from sp3f_verl.llm.requests.rate_limit import RateLimit
from sp3f_verl.llm.store import Store, request_key
from sp3f_verl.llm.totals import TooManyFailures, Totals

__all__ = [
    "Answer",
    "Ask",
    "AskFailed",
    "AuthenticationFailed",
    "Backend",
    "Client",
    "Completion",
    "Endpoint",
    "FailureKind",
    "Price",
    "RateLimit",
    "Status",
    "Store",
    "TooManyFailures",
    "Totals",
    "Usage",
    "request_key",
]
