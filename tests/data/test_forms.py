"""Files in the forms in which sets are published, and rows with holes, odd ids or wrong labels, through the steps."""

import bz2
import gzip
import json
import lzma
from collections import Counter

import pyarrow as pa
import pytest

from data_prep import sp3f, translate
from sp3f_verl.data.files import check_folder, read_parquet, write_parquet
from sp3f_verl.data.prompts import read_prompts
from sp3f_verl.data.rows import finite, id_of, text_of
from sp3f_verl.data.schemas import TRANSLATED
from sp3f_verl.data.sets.mgsm import read_questions, read_solutions
from sp3f_verl.data.tables import open_file, read_rows
from sp3f_verl.errors import BadInput
from sp3f_verl.translate.sources import read

ROWS = [{"id": n, "question": f"What is {n}?", "solution": "It is so.", "answer": n} for n in (0, 7)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def _zstd(data):
    return pa.compress(data, codec="zstd", asbytes=True)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl", LINES),
        ("a.json", json.dumps(ROWS, indent=1).encode()),
        ("a.jsonl.gz", gzip.compress(LINES, mtime=0)),
        ("a.json.gz", gzip.compress(json.dumps(ROWS).encode(), mtime=0)),
        ("a.jsonl.bz2", bz2.compress(LINES)),
        ("a.jsonl.xz", lzma.compress(LINES)),
        ("a.jsonl.zst", _zstd(LINES)),
        ("download", LINES),
    ],
)
def test_forms_that_are_read(name, data, tmp_path):
    (tmp_path / name).write_bytes(data)
    rows = read([tmp_path / name])
    assert [(row.id, row.answer) for row in rows] == [("0", "0"), ("7", "7")]


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.zip", b"PK\x03\x04 and more", "a zip archive; unpack it"),
        ("a.parquet.gz", gzip.compress(b"PAR1 and more", mtime=0), "parquet within gzip; unpack it"),
        ("a.jsonl.gz", gzip.compress(LINES * 900, mtime=0)[:-90], "cannot be unpacked to its end"),
        ("a.parquet", b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        ("a.jsonl", b"<!DOCTYPE html><html>", "a web page"),
        ("a.csv", b"question,answer\n1,2\n", "is not a parquet file, and no JSON lines either"),
        ("a.jsonl", b"question,answer\n1,2\n", "is a table of text and no JSON lines"),
        ("a.jsonl", b"\n <html>", "a web page"),
        ("a.jsonl", LINES.decode().encode("utf-16-le"), "has NUL bytes, as UTF-16 without a mark"),
        ("a.jsonl", LINES.replace(b"\n", b"\r"), "whose lines end in CR alone"),
        ("a.jsonl.gz", gzip.compress(b"a.jsonl".ljust(257, b"\0") + b"ustar", mtime=0), "is a tar archive; unpack it"),
        (
            "a.jsonl",
            json.dumps(ROWS[0], indent=1).encode() * 2,
            "over several lines; write one object a line, say by jq -c '.'",
        ),
        ("a.json", json.dumps({"data": ROWS}, indent=1).encode(), "say by jq -c '.data[]'"),
        ("a.jsonl", LINES[:20] + b"\n" + LINES, "a.jsonl, line 1 is not JSON"),
    ],
)
def test_forms_that_are_named(name, data, words, tmp_path):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(BadInput) as failure:
        open_file(tmp_path / name)
    assert words in str(failure.value) and name in str(failure.value)


def test_a_folder_is_no_file_and_a_file_no_folder(tmp_path):
    with pytest.raises(BadInput, match="is a folder"):
        open_file(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInput, match="is a file"):
        check_folder(tmp_path / "file" / "out")


@pytest.mark.parametrize(
    ("value", "ident"), [(0, "0"), (3.0, "3"), ("a", "a"), (None, None), (float("nan"), None), (" ", None)]
)
def test_ids(value, ident):
    assert id_of(value) == ident


