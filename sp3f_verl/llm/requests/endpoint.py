"""Where a model is served, and the official client's connection to it."""

import contextlib
import math
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment

import openai

from sp3f_verl.errors import BadInput
from sp3f_verl.llm.outcome import FailureKind, Fault

ROUTES = ("/chat/completions", "/completions", "/models", "/responses", "/batches")
CONNECT_TIMEOUT = 15.0  # seconds for a TCP connection; longer is a dead address, and the next URL is worth a try
KEEP_ALIVE = 4.0  # seconds for which an idle connection is kept: servers run by uvicorn, as vLLM is, close it after 5
VARIABLE = re.compile("[A-Z_][A-Z0-9_]*")
NO_KEY = "none"  # sent where no key is needed: the protocol wants one
MOST_BYTES = (
    16 << 20
)  # of an answer, unpacked: 100,000 tokens of any script, written as escapes, and as many of thoughts
MOST_FILE_BYTES = 1 << 30  # of a batch's answers, which come as one file
ENVIRONMENT = "environment"  # as a proxy: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY
_VERSIONED = re.compile(r"([^?]+)(\?api-version=[\w.-]{1,40})", re.ASCII)  # Azure's
_HEADER = re.compile(r"([A-Za-z0-9!#$%&'*+.^_`|~-]+)=(.*)", re.ASCII)


class AnswerTooLarge(Exception):
    """A server sends more than any answer is."""


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
    headers: of every request, as NAME=VALUE, or NAME=env:VARIABLE for a value that is secret.
    proxy: a URL, or "environment" for the variables that name one; None goes directly whatever they say.
    """

    base_urls: tuple[str, ...]
    model: str | None = None
    api_key_env: str | None = None
    request_timeout: float = 120.0
    max_retries: int = 5
    concurrency: int = 64
    retry_after_ceiling: float = 60.0
    headers: tuple[str, ...] = ()
    proxy: str | None = None

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
        for header in self.headers:
            checked_header(header)
        if self.proxy is not None:
            checked_proxy(self.proxy)

    def read_headers(self) -> dict[str, str]:
        """The headers with what the environment says. BadInput where a variable is not set."""
        pairs = (_HEADER.fullmatch(header).groups() for header in self.headers)
        return {name: _header_value(name, value) for name, value in pairs}

    def secrets(self, key: str, headers: Mapping[str, str]) -> list[str]:
        """What is never told: the key, the headers that the environment holds, and a proxy's password."""
        hidden = [headers[name] for name, value in (header.split("=", 1) for header in self.headers) if _is_env(value)]
        passwords = [urlsplit(proxy).password or "" for url in self.base_urls if (proxy := self.proxy_of(url))]
        return [*([key] if self.api_key_env else []), *hidden, *passwords]

    def proxy_of(self, url: str) -> str | None:
        """The proxy through which the URL is asked."""
        if self.proxy != ENVIRONMENT:
            return self.proxy
        parts, proxies = urlsplit(url), getproxies_environment()
        if proxy_bypass_environment(parts.netloc, proxies):
            return None
        return proxies.get(parts.scheme) or proxies.get("all")


def checked_header(header: str) -> str:
    if not _HEADER.fullmatch(header) or not header.isascii() or not header.isprintable():
        raise BadInput("headers: one is not NAME=VALUE; write it like OpenAI-Organization=org-1 or api-key=env:MY_KEY.")
    return header


def checked_proxy(proxy: str) -> str:
    """The proxy. One that may hold a password is not repeated in the error."""
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        if proxy == ENVIRONMENT or (urlsplit(proxy).scheme in ("http", "https") and urlsplit(proxy).hostname):
            return proxy
    raise BadInput(f"proxy: give an http(s) URL, or {ENVIRONMENT} for HTTPS_PROXY, HTTP_PROXY and NO_PROXY.")


def _is_env(value: str) -> bool:
    return value.startswith("env:")


def _header_value(name: str, value: str) -> str:
    if not _is_env(value):
        return value
    variable = value.removeprefix("env:")
    content = os.environ.get(variable, "").strip() if VARIABLE.fullmatch(variable) else ""
    if not (content.isascii() and content.isprintable() and content):
        raise BadInput(f"headers: the environment variable that {name} names holds no value: export it.")
    return content


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

    own_headers: Mapping[str, str] = {}

    @property
    def default_headers(self) -> dict[str, Any]:
        headers = {"Accept": "application/json", "Content-Type": "application/json", "User-Agent": self.user_agent}
        return headers | dict(self.own_headers)


