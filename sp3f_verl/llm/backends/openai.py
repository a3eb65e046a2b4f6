"""Any OpenAI-compatible endpoint as a backend: one Client, on an event loop in a thread of its own."""

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterator
from dataclasses import replace
from typing import Any, TypeVar

from sp3f_verl.llm.ask import Answer, Ask, answered, failed
from sp3f_verl.llm.backends.base import Backend, Batch, Keyed
from sp3f_verl.llm.outcome import ENDS_THE_RUN, AskFailed
from sp3f_verl.llm.requests.client import Client
from sp3f_verl.llm.requests.endpoint import Endpoint
from sp3f_verl.llm.requests.rate_limit import RateLimit
from sp3f_verl.llm.store import CHUNK, Store
from sp3f_verl.llm.totals import Totals

AHEAD = 2  # times the concurrency: asks drawn and answers not yet taken, together
CROWD, LINGER = 32, 0.005  # with more requests in flight, the answers of so many seconds are written together


T = TypeVar("T")


class LoopThread:
    """An event loop in a thread of its own: for programs that are none of asyncio's, and for notebooks, which have one.

    Runs coroutines until it is closed. Any thread may call it.
    """

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="sp3f-asks", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What the coroutine gives or raises, once it has."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Has the loop call the function soon; does not wait."""
        self.loop.call_soon_threadsafe(function, *arguments)

    @property
    def closed(self) -> bool:
        return self.loop.is_closed()

    def close(self) -> None:
        if not self.closed:
            self.call(self.loop.stop)
            self._thread.join()
            self.loop.close()


class EndpointBackend(Backend):
    """What asks over HTTP: a client on a loop of its own."""

    def __init__(self, client: Client, store: Store | None, totals: Totals | None):
        super().__init__(store, totals)
        self._client, self._thread = client, LoopThread()

    def close(self) -> None:
        super().close()  # first: what is in flight needs the loop to end
        if not self._thread.closed:
            self._thread.run(self._client.close())
            self._thread.close()


class OpenAIBackend(EndpointBackend):
    """Asks the endpoint, `concurrency` requests at a time. AskFailed where its model is asked for and cannot be known.

    Of two servers that serve different models under one name, each needs a store of its own: the key has the name only.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        store: Store | None = None,
        totals: Totals | None = None,
        rate_limit: RateLimit | None = None,
    ):
        super().__init__(Client(endpoint, rate_limit), store, totals)
        self._concurrency = endpoint.concurrency
        try:
            self.model = self._thread.run(self._client.model())
        except BaseException:
            self.close()
            raise

    def _ask(self, fresh: Iterator[Keyed]) -> Generator[Batch, None, None]:
        stream = _Stream(self._client, self._thread, self._concurrency, self._keep, self.model)
        room, outstanding, more = max(AHEAD * self._concurrency, CHUNK), 0, True
        try:
            while True:
                while more and outstanding < room:
                    chunk = next(fresh, None)
                    more = chunk is not None
                    if chunk:
                        outstanding += len(chunk)
                        stream.send(chunk)
                    yield []
                if not outstanding:
                    return
                batch = stream.take()
                outstanding -= len(batch)
                yield batch
        finally:
            stream.cancel()


class _Stream:
    """The asks of one `answers` call on the loop: send and take are the caller's, the rest runs on the loop."""

    def __init__(self, client: Client, thread: LoopThread, concurrency: int, keep: Callable, model: str):
        self._client, self._concurrency, self._keep, self._model = client, concurrency, keep, model
        self._thread, self._loop = thread, thread.loop
        self._pending: deque[tuple[str, Ask]] = deque()
        self._done: Batch = []
        self._kept = asyncio.Event()  # set once what is in _done now is on disk; each batch has its own
        self._workers: set[asyncio.Task] = set()
        self._writer: asyncio.Task | None = None
        self._taken: queue.SimpleQueue[Batch | BaseException] = queue.SimpleQueue()

    def send(self, chunk: Keyed) -> None:
        self._thread.call(self._start, chunk)

    def take(self) -> Batch:
        """The next answers, once they are kept."""
        got = self._taken.get()
        if isinstance(got, BaseException):
            raise got
        return got

    def cancel(self) -> None:
        """What is in flight is given up; what has come is kept."""
        if not self._thread.closed:
            self._thread.run(self._end())

    def _start(self, chunk: Keyed) -> None:
        self._pending.extend(chunk)
        for _ in range(min(len(self._pending), self._concurrency - len(self._workers))):
            self._workers.add(self._loop.create_task(self._work()))

    async def _work(self) -> None:
        try:
            while self._pending:
                key, ask = self._pending.popleft()
                answer = await self._answer(ask)
                self._done.append((key, answer))  # not in one line: the list is another one after the wait
                if self._writer is None:
                    self._writer = self._loop.create_task(self._write())
                await self._kept.wait()  # before it asks again: a killed run repeats `concurrency` requests at most
        except Exception as error:  # no failure of a request, those are answers: it ends the caller
            self._taken.put(error)
        finally:
            self._workers.discard(asyncio.current_task())  # at once: _start counts those that still draw

    async def _answer(self, ask: Ask) -> Answer:
        try:
            got = await self._client.ask(ask.messages, max_tokens=ask.max_tokens, extra_body=ask.extra, **ask.sampling)
        except AskFailed as error:
            if error.kind in ENDS_THE_RUN:
                self._pending.clear()
            return failed(ask, error.kind, error.args[1], self._model, error.usage)
        return replace(answered(ask, got.text, got.finish_reason, got.usage, got.model), wasted=got.wasted)

    async def _write(self) -> None:
        """Keeps and hands over what is done, as much at once as came while the last was written."""
        try:
            while self._done:
                if len(self._workers) > CROWD:
                    await asyncio.sleep(LINGER)
                batch, self._done = self._done, []
                kept, self._kept = self._kept, asyncio.Event()
                await self._loop.run_in_executor(None, self._keep, batch)
                kept.set()
                self._taken.put(batch)
        except Exception as error:  # a full disk, say
            self._taken.put(error)
        finally:
            self._writer = None

    async def _end(self) -> None:
        self._pending.clear()
        workers = list(self._workers)
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, *filter(None, [self._writer]), return_exceptions=True)
        self._keep(self._done)
