"""The part that all ways of asking share."""

import abc
from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace

from sp3f_verl.llm.ask import Answer, Ask, Status
from sp3f_verl.llm.store import Store, remembered
from sp3f_verl.llm.totals import Totals
from sp3f_verl.log import log

KEPT = (Status.OK, Status.TRUNCATED, Status.REFUSED)  # what the store keeps; errors are asked for again

Keyed = list[tuple[str, Ask]]
Batch = list[tuple[str, Answer]]  # fresh answers by their key


class Backend(abc.ABC):
    """Asks a model. To be closed, which closes its store; `with` does.

    model: the name that answers go by. totals: what all answers so far came to.
    """

    model: str

    def __init__(self, store: Store | None = None, totals: Totals | None = None):
        self.store, self.totals = store, totals or Totals()
        self._streams: set[Generator[Answer, None, None]] = set()  # of the `answers` that somebody still takes

    def answers(self, asks: Iterable[Ask]) -> Iterator[Answer]:
        """An answer for each ask, as they come: an id and a number name it. Runs in the caller's thread, lazily.

        asks are drawn as there is room for them, and no answer is made much ahead of who takes them. A fresh answer is
        in the store before it is handed out. Raises TooManyFailures, after which the rest is not asked.
        """
        model = self._identity()
        stream = remembered(asks, self.store, lambda ask: ask.key(model), Answer.from_stored, _shared, self._ask)
        self._streams.add(stream)
        try:
            for answer in stream:
                self.totals.add(answer)
                yield answer
        finally:
            stream.close()  # also where an exception keeps this frame: what is in flight ends now
            self._streams.discard(stream)
        self.totals.finish()
        if failures := self.totals.without_text():
            log.warning("%s: questions without an answer: %s", self.model, failures)

    def close(self) -> None:
        """Ends what runs: also the answers that nobody goes on taking, such as after a Ctrl-C between two of them."""
        for stream in list(self._streams):
            stream.close()
        if self.store is not None:
            self.store.close()

    def __enter__(self) -> "Backend":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @abc.abstractmethod
    def _ask(self, fresh: Iterator[Keyed]) -> Generator[Batch, None, None]:
        """The work of `remembered`."""

    def _identity(self) -> str:
        """What stands for the model in the store's keys."""
        return self.model

    def _keep(self, batch: Batch) -> None:
        kept = [(key, answer.stored()) for key, answer in batch if answer.status in KEPT]
        if self.store is not None and kept:
            self.store.put_many(kept)


def _shared(ask: Ask, answer: Answer) -> Answer:
    return replace(answer, id=ask.id, number=ask.number, reused=True)
