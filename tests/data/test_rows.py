"""The ground of the data steps: schemas, keys, order, output folders, and one sentence for every broken file."""

import json
import math
import random
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.tables import write_rows
from sp3f_verl.data.files import read_parquet
from sp3f_verl.data.output import AlreadyDone, Output
from sp3f_verl.data.rows import field, finite, id_of, question_of, row_id, text_of
from sp3f_verl.data.schemas import CANDIDATE, SFT, extended, key
from sp3f_verl.data.tables import order, read_batches, read_rows
from sp3f_verl.data.tables.order import Keys
from sp3f_verl.errors import BadInput

MESSAGES = [{"role": "user", "content": "¿1 + 1?"}, {"role": "assistant", "content": "2"}]


def rows(count: int) -> list[dict]:
    return [{"id": row_id("test", n), "messages": MESSAGES, "language": "es" if n % 2 else "sw"} for n in range(count)]


def sentence(path: Path, needed=SFT) -> str:
    with pytest.raises(BadInput) as caught:
        list(read_rows(path, needed))
    message = str(caught.value)
    assert path.name in message and "\n" not in message and message.endswith(".")
    return message


@pytest.mark.parametrize("value", [18, 18.0, "18", " 1,234.5 ", "25%", "-3"])
def test_a_number_is_no_question(value):
    with pytest.raises(BadInput, match="a number and no question; give the question's text there"):
        question_of(value, "row 3: 'question'")


@pytest.mark.parametrize("text", ["2 + 2", "0?", "x = 3", "¿18?", "(3, 4)"])
def test_what_asks_by_signs_alone_is_one(text):
    assert question_of(f" {text} ", "row 3") == text


@pytest.mark.parametrize("value", [10**400, math.inf, math.nan, True, [5], {"a": 5}, " ", None])
def test_what_is_neither_text_nor_a_number_of_a_size_is_no_answer(value):
    assert not finite(value)
    with pytest.raises(BadInput, match=r"row 3 is .*; give it a text or a number"):
        text_of(value, "row 3")


def test_a_nul_is_in_no_id_and_nan_is_no_value():
    assert id_of("a b") == "a b" and id_of(math.nan) is None
    with pytest.raises(BadInput, match=r"row 3 has the id 'a\\x00', with a NUL in it; take it out"):
        id_of("a\0", "row 3")
    assert field({"reward_model": {"ground_truth": math.nan}}, "ground_truth") is None


def test_a_step_that_lost_all_its_rows_fails_and_leaves_nothing(tmp_path):
    sentence = r"not one row is left \(3 off_language\); mend the cause and start again"
    with pytest.raises(BadInput, match=sentence), Output(tmp_path / "out", "mine", {}) as out:
        out.write("train", iter(()), SFT)
        out.drop("off_language", 3)
    assert not (tmp_path / "out").exists()


def test_ids_are_stable_and_tell_source_and_key_apart():
    assert row_id("gsm8k", 7) == "41693eb8ea02ecf9"  # printf '["gsm8k", 7]' | sha256sum | cut -c1-16
    assert len({row_id("a", "b"), row_id("ab", ""), row_id("a", ["b"]), row_id("a", 1), row_id("a", "1")}) == 5


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_what_is_written_is_read(tmp_path, suffix):
    path = tmp_path / f"rows.{suffix}"
    if suffix == "parquet":
        assert write_rows(rows(5), SFT, path).languages == Counter(es=2, sw=3)
    else:
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n\n" for row in rows(5)), encoding="utf-8")
    back = list(read_rows(path, SFT))
    assert sorted(row["id"] for row in back) == sorted(row["id"] for row in rows(5)) and back[0].keys() == {*SFT.names}
    wider = extended(SFT, score=pa.float64())
    assert all(row["score"] is None for row in read_rows(path, wider)), "a nullable column that the file lacks"


@settings(max_examples=25)
@given(st.integers(1, 60), st.integers(1, 20), st.randoms(use_true_random=False))
def test_the_order_of_the_input_changes_no_byte(tmp_path_factory, count, part, rng):
    """Through one part and through many, which lie on disk."""
    folder, shuffled = tmp_path_factory.mktemp("order"), rows(count)
    write_rows(shuffled, SFT, folder / "one.parquet")
    rng.shuffle(shuffled)
    before, order.PART = order.PART, part
    try:
        batches = [pa.RecordBatch.from_pylist(shuffled[at : at + 7], SFT) for at in range(0, count, 7)]
        keys = Keys(key(SFT))
        for batch in batches:
            keys.add(batch)
        ordered = [row for batch in order.in_order(batches, SFT, keys, folder) for row in batch.to_pylist()]
    finally:
        order.PART = before
    write_rows(shuffled, SFT, folder / "other.parquet")
    assert ordered == sorted(rows(count), key=lambda row: row["id"]) == read_parquet(folder / "one.parquet")
    assert (folder / "one.parquet").read_bytes() == (folder / "other.parquet").read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == ["one.parquet", "other.parquet"], "nothing is left over"


def test_a_candidate_is_known_by_both_of_its_ids(tmp_path):
    candidates = [
        {"id": row_id("p", n), "cand_id": str(c), "lang_declared": "es", "status": "ok"}
        for n in range(3)
        for c in range(3)
    ]
    random.Random(1).shuffle(candidates)
    write_rows(candidates, CANDIDATE, tmp_path / "c.parquet")
    ids = [(row["id"], row["cand_id"]) for row in read_rows(tmp_path / "c.parquet", CANDIDATE)]
    assert ids == sorted(ids) and len(ids) == 9
    with pytest.raises(BadInput, match="in two rows"):
        write_rows([*candidates, candidates[0]], CANDIDATE, tmp_path / "twice.parquet")
    assert not (tmp_path / "twice.parquet").exists()


