"""Rows of the original projects and of TRL, in and out by `data_prep.convert`; triplets by `data_prep.selfplay`."""

import json

import pytest

from data_prep import convert, selfplay
from helpers.tables import write_rows
from sp3f_verl.data.check import check_rl, check_sft
from sp3f_verl.data.files import read_parquet, write_parquet
from sp3f_verl.data.layouts import LAYOUTS, croco, sp3f, spin, verl
from sp3f_verl.data.schemas import PREFERENCE, PROMPT, RL, SFT, TRANSLATED, TRIPLET
from sp3f_verl.data.tables import read_rows
from sp3f_verl.errors import BadInput
from sp3f_verl.languages import UnknownLanguage

PROMPT_TURNS = [{"role": "user", "content": "Hvad er 1 + 1?"}]
PAIR = {
    "id": "a",
    "pair_id": "p",
    "prompt": PROMPT_TURNS,
    "prompt_lang": "da",
    "chosen": "2",
    "rejected": "3",
    "chosen_lang": "da",
    "rejected_lang": "en",
    "chosen_score": 2.0,
    "rejected_score": -1.5,
    "pool_size": 64,
}
KEPT = ("prompt", "chosen", "rejected")


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def run(*options):
    return convert.main([str(option) for option in options])


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


@pytest.mark.parametrize(
    ("layout", "suffix"), [("croco", "jsonl"), ("spin", "parquet"), ("mdpo", "json"), ("trl", "parquet")]
)
def test_a_pair_goes_out_and_comes_back(tmp_path, layout, suffix):
    pairs = [PAIR, PAIR | {"id": "b", "rejected": "2"}]  # the second has equal sides
    write_rows(pairs, PREFERENCE, tmp_path / "train.parquet")
    assert run("--to", layout, "--input", tmp_path / "train.parquet", "--output", tmp_path / "out") == 0
    file = tmp_path / "out" / f"train.{suffix}"
    language = [] if layout == "croco" else ["--language", "da"]
    assert run("--from", layout, *language, "--input", file, "--output", tmp_path / "in") == 0
    assert manifest(tmp_path / "in")["drops"] == {"sides_identical": 1}
    back = list(read_rows(tmp_path / "in" / "train.parquet", PREFERENCE))
    assert [{name: row[name] for name in KEPT} for row in back] == [{name: PAIR[name] for name in KEPT}]
    if layout == "croco":
        names = ("id", "prompt_lang", "chosen_lang", "rejected_lang", "chosen_score", "rejected_score", "pool_size")
        assert {name: back[0][name] for name in names} == {name: PAIR[name] for name in names}
        assert back[0]["margin"] == 3.5


def test_what_is_written_is_what_the_project_reads(tmp_path):
    write_rows([PAIR], PREFERENCE, tmp_path / "pairs.parquet")
    rows = {}
    for layout in ("croco", "spin", "mdpo", "trl"):
        assert run("--to", layout, "--input", tmp_path / "pairs.parquet", "--output", tmp_path / layout) == 0
        (file,) = (path for path in (tmp_path / layout).iterdir() if path.stem == "pairs")
        rows[layout] = read_parquet(file)[0] if file.suffix == ".parquet" else json.loads(file.read_text())
    two, three = ([{"role": "assistant", "content": text}] for text in "23")
    assert rows["spin"] == {"real": PROMPT_TURNS + two, "generated": PROMPT_TURNS + three}
    assert rows["mdpo"] == [{"chosen": PROMPT_TURNS + two, "rejected": PROMPT_TURNS + three}]
    assert rows["trl"] == {"id": "a", "prompt": PROMPT_TURNS, "chosen": two, "rejected": three}
    assert (rows["croco"]["chosen"], rows["croco"]["prompt_language"], rows["croco"]["rejected_language"]) == (
        *("2", "danish"),
        "english",
    )