@pytest.mark.parametrize("value", [True, 1.5, ["a"], {}])
def test_what_is_no_id(value):
    with pytest.raises(BadInput, match="give it a text or a whole number"):
        id_of(value, "row 1")


ENGLISH = {
    "id": 1.0,
    "problem": "p",
    "language": "es",
    "question": "¿1?",
    "query_en": "1?",
    "solution": "1",
    "answer": "1",
}


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
@pytest.mark.parametrize(
    "hole", [{}, {"answer": " "}, {"question": ""}, {"solution": "\n"}, {"problem": ""}, {"id": " "}]
)
def test_blank_texts_are_told_and_whole_floats_are_ids(suffix, hole, tmp_path):
    row, path = ENGLISH | hole, tmp_path / f"a.{suffix}"
    write_parquet([row], path) if suffix == "parquet" else path.write_text(json.dumps(row))
    if not hole:
        assert next(read_rows(path, TRANSLATED))["id"] == "1"
        return
    with pytest.raises(BadInput, match=f"(row 0|line 1) has (no|a blank) '{next(iter(hole))}'; give it one"):
        list(read_rows(path, TRANSLATED))


def test_a_checker_that_is_none_is_told(tmp_path, capsys):
    (tmp_path / "a.jsonl").write_text(json.dumps(ENGLISH | {"checker": "nope"}))
    assert sp3f.main(["--translated", str(tmp_path / "a.jsonl"), "--output", str(tmp_path / "out")]) == 1
    assert "a.jsonl: " in (error := capsys.readouterr().err) and "'nope'" in error and not (tmp_path / "out").exists()


@pytest.mark.parametrize(("source", "kept"), [(3, "3"), (float("nan"), "a"), (None, "a"), ("x", "x"), (["x"], None)])
def test_the_source_is_a_text(source, kept, tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps(ROWS[0] | {"source": source, "checker": float("nan")}))
    if kept is None:
        with pytest.raises(BadInput, match=r"a.jsonl, line 1: 'source' is \['x'\]"):
            read([tmp_path / "a.jsonl"])
    else:
        assert [(row.source, row.checker) for row in read([tmp_path / "a.jsonl"])] == [(kept, None)]


@pytest.mark.parametrize("value", [int("1" + "0" * 400), float("inf"), True, "1"])
def test_what_no_float_holds_is_no_number(value):
    assert not finite(value) and finite(1) and finite(0.5)


def test_answers_of_one_value_are_one_text():
    assert {text_of(value, "a") for value in (18, 18.0, "18", " 18 ")} == {"18"}
    for value in (None, "", " ", float("inf"), float("nan"), True, ["18"], 10**400):
        with pytest.raises(BadInput):
            text_of(value, "a")


def test_rows_with_holes_are_left_out_up_to_a_limit(tmp_path):
    rows = [
        {"question": "One?", "solution": "a", "answer": "1"},
        {"question": "Two?", "solution": "so \\boxed{2}", "answer": 2.0},
        {"question": "Three?", "solution": "", "answer": "3"},
        {"question": "Four?", "solution": "so \\boxed{5}", "answer": "4"},
    ]
    write_parquet([{**row, "answer": str(row["answer"])} for row in rows], tmp_path / "a.parquet")
    reasons = Counter()
    kept = read([tmp_path / "a.parquet"], lambda reason: reasons.update([reason]))
    assert sorted(row.answer for row in kept) == ["1", "2.0"]
    assert reasons == {"no 'solution'": 1, "a box that is not its answer": 1}
    with pytest.raises(BadInput, match=r"row 2 has no 'solution', and 2 of 4 rows cannot be used"):
        read([tmp_path / "a.parquet"], most_left_out=0.4)


