"""The store of answers: exact keys, several processes, and files that are none of its own."""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading

import pytest

from sp3f_verl.errors import BadInput
from sp3f_verl.llm import Store, request_key

WRITER = """
import sys
from pathlib import Path
from sp3f_verl.llm.store import Store
path, name, count, size = sys.argv[1:]
with Store(Path(path)) as store:
    print("open", flush=True)
    for number in range(int(count)):
        store.put(f"{name}-{number}", {"text": name * int(size), "number": number})
"""


def writer(path, name, count, size=1):
    arguments = [sys.executable, "-c", WRITER, str(path), name, str(count), str(size)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


class TestKey:
    def test_it_stays_the_same_in_all_processes(self):
        """The canonical JSON of these parts, hashed by another program: sha256sum."""
        parts = ["model", {"b": [1, 2.5, None, True], "a": "ö\ud800"}]
        assert request_key(*parts) == "9c3203c1d4d524b2d815606962943fc010177bbe8c82e9a031565ec7609f6862"

    def test_the_order_in_dicts_does_not_count(self):
        assert request_key({"a": 1, "b": {"c": 2, "d": 3}}) == request_key({"b": {"d": 3, "c": 2}, "a": 1})

    def test_all_else_counts(self):
        different = [("ab", "c"), ("a", "bc"), ("abc",), (["ab", "c"],), ([1, 2],), ([2, 1],), (1,), (1.5,), ("1",), ()]
        assert len({request_key(*parts) for parts in different}) == len(different)

    @pytest.mark.parametrize("part", [float("nan"), object(), {1, 2}, b"bytes"])
    def test_what_is_no_json_has_no_key(self, part):
        with pytest.raises((TypeError, ValueError)):
            request_key(part)


class TestStore:
    def test_many_at_once(self, tmp_path):
        with Store(tmp_path / "a") as store:
            store.put_many([(f"k{number}", {"n": number}) for number in range(500)])
            store.put_many([("k1", {"n": -1}), ("new", {})])
            assert store.get_many(["k1", "k499", "none", "new"]) == {"k1": {"n": -1}, "k499": {"n": 499}, "new": {}}
            assert store.get_many([]) == {} and len(store) == 501

    def test_many_are_put_all_or_none(self, tmp_path):
        with Store(tmp_path / "a") as store:
            with pytest.raises(sqlite3.Error):
                store.put_many([("k1", {}), (object(), {})])
            assert len(store) == 0
            store.put("k2", {})  # and no transaction is left open
            assert len(store) == 1

    def test_a_store_of_the_layout_before_is_read_and_written(self, tmp_path):
        connection = sqlite3.connect(tmp_path / "a")
        connection.execute("CREATE TABLE answers (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID")
        connection.execute("INSERT INTO answers VALUES ('old', '{}')")
        connection.execute("PRAGMA user_version = 1")
        connection.commit()
        connection.close()
        with Store(tmp_path / "a") as store:
            store.put_many([("new", {})])
            assert store.get_many(["old", "new"]) == {"old": {}, "new": {}}

    def test_it_gives_back_what_was_put_also_after_reopening(self, tmp_path):
        path = tmp_path / "new" / "answers.sqlite"
        value = {"text": "ö\n\ud800", "top_logprobs": {"A": -0.5, "B": float("-inf")}, "usage": [1, 2]}
        with Store(path) as store:
            assert store.get("k") is None and len(store) == 0
            store.put("k", {"text": "before"})
            store.put("k", value)
            assert store.get("k") == value
        with Store(path) as store:
            assert store.get("k") == value and len(store) == 1

    def test_threads_share_one(self, tmp_path):
        with Store(tmp_path / "answers.sqlite") as store:
            threads = [
                threading.Thread(target=lambda name=name: [store.put(f"{name}{i}", {"i": i}) for i in range(50)])
                for name in "abcd"
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(store) == 200
            assert all(store.get(f"{name}{i}") == {"i": i} for name in "abcd" for i in range(50))

    def test_processes_make_and_fill_one_file_together(self, tmp_path):
        path = tmp_path / "answers.sqlite"
        writers = [writer(path, name, 100) for name in "abcd"]
        assert [writer.wait(120) for writer in writers] == [0, 0, 0, 0]
        with Store(path) as store:
            assert len(store) == 400
            assert store.get("d-99") == {"text": "d", "number": 99}

    def test_many_open_a_new_file_at_once(self, tmp_path):
        """The switch to WAL fails at once, without SQLite's usual wait, where another makes it: threads race best."""
        for attempt in range(10):
            path, errors, barrier = tmp_path / f"{attempt}.sqlite", [], threading.Barrier(10)

            def start(path=path, errors=errors, barrier=barrier):
                barrier.wait()
                try:
                    Store(path).close()
                except BadInput as error:
                    errors.append(error)

            threads = [threading.Thread(target=start) for _ in range(10)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert errors == []
            with contextlib.closing(sqlite3.connect(path)) as connection:
                assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)

    def test_a_killed_writer_leaves_nothing_half_written(self, tmp_path):
        path = tmp_path / "answers.sqlite"
        with Store(path) as store:
            process = writer(path, "x", 10**6, 200_000)
            assert process.stdout.readline() == "open\n"
            while len(store) < 5:
                assert process.poll() is None
            os.kill(process.pid, signal.SIGKILL)
            process.wait(60)
            written = len(store)
            assert all(store.get(f"x-{n}") == {"text": "x" * 200_000, "number": n} for n in range(written))
            store.put("after", {})
        with sqlite3.connect(path) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)

    def test_an_open_store_does_not_survive_a_fork(self, tmp_path, monkeypatch):
        with Store(tmp_path / "answers.sqlite") as store:
            monkeypatch.setattr(os, "getpid", lambda: -1)
            with pytest.raises(RuntimeError, match="fork"):
                store.put("k", {})

    def test_use_after_close_is_the_callers_fault_not_the_files(self, tmp_path):
        store = Store(tmp_path / "answers.sqlite")
        store.close()
        store.close()
        with pytest.raises(sqlite3.ProgrammingError):
            store.get("k")


class TestFilesThatAreNoStore:
    def refused(self, path, sentence):
        with pytest.raises(BadInput, match=sentence) as caught:
            Store(path)
        assert str(path) in str(caught.value) and "another file" in str(caught.value)

    def test_a_text_file(self, tmp_path):
        path = tmp_path / "answers.jsonl"
        path.write_text('{"text": "hello"}\n' * 100)
        self.refused(path, "no store of answers, or is damaged")
        assert path.read_text().startswith('{"text"')

    def test_a_file_damaged_in_the_middle(self, tmp_path):
        path = tmp_path / "answers.sqlite"
        with Store(path) as store:
            for number in range(200):
                store.put(f"{number}", {"text": "x" * 500})
        content = bytearray(path.read_bytes())
        content[4096:-4096] = b"\xff" * (len(content) - 8192)
        path.write_bytes(content)
        with Store(path) as store, pytest.raises(BadInput, match="damaged"):
            [store.get(f"{number}") for number in range(200)]

    def test_another_version(self, tmp_path):
        path = tmp_path / "answers.sqlite"
        Store(path).close()
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA user_version = 7")
        self.refused(path, "version 7")

    def test_another_programs_database(self, tmp_path):
        path = tmp_path / "photos.sqlite"
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE photos (name TEXT)")
        self.refused(path, "another program's")

    def test_a_folder(self, tmp_path):
        self.refused(tmp_path, "cannot be used")

    def test_a_path_below_a_file(self, tmp_path):
        (tmp_path / "file").touch()
        self.refused(tmp_path / "file" / "answers.sqlite", "cannot be used")


def test_after_a_checkpoint_a_copy_of_the_one_file_holds_all(tmp_path):
    with Store(tmp_path / "s") as store:
        store.put("key", {"text": "answer"})
        store.checkpoint()
        shutil.copy(tmp_path / "s", tmp_path / "copy")
    with Store(tmp_path / "copy") as copy:
        assert copy.get("key") == {"text": "answer"}
