"""Columns in the types of other programs, and rows of JSON that stand within something else."""

import json
import uuid
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep import convert, preferences, selfplay
from sp3f_verl.data.files import read_parquet
from sp3f_verl.data.rows import id_of, text_of
from sp3f_verl.data.schemas import CANDIDATE, PREFERENCE, TRANSLATED
from sp3f_verl.data.tables import open_file, read_rows
from sp3f_verl.errors import BadInput
from sp3f_verl.translate.sources import read


def _lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _chat(*texts):
    return [{"role": "assistant" if at % 2 else "user", "content": text} for at, text in enumerate(texts)]


NUMBERS = pa.decimal128(9, 2)


def _parquet(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


def test_decimals_uuids_and_bytes_are_numbers_ids_and_texts(tmp_path):
    idents = [uuid.UUID(int=1).bytes, uuid.UUID(int=2).bytes, None]
    path = _parquet(
        tmp_path / "a.parquet",
        id=pa.ExtensionArray.from_storage(pa.uuid(), pa.array(idents, pa.binary(16))),
        question=pa.array([b"One?", b"Two?", "¿Tres?".encode()]),
        solution=["so"] * 3,
        answer=pa.array([Decimal("18.00"), Decimal("2.50"), Decimal(-7)], NUMBERS),
    )
    rows = {row.question: (row.id, row.answer) for row in read([path])}
    assert rows["One?"] == (str(uuid.UUID(int=1)), "18") and rows["Two?"][1] == "2.5" and rows["¿Tres?"][1] == "-7"
    assert open_file(_parquet(tmp_path / "b.parquet", question=[b"\xff"])).rows({"question"}).__next__()[1] == {
        "question": b"\xff"
    }


def test_decimals_fit_ids_and_scores_of_a_schema(tmp_path):
    pair = {"pair_id": ["q"], "prompt": [_chat("Hi?")], "prompt_lang": ["en"], "chosen": ["a"], "rejected": ["b"]}
    scores = {"chosen_score": pa.array([Decimal("4.5")], NUMBERS)}
    for ident in (pa.array([Decimal(3)], pa.decimal128(38, 0)), pa.array([Decimal(3)], NUMBERS)):
        (row,) = read_rows(_parquet(tmp_path / "a.parquet", id=ident, **pair, **scores), PREFERENCE)
        assert (row["id"], row["chosen_score"]) == ("3", 4.5)
    bad = pa.array([Decimal("3.5")], NUMBERS)
    with pytest.raises(BadInput, match="column 'id' holds decimal"):
        list(read_rows(_parquet(tmp_path / "a.parquet", id=bad, **pair), PREFERENCE))
    with pytest.raises(BadInput, match="column 'text' holds decimal"):
        candidate = {"id": ["a"], "cand_id": ["c"], "lang_declared": ["en"], "status": ["ok"]}
        list(read_rows(_parquet(tmp_path / "a.parquet", text=bad, **candidate), CANDIDATE))
    assert id_of(Decimal("3.0")) == "3" and text_of(Decimal("1E+2"), "a") == "100"
    with pytest.raises(BadInput):
        id_of(Decimal("1.5"))


def test_decimal_scores_become_numbers_of_ours(tmp_path):
    score = {f"{side}_score": pa.array([Decimal(n)], NUMBERS) for side, n in (("chosen", 4), ("rejected", 2))}
    path = _parquet(tmp_path / "a.parquet", prompt=["q?"], chosen=["a"], rejected=["b"], **score)
    assert convert.main(f"--from trl --language en --input {path} --output {tmp_path / 'o'}".split()) == 0
    assert read_parquet(tmp_path / "o" / "a.parquet")[0]["chosen_score"] == 4.0
    grades = {name: pa.array([Decimal(3), Decimal(1)], NUMBERS) for name in ("helpfulness", "correctness", "coherence")}
    path = _parquet(tmp_path / "h.parquet", prompt=["p", "p"], response=["good", "bad"], **grades)
    words = f"--tokenizer characters --sources helpsteer2={path} --output {tmp_path / 'h'}"
    assert preferences.main(words.split()) == 0
    assert read_parquet(tmp_path / "h" / "train.parquet")[0]["chosen"] == "good"


# ---- forms of JSON ----
ROWS = [{"problem": f"What is {n}?", "solution": "It is so.", "answer": str(n)} for n in range(2)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (json.dumps({"version": 1, "data": ROWS}), r"within others; get them out by jq -c '\.data\[\]'"),
        (json.dumps({"rows": [{"row_idx": 0, "row": ROWS[0]}]}), r"jq -c '\.rows\[\]\.row'"),
        (json.dumps({"0": ROWS[0], "1": ROWS[1]}), r"jq -c '\.\[\]'"),
        (json.dumps({name: [row[name] for row in ROWS] for name in ROWS[0]}), "one object of columns, not of rows"),
        (json.dumps({name: {"0": "x", "1": "y"} for name in ROWS[0]}), r"say by pandas\.read_json\(FILE\)\.to_json"),
        (json.dumps({"columns": ["a"], "index": [0], "data": [["x"]]}), "orient='split'"),
        (",\n".join(map(json.dumps, ROWS)) + ",\n", "commas between them; take the comma"),
        ("\n".join(map(repr, ROWS)), "Python's text of rows"),
        (json.dumps(ROWS) + "\n" + json.dumps(ROWS), r"several JSON arrays, .* say by jq -c '\.\[\]'"),
        ('["q", "a"]\n["r", "b"]\n', "JSON lines of lists, which name no column"),
    ],
)
def test_wrapped_rows_are_named_with_the_way_out(text, words, tmp_path):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(BadInput, match=words):
        read([tmp_path / "a.json"])


def test_wrapped_rows_are_named_at_other_doors(tmp_path, capsys):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"data": [{"prompt": "q?", "chosen": "a", "rejected": "b"}]}))
    words = f"--input {path} --output {tmp_path / 'o'}".split()
    for step in (
        lambda: convert.main(["--from", "trl", "--language", "en", *words]),
        lambda: selfplay.main(["import", *words]),
    ):
        assert step() == 1 and "jq -c '.data[]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "row", [{"messages": _chat("q?", "a"), "notes": _chat("n", "m")}, {"messages": _chat("q?"), "info": {"a": 1}}]
)
def test_a_file_of_one_row_is_a_row(row, tmp_path):
    assert len(read([_lines(tmp_path / "a.json", [row])])) == 1


PROBLEM = {"id": "a", "problem": "p", "language": "es", "question": "¿1?", "query_en": "1?", "solution": "1"}


@pytest.mark.parametrize("answer", [18, 18.0, "18"])
def test_answers_of_translated_rows_may_be_numbers(answer, tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps(PROBLEM | {"answer": answer}))
    pq.write_table(pa.Table.from_pylist([PROBLEM | {"answer": answer}]), tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.parquet"):
        assert [row["answer"] for row in read_rows(tmp_path / name, TRANSLATED)] == ["18"]
    pq.write_table(pa.Table.from_pylist([PROBLEM | {"answer": float("nan")}]), tmp_path / "a.parquet")
    with pytest.raises(BadInput, match="row 0 has no 'answer'"):
        list(read_rows(tmp_path / "a.parquet", TRANSLATED))
