"""`data_prep.sp3f` from translated rows: columns, split, contamination, and rows in any order."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep import sp3f
from helpers.shared import SHARED_DATA as REAL
from helpers.tables import write_rows
from sp3f_verl import languages
from sp3f_verl.data.assembly.contamination import Contamination
from sp3f_verl.data.check import check_rl, check_sft
from sp3f_verl.data.files import read_parquet
from sp3f_verl.data.rows import row_id
from sp3f_verl.data.schemas import RL, TRANSLATED
from sp3f_verl.data.tables import read_rows

real = pytest.mark.skipif(not (REAL / "mgsm").is_dir(), reason=f"real data is not at {REAL} (set SP3F_REAL_DATA)")


def translated(problems: int, codes=("es", "sw", "th"), without=()) -> list[dict]:
    return [
        {
            "id": row_id("t", [code, n]),
            "problem": row_id("p", n),
            "language": code,
            "question": f"{code}: {n}?",
            "query_en": f"en: {n}?",
            "solution": f"en {n}",
            "answer": str(n),
            "translated_solution": None if (code, n) in without else f"{code} {n} \\boxed{{{n}}}",
        }
        for n in range(problems)
        for code in codes
    ]


def prepare(folder: Path, rows: list[dict], *extra, name: str = "out") -> Path:
    file = folder / f"{name}.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    assert sp3f.main(["--translated", str(file), "--output", str(folder / name), *map(str, extra)]) == 0
    return folder / name


def test_one_row_serves_sft_and_rl(tmp_path):
    out = prepare(tmp_path, translated(10))
    row = next(row for row in read_rows(out / "train.parquet", RL) if row["language"] == "th")
    number = row["reward_model"]["ground_truth"]
    system = {"role": "system", "content": languages.get("th").instruction}
    assert row["prompt"] == [system, {"role": "user", "content": f"th: {number}?"}]
    assert row["messages"] == [*row["prompt"], {"role": "assistant", "content": f"th {number} \\boxed{{{number}}}"}]
    assert (row["query_en"], row["solution_en"]) == (f"en: {number}?", f"en {number}")
    assert check_rl(str(out / "train.parquet"), ("query_en", "solution_en")) == ("es", "sw", "th")
    check_sft(str(out / "train.parquet"))
    assert not (out / "sft.parquet").exists()


def test_rows_without_a_solution_of_their_own_train_rl_only(tmp_path):
    every = {("sw", n) for n in range(10)}
    out = prepare(tmp_path, translated(10, without=every), "--validation", "0.3")
    train = read_parquet(out / "train.parquet")
    assert all((row["messages"] is None) == (row["language"] == "sw") for row in train) and len(train) == 21
    check_sft(str(out / "sft.parquet"))
    assert [row["id"] for row in read_parquet(out / "sft.parquet")] == [row["id"] for row in train if row["messages"]]


@settings(max_examples=15)
@given(st.integers(2, 25), st.sampled_from([0.2, 0.5]), st.integers(0, 3), st.randoms(use_true_random=False))
def test_shuffled_rows_give_the_same_bytes_and_no_problem_is_on_both_sides(
    tmp_path_factory, problems, share, seed, rng
):
    folder, rows = tmp_path_factory.mktemp("sp3f"), translated(problems)
    extra = ("--validation", max(share, 1 / problems), "--seed", seed)
    first = prepare(folder, rows, *extra)
    rng.shuffle(rows)
    other = prepare(folder, rows, *extra, name="other")
    for name in ("train.parquet", "validation.parquet"):
        assert (first / name).read_bytes() == (other / name).read_bytes()
    train, validation = (read_parquet(first / f"{name}.parquet") for name in ("train", "validation"))
    assert not {row["problem"] for row in train} & {row["problem"] for row in validation}
    assert len(train) + len(validation) == 3 * problems and validation


def test_problems_with_one_english_question_go_to_one_side(tmp_path):
    rows = translated(40, codes=("es",))
    for n in range(1, 40, 2):
        rows[n]["query_en"] = rows[n - 1]["query_en"].upper() + " "
    out = prepare(tmp_path, rows, "--validation", "0.5")
    sides = [
        {"".join(row["query_en"].lower().split()) for row in read_parquet(out / f"{name}.parquet")}
        for name in ("train", "validation")
    ]
    assert not sides[0] & sides[1] and len(sides[0]) == len(sides[1]) == 10


TEN = "one two three four five six seven eight nine ten"
THAI = "อาหารเช้าวันนี้มีข้าวต้มและไข่ดาวสองฟองกับกาแฟร้อน"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (TEN, ("bench", "exact")),
        ("One, TWO three: four five six seven eight nine   ten!", ("bench", "exact")),
        ("before one two three four five six seven eight after", ("bench", "n-gram")),
        ("before one two three four five six seven other", None),
        ("two words", ("bench", "exact")),
        (THAI[:25] + "x", ("bench", "n-gram")),
        (THAI[:12] + "x" + THAI[12:20], None),
        ("", None),
    ],
)
def test_contamination(text, match):
    contamination = Contamination()
    contamination.add("bench", [TEN, "two words", THAI, ""])
    assert contamination.find(text) == match


def test_a_contaminated_problem_goes_in_every_language_and_is_counted(tmp_path, capsys):
    """The evaluation file is in Spanish and has problem 3; rows of problem 5 are found by their English question."""
    spanish, english = tmp_path / "es.tsv", tmp_path / "en.jsonl"
    spanish.write_text("es:  3\t3\nNada que ver\t1\n")
    english.write_text('{"question": "EN 5", "answer": 5, "id": "b5"}\n')
    files = ("--validation-files", f"mgsm:es={spanish}", "--evaluation-files", f"other:en={english}")
    out = prepare(tmp_path, translated(10), "--validation", "0", *files)
    train, validation = (read_parquet(out / f"{name}.parquet") for name in ("train", "validation"))
    assert {row["reward_model"]["ground_truth"] for row in train} == {*"01246789"} and len(train) == 24
    assert [row["data_source"] for row in validation] == ["mgsm", "mgsm"]
    assert {row["prompt"][1]["content"] for row in validation} == {"es:  3", "Nada que ver"}
    drops = json.loads((out / "manifest.json").read_text())["drops"]
    assert drops == {"exact match with mgsm": 3, "exact match with other": 3}
    assert "3 left out: exact match with mgsm" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"language": "sww"}, "unknown language 'sww': the closest known codes are sw"),
        ({"language": ""}, "has no language"),
        ({"question": None}, "has no 'question'"),
        ({"id": translated(1)[1]["id"]}, "in two rows"),
        ({"query_en": "another"}, "has two English questions"),
    ],
)
def test_bad_rows_are_one_sentence_and_nothing_is_written(tmp_path, capsys, change, words):
    rows = translated(4)
    rows[0] |= change
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert sp3f.main(["--translated", str(file), "--output", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1 and not (tmp_path / "out").exists()


ASKED = {"question": "¿Cuánto es uno más dos, si se suma con calma?", "answer": "3"}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([ASKED | {"id": "a"}, ASKED | {"id": "a"}], "b.jsonl has the id 'a' in two rows"),
        ([ASKED, ASKED], "b.jsonl has the question '¿Cuánto es uno"),
        ([ASKED | {"query_en": ["x"]}], "b.jsonl, line 1: 'query_en' is ['x']"),
        ([ASKED | {"query_en": 5}], "b.jsonl, line 1: 'query_en' is 5, a number and no question"),
        ([ASKED | {"checker": float("nan"), "query_en": float("nan")}], ""),
    ],
)
def test_rows_of_a_benchmark_that_cannot_be_told_apart_or_read(tmp_path, capsys, rows, words):
    for name, content in (("t", translated(4)), ("b", rows)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))
    files = ("--translated", tmp_path / "t.jsonl", "--validation-files", f"b:es={tmp_path / 'b.jsonl'}")
    assert sp3f.main([*map(str, files), "--output", str(tmp_path / "out")]) == bool(words)
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == bool(words)


def test_all_contaminated_and_an_empty_side_are_told(tmp_path, capsys):
    file, bench = tmp_path / "rows.parquet", tmp_path / "b.tsv"
    write_rows(translated(1), TRANSLATED, file)
    arguments = ["--translated", str(file), "--output", str(tmp_path / "out")]
    assert sp3f.main(arguments) == 1 and "leaves a side empty" in capsys.readouterr().err
    bench.write_text("en 0\t0\n")
    assert sp3f.main([*arguments, "--evaluation-files", f"b:en={bench}"]) == 1
    assert "all 1 problems are in the evaluation files" in capsys.readouterr().err
    assert sp3f.main([*arguments, "--validation", "0"]) == 1 and "--validation is 0" in capsys.readouterr().err


def test_solutions_behind_the_last_question_are_told(tmp_path, capsys):
    """MGSM has the first 250 of GSM8K's problems."""
    (tmp_path / "q.tsv").write_text("".join(f"¿{n} y {n}?\t{2 * n}\n" for n in range(4)))
    lines = [json.dumps({"question": f"{n} and {n}?", "answer": f"So\n#### {2 * n}"}) for n in range(7)]
    (tmp_path / "s.jsonl").write_text("\n".join(lines))
    words = ["--questions", f"es={tmp_path / 'q.tsv'}", "--solutions", str(tmp_path / "s.jsonl"), "--validation", "0.3"]
    assert sp3f.main([*words, "--output", str(tmp_path / "out")]) == 0
    assert "3 left out: solution without a question" in capsys.readouterr().out


