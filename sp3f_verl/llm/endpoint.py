"""Where a model is served, and the official client's connection to it."""

import contextlib
import math
import os
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import openai

from sp3f_verl.errors import BadInput

CONNECT_TIMEOUT = 15.0  # seconds for a TCP connection; longer is a dead address, and the next URL is worth a try
KEEP_ALIVE = 4.0  # seconds for which an idle connection is kept: servers run by uvicorn, as vLLM is, close it after 5
VARIABLE = re.compile("[A-Z_][A-Z0-9_]*")
NO_KEY = "none"  # sent where no key is needed: the protocol wants one


@dataclass(frozen=True)
class Endpoint:
    """Where a model is served, and how hard it may be asked.

    base_urls: up to and with the version, as in http://127.0.0.1:8000/v1; several serve the same model.
    model: None stands for the first that GET /models of the first URL names.
    api_key_env: the NAME of the environment variable that holds the key; None where the server needs none.
    request_timeout: seconds for one attempt, from its sending to the last byte. max_retries: attempts after the first.
    concurrency: requests in flight, those that wait before a retry included: a struggling server gets fewer.
    retry_after_ceiling: seconds to wait at most where a server asks for more by Retry-After. A minute covers limits per
        minute; a limit per day is not waited for: the retries end, and the failure is reported.
    """

    base_urls: tuple[str, ...]
    model: str | None = None
    api_key_env: str | None = None
    request_timeout: float = 120.0
    max_retries: int = 5
    concurrency: int = 64
    retry_after_ceiling: float = 60.0

    def __post_init__(self) -> None:
        urls = (self.base_urls,) if isinstance(self.base_urls, str) else self.base_urls
        object.__setattr__(self, "base_urls", tuple(checked_url(url) for url in urls))
        if not self.base_urls:
            raise BadInput("base_urls is empty: give at least one, such as http://127.0.0.1:8000/v1.")
        for name, least in (("request_timeout", 0.001), ("retry_after_ceiling", 0.0)):
            if not least <= (value := getattr(self, name)) < math.inf:
                raise BadInput(f"{name}={value!r} is no number of seconds: give {least:g} or more.")
        for name, least in (("max_retries", 0), ("concurrency", 1)):
            if not isinstance(value := getattr(self, name), int) or value < least:
                raise BadInput(f"{name}={value!r} does not count: give a whole number, {least} or more.")


def read_key(variable: str | None) -> str:
    """The key in the environment variable, a placeholder where none is named; BadInput names the variable alone."""
    if variable is None:
        return NO_KEY
    if not VARIABLE.fullmatch(variable):  # somebody put the key itself there: it is not repeated
        raise BadInput("api_key_env: that is not the name of an environment variable; give the name, never the key.")
    key = os.environ.get(variable, "").strip()
    if not key:
        raise BadInput(f"api_key_env: the environment variable {variable} holds no key: export it, then start again.")
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise BadInput(f"api_key_env: what the environment variable {variable} holds has characters that no key has.")
    return key


class _Official(openai.AsyncOpenAI):
    """The official client less what it adds from the environment: organization, project and OPENAI_CUSTOM_HEADERS."""

    @property
    def default_headers(self) -> dict[str, Any]:
        return {"Accept": "application/json", "Content-Type": "application/json", "User-Agent": self.user_agent}


def officials(endpoint: Endpoint, key: str) -> list[openai.AsyncOpenAI]:
    """A client for each URL, for the running event loop, over one pool of connections.

    Over aiohttp, which takes a third of httpx's CPU time. The pool is as large as the number of requests in flight: the
    defaults would queue what is beyond 100 or 1000.
    """
    limits = type(openai.DEFAULT_CONNECTION_LIMITS)(
        max_connections=endpoint.concurrency,
        max_keepalive_connections=endpoint.concurrency,
        keepalive_expiry=KEEP_ALIVE,
    )
    http = openai.DefaultAioHttpClient(
        limits=limits,
        timeout=openai.Timeout(None, connect=CONNECT_TIMEOUT),
        trust_env=False,  # no proxy, and no key from a .netrc, that nobody asked for
        follow_redirects=False,
    )
    return [_Official(api_key=key, base_url=url, max_retries=0, http_client=http) for url in endpoint.base_urls]


def checked_url(url: str) -> str:
    """The URL without a trailing slash. One that may hold a password is not repeated in the error."""
    if not isinstance(url, str) or not any(mark in url for mark in "@?#"):
        with contextlib.suppress(ValueError, TypeError, AttributeError):  # what urlsplit and its port raise
            parts = urlsplit(url)
            if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
                return url.rstrip("/")
        raise BadInput(f"base_url: {url!r} is no http(s) URL; write it like http://127.0.0.1:8000/v1.")
    raise BadInput("base_url: one has a user name, a query or a fragment; a key goes into api_key_env's variable.")
