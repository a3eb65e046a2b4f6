"""Rows of the original projects and of TRL, in and out; SPIN's and others through `data_prep.selfplay`."""

import json
from collections import Counter

import pytest

from data_prep import selfplay
from sp3f_verl.data.check import check_rl
from sp3f_verl.data.files import read_parquet, write_parquet
from sp3f_verl.data.layouts import croco, mdpo, sp3f, spin, trl, verl
from sp3f_verl.data.rows import row_id
from sp3f_verl.data.schemas import PREFERENCE, PROMPT, RL, SFT, TRANSLATED
from sp3f_verl.data.tables import read_rows, write_rows
from sp3f_verl.errors import BadInput
from sp3f_verl.languages import UnknownLanguage

PROMPT_TURNS = [{"role": "user", "content": "Hvad er 1 + 1?"}]
PAIR = {
    **{"id": "a", "pair_id": "p", "prompt": PROMPT_TURNS, "prompt_lang": "da", "chosen": "2", "rejected": "3"},
    **{"chosen_lang": "da", "rejected_lang": "en", "chosen_score": 2.0, "rejected_score": -1.5, "pool_size": 64},
}
KEPT = ("prompt", "chosen", "rejected")


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("layout", [croco, spin, mdpo, trl])
def test_a_pair_goes_out_and_comes_back(tmp_path, layout):
    dropped = Counter()
    drop = lambda reason: dropped.update([reason])  # noqa: E731
    pairs = [PAIR, PAIR | {"id": "b", "rejected": "2"}]  # the second has equal sides
    if layout is mdpo:
        (tmp_path / "p.json").write_text(mdpo.text(pairs), encoding="utf-8")
        found = list(mdpo.rows(tmp_path / "p.json", "da", drop))
    else:
        path = lines(tmp_path / "p.jsonl", [layout.row(pair) for pair in pairs])
        found = list(layout.rows(path, drop) if layout is croco else layout.rows(path, "da", drop))
    assert dropped == {"sides_identical": 1}
    assert [{name: row[name] for name in KEPT} for row in found] == [{name: PAIR[name] for name in KEPT}]
    if layout is croco:
        told = ("id", "prompt_lang", "chosen_lang", "rejected_lang", "chosen_score", "rejected_score", "pool_size")
        assert {name: found[0][name] for name in told} == {name: PAIR[name] for name in told}
        assert found[0]["margin"] == 3.5
    write_rows(found, PREFERENCE, tmp_path / "pairs.parquet")


def test_crocos_languages_are_names(tmp_path):
    assert (croco.code_of("Danish"), croco.code_of("portuguese (portugal)"), croco.code_of("sw")) == ("da", "pt", "sw")
    with pytest.raises(UnknownLanguage, match="Klingon"):
        croco.code_of("Klingon")
    with pytest.raises(BadInput, match="has no column 'prompt_language'"):
        list(croco.rows(lines(tmp_path / "x.jsonl", [{"chosen": "a", "rejected": "b"}]), print))
    row = {"id": None, "prompt": "Hvad?", "language": "danish", "completion": "To.", "reward_score": 1.0}
    found = list(croco.sft_rows(lines(tmp_path / "s.jsonl", [row])))
    assert found[0]["messages"][-1] == {"role": "assistant", "content": "To."} and found[0]["language"] == "da"
    write_rows(found, SFT, tmp_path / "sft.parquet")


def test_trl_sft_rows_have_the_same_id_in_either_layout(tmp_path):
    row = {"messages": [*PROMPT_TURNS, {"role": "assistant", "content": "2"}]}
    paths = [lines(tmp_path / f"{n}.jsonl", [trl.sft_row(row, completion=bool(n))]) for n in (0, 1)]
    one, other = (list(trl.sft_rows(path, "da", print)) for path in paths)
    assert one == other and one[0]["messages"] == row["messages"]


@pytest.mark.parametrize(
    ("text", "told"),
    [("{", "line 1 is not JSON"), ('{"a": 1}', "not a JSON list"), ('[{"chosen": []}]', "object 0 has no 'rejected'")],
)
def test_a_broken_mdpo_file_is_one_sentence(tmp_path, text, told):
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(BadInput, match=told):
        list(mdpo.rows(tmp_path / "p.json", "da", print))


