"""Responses of policies to prompts: the requests of an iteration, and the store of what was answered.

A response is kept in the content-addressed store of `sp3f_verl.llm` the moment it is finished, by the policy and the
exact request, so that a run which was killed anywhere asks nothing twice.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from sp3f_verl.llm.store import Store, request_key
from sp3f_verl.progress import ProgressBar
from sp3f_verl.training.selfplay.settings import Generation
from sp3f_verl.training.selfplay.triplets import Annotated, Response, sampling_seed


@dataclass(frozen=True)
class Request:
    prompt: np.ndarray
    sampling: dict[str, Any]  # vLLM's names; max_tokens among them

    def key(self, policy: str) -> str:
        return request_key("selfplay", policy, self.prompt.tolist(), self.sampling)


class Servers(Protocol):
    """What answers requests (verl_bridge/selfplay/generation.py)."""

    def generate(
        self, requests: Sequence[Request], settings: Generation, done: Callable[[Request, Response], None]
    ) -> int:
        """Calls `done` with each request's response as it finishes; answers how many had to be asked again."""


def sampling_requests(
    rows: Sequence[Annotated], settings: Generation, max_length: int, iteration: int, split: str
) -> list[Request]:
    """The requests of iteration t, one a row, each with a seed of its own."""
    requests = []
    for index, row in enumerate(rows):
        sampling = {
            "max_tokens": _room(row, settings, max_length),
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "seed": sampling_seed(settings.seed, iteration, split, index),
            "logprobs": True,
        }
        requests.append(Request(row.prompt, sampling))
    return requests


def greedy_requests(rows: Sequence[Annotated], settings: Generation, max_length: int) -> list[Request]:
    """One a row; the same in every iteration."""
    return [
        Request(
            row.prompt,
            {"max_tokens": _room(row, settings, max_length), "temperature": 0.0, "logprobs": False},
        )
        for row in rows
    ]


def _room(row: Annotated, settings: Generation, max_length: int) -> int:
    return min(settings.max_tokens, max_length - len(row.prompt))


class Responses:
    """The store of a run's responses, filled by its rollout servers."""

    def __init__(self, store: Store, end_tokens: frozenset[int]):
        self._store, self._ends = store, end_tokens

    def kept(self, policy: str, request: Request) -> Response | None:
        value = self._store.get(request.key(policy))
        if value is None:
            return None
        logp = float("nan") if value["logp"] is None else value["logp"]
        return Response(np.asarray(value["ids"], dtype=np.int32), logp, value["complete"])

    def missing(self, policy: str, requests: Sequence[Request]) -> list[Request]:
        return [request for request in requests if self.kept(policy, request) is None]

    def fill(self, policy: str, requests: Sequence[Request], servers: Servers, settings: Generation, name: str) -> int:
        """Asks for `requests`, all of them missing; answers how many had to be asked again."""

        def done(request: Request, response: Response) -> None:
            complete = response.complete or int(response.ids[-1]) in self._ends  # the last token may be the end
            logp = None if np.isnan(response.logp) else response.logp
            self._store.put(request.key(policy), {"ids": response.ids.tolist(), "logp": logp, "complete": complete})
            bar.advance()

        with ProgressBar(f"responses of {name}", len(requests)) as bar:
            return servers.generate(requests, settings, done)
