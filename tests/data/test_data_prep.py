"""`data_prep.sp3f`: rows joined by problem, splits without leaks, and one sentence where files disagree."""

import json
import random
from pathlib import Path

import pytest

from data_prep import sp3f
from helpers.shared import SHARED_DATA as REAL
from sp3f_verl.data.check import check_rl
from sp3f_verl.data.files import read_parquet
from sp3f_verl.data.rows import REFERENCE
from sp3f_verl.rewards import extract_boxed


@pytest.fixture
def files(tmp_path):
    """Ten problems `n + 1` in Spanish and Swahili, and their solutions in the layout of GSM8K."""
    for code in ("es", "sw"):
        lines = [f"{code} {n} + 1?\t{n + 1}" for n in range(10)]
        (tmp_path / f"{code}.tsv").write_text("\n".join(lines) + "\n")
    rows = [
        {"question": f"What is {n} + 1?", "answer": f"Add <<{n}+1={n + 1}>>them: {n}+1={n + 1}.\n#### {n + 1}"}
        for n in range(10)
    ]
    (tmp_path / "solutions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def run(files, *extra):
    questions = [f"es={files / 'es.tsv'}", f"sw={files / 'sw.tsv'}"]
    solutions, output = str(files / "solutions.jsonl"), str(files / "out")
    return sp3f.main(["--questions", *questions, "--solutions", solutions, "--output", output, *extra])


def test_rows_manifest_and_split(files):
    assert run(files, "--validation", "0.3") == 0
    train, validation = (read_parquet(files / "out" / f"{name}.parquet") for name in ("train", "validation"))
    assert len(train) == 14 and len(validation) == 6
    assert not {row["problem"] for row in train} & {row["problem"] for row in validation}
    row = next(row for row in train if row["language"] == "sw")
    number = int(row["reward_model"]["ground_truth"]) - 1
    assert row["prompt"][1]["content"] == f"sw {number} + 1?" and row["query_en"] == f"What is {number} + 1?"
    assert row["solution_en"] == f"Add them: {number}+1={number + 1}.\n\\boxed{{{number + 1}}}"
    assert "\\boxed{}" in row["prompt"][0]["content"]
    manifest = json.loads((files / "out" / "manifest.json").read_text())
    assert manifest["rows"]["train"] == {"es": 7, "sw": 7} and {Path(name).name for name in manifest["inputs"]} == {
        "es.tsv",
        "sw.tsv",
        "solutions.jsonl",
    }


def test_the_same_seed_gives_the_same_files(files):
    run(files)
    first = (files / "out" / "train.parquet").read_bytes()
    run(files)
    assert (files / "out" / "train.parquet").read_bytes() == first


def test_a_shuffled_file_is_refused_and_nothing_is_written(files, capsys):
    lines = (files / "sw.tsv").read_text().splitlines()
    random.Random(1).shuffle(lines)
    (files / "sw.tsv").write_text("\n".join(lines))
    assert run(files) == 1
    error = capsys.readouterr().err
    assert "sw.tsv, line " in error and "same problems in the same order" in error and error.count("\n") == 1
    assert not (files / "out").exists()


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("es.tsv", "no tab here", "line 1: 1 columns; make it question, tab, answer."),
        ("es.tsv", "", "is empty"),
        ("es.tsv", "a\t1\n\nb\t2", "line 2: 1 columns"),
        ("es.tsv", "a\t1", "the question files differ in length"),
        ("solutions.jsonl", "{not json", "line 1 is not JSON"),
        ("solutions.jsonl", '{"question": "q", "answer": "no mark"}', "does not end in `#### <number>`"),
    ],
)
def test_bad_files_are_one_sentence(files, capsys, name, text, sentence):
    (files / name).write_text(text)
    assert run(files) == 1
    error = capsys.readouterr().err
    assert sentence in error and name in error and error.count("\n") == 1


def test_an_unknown_language_and_a_missing_file_are_one_sentence(files, capsys):
    arguments = ["--solutions", str(files / "solutions.jsonl"), "--output", str(files / "out")]
    assert sp3f.main(["--questions", f"xx={files / 'es.tsv'}", *arguments]) == 1
    assert "'xx'" in capsys.readouterr().err
    assert sp3f.main(["--questions", f"es={files / 'gone.tsv'}", *arguments]) == 1
    assert "gone.tsv does not exist" in capsys.readouterr().err


@pytest.mark.skipif(not (REAL / "mgsm").is_dir(), reason=f"real data is not at {REAL} (set SP3F_REAL_DATA)")
def test_real_mgsm_and_gsm8k_join_in_ten_languages(tmp_path):
    """250 problems x 10 languages; every gold answer agrees and every English solution boxes it."""
    codes = "bn de es fr ja ru sw te th zh".split()
    questions = [f"{code}={REAL / 'mgsm' / f'mgsm_{code}.tsv'}" for code in codes]
    solutions = str(REAL / "gsm8k" / "test_first_250.jsonl")
    assert sp3f.main(["--questions", *questions, "--solutions", solutions, "--output", str(tmp_path)]) == 0
    rows = read_parquet(tmp_path / "train.parquet") + read_parquet(tmp_path / "validation.parquet")
    assert len(rows) == 2500
    assert all(extract_boxed(row["solution_en"]) == row["reward_model"]["ground_truth"] for row in rows)
    assert not any("<<" in row["solution_en"] for row in rows)
    assert check_rl(str(tmp_path / "train.parquet"), REFERENCE) == tuple(sorted(codes))