def officials(endpoint: Endpoint, key: str, headers: Mapping[str, str]) -> list[openai.AsyncOpenAI]:
    """A client for each URL, for the running event loop, over one pool of connections (one for each proxy).

    Over aiohttp, which takes a third of httpx's CPU time. The pool is as large as the number of requests in flight: the
    defaults would queue what is beyond 100 or 1000.
    """
    limits = type(openai.DEFAULT_CONNECTION_LIMITS)(
        max_connections=endpoint.concurrency,
        max_keepalive_connections=endpoint.concurrency,
        keepalive_expiry=KEEP_ALIVE,
    )
    certificates = _certificates()
    pools: dict[str | None, Any] = {}
    clients = []
    for url in endpoint.base_urls:
        proxy = endpoint.proxy_of(url)
        if proxy not in pools:
            pools[proxy] = openai.DefaultAioHttpClient(
                limits=limits,
                timeout=openai.Timeout(None, connect=CONNECT_TIMEOUT),
                verify=certificates,
                proxy=proxy,
                trust_env=False,  # no proxy, and no key from a .netrc, that nobody asked for
                follow_redirects=False,
                event_hooks={"response": [_read_within_limit]},
            )
        url, _, version = url.partition("?api-version=")
        query = {"api-version": version} if version else None
        client = _Official(api_key=key, base_url=url, default_query=query, max_retries=0, http_client=pools[proxy])
        client.own_headers = headers
        clients.append(client)
    return clients


def _certificates() -> ssl.SSLContext | bool:
    """Those of SSL_CERT_FILE and SSL_CERT_DIR, where they are set: a company's own authority."""
    file, folder = (os.environ.get(name) or None for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"))
    if file is None and folder is None:
        return True
    try:
        return ssl.create_default_context(cafile=file, capath=folder)
    except (OSError, ValueError) as error:
        raise BadInput(f"SSL_CERT_FILE={file} holds no certificates ({error}): mend or unset it.") from None


async def _read_within_limit(response: Any) -> None:
    """Reads a response's body before the client does, and no more of it than MOST_BYTES, unpacked."""
    limit = MOST_FILE_BYTES if response.request.url.path.endswith("/content") else MOST_BYTES
    size, parts = 0, []
    async with contextlib.aclosing(response.aiter_bytes()) as stream:
        async for part in stream:
            size += len(part)
            if size > limit:
                raise AnswerTooLarge(f"the answer is larger than {limit >> 20} MiB, which no answer is")
            parts.append(part)
    response._content = b"".join(parts)  # where the client's own reading puts it; there is no public way


def checked_url(url: str) -> str:
    """The URL without a trailing slash; its query, if any, is Azure's api-version. One that may hold a password is
    not repeated in the error."""
    if isinstance(url, str) and (versioned := _VERSIONED.fullmatch(url)):
        return checked_url(versioned[1]) + versioned[2]
    if not isinstance(url, str) or not any(mark in url for mark in "@?#"):
        bare = None
        with contextlib.suppress(ValueError, TypeError, AttributeError):  # what urlsplit and its port raise
            parts = urlsplit(url)
            if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
                bare = url.rstrip("/")
        if bare is not None:
            if route := next(filter(bare.endswith, ROUTES), None):
                mend = bare.removesuffix(route)
                raise BadInput(f"base_url: {url!r} ends in {route}, which is added to it; write {mend!r}.")
            return bare
        raise BadInput(f"base_url: {url!r} is no http(s) URL; write it like http://127.0.0.1:8000/v1.")
    raise BadInput("base_url: one has a user name, a query or a fragment; a key goes into api_key_env's variable.")


def url_remedy(url: str, fault: Fault) -> str:
    """What to write in place of a URL that may have led to this fault, as its sentence's end; "" for a good one."""
    if (
        re.search(r"/v\d", urlsplit(url).path)
        or _VERSIONED.fullmatch(url)
        or (fault.kind is FailureKind.NOT_FOUND and "model" in fault.message)
    ):
        return ""
    return f" (base_url {url} has no version: most servers want {url}/v1)"