def test_crocos_languages_are_names(tmp_path):
    assert (croco.code_of("Danish"), croco.code_of("portuguese (portugal)"), croco.code_of("sw")) == ("da", "pt", "sw")
    with pytest.raises(UnknownLanguage, match="Klingon"):
        croco.code_of("Klingon")
    with pytest.raises(BadInput, match="has no column 'prompt_language'"):
        list(croco.read(lines(tmp_path / "x.jsonl", [{"chosen": "a", "rejected": "b"}]), "en", print))
    row = {"id": None, "prompt": "Hvad?", "language": "danish", "completion": "To.", "reward_score": 1.0}
    source = lines(tmp_path / "s.jsonl", [row])
    assert run("--from", "croco", "--input", source, "--output", tmp_path / "sft") == 0
    best = list(read_rows(tmp_path / "sft" / "s.parquet", SFT))
    assert best[0]["messages"][-1] == {"role": "assistant", "content": "To."} and best[0]["language"] == "da"
    assert check_sft(str(tmp_path / "sft" / "s.parquet")).count == 1


def test_trl_sft_rows_have_the_same_id_in_either_layout(tmp_path):
    answer = [{"role": "assistant", "content": "2"}]
    rows = [{"messages": [*PROMPT_TURNS, *answer]}, {"prompt": PROMPT_TURNS, "completion": answer}]
    back = []
    for number, row in enumerate(rows):
        source = lines(tmp_path / f"{number}.jsonl", [row, row])
        folder = tmp_path / f"out{number}"
        assert run("--from", "trl", "--language", "da", "--input", source, "--output", folder) == 0
        assert manifest(folder)["drops"] == {"same_row_twice": 1}
        back.append(list(read_rows(folder / f"{number}.parquet", SFT)))
    assert back[0] == back[1] and back[0][0]["messages"] == rows[0]["messages"]
    assert run("--to", "trl", "--input", tmp_path / "out0" / "0.parquet", "--output", tmp_path / "to") == 0
    assert read_parquet(tmp_path / "to" / "0.parquet") == [rows[0]]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "line 1 is not JSON"),
        ('{"a": 1}', "it has no columns 'chosen' and 'rejected'"),
        ('[{"chosen": "a", "rejected": ' + "9" * 5000 + "}]", "a number in it has too many digits"),
        ('[{"chosen": "a", "rejected": null}]', "has no usable row (1 side_empty)"),
    ],
)
def test_a_broken_mdpo_file_is_one_sentence(tmp_path, text, sentence, capsys):
    (tmp_path / "p.json").write_text(text)
    options = ["--from", "mdpo", "--language", "da", "--input", tmp_path / "p.json", "--output", tmp_path / "out"]
    assert run(*options) == 1
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1 and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--from", "trl"], "--from=trl needs --language"),
        (["--from", "trl", "--language", "tlh"], "'tlh'"),
        (["--from", "spin", "--language", "da"], "is not of --from=spin: it has no columns 'real' and 'generated'"),
        (["--to", "verl"], "cannot become --to=verl, which needs the columns 'id', 'source', 'prompt_lang', 'prompt'"),
        (["--to", "trl", "--input", "a/x.parquet", "b/x.parquet"], "would get the same name"),
        (["--to", "trl", "--input", "none.parquet"], "none.parquet does not exist"),
    ],
)
def test_what_cannot_be_converted_is_one_sentence(tmp_path, options, sentence, capsys):
    source = lines(tmp_path / "p.jsonl", [{"prompt": "x", "chosen": "so", "rejected": "no"}])
    given = options if "--input" in options else [*options, "--input", source]
    assert run(*given, "--output", tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1 and not (tmp_path / "out").exists()


def test_every_form_is_read_or_written():
    assert set(LAYOUTS) == {"sp3f", "croco", "mdpo", "spin", "trl", "verl"}
    for forms in LAYOUTS.values():
        assert any(form.read for form in forms) and any(form.row for form in forms)
        assert all(form.read or form.row for form in forms)


RL_ROW = {
    "id": "i",
    "problem": "p",
    "data_source": "sp3f",
    "language": "sw",
    "query_en": "1 + 1?",
    "solution_en": "2",
    "prompt": [{"role": "system", "content": "Fikiri."}, {"role": "user", "content": "1 + 1 ni?"}],
    "reward_model": {"style": "rule", "ground_truth": "2"},
    "extra_info": {"index": 4, "lang": "sw", "checker": None},
    "translated_solution": "Ni 2.",
}


def test_published_sp3f_rows_train_as_they_are_and_become_translated_rows(tmp_path):
    write_rows([RL_ROW], RL, tmp_path / "train.parquet")
    assert run("--to", "sp3f", "--input", tmp_path / "train.parquet", "--output", tmp_path / "out") == 0
    (published,) = read_parquet(tmp_path / "out" / "train.parquet")
    assert published == sp3f.row(RL_ROW)
    path = tmp_path / "published.parquet"
    write_parquet([published, published | {"query": "", "translated_solution": "None"}], path)
    assert run("--from", "sp3f", "--input", path, "--output", tmp_path / "in") == 0
    assert manifest(tmp_path / "in")["drops"] == {"no_query": 1}
    (row,) = read_rows(tmp_path / "in" / "published.parquet", TRANSLATED)
    assert (row["question"], row["translated_solution"]) == ("1 + 1 ni?", "Ni 2.")
    assert check_rl(str(path)) == ("sw",)


CALLS = [{"type": "function", "function": {"name": "w"}}]
ASKED = {"role": "assistant", "content": "Hm.", "tool_calls": CALLS}
SFT_ROW = {"id": "1", "prompt": "q?", "completion": "ok", "language": "danish"}
PAIRED = {"id": "1", "prompt": "q?", "chosen": "yes", "rejected": "no"}
VERL_ROW = {"id": "1", "prompt": PROMPT_TURNS, "language": "da", "reward_model": {"ground_truth": "2"}}
PUBLISHED = sp3f.row(RL_ROW)
PROMPT_ROW = {"id": "1", "source": "s", "prompt_lang": "da", "prompt": PROMPT_TURNS}


@pytest.mark.parametrize(
    ("way", "good", "hole", "reason"),
    [
        (["--from", "croco"], SFT_ROW, {"completion": None}, "side_empty"),
        (["--from", "croco"], SFT_ROW, {"completion": ""}, "side_empty"),
        (["--from", "croco"], SFT_ROW, {"prompt": None}, "no_prompt"),
        (["--from", "croco"], SFT_ROW, {"prompt": 5}, "not_a_string_or_list_of_messages"),
        (["--from", "trl", "--language", "da"], SFT_ROW, {"tools": CALLS}, "tools"),
        (["--from", "trl", "--language", "da"], PAIRED, {"tools": CALLS}, "tools"),
        (["--from", "trl", "--language", "da"], PAIRED, {"prompt": [ASKED, *PROMPT_TURNS]}, "tool_calls_in_a_turn"),
        (["--from", "sp3f"], PUBLISHED, {"input": "q"}, "no_turns"),
        (["--from", "sp3f"], PUBLISHED, {"input": []}, "no_turns"),
        (["--from", "sp3f"], PUBLISHED, {"input": [{"role": "user"}]}, "a_turn_without_text"),
        (["--from", "verl"], VERL_ROW, {"extra_info": "x"}, "extra_info_is_no_mapping"),
        (["--from", "verl"], VERL_ROW, {"prompt": [{"role": "user", "content": None}]}, "a_turn_without_text"),
        (["--to", "verl"], PROMPT_ROW, {"meta": "{"}, "meta_is_no_json_object"),
        (["--to", "verl"], PROMPT_ROW, {"meta": "[1]"}, "meta_is_no_json_object"),
        (["--to", "sp3f"], RL_ROW, {"translated_solution": None}, "no_translated_solution"),
        (["--to", "sp3f"], RL_ROW, {"solution_en": None}, "no_solution_en"),
        (["--to", "sp3f"], RL_ROW, {"prompt": []}, "no_turns"),
    ],
)
def test_a_row_with_a_hole_is_left_out_and_told(tmp_path, way, good, hole, reason, capsys):
    source = lines(tmp_path / "x.jsonl", [good, good | {"id": "2"} | hole])
    assert run(*way, "--input", source, "--output", tmp_path / "out") == 0
    assert manifest(tmp_path / "out")["drops"] == {reason: 1}
    assert f"1 left out: {reason}\n" in capsys.readouterr().out
    assert sum(manifest(tmp_path / "out")["rows"]["x"].values()) == 1


@pytest.mark.parametrize(
    ("way", "row", "sentence"),
    [
        (["--to", "spin"], {"id": "1", "prompt": PROMPT_TURNS, "real": "r"}, "needs the columns"),
        (
            ["--to", "spin"],
            {"id": "1", "prompt": PROMPT_TURNS, "real": "r", "generated": None},
            "line 1 has no 'generated'",
        ),
        (
            ["--to", "trl"],
            {"id": "1", "messages": [*PROMPT_TURNS, {"role": "assistant", "content": None}]},
            "line 1: a turn of 'messages' has no 'content'",
        ),
        (
            ["--to", "trl"],
            PAIR | {"prompt": [ASKED, *PROMPT_TURNS]},
            "line 1: 'prompt' has tool calls in a turn; remove",
        ),
        (["--to", "trl"], PAIR | {"tools": CALLS}, "line 1: 'prompt' has tools; remove"),
        (["--from", "croco"], SFT_ROW | {"language": None}, "line 1: unknown language None"),
        (["--from", "croco"], SFT_ROW | {"language": "danisch"}, "line 1: unknown language 'danisch' (did you mean"),
        (["--from", "trl", "--language", "da"], PAIRED | {"id": ["a"]}, "line 1: the row has the id ['a']"),
    ],
)
def test_a_row_that_cannot_be_told_apart_or_written_is_one_sentence(tmp_path, way, row, sentence, capsys):
    source = lines(tmp_path / "x.jsonl", [row])
    assert run(*way, "--input", source, "--output", tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert "x.jsonl" in error and sentence in error and error.count("\n") == 1 and not (tmp_path / "out").exists()


def test_rl_rows_become_canonical_and_come_back(tmp_path):
    write_rows([RL_ROW], RL, tmp_path / "train.parquet")
    assert run("--from", "verl", "--input", tmp_path / "train.parquet", "--output", tmp_path / "in") == 0
    prompts = tmp_path / "in" / "train.parquet"
    assert next(read_rows(prompts, PROMPT)) == verl.prompt_row(RL_ROW, "train")
    assert run("--to", "verl", "--input", prompts, "--output", tmp_path / "out") == 0
    (row,) = read_rows(tmp_path / "out" / "train.parquet", RL)
    assert row == RL_ROW | {"translated_solution": None, "messages": None}


def test_triplets_become_spins_rows(tmp_path):
    triplet = {"id": "a", "prompt": PROMPT_TURNS, "real": "2", "generated": "3", "proto": "4"}
    write_rows([triplet], TRIPLET, tmp_path / "t.parquet")
    assert run("--to", "spin", "--input", tmp_path / "t.parquet", "--output", tmp_path / "out") == 0
    assert read_parquet(tmp_path / "out" / "t.parquet") == [spin.row(triplet)]


def test_selfplay_import_and_export(tmp_path, capsys):
    row = spin.row({"prompt": PROMPT_TURNS, "real": "2", "generated": "3"})
    source = tmp_path / "prefs.parquet"
    write_parquet([row, row, row | {"generated": row["real"]}], source)
    assert selfplay.main(["import", "--input", str(source), "--output", str(tmp_path / "in")]) == 0
    assert "1 ok, 1 same_row_twice, 1 sides_identical" in capsys.readouterr().out
    kept = read_parquet(tmp_path / "in" / "train.parquet")
    assert [{**row, "id": 0} for row in kept] == [{"id": 0, "prompt": PROMPT_TURNS, "real": "2", "generated": "3"}]
    place = tmp_path / "run" / "iteration_1"
    triplets = [
        {"id": str(n), "iteration": 1, "prompt": PROMPT_TURNS, "real": "2", "generated": "3", "proto": "4"}
        for n in (1, 0)
    ]
    write_parquet(
        [triplet | {"status": "ok" if n else "same"} for n, triplet in enumerate(triplets)], place / "train.parquet"
    )
    (place / "manifest.json").write_text("{}")
    for layout, name in {"triplets": "train", "trl": "train", "spin": spin.FILES["train"]}.items():
        arguments = ["export", "--run", str(tmp_path / "run"), "--iteration", "1", "--layout", layout]
        assert selfplay.main([*arguments, "--output", str(tmp_path / layout)]) == 0
        assert "1 ok, 1 same" in capsys.readouterr().out
        assert len(read_parquet(tmp_path / layout / f"{name}.parquet")) == 1
    assert read_parquet(tmp_path / "spin" / f"{spin.FILES['train']}.parquet") == [row]
