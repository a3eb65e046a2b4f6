"""The one progress bar: rich's on a terminal, and lines of the log everywhere else.

    with ProgressBar("pairs", total=len(pairs)) as bar:
        for pair in pairs:
            judge(pair)
            bar.advance(note="3 failed")

    for row in track(rows, "measure", total=len(rows)):
        ...

A job's output that goes to a file gets a line after 15 seconds, then ever more seldom (a twentieth of the time so far,
at most 5 minutes), and one at the end.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Self, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sp3f_verl.log import log

FIRST_LINE, LONGEST_WAIT = 15.0, 300.0  # seconds
SHARE_OF_TIME = 0.05  # of the time so far, after which the next line is due

T = TypeVar("T")


class ProgressBar:
    """How far something is, on stderr, from `with` to its end.

    total: None where nobody knows it. note: words beside the count.
    """

    def __init__(self, name: str, total: int | None = None, note: str = ""):
        self.name, self.total, self.note, self.completed = name, total, note, 0
        console = Console(stderr=True)
        self._bar: Progress | None = None
        if console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}", markup=False),
                console=console,
                refresh_per_second=2,
            )
            self._task = self._bar.add_task(name, total=total, note=note)
        self._started = self._last_line = time.monotonic()
        self._lines, self._told = 0, (-1, "")

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif (self.completed or self._lines) and self._told != (self.completed, self.note):
            self._line()  # what never began has its error's sentence and no line beside it

    def advance(self, count: int = 1, note: str | None = None) -> None:
        """`count` more are done. note: None leaves the words as they are."""
        self.update(self.completed + count, note)

    def update(self, completed: int, note: str | None = None) -> None:
        """So many are done in all."""
        self.completed = completed
        self.note = self.note if note is None else note
        if self._bar is not None:
            self._bar.update(self._task, completed=completed, note=self.note)
            return
        now = time.monotonic()
        due = min(max(FIRST_LINE, SHARE_OF_TIME * (now - self._started)), LONGEST_WAIT)
        if now - self._last_line >= due:
            self._line()

    def say(self, note: str) -> None:
        """Words beside the count that are shown at once."""
        self.note = note
        if self._bar is not None:
            self._bar.update(self._task, note=note)
        else:
            self._line()

    def _line(self) -> None:
        self._last_line, self._lines = time.monotonic(), self._lines + 1
        self._told = self.completed, self.note
        total = "" if self.total is None else f"/{self.total}"
        note = f", {self.note}" if self.note else ""
        log.info("%s: %d%s, %.0f s%s", self.name, self.completed, total, self._last_line - self._started, note)


def track(
    items: Iterable[T], name: str, total: int | None = None, note: Callable[[], str] | None = None
) -> Iterator[T]:
    """The items, with a progress bar that counts those that were taken and worked on. note: asked after each."""
    with ProgressBar(name, total) as bar:
        for item in items:
            yield item
            bar.advance(note=note() if note else None)