RL_ROW = {
    **{"id": "i", "problem": "p", "data_source": "sp3f", "language": "sw", "query_en": "1 + 1?", "solution_en": "2"},
    "prompt": [{"role": "system", "content": "Fikiri."}, {"role": "user", "content": "1 + 1 ni?"}],
    "reward_model": {"style": "rule", "ground_truth": "2"},
    "extra_info": {"index": 4, "lang": "sw", "checker": None},
    "translated_solution": "Ni 2.",
}


def test_published_sp3f_rows_train_as_they_are_and_become_translated_rows(tmp_path):
    published, dropped = sp3f.row(RL_ROW), Counter()
    path = tmp_path / "published.parquet"
    write_parquet([published, published | {"query": "", "translated_solution": "None"}], path)
    found = list(sp3f.rows(path, lambda reason: dropped.update([reason])))
    assert dropped == {"no_query": 1} and len(found) == 1
    assert (found[0]["question"], found[0]["translated_solution"]) == ("1 + 1 ni?", "Ni 2.")
    write_rows(found, TRANSLATED, tmp_path / "translated.parquet")
    assert sp3f.row(RL_ROW | {"translated_solution": None})["translated_solution"] == "None"
    assert check_rl(str(path)) == ("sw",)


def test_traces_are_known_by_their_item_not_by_their_line(tmp_path):
    traced = [{"idx": n, "answer": [f"a{n}", ""], "lang": [0.9, 0.1], "accuracy": [1, 0]} for n in range(3)]
    found = [
        list(sp3f.traces(lines(tmp_path / f"{n}.jsonl", order), "es")) for n, order in enumerate((traced, traced[::-1]))
    ]
    keyed = [{(row["id"], row["number"]): row for row in rows} for rows in found]
    assert keyed[0] == keyed[1] and len(keyed[0]) == 6
    first = keyed[0][row_id("yeval", 0), 0]
    assert (first["text"], first["lang_share"]) == ("a0", 0.9) and keyed[0][row_id("yeval", 0), 1]["text"] is None


def test_rl_rows_become_canonical_and_come_back(tmp_path):
    prompt = verl.prompt_row(RL_ROW, "train")
    write_rows([prompt], PROMPT, tmp_path / "prompts.parquet")
    back = verl.row(next(read_rows(tmp_path / "prompts.parquet", PROMPT)))
    assert back == {name: value for name, value in RL_ROW.items() if name != "translated_solution"}
    write_rows([back], RL, tmp_path / "rl.parquet")


def test_selfplay_import_and_export(tmp_path, capsys):
    row = spin.row({"prompt": PROMPT_TURNS, "real": "2", "generated": "3"})
    source = tmp_path / "prefs.parquet"
    write_parquet([row, row, row | {"generated": row["real"]}], source)
    assert selfplay.main(["import", "--input", str(source), "--output", str(tmp_path / "in")]) == 0
    assert "1 ok, 1 same_row_twice, 1 sides_identical" in capsys.readouterr().out
    kept = read_parquet(tmp_path / "in" / "train.parquet")
    assert [{**each, "id": 0} for each in kept] == [{"id": 0, "prompt": PROMPT_TURNS, "real": "2", "generated": "3"}]
    place = tmp_path / "run" / "iteration_1"
    triplets = [
        {"id": str(n), "iteration": 1, "prompt": PROMPT_TURNS, "real": "2", "generated": "3", "proto": "4"}
        for n in (1, 0)
    ]
    write_parquet(
        [each | {"status": "ok" if n else "same"} for n, each in enumerate(triplets)], place / "train.parquet"
    )
    (place / "manifest.json").write_text("{}")
    for layout, name in {"triplets": "train", "trl": "train", "spin": spin.FILES["train"]}.items():
        arguments = ["export", "--run", str(tmp_path / "run"), "--iteration", "1", "--layout", layout]
        assert selfplay.main([*arguments, "--output", str(tmp_path / layout)]) == 0
        assert "1 ok, 1 same" in capsys.readouterr().out
        assert len(read_parquet(tmp_path / layout / f"{name}.parquet")) == 1
    assert read_parquet(tmp_path / "spin" / f"{spin.FILES['train']}.parquet") == [row]