@real
def test_every_mgsm_problem_is_found_in_its_own_files(tmp_path, capsys):
    """Trained on Spanish and Thai with the Thai file as benchmark, nothing would be left; on other problems all is."""
    questions = [f"{code}={REAL / 'mgsm' / f'mgsm_{code}.tsv'}" for code in ("es", "th")]
    solutions = ["--solutions", str(REAL / "gsm8k" / "test_first_250.jsonl"), "--output", str(tmp_path / "out")]
    bench = ["--validation-files", f"mgsm:th={REAL / 'mgsm' / 'mgsm_th.tsv'}"]
    assert sp3f.main(["--questions", *questions, *solutions, *bench]) == 1
    assert "all 250 problems are in the evaluation files" in capsys.readouterr().err


@real
def test_gsm8k_train_against_mgsm(tmp_path):
    """The training half of GSM8K holds no test problem word for word, and few share eight words in a row."""
    rows = []
    lines = (REAL / "gsm8k" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    for n, line in enumerate(random.Random(1).sample(lines, 1000)):
        row = json.loads(line)
        row_of_problem = {"id": row_id("g", n), "problem": row_id("g", n), "language": "en", "answer": str(n)}
        rows.append(
            row_of_problem | {"question": row["question"], "query_en": row["question"], "solution": row["answer"]}
        )
    bench = f"mgsm:en={REAL / 'mgsm' / 'mgsm_en.tsv'}"
    out = prepare(tmp_path, rows, "--validation-files", bench)
    manifest = json.loads((out / "manifest.json").read_text())
    assert set(manifest["drops"]) <= {"n-gram match with mgsm"} and sum(manifest["drops"].values()) < 100
    assert sum(manifest["rows"]["validation"].values()) >= 250 + 90
    assert all(row["messages"][-1]["content"] == row["solution_en"] for row in read_parquet(out / "train.parquet"))
