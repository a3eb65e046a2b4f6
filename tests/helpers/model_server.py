r"""An OpenAI-compatible model server without a model, over real HTTP, that can misbehave in every way a real one does.

In a test, in a thread with an event loop of its own (so that a busy or closed loop of the client's does not stop it):

    with ModelServer(lambda body: Reply(text=r"\boxed{A}")) as server:
        ...  # server.url, server.log, server.peak

As a program in its own process, with the URL on the first line of its output:

    PYTHONPATH=tests python -m helpers.model_server --latency 0.5 --judge always_a
"""

import argparse
import asyncio
import json
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from helpers.model_batches import Batches

LOGGED = 20_000  # requests kept in the log, so that a server that runs for days does not fill the memory


@dataclass(frozen=True)
class Reply:
    """What one request is answered with. Seconds throughout.

    json or raw replaces the whole body; otherwise it is a chat completion made of the other fields.
    logprobs: what stands at choices[0].logprobs; top_logprobs: pairs (token, log-prob) of the first token, a mapping
        where no token occurs twice.
    delay: before the headers. drip: between any two bytes of the body. hang: never answers.
    reset: half of the body, then the connection is reset. A stop or a client that goes away ends all of them.
    """

    text: str | None = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    raw: bytes | None = None
    finish_reason: str | None = "stop"
    refusal: str | None = None
    usage: Mapping[str, Any] | None = field(default_factory=lambda: {"prompt_tokens": 10, "completion_tokens": 2})
    top_logprobs: Mapping[str, float] | Sequence[tuple[str, float]] | None = None
    delay: float = 0.0
    drip: float = 0.0
    hang: bool = False
    reset: bool = False

    def body(self, model: str) -> bytes:
        """The body's bytes."""
        if self.raw is not None:
            return self.raw
        if self.json is not None:
            return json.dumps(self.json).encode()
        message = {"role": "assistant", "content": self.text, "refusal": self.refusal}
        choice = {"index": 0, "message": message, "finish_reason": self.finish_reason, "logprobs": self._logprobs()}
        completion = {"id": "chatcmpl-0", "object": "chat.completion", "created": 0, "model": model}
        return json.dumps({**completion, "choices": [choice], "usage": self.usage}).encode()

    def _logprobs(self) -> dict[str, Any] | None:
        if self.top_logprobs is None:
            return None
        pairs = self.top_logprobs.items() if isinstance(self.top_logprobs, Mapping) else self.top_logprobs
        top = [{"token": token, "logprob": logprob, "bytes": list(token.encode())} for token, logprob in pairs]
        return {"content": [{**(top[0] if top else {"token": "", "logprob": 0.0}), "top_logprobs": top}]}


def in_turn(*replies: Reply | str) -> Callable[[dict[str, Any]], Reply | str]:
    """A reply function that gives these in turn and then the last for ever: first a 429, then an answer."""
    left = deque(replies)
    return lambda body: left.popleft() if len(left) > 1 else left[0]


