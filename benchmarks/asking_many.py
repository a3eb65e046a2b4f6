"""20,000 requests at concurrency 256 against a server that answers after 50 ms: with the store, without, and the least.

The server is a bare one, in a process of its own: where client and server share two cores, what the server takes the
client has not. Each round asks without a store, then with one, then again with the same store, which must ask nothing.
Other work on the machine only slows us down: the best round of each counts, the CPU time is printed beside it.

Prints whether the targets hold: at most SLOWER times the least wall time, of which the store adds at most STORE. The
first does not with the official client: about 1 ms of CPU a request holds a process to some 1,000 a second.
Fails where the same store is asked anything again.
"""

import asyncio
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sp3f_verl.llm.ask import Ask, Status
from sp3f_verl.llm.backends.openai import OpenAIBackend
from sp3f_verl.llm.requests.endpoint import Endpoint
from sp3f_verl.llm.store import Store

ASKS, CONCURRENCY, LATENCY, ROUNDS = 20_000, 256, 0.05, 3
SLOWER, STORE = 1.4, 0.05
LEAST = math.ceil(ASKS / CONCURRENCY) * LATENCY  # seconds
QUESTION = "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. " * 4
ANSWER = "Natalia vendió clips a 48 de sus amigas en abril y luego vendió la mitad de clips en mayo. " * 4


class _Server(asyncio.Protocol):
    """Answers every POST whose body came, after LATENCY; reads no more of it than its end."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport, self._received, self._loop = transport, b"", asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head = self._received.find(b"\r\n\r\n")
        if head < 0:
            return
        fields = self._received[:head].lower() + b"\r\n"  # the official client writes the names in lower case
        mark = fields.index(b"content-length: ") + 16
        length = int(fields[mark : fields.index(b"\r\n", mark)])
        if len(self._received) >= head + 4 + length:
            self._received = b""
            self._loop.call_later(LATENCY, self._transport.write, RESPONSE)


def response() -> bytes:
    message = {"role": "assistant", "content": ANSWER, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    usage = {"prompt_tokens": 120, "completion_tokens": 100}
    body = json.dumps({"id": "x", "object": "chat.completion", "model": "stub", "choices": [choice], "usage": usage})
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode()


RESPONSE = response()


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Server, "127.0.0.1", 0, backlog=4096)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await asyncio.Event().wait()


def asks():
    for number in range(ASKS):
        messages = [
            {"role": "system", "content": "Translate into Spanish."},
            {"role": "user", "content": f"{number} {QUESTION}"},
        ]
        yield Ask(f"row-{number}", messages, 512, temperature=0.7, top_p=0.8, seed=1)


def ask_all(url: str, store: Path | None) -> tuple[float, float, int]:
    """(seconds, seconds of CPU, requests)"""
    with OpenAIBackend(
        Endpoint((url,), "stub", concurrency=CONCURRENCY), None if store is None else Store(store)
    ) as backend:
        start, cpu = time.perf_counter(), time.process_time()
        good = sum(answer.status is Status.OK for answer in backend.answers(asks()))
        times = time.perf_counter() - start, time.process_time() - cpu
        assert good == ASKS
        return *times, backend.totals.fresh


def holds(whether: bool) -> str:
    return "holds" if whether else "does not hold"


def main() -> None:
    server = subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE, text=True)
    runs: dict[str, list[tuple[float, float, int]]] = {"no store": [], "store": [], "again": []}
    try:
        url = server.stdout.readline().strip()
        for _ in range(ROUNDS):
            with tempfile.TemporaryDirectory() as folder:
                runs["no store"].append(ask_all(url, None))
                for name in ("store", "again"):
                    runs[name].append(ask_all(url, Path(folder) / "answers.sqlite"))
    finally:
        server.kill()
        server.wait()
    print(f"{ASKS} requests, concurrency {CONCURRENCY}, latency {LATENCY} s: the least possible is {LEAST:.2f} s")
    best = {name: min(each) for name, each in runs.items()}
    for name, (wall, cpu, asked) in best.items():
        print(
            f"{name:>8}: best of {ROUNDS} {wall:.2f} s ({', '.join(f'{each[0]:.2f}' for each in runs[name])}), "
            f"ratio {wall / LEAST:.2f}; CPU {cpu:.2f} s, {1e6 * cpu / ASKS:.0f} us an answer; {asked} asked"
        )
    ratio, added = best["store"][0] / LEAST, best["store"][0] / best["no store"][0] - 1
    print(f"with the store at most {SLOWER} times the least: {holds(ratio <= SLOWER)} ({ratio:.2f})")
    print(f"the store adds at most {STORE:.0%}: {holds(added <= STORE)} ({added:.1%})")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    assert best["again"][2] == 0


if __name__ == "__main__":
    asyncio.run(serve()) if sys.argv[1:] == ["serve"] else main()
