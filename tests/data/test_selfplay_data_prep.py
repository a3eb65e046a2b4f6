"""Triplets out of a run and in again, and what import refuses."""

import json

import pytest

from data_prep import selfplay
from sp3f_verl.data.files import read_parquet, write_json, write_parquet
from sp3f_verl.data.preference_rows import read_answers


@pytest.fixture
def run(tmp_path):
    """Iteration 1 of a run, as the trainer writes it: one row left out."""
    rows = [
        {
            "id": f"row-{n}",
            "iteration": 1,
            "prompt": [{"role": "user", "content": f"{n}?"}],
            "real": f"real {n}",
            "generated": f"generated {n}",
            "proto": f"proto {n}",
            "generated_complete": n != 2,
            "proto_complete": True,
            "generated_ids": [n],
            "proto_ids": [n],
            "status": "truncated" if n == 2 else "ok",
        }
        for n in range(4)
    ]
    place = tmp_path / "selfplay" / "iteration_1"
    write_parquet(rows, place / "train.parquet")
    write_parquet(rows[:1], place / "validation.parquet")
    write_json({"iteration": 1}, place / "manifest.json")
    return tmp_path / "selfplay"


def export(run, output, layout: str) -> int:
    return selfplay.main(["export", "--run", str(run), "--iteration", "1", "--layout", layout, "--output", str(output)])


@pytest.mark.parametrize("layout", ["triplets", "spin", "trl"])
def test_out_and_in_again(run, tmp_path, layout):
    assert export(run, tmp_path / "out", layout) == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert sorted(counts["all"] for counts in manifest["rows"].values()) == [1, 3] and manifest["drops"] == {
        "truncated": 1
    }
    files = sorted((tmp_path / "out").glob("*train*.parquet"))
    assert len(files) == 1
    assert selfplay.main(["import", "--input", str(files[0]), "--output", str(tmp_path / "in")]) == 0
    sides = ("real", "generated") if layout != "triplets" else ("real", "generated", "proto")
    rows = sorted(read_parquet(tmp_path / "in" / "train.parquet"), key=lambda row: row["real"])  # by id in the file
    assert [{side: row[side] for side in sides} for row in rows] == [
        {side: f"{side} {n}" for side in sides} for n in (0, 1, 3)
    ]
    assert [row["prompt"][0]["content"] for row in rows] == ["0?", "1?", "3?"]
    answers, dropped = read_answers(str(tmp_path / "in" / "train.parquet"), sides)
    assert len(answers) == 3 and not dropped, "loads as stored pairs or triplets"


def test_the_files_of_spin(run, tmp_path):
    export(run, tmp_path / "out", "spin")
    names = {file.name for file in (tmp_path / "out").glob("*.parquet")}
    assert names == {"train_prefs-00000-of-00001.parquet", "test_prefs-00000-of-00001.parquet"}
    row = read_parquet(tmp_path / "out" / "train_prefs-00000-of-00001.parquet")[0]
    assert list(row) == ["real", "generated"]
    assert [turn["role"] for turn in row["generated"]] == ["user", "assistant"]


def test_json_lines_and_sft_rows(tmp_path):
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "yes"}]
    lines = [json.dumps({"real": turns, "generated": [turns[0], {**turns[1], "content": "no"}]}), ""]
    (tmp_path / "loser_0.jsonl").write_text("\n".join(lines))
    write_parquet([{"messages": turns}], tmp_path / "sft.parquet")
    assert selfplay.main(["import", "--input", str(tmp_path / "loser_0.jsonl"), "--output", str(tmp_path / "a")]) == 0
    assert selfplay.main(["import", "--input", str(tmp_path / "sft.parquet"), "--output", str(tmp_path / "b")]) == 0
    assert read_parquet(tmp_path / "a" / "train.parquet")[0]["generated"] == "no"
    row = read_parquet(tmp_path / "b" / "train.parquet")[0]
    assert (row["real"], len(row["id"]), "generated" in row) == ("yes", 16, False)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"real": "a"}\n{"real": "b', "line 2 is not JSON"),
        ("[1]", "row 1 is not a JSON object"),
        ('{"answer": "a"}', "none of the columns"),
        ('{"real": "a"}', "1 no_prompt"),
        ('{"prompt": "?", "real": "a", "generated": "a"}', "1 sides_identical"),
        ('{"id": 1, "prompt": "?", "real": "a"}\n{"id": 1, "prompt": "!", "real": "b"}', "'1'"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(content, words, tmp_path, capsys):
    (tmp_path / "in.jsonl").write_text(content)
    assert selfplay.main(["import", "--input", str(tmp_path / "in.jsonl"), "--output", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1 and not (tmp_path / "out").exists()


def test_an_iteration_that_is_not_there_and_an_output_that_is(run, tmp_path, capsys):
    arguments = ["export", "--run", str(run), "--iteration", "3", "--output", str(tmp_path / "out")]
    assert selfplay.main(arguments) == 1
    assert "has no iteration 3; it has [1]" in capsys.readouterr().err
    assert export(run, tmp_path / "out", "trl") == 0
    before = (tmp_path / "out" / "manifest.json").read_bytes()
    assert export(run, tmp_path / "out", "spin") == 1
    assert (
        "holds the output of another run" in capsys.readouterr().err
        and (tmp_path / "out" / "manifest.json").read_bytes() == before
    )
