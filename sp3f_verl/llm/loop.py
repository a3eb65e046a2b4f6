"""An event loop in a thread of its own: for programs that are none of asyncio's, and for notebooks, which have one."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """Runs coroutines until it is closed. Any thread may call it."""

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
