"""What groups that wait for a judge hold in memory: thousands in one Desk whose server never answers.

Resident memory of this process (the server has its own), with the groups' responses and rows, of which each group has
its own. Then all are cancelled, and as many wait again: what the first ones left behind would come on top.
Fails above BUDGET_MB, where a task outlives its group, and where the second time takes LEFT_MB more than the first.
"""

import asyncio
import gc
import sys
import time

import psutil
from judge_client import a_row, prose, served

from sp3f_verl.judge.desk import Desk
from sp3f_verl.judge.settings import JudgeSettings

GROUPS, N, CHARS, CONCURRENCY = 10_000, 8, 100, 64
BUDGET_MB, LEFT_MB = 200, 20


async def wait_together(desk: Desk) -> tuple[float, float, int]:
    """(MB resident with all groups waiting, seconds to cancel them, tasks left)"""
    others = len(asyncio.all_tasks())
    waiting = [
        asyncio.create_task(desk.judge([prose(CHARS) for _ in range(N)], a_row(number, CHARS)))
        for number in range(GROUPS)
    ]
    await asyncio.sleep(2)  # all are in the queue, and the first in turn have sent their questions
    assert not any(task.done() for task in waiting)
    resident, start = resident_mb(), time.perf_counter()
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    return resident, time.perf_counter() - start, len(asyncio.all_tasks()) - others


def resident_mb() -> float:
    gc.collect()
    return psutil.Process().memory_info().rss / 1e6


async def main() -> None:
    with served("--judge", "hangs") as url:
        settings = {"name": "openai", "base_url": url, "model": "m", "concurrency": CONCURRENCY}
        desk = Desk(JudgeSettings.from_mapping(settings))
        await desk.open()
        before = resident_mb()
        first, seconds, left = await wait_together(desk)
        after = resident_mb()
        second, *_ = await wait_together(desk)
        await desk.close()
    added = first - before
    print(f"{GROUPS} waiting groups, {N} responses of {CHARS} characters each: {added:.0f} MB (budget {BUDGET_MB}),")
    print(f"{1000 * added / GROUPS:.1f} kB a group; cancelled in {seconds:.2f} s, {left} tasks left,")
    print(f"{after - before:.0f} MB not given back to the system; as many again: {second - first:+.0f} MB")
    if added > BUDGET_MB:
        sys.exit(f"{GROUPS} waiting groups take {added:.0f} MB, more than {BUDGET_MB}.")
    if left or second - first > LEFT_MB:
        sys.exit(f"Cancelled groups leave {left} tasks and {second - first:.0f} MB behind.")


if __name__ == "__main__":
    asyncio.run(main())
