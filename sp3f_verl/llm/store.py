"""Answers by the exact request that got them, in one SQLite file: a run that goes on asks nothing twice."""

import contextlib
import hashlib
import json
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from sp3f_verl.errors import BadInput

VERSION = 1  # of the schema, in the file's user_version; 0 is a file just made
CHECKPOINT = 8000  # pages of 4 KiB in the log before they are moved to the file, which takes longer than writing them
CHUNK = 128  # items that are looked up together
_BUSY = 60.0  # seconds for which a writer waits for the others

Item, Value = TypeVar("Item"), TypeVar("Value")

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode  # ASCII, surrogates too


def request_key(*parts: Any) -> str:
    """SHA-256, in hexadecimal, of the parts as canonical JSON: the order in dicts does not count, that in lists does.

    Equal for equal parts in every process and Python version. TypeError or ValueError for what is no JSON (NaN is not).
    """
    return hashlib.sha256(_CANONICAL(parts).encode()).hexdigest()


class Store:
    """A mapping from request keys to JSON objects that lasts. Any number of processes and threads may write at once.

    The file must lie on a local disk (SQLite's WAL shares memory between its users). A writer killed in the middle
    leaves the value before, or none. Each process opens its own: one that was forked with an open store gets a
    RuntimeError. BadInput where the file is damaged, is something else, or has another version.
    """

    def __init__(self, path: Path):
        self._path, self._process, self._lock = Path(path), os.getpid(), threading.Lock()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self._path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
            with contextlib.ExitStack() as undo:
                undo.callback(self._connection.close)
                self._prepare()
                undo.pop_all()
        except (OSError, sqlite3.OperationalError) as error:
            raise BadInput(f"{self._path} cannot be used as a store of answers: {error}; name another file.") from None

    def get(self, key: str) -> dict[str, Any] | None:
        """The value last put under the key, None if there is none."""
        with self._open() as connection:
            row = connection.execute("SELECT value FROM answers WHERE key = ?", (key,)).fetchone()
            return None if row is None else json.loads(row[0])

    def put(self, key: str, value: dict[str, Any]) -> None:
        """Stores the value, in place of an earlier one; on disk, for every process, when it returns."""
        text = json.dumps(value)
        with self._open() as connection:
            connection.execute("INSERT OR REPLACE INTO answers (key, value) VALUES (?, ?)", (key, text))

    def get_many(self, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The values of those of the keys that have one. At most 999 keys."""
        marks = ",".join("?" * len(keys))
        with self._open() as connection:
            rows = connection.execute(f"SELECT key, value FROM answers WHERE key IN ({marks})", keys).fetchall()
            return {key: json.loads(value) for key, value in rows}

    def put_many(self, items: Sequence[tuple[str, dict[str, Any]]]) -> None:
        """Stores them all or, where the process is killed meanwhile, none; one transaction, so much faster than put."""
        texts = [(key, json.dumps(value)) for key, value in items]
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                connection.executemany("INSERT OR REPLACE INTO answers (key, value) VALUES (?, ?)", texts)
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def __len__(self) -> int:
        with self._open() as connection:
            return connection.execute("SELECT COUNT(*) FROM answers").fetchone()[0]

    def checkpoint(self) -> None:
        """Moves what stands in the log beside the file into it: a copy of the one file then holds every answer."""
        with contextlib.suppress(sqlite3.OperationalError), self._open() as connection:  # a full disk: the log has it
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def close(self) -> None:
        """Closes the file; a second time does nothing."""
        self._connection.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _prepare(self) -> None:
        with self._open() as connection:
            if (version := connection.execute("PRAGMA user_version").fetchone()[0]) not in (0, VERSION):
                raise BadInput(
                    f"{self._path} is a store of answers of version {version}, this program reads {VERSION}: "
                    "name another file, or move this one away and the answers are asked for again."
                )
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not tables <= {"answers"}:
                raise BadInput(f"{self._path} is another program's database: name another file.")
            end = time.monotonic() + _BUSY
            while True:  # the switch to WAL does not wait for other processes that make the same switch
                try:
                    connection.execute("PRAGMA journal_mode = WAL")
                    break
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                        raise
                    time.sleep(0.01)
            connection.execute("PRAGMA synchronous = NORMAL")  # in WAL a killed process loses nothing that was put
            connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT}")
            if version == 0:
                # With rowids: keys are random, and a value among them would write a page of its own for each answer.
                connection.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, value TEXT)")
                connection.execute(f"PRAGMA user_version = {VERSION}")

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        if os.getpid() != self._process:
            raise RuntimeError(f"The store {self._path} was opened before a fork: open it in each process.")
        with self._lock:
            try:
                yield self._connection
            except (sqlite3.DatabaseError, ValueError) as error:
                damaged = type(error) is sqlite3.DatabaseError or isinstance(error, json.JSONDecodeError)
                if not damaged:  # a full disk, a closed store: no fault of the file's
                    raise
                raise BadInput(
                    f"{self._path} is no store of answers, or is damaged ({error}): name another file, "
                    "or move this one away and the answers are asked for again."
                ) from None


def remembered(
    items: Iterable[Item],
    store: Store | None,
    key: Callable[[Item], str],
    recalled: Callable[[Item, dict[str, Any]], Value | None],
    shared: Callable[[Item, Value], Value],
    work: Callable[[Iterator[list[tuple[str, Item]]]], Generator[list[tuple[str, Value]], None, None]],
) -> Generator[Value, None, None]:
    """A value for each item, as they come: what is in the store is not worked out again, and equal items of one run are
    worked out once. Draws items only as `work` does.

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