SAID = {"role": "user", "content": "Hi?"}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "w"}}]}
NO_TURNS = [  # (what stands in the place of turns, columns beside it, why the row is left out)
    (None, {}, "no turns"),
    ([], {}, "no turns"),
    ([None, SAID], {}, "a turn that is no mapping"),
    ([{"role": None, "content": "Hi?"}], {}, "a turn without role"),
    ([{"role": "user", "content": [{"type": "image"}]}], {}, "a turn without text"),
    ([SAID, CALL, SAID], {}, "tool calls in a turn"),
    ([SAID, {"role": "assistant", "content": "x", "thinking": "Hm"}, SAID], {}, "thinking in a turn"),
    ([SAID], {"tools": '[{"name": "w"}]'}, "tools"),
]
WHOLE = {"tools": "[]", "messages": [SAID, {"role": "assistant", "content": "Hi.", "tool_calls": None}, SAID]}


@pytest.mark.parametrize("turns, beside, reason", NO_TURNS)
def test_conversations_with_holes_are_left_out_and_told(turns, beside, reason, tmp_path):
    rows = [{"id": "a", "prompt_lang": "en", **WHOLE}, {"id": "b", "prompt_lang": "en", "messages": turns, **beside}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    reasons = Counter()
    assert [row.id for row in read([tmp_path / "a.jsonl"], lambda reason: reasons.update([reason]))] == ["a"]
    assert [row["id"] for row in read_prompts([tmp_path / "a.jsonl"], lambda reason: reasons.update([reason]))] == ["a"]
    assert reasons.total() == 2 and reasons[reason] >= 1


@pytest.mark.parametrize("hole", [{"answer": "no marks here"}, {"answer": ""}, {"question": None}, {"question": 5}])
def test_holes_of_gsm8k_are_left_out_but_where_rows_are_joined_by_position(hole, tmp_path):
    good = {"question": "One?", "answer": "1 + 0 = <<1+0=1>>1\n#### 1"}
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (good, good | hole)))
    reasons = []
    assert [row.answer for row in read([tmp_path / "a.jsonl"], reasons.append)] == ["1"] and len(reasons) == 1
    with pytest.raises(BadInput, match="line 2: "):
        read_solutions(tmp_path / "a.jsonl")


def test_mgsm_as_the_hub_has_it(tmp_path):
    rows = [{"question": "¿Uno?", "answer": None, "answer_number": 1}]
    write_parquet(rows, tmp_path / "a.parquet")
    assert read_questions(tmp_path / "a.parquet", "es") == [("¿Uno?", "1")]


def test_one_file_under_two_languages(tmp_path, capsys):
    (tmp_path / "a.tsv").write_text("¿Uno?\t1\n¿Dos?\t2\n")
    lines = [{"question": f"{number}?", "answer": f"so\n#### {number}"} for number in (1, 2)]
    (tmp_path / "gsm.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = ["--questions", f"es={tmp_path / 'a.tsv'}", f"pt={tmp_path / 'a.tsv'}"]
    assert sp3f.main([*words, "--solutions", str(tmp_path / "gsm.jsonl"), "--output", str(tmp_path / "out")]) == 1
    assert "es and pt have the same question in 2 rows" in capsys.readouterr().err


def test_english_of_two_outputs_is_taken_once(tmp_path):
    lines = [{"id": str(n), "question": f"What is {n}?", "solution": "It.", "answer": str(n)} for n in range(4)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    outputs = []
    for name in ("a", "b"):
        words = ["--input", str(tmp_path / "in.jsonl"), "--languages", "en", "--output", str(tmp_path / name)]
        assert translate.main([*words, "--base-url", "http://127.0.0.1:9/v1", "--model", "m"]) == 0
        outputs.append(str(tmp_path / name / "translated.parquet"))
    assert sp3f.main(["--translated", *outputs, "--validation", "0.25", "--output", str(tmp_path / "rl")]) == 0
    assert len(read_parquet(tmp_path / "rl" / "train.parquet")) == 3
