"""The part that all ways of asking share: what is in the store is not asked, equal questions are asked once."""

import abc
import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

from sp3f_verl.llm.ask import Answer, Ask, Status
from sp3f_verl.llm.store import Store
from sp3f_verl.llm.totals import Totals

KEPT = (Status.OK, Status.TRUNCATED, Status.REFUSED)  # what the store keeps; errors are asked for again
CHUNK = 128  # asks that are looked up in the store together

Keyed = list[tuple[str, Ask]]
Batch = list[tuple[str, Answer]]  # fresh answers by their key


class Backend(abc.ABC):
    """Asks a model. To be closed; `with` does.

    model: the name that answers go by. totals: what all answers so far came to.
    """

    model: str

    def __init__(self, store: Store | None = None, totals: Totals | None = None):
        self.store, self.totals = store, totals or Totals()

    def answers(self, asks: Iterable[Ask]) -> Iterator[Answer]:
        """An answer for each ask, as they come: an id and number name it. Runs in the caller's thread, lazily.

        asks are drawn as there is room for them, and no answer is made much ahead of who takes them. A fresh answer is
        in the store before it is handed out. Raises TooManyFailures, after which the rest is not asked.
        """
        known: deque[Answer] = deque()
        waiting: dict[str, list[Ask]] = {}
        batches = self._ask(self._fresh(asks, known, waiting))
        try:
            for batch in batches:
                while known:
                    yield self._counted(known.popleft())
                for key, answer in batch:
                    others = waiting.pop(key)[1:]
                    yield self._counted(answer)
                    for ask in others:
                        yield self._counted(replace(answer, id=ask.id, number=ask.number, reused=True))
            while known:
                yield self._counted(known.popleft())
            self.totals.finish()
        finally:
            batches.close()

    @abc.abstractmethod
    def close(self) -> None:
        """Ends what runs and closes the store."""

    def __enter__(self) -> "Backend":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @abc.abstractmethod
    def _ask(self, fresh: Iterator[Keyed]) -> Iterator[Batch]:
        """Draws asks, and yields their answers, kept already: an empty batch where a draw gave none."""

    def _identity(self) -> str:
        """What stands for the model in the store's keys."""
        return self.model

    def _fresh(self, asks: Iterable[Ask], known: deque[Answer], waiting: dict[str, list[Ask]]) -> Iterator[Keyed]:
        """The asks that have no answer yet, chunk by chunk (a chunk may be empty); the others' answers go to known."""
        for chunk in _batched(asks, CHUNK):
            keyed = [(ask.key(self._identity()), ask) for ask in chunk]
            stored = self.store.get_many([key for key, _ in keyed]) if self.store is not None else {}
            fresh = []
            for key, ask in keyed:
                if (value := stored.get(key)) is not None:
                    known.append(Answer.from_stored(ask, value))
                elif key in waiting:
                    waiting[key].append(ask)
                else:
                    waiting[key] = [ask]
                    fresh.append((key, ask))
            yield fresh

    def _keep(self, batch: Batch) -> None:
        if self.store is not None:
            self.store.put_many([(key, answer.stored()) for key, answer in batch if answer.status in KEPT])

    def _counted(self, answer: Answer) -> Answer:
        self.totals.add(answer)
        return answer


def _batched(items: Iterable[Ask], size: int) -> Iterator[list[Ask]]:
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk
