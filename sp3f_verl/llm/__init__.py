"""One way to ask a model."""

from sp3f_verl.llm.client import Client
from sp3f_verl.llm.cost import Price
from sp3f_verl.llm.endpoint import Endpoint
from sp3f_verl.llm.outcome import AskFailed, AuthenticationFailed, Completion, FailureKind, Usage
from sp3f_verl.llm.pace import Pace
from sp3f_verl.llm.store import Store, request_key

__all__ = [
    "AskFailed",
    "AuthenticationFailed",
    "Client",
    "Completion",
    "Endpoint",
    "FailureKind",
    "Pace",
    "Price",
    "Store",
    "Usage",
    "request_key",
]
