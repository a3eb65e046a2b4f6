"""Who asks next: groups in the order of their arrival, and at most so many questions at once."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import TypeVar

Item = TypeVar("Item", bound=Hashable)
T = TypeVar("T")


class Dispatcher:
    """Serves one group after another, so that a group is done early instead of all of them late.

    A waiting group holds one place in a queue, and its questions are made when its turn has come: thousands may wait.
    """

    def __init__(self, concurrency: int):
        self._turn = asyncio.Lock()
        self._slots = asyncio.Semaphore(concurrency)

    async def run(
        self, items: Callable[[], Sequence[Item]], work: Callable[[Item], Awaitable[T]], deadline: float
    ) -> dict[Item, T | None]:
        """`work` for every item, in order, when the group's turn has come; None where the deadline (event loop time)
        came first. Whatever still runs when this returns or is cancelled is cancelled and awaited.

        items: called at the group's turn and at the end, with the same result. Raises what `items` or `work` raises, at
        once.
        """
        tasks: dict[Item, asyncio.Task[T]] = {}
        try:
            async with asyncio.timeout_at(deadline):
                async with self._turn:
                    for item in items():
                        await self._slots.acquire()
                        tasks[item] = asyncio.ensure_future(work(item))
                        tasks[item].add_done_callback(lambda _: self._slots.release())
                        if broken := next((task for task in tasks.values() if _raised(task)), None):
                            broken.result()
                if tasks:
                    await asyncio.wait(tasks.values(), return_when=asyncio.FIRST_EXCEPTION)
        except TimeoutError:
            pass  # what is not done is None below
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)
        return {item: _result(tasks.get(item)) for item in items()}


def _raised(task: asyncio.Task) -> bool:
    return task.done() and not task.cancelled() and task.exception() is not None


def _result(task: asyncio.Task | None):
    return None if task is None or task.cancelled() else task.result()
