"""What a step's questions to a judge take, beside the least that the server's latency allows and the original's way.

The server answers after 0.5 s, in a process of its own. Ours: all groups at once by a Desk, concurrency 256.
The original's: chunks of 1,024 by the plain official client, uncapped, and 10 s of sleep after every chunk. Its prompts
are rendered before its time starts; ours are rendered within.

Other work on the machine slows us down and not the sleeps: ours is repeated, and the targets are for the best time.
Fails above SLOWER times the least time, or below FASTER times the original's speed.
"""

import asyncio
import math
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import openai

from sp3f_verl.judge.desk import Desk
from sp3f_verl.judge.questions.prompt import load_prompt, render
from sp3f_verl.judge.questions.schedule import all_pairs
from sp3f_verl.judge.settings import JudgeSettings

GROUPS, N, LATENCY, CONCURRENCY = 32, 8, 0.5, 256
CHUNK, SLEEP = 1024, 10.0  # of the original
ROUNDS = 3
SLOWER, FASTER = 1.35, 4.0
QUESTIONS = GROUPS * N * (N - 1)
LEAST = math.ceil(QUESTIONS / CONCURRENCY) * LATENCY  # seconds
TESTS = Path(__file__).parents[1] / "tests"

_rng = random.Random(1)


@contextmanager
def served(*options: str) -> Iterator[str]:
    """URL of tests/helpers/model_server.py in its own process, which ends with the block."""
    server = subprocess.Popen(
        [sys.executable, "-m", "helpers.model_server", *options], cwd=TESTS, stdout=subprocess.PIPE, text=True
    )
    try:
        yield server.stdout.readline().strip()
    finally:
        server.terminate()
        server.wait()


def prose(chars: int) -> str:
    """Text like no other, of about so many characters."""
    return " ".join(
        f"{_rng.choice('una suma de los años según ella es'.split())} {_rng.random():.6f}" for _ in range(chars // 13)
    )


def a_row(number: int, chars: int) -> dict:
    """A canonical row, of which the query and the solution have about so many characters together."""
    query, solution = prose(chars // 3), prose(2 * chars // 3)
    return {
        "id": f"row-{number}",
        "language": "es",
        "query_en": query,
        "solution_en": solution,
        "reward_model": {"ground_truth": "72"},
    }


def groups() -> list[tuple[list[str], dict]]:
    return [([prose(2000) for _ in range(N)], a_row(number, 600)) for number in range(GROUPS)]


async def ours(url: str) -> tuple[float, float]:
    """(seconds, seconds of CPU) of all groups."""
    settings = {"name": "openai", "base_url": url, "model": "m", "concurrency": CONCURRENCY}
    desk, asked = Desk(JudgeSettings.from_mapping(settings)), groups()
    await desk.open()
    start, cpu = time.perf_counter(), time.process_time()
    results = await asyncio.gather(*(desk.judge(responses, row) for responses, row in asked))
    times = time.perf_counter() - start, time.process_time() - cpu
    metrics = desk.take_step()
    assert metrics["judge/calls"] == QUESTIONS and all(result.valid == [2 * (N - 1)] * N for result in results)
    await desk.close()
    return times


def prompts() -> list[list[dict]]:
    prompt, fence = load_prompt("privileged"), "0" * 24
    return [
        render(prompt, query=row["query_en"], solution=row["solution_en"], responses=[a[i], a[j]], fence=fence)
        for a, row in groups()
        for i, j in all_pairs(N)
    ]


async def original(url: str, messages: list[list[dict]]) -> tuple[float, float, int]:
    """(seconds, seconds of CPU, requests that failed)"""
    failed = 0
    async with openai.AsyncOpenAI(base_url=url, api_key="none") as client:
        await client.chat.completions.create(model="m", messages=messages[0])  # ours has met the server, too
        start, cpu = time.perf_counter(), time.process_time()
        for first in range(0, len(messages), CHUNK):
            asked = (client.chat.completions.create(model="m", messages=prompt) for prompt in messages[first:][:CHUNK])
            answers = await asyncio.gather(*asked, return_exceptions=True)
            failed += sum(isinstance(answer, Exception) for answer in answers)
            await asyncio.sleep(SLEEP)
        return time.perf_counter() - start, time.process_time() - cpu, failed


def main() -> None:
    messages = prompts()
    size = statistics.mean(sum(len(message["content"].encode()) for message in prompt) for prompt in messages)
    with served("--latency", str(LATENCY)) as url:
        times = [asyncio.run(ours(url))]
        theirs, their_cpu, failed = asyncio.run(original(url, messages))
        times += [asyncio.run(ours(url)) for _ in range(ROUNDS - 1)]
    best, cpu = min(times)
    median = statistics.median(wall for wall, _ in times)
    sleeps = SLEEP * math.ceil(QUESTIONS / CHUNK)
    print(f"{QUESTIONS} questions of {size / 1000:.1f} kB; the least possible is {LEAST:.1f} s")
    print(
        f"ours: best of {ROUNDS} {best:.2f} s, median {median:.2f} s; {QUESTIONS / best:.0f} requests/s, "
        f"CPU {cpu / best:.0%} of the time; ratio to the least {best / LEAST:.2f} (target: at most {SLOWER})"
    )
    print(
        f"original: {theirs:.2f} s, of which {sleeps:.0f} s are sleeps, {failed} failed; CPU {their_cpu:.1f} s against "
        f"{cpu:.1f} s; ours is {theirs / best:.1f} times as fast (target: at least {FASTER:g})"
    )
    if best > SLOWER * LEAST:
        sys.exit(f"Judging took {best / LEAST:.2f} times the least possible, more than {SLOWER}.")
    if theirs < FASTER * best:
        sys.exit(f"Judging was {theirs / best:.1f} times as fast as the original's way, less than {FASTER:g}.")


if __name__ == "__main__":
    main()