def test_broken_parquet_is_one_sentence(tmp_path):
    path = tmp_path / "rows.parquet"
    assert "does not exist" in sentence(path)
    path.write_bytes(b"")
    assert "is empty" in sentence(path)
    write_rows(rows(3000), SFT, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "is not a parquet file" in sentence(path)
    path.write_bytes(whole[:40] + bytes(len(whole) // 2) + whole[40 + len(whole) // 2 :])
    assert "cannot be read after row" in sentence(path)
    pq.write_table(pa.Table.from_pylist([], SFT), path)
    assert "has no rows" in sentence(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b'{"id": "a", "messages": []}\n{"id": "b", "mess', "line 2 is not JSON"),
        (b'{"id": "a", "messages": []}\n[1]\n', "line 2 is not a JSON object"),
        (b'{"id": "a", "messages": []}\n\n{"id": "a", "messages": []}\n', "id 'a' in two rows"),
        ('{"id": "é", "messages": []}\n'.encode() + '{"id": "é"}\n'.encode("latin-1"), "line 2 is not UTF-8"),
        ('{"id": "a", "messages": []}\n'.encode("utf-8-sig"), "starts with a byte order mark (UTF-8)"),
        ('{"id": "a", "messages": []}\n'.encode("utf-16"), "starts with a byte order mark (UTF-16)"),
        (b'{"id": "a", "message": []}\n', "has no column 'messages' (did you mean 'message'?)"),
        (b'{"id": 5.5, "messages": []}\n', "line 1 has the id 5.5; give it a text or a whole number"),
        (b'{"id": "", "messages": []}\n', "line 1 has no 'id'"),
        (b'{"id": "a", "messages": []}\n{"messages": []}\n', "line 2 has no 'id'"),
        (b'{"id": "a", "messages": [], "language": "swahili"}\n', "(Swahili)"),
        (b'{"id": "a", "messages": [], "language": ""}\n', "line 1 has no language"),
        (b"\n \n", "has no column 'id'"),
        (b"", "is empty"),
    ],
)  # fmt: skip
def test_broken_json_lines_are_one_sentence(tmp_path, text, words):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(text)
    assert words in sentence(path)


def test_a_broken_last_line_is_told_before_the_first_row(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(rows(1)[0]) + "\n{")
    with pytest.raises(BadInput, match="line 2"):
        read_batches(path, SFT)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"messages": None}, "has no 'messages'"),
        ({"language": "xx"}, "unknown language 'xx'"),
        ({"language": 3}, "'language' is 3, not string"),
        ({"lang": "es"}, "no column 'lang'"),
    ],
)
def test_a_row_that_does_not_fit_is_not_written(tmp_path, change, words):
    with pytest.raises(BadInput, match="row 1") as caught:
        write_rows([rows(2)[0], rows(2)[1] | change], SFT, tmp_path / "rows.parquet")
    assert words in str(caught.value) and not list(tmp_path.iterdir())


def fill(folder, settings=None, count=4, inputs=()):
    with Output(folder, "test", settings or {"n": 1}, inputs) as out:
        out.write("rows", rows(count), SFT)
        out.drop("too_long", 2)
    return out


def test_an_output_has_a_manifest_and_a_card_and_is_done_once(tmp_path):
    source, folder = tmp_path / "source.txt", tmp_path / "out"
    source.write_text("x")
    fill(folder, inputs=[source])
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["rows"] == {"rows": {"es": 2, "sw": 2}} and manifest["drops"] == {"too_long": 2}
    assert manifest["inputs"].keys() == {str(source)} and manifest["versions"]["pyarrow"]
    assert "| `rows.parquet` | 4 | es 2, sw 2 |" in (folder / "README.md").read_text()
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "manifest.json", "rows.parquet"]
    with pytest.raises(AlreadyDone):
        fill(folder, inputs=[source])
    source.write_text("y")
    with pytest.raises(BadInput, match="another run \\(other inputs\\)"):
        fill(folder, inputs=[source])


def test_another_runs_folder_is_left_as_it_is(tmp_path):
    fill(tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(BadInput, match="n is 1 there, 2 here"):
        fill(tmp_path / "out", {"n": 2})
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "diary.md").write_text("mine")
    with pytest.raises(BadInput, match=r"holds 'diary\.md'"):
        fill(tmp_path / "notes")
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert [path.name for path in (tmp_path / "notes").iterdir()] == ["diary.md"]
    (tmp_path / "out" / "rows.parquet").write_bytes(b"changed")
    with pytest.raises(BadInput, match="is not what its manifest tells"):
        fill(tmp_path / "out")


def test_a_step_that_fails_leaves_nothing_and_a_killed_one_goes_on(tmp_path):
    with pytest.raises(RuntimeError), Output(tmp_path / "out", "test", {"n": 1}) as out:
        out.write("rows", rows(4), SFT)
        raise RuntimeError
    assert not (tmp_path / "out").exists()
    killed = Output(tmp_path / "out", "test", {"n": 1}).__enter__()
    killed.write("rows", rows(4), SFT)
    with pytest.raises(BadInput, match="being written by another process"):
        fill(tmp_path / "out")
    killed._lock.close()  # what the end of a process does
    (tmp_path / "out" / ".partial" / "rows.parquet").rename(tmp_path / "out" / "rows.parquet")
    fill(tmp_path / "out")
    assert len(read_parquet(tmp_path / "out" / "rows.parquet")) == 4
