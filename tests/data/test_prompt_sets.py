"""Open-ended prompt sets: rows as the Hub has them become prompts that the other steps read."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep import prompts
from sp3f_verl.data.files import read_parquet
from sp3f_verl.data.prompts import Prompts
from sp3f_verl.data.sets.prompt_sets import language_of, prompt_set
from sp3f_verl.languages import get


def arena_rows(code, count=6):
    return [
        {
            "question_id": f"q{number}", "category": "hard_prompt", "subcategory": ["coding", "math"][number % 2],
            "prompt": f"{code}: frage {number}\n\twith \\frac{{1}}{{2}}", "language": code,
        }
        for number in range(count)
    ]  # fmt: skip


def aya_rows(codes, count=5):
    return [
        {"id": number, "inputs": f"{code} {number}?", "targets": "yes", "language": code, "script": "Latn"}
        for code in codes
        for number in range(count)
    ]


def write(path, rows):
    pq.write_table(pa.Table.from_pylist(rows), path)
    return str(path)


def run(*options):
    return prompts.main(list(map(str, options)))


def test_arena_hard_has_one_id_in_all_languages(tmp_path):
    files = [f"{code}={write(tmp_path / f'{code}.parquet', arena_rows(code))}" for code in ("de", "tr")]
    assert run("--set", "m_arenahard", "--files", *files, "--output", tmp_path / "out") == 0
    rows = read_parquet(tmp_path / "out" / "prompts.parquet")
    assert len(rows) == 12 and {row["task"] for row in rows} == {"hard_prompt"}
    ids = [{row["id"] for row in rows if row["prompt_lang"] == code} for code in ("de", "tr")]
    assert ids[0] == ids[1] and len(ids[0]) == 6
    assert {json.loads(row["meta"])["subcategory"] for row in rows} == {"coding", "math"}
    assert "\n\twith \\frac{1}{2}" in rows[0]["prompt"][0]["content"], "the text keeps its structure"
    assert len(Prompts([tmp_path / "out" / "prompts.parquet"])) == 12, "the other steps read it"


def test_a_sample_is_the_same_in_every_language_and_in_any_order(tmp_path):
    rows = aya_rows(["spa", "deu"], 30)
    outs = []
    for name, order in (("a", 1), ("b", -1)):
        file = write(tmp_path / f"{name}.parquet", rows[::order])
        assert run("--set", "aya_dolly", "--files", file, "--sample", 7, "--output", tmp_path / name) == 0
        outs.append((tmp_path / name / "prompts.parquet").read_bytes())
    assert outs[0] == outs[1]
    drawn = read_parquet(tmp_path / "a" / "prompts.parquet")
    by_language = [sorted(row["id"] for row in drawn if row["prompt_lang"] == code) for code in ("de", "es")]
    assert by_language[0] == by_language[1] and len(by_language[0]) == 7
    assert json.loads((tmp_path / "a" / "manifest.json").read_text())["drops"] == {"not_drawn": 46}


def test_prompts_that_are_not_parallel_have_ids_of_their_own(tmp_path):
    file = write(tmp_path / "aya.parquet", aya_rows(["spa", "deu"]))
    assert run("--set", "aya_human_annotated", "--files", file, "--output", tmp_path / "out") == 0
    rows = read_parquet(tmp_path / "out" / "prompts.parquet")
    assert len({row["id"] for row in rows}) == len(rows) == 10


def test_languages_are_known_by_the_codes_that_sets_write(tmp_path):
    codes = {"arb": "ar", "ara": "ar", "zho": "zh", "cmn": "zh", "pes": "fa", "zh-CN": "zh", "pt_BR": "pt", "nor": "no"}
    assert {text: language_of(text) for text in codes} == codes
    assert language_of("Swahili") == "sw" and language_of("xxx") is None and language_of(None) is None
    assert all(get(code) for code in prompt_set("m_arenahard").languages), "the table knows all of them"
    file = write(tmp_path / "aya.parquet", aya_rows(["spa", "xxx"]))
    assert run("--set", "aya_dolly", "--files", file, "--output", tmp_path / "out") == 0
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["drops"] == {"unknown_language": 5}


def test_a_language_in_two_scripts_or_under_two_codes_is_read_once(tmp_path):
    written = [("zho", "Hans"), ("spa", "Latn"), ("zho", "Hant"), ("ara", "Arab"), ("arb", "Arab")]
    rows = [row | {"script": script} for code, script in written for row in aya_rows([code])]
    for row in rows:
        row["inputs"] += row["script"]
    file = write(tmp_path / "aya.parquet", rows)
    assert run("--set", "aya_dolly", "--files", file, "--output", tmp_path / "out") == 0
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["drops"] == {"other_script": 5, "other_code": 5}
    texts = [row["prompt"][0]["content"] for row in read_parquet(tmp_path / "out" / "prompts.parquet")]
    assert len(texts) == 15 and sum("Hans" in text for text in texts) == 5 and not any("arb" in text for text in texts)


def test_a_path_may_hold_an_equals_sign(tmp_path):
    (tmp_path / "lr=1").mkdir()
    file = write(tmp_path / "lr=1" / "a.parquet", aya_rows(["deu"]))
    for number, given in enumerate((file, f"de={file}")):
        assert run("--set", "aya_dolly", "--files", given, "--output", tmp_path / f"out{number}") == 0


@pytest.mark.parametrize(
    ("holes", "told"),
    [
        ([{"inputs": None}, {"inputs": 5}, {"inputs": [{"role": "user"}]}], "3 left out: empty\n"),
        ([{"language": None}, {"language": 3}], "2 left out: unknown_language\n"),
        ([{"id": float("nan")}], "line 1 has no 'id'; give it one"),
        ([{"id": ["a"]}], "line 1 has the id ['a']; give it a text or a whole number"),
        ([{"id": 1.0}, {"id": 1}], "line 2 has the id '1' in de, as "),
    ],
)
def test_holes_are_told_and_ids_are_one_kind(holes, told, tmp_path, capsys):
    (row,) = aya_rows(["deu"], 1)
    rows = [*(row | {"id": f"h{number}"} | hole for number, hole in enumerate(holes)), row | {"id": "good"}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    failed = run("--set", "aya_dolly", "--files", tmp_path / "a.jsonl", "--output", tmp_path / "out")
    assert told in "".join(capsys.readouterr()) and bool(failed) == ("line" in told)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--set", "m_arenhard"], "m_arenahard"),
        (["--set", "aya_dolly", "--files", "FILE", "--languages", "de", "fr"], "fr"),
        (["--set", "m_arenahard", "--files", "FILE"], "'question_id'"),
        (["--set", "aya_dolly", "--files", "FILE", "--sample", "0"], "--sample=0"),
        (["--set", "m_arenahard", "--languages", "sw"], "m_arenahard has no sw"),
        (["--set", "aya_dolly", "--files", "none.parquet"], "none.parquet"),
        (["--set", "aya_dolly", "--files", "xx=FILE"], "'xx'"),
    ],
)
def test_bad_input_is_one_sentence(options, named, tmp_path, capsys):
    file = write(tmp_path / "aya.parquet", aya_rows(["deu"]))
    given = [option.replace("FILE", file) for option in options]
    assert run(*given, "--output", tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert named in error and error.count("\n") == 1 and not (tmp_path / "out").exists()
