"""Done before, else resume: what a record says about work that was not begun, is cut short, done, or another's."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sp3f_verl.data.files import atomic_write, write_json
from sp3f_verl.data.resume import Work, differences

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def work(folder, **identity):
    return Work(folder / "run.json", identity, result=folder / "done.json")


def test_work_is_begun_then_done_and_another_identity_is_told_apart(tmp_path):
    one, other = work(tmp_path, seed=1, languages=("es", "sw")), work(tmp_path, seed=2, languages=["es", "sw"])
    assert (one.kept, one.begun, one.done, one.changed()) == (None, False, False, {})
    one.begin()
    assert one.begun and not one.done, "a tuple is a list in JSON, and the same"
    write_json({"loss": 1.0}, one.result)
    assert one.done
    assert (other.begun, other.done, other.changed()) == (False, False, {"seed": (1, 2)})
    other.begin()
    assert other.begun and not other.done and not other.result.exists(), "the result was the other's"


def test_a_record_may_hold_more_and_a_broken_one_is_not_ours(tmp_path):
    write_json({"seed": 1, "tokens": 9}, tmp_path / "run.json")
    assert Work(tmp_path / "run.json", {"seed": 1}).done, "the record itself is the result"
    for text in ("{", "[1]", ""):
        (tmp_path / "run.json").write_text(text)
        assert Work(tmp_path / "run.json", {"seed": 1}).changed() == {"seed": (None, 1)}


@settings(max_examples=40)
@given(st.dictionaries(st.text(), JSON), st.dictionaries(st.text(), JSON))
def test_differences_name_precisely_what_differs(kept, ours):
    changed = differences(kept, ours)
    assert changed == {name: (kept.get(name), value) for name, value in ours.items() if kept.get(name) != value}
    assert not differences(ours, ours)


def test_a_file_is_whole_or_the_one_before(tmp_path):
    path = tmp_path / "folder" / "file.txt"
    with atomic_write(path) as partial:
        partial.write_text("one")
        assert not path.exists()
    with pytest.raises(RuntimeError), atomic_write(path) as partial:
        partial.write_text("tw")
        raise RuntimeError
    assert path.read_text() == "one" and os.listdir(path.parent) == ["file.txt"]