class ModelServer:
    """`reply(JSON body)` decides on every chat completion; it runs in the server's thread and may block only briefly.

    log: a dict per request with path, body, headers (names in lower case), seconds (monotonic) and status (None until
    answered). batches: OpenAI's batch endpoint (model_batches.py). current, peak: chat completions in flight.
    cancelled: those whose client went away. api_key: where given, any other key gets a 401 that quotes it, as careless
    servers do.
    """

    def __init__(
        self,
        reply: Callable[[dict[str, Any]], Reply | str] = lambda body: "",
        *,
        models: Iterable[str] = ("stub",),
        api_key: str | None = None,
        latency: float = 0.0,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ):
        self.reply, self.models, self.api_key, self.latency, self.port = reply, list(models), api_key, latency, port
        self.tls = tls
        self.log: deque[dict[str, Any]] = deque(maxlen=LOGGED)
        self.batches = Batches(self)
        self.current = self.peak = self.cancelled = 0
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Base URL, for the client's `base_urls`."""
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}/v1"

    def start(self) -> "ModelServer":
        """Listens when it returns; on the same port as before after a stop."""
        started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(started)), daemon=True)
        self._thread.start()
        if not started.wait(30) or self._failure is not None:
            raise RuntimeError(f"the model server did not start: {self._failure}")
        return self

    def stop(self) -> None:
        """Closes the port and resets what is in flight, as a killed server does."""
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(30)
            self._thread = None

    def __enter__(self) -> "ModelServer":
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.stop()

    async def __aenter__(self) -> "ModelServer":
        return self.start()

    async def __aexit__(self, *exception: object) -> None:
        self.stop()

    def chats(self) -> list[dict[str, Any]]:
        """The log's chat completions."""
        # a copy, made in one go: the server's thread goes on adding
        return [entry for entry in self.log.copy() if entry["path"].endswith("/chat/completions")]

    def wait_for(self, condition: Callable[["ModelServer"], bool], seconds: float = 20.0) -> bool:
        """Polls from another thread than the server's until the condition holds; False if it never does."""
        end = time.monotonic() + seconds
        while not (holds := condition(self)) and time.monotonic() < end:
            time.sleep(0.005)
        return holds

    _failure: Exception | None = None

    async def _serve(self, started: threading.Event) -> None:
        self._loop, self._stopping, self._failure = asyncio.get_running_loop(), asyncio.Event(), None
        server = web.Server(self._handle, handler_cancellation=True, access_log=None)  # no router: half the time
        runner = web.ServerRunner(server, shutdown_timeout=0.001)  # 0 would wait for all that is in flight
        try:
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", self.port, reuse_address=True, backlog=4096, ssl_context=self.tls)
            await site.start()
            self.port = site._server.sockets[0].getsockname()[1]
        except OSError as error:
            self._failure = error
        started.set()
        if self._failure is None:
            await self._stopping.wait()
        await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/log":
            return web.json_response(
                {"requests": list(self.log)} | {name: getattr(self, name) for name in ("current", "peak", "cancelled")}
            )
        content = await request.read()
        is_json = content and not request.content_type.startswith("multipart/")
        body = json.loads(content) if is_json else None
        headers = {name.lower(): value for name, value in request.headers.items()}
        entry = {"path": request.path, "body": body, "headers": headers, "seconds": time.monotonic(), "status": None}
        self.log.append(entry)
        if request.path.endswith("/models"):
            reply = Reply(json={"object": "list", "data": [{"id": each, "object": "model"} for each in self.models]})
        elif self.batches.serves(request.path):
            reply = self.batches.reply(request, content, body)
        elif not request.path.endswith("/chat/completions"):
            reply = Reply(status=404, json={"error": {"message": f"no route {request.path}"}})
        else:
            reply = None
        key = headers.get("authorization", "").removeprefix("Bearer ")
        if self.api_key is not None and key != self.api_key:
            reply = Reply(
                status=401, json={"error": {"message": f"Incorrect API key: {key}", "code": "invalid_api_key"}}
            )
        if reply is not None:
            return await self._send(request, reply, entry)
        self.current += 1
        self.peak = max(self.peak, self.current)
        try:
            reply = self.reply(body)
            return await self._send(request, Reply(text=reply) if isinstance(reply, str) else reply, entry)
        except (asyncio.CancelledError, ConnectionError):
            self.cancelled += not self._stopping.is_set()
            raise
        finally:
            self.current -= 1

    async def _send(self, request: web.BaseRequest, reply: Reply, entry: dict[str, Any]) -> web.StreamResponse:
        if reply.hang:
            await asyncio.Event().wait()
        if delay := reply.delay + self.latency:
            await asyncio.sleep(delay)
        entry["status"] = reply.status
        body = reply.body((entry["body"] or {}).get("model", ""))
        headers = {"Content-Type": "application/json", **reply.headers}
        if not (reply.drip or reply.reset):
            return web.Response(status=reply.status, headers=headers, body=body)
        response = web.StreamResponse(status=reply.status, headers={**headers, "Content-Length": str(len(body))})
        await response.prepare(request)
        if reply.reset:
            await response.write(body[: len(body) // 2])
            await asyncio.sleep(0.02)  # the half is on its way before the reset overtakes it
            linger = struct.pack("ii", 1, 0)  # closing then sends RST rather than FIN
            request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            request.transport.abort()
            return response
        for byte in body:
            await response.write(bytes([byte]))
            await asyncio.sleep(reply.drip)
        return response


JUDGES: dict[str, Callable[[dict[str, Any]], Reply | str]] = {
    "always_a": lambda body: r"analysis \boxed{A}",
    "hangs": in_turn(r"\boxed{A}", Reply(hang=True)),  # a desk asks one question before any that counts
}


def main() -> None:
    """Serves until it is ended by a signal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--judge", choices=sorted(JUDGES), default="always_a")
    parser.add_argument("--reply", help="the text of every answer, in place of a judge")
    arguments = parser.parse_args()
    reply = JUDGES[arguments.judge] if arguments.reply is None else lambda body: arguments.reply
    with ModelServer(reply, latency=arguments.latency, port=arguments.port) as server:
        print(server.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
