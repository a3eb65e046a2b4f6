"""What is in the store is not worked out again, and equal questions of one run are worked out once."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from sp3f_verl.llm.store import Store

CHUNK = 128  # items that are looked up in the store together

Item, Value = TypeVar("Item"), TypeVar("Value")


def remembered(
    items: Iterable[Item],
    store: Store | None,
    key: Callable[[Item], str],
    recalled: Callable[[Item, dict[str, Any]], Value | None],
    shared: Callable[[Item, Value], Value],
    work: Callable[[Iterator[list[tuple[str, Item]]]], Generator[list[tuple[str, Value]], None, None]],
) -> Generator[Value, None, None]:
    """A value for each item, as they come. Draws items only as `work` does.

    work: draws chunks of items that have no value yet (a chunk may be empty), and yields lists of values by key, an
        empty list at least after each chunk, so that what is known is handed on. It puts them into the store itself.
    recalled: the value of an item of which the store has this; None where that is no value. shared: the value of an
        item whose equal got that one.
    """
    known: deque[Value] = deque()
    waiting: dict[str, list[Item]] = {}  # by the key of what is being worked out: its equals that came later

    def fresh() -> Iterator[list[tuple[str, Item]]]:
        drawn = iter(items)
        while chunk := list(islice(drawn, CHUNK)):
            keyed = [(key(item), item) for item in chunk]
            stored = {} if store is None else store.get_many([name for name, _ in keyed])
            unknown = []
            for name, item in keyed:
                kept = stored.get(name)
                if kept is not None and (value := recalled(item, kept)) is not None:
                    known.append(value)
                elif name in waiting:
                    waiting[name].append(item)
                else:
                    waiting[name] = []
                    unknown.append((name, item))
            yield unknown

    values = work(fresh())
    try:
        for batch in values:
            while known:
                yield known.popleft()
            for name, value in batch:
                others = waiting.pop(name)
                yield value
                yield from (shared(other, value) for other in others)
        yield from known
    finally:
        values.close()
