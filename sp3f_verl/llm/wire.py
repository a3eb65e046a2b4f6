"""The connection to a model's server: JSON over HTTP, and what of an answer counts as one.

aiohttp, bare: the official client spends 0.7 ms of CPU on a request, which held a core to some 1,200 a second, this
0.2 ms. What it would add (retries, a platform header, organization and project from the environment) is not wanted.
"""

import contextlib
import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

CONNECT_TIMEOUT = 15.0  # seconds for a TCP connection; longer is a dead address, and the next URL is worth a try
KEEP_ALIVE = 4.0  # seconds for which an idle connection is kept: servers run by uvicorn, as vLLM is, close it after 5

_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


class HTTPFailure(Exception):
    """A response whose status is no success. body: its text."""

    def __init__(self, status: int, headers: Mapping[str, str], body: str):
        super().__init__(status)
        self.status, self.headers, self.body = status, headers, body


class Wire:
    """Requests to the servers of one model, for the running event loop, over one pool of connections.

    concurrency: the pool's size, so that no request in flight waits for a connection.
    """

    def __init__(self, base_urls: tuple[str, ...], key: str, concurrency: int):
        self._urls = base_urls
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=concurrency,
                keepalive_timeout=KEEP_ALIVE,
                ssl=_certificates() if any(url.startswith("https") for url in base_urls) else True,
            ),
            headers={"Accept": "application/json", "Authorization": f"Bearer {key}", "User-Agent": "sp3f-verl"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,  # no proxy, and no key from a .netrc, that nobody asked for
        )

    async def get(self, url: int, path: str) -> str:
        """Body of the response of the URL with that index. HTTPFailure, or what aiohttp raises."""
        return await self._read(self._session.get(self._urls[url] + path, allow_redirects=False))

    async def post(self, url: int, path: str, body: Any) -> str:
        """The same for a body of JSON. UnicodeEncodeError where it holds half a surrogate pair."""
        payload = aiohttp.BytesPayload(_ENCODE(body).encode(), content_type="application/json")
        return await self._read(self._session.post(self._urls[url] + path, data=payload, allow_redirects=False))

    async def upload(self, url: int, path: str, file: Path, fields: Mapping[str, str]) -> str:
        """The same for a form of fields and a file, which is read as it is sent."""
        with file.open("rb") as opened:
            form = aiohttp.FormData(dict(fields))
            form.add_field("file", opened, filename=file.name, content_type="application/jsonl")
            return await self._read(self._session.post(self._urls[url] + path, data=form, allow_redirects=False))

    async def close(self) -> None:
        await self._session.close()

    @staticmethod
    async def _read(request: Any) -> str:
        async with request as response:
            text = (await response.read()).decode(errors="replace")
            if not 200 <= response.status < 300:
                raise HTTPFailure(response.status, response.headers, text)
            return text


def _certificates() -> ssl.SSLContext:
    """The system's authorities (and SSL_CERT_FILE's), and Mozilla's, which a bare container lacks."""
    context = ssl.create_default_context()
    with contextlib.suppress(ImportError):
        import certifi

        context.load_verify_locations(certifi.where())
    return context
