"""WMT24++ with ids, and translators compared on it; the numbers against sacrebleu called directly."""

import json
import random
from pathlib import Path

import pytest

from data_prep import wmt
from helpers.model_server import ModelServer, Reply
from helpers.wmt import compare, lines, segment
from sp3f_verl import languages
from sp3f_verl.architectures.model import Model, SourceText
from sp3f_verl.data.files import read_parquet
from sp3f_verl.data.sets.wmt import language_of
from sp3f_verl.evaluation.translation.scores import Metrics, averages, best, tokenizer_of


@pytest.fixture
def files(tmp_path):
    """Segment 1 is bad in both, 2 has no Japanese, 3 an empty German reference."""
    german = [segment("en-de_DE", n) for n in range(8)]
    japanese = [segment("en-ja_JP", n) for n in range(8) if n != 2]
    for rows in (german, japanese):
        rows[1]["is_bad_source"] = True
    german[3]["target"] = "  "
    return [lines(tmp_path / f"{name}.jsonl", rows) for name, rows in (("de", german), ("ja", japanese))]


def prepare(files, output, *more):
    assert wmt.main(["prepare", "--input", *files, "--output", str(output), *more]) == 0
    return read_parquet(output / "segments.parquet")


def test_prepare(files, tmp_path):
    rows = prepare(files, tmp_path / "out")
    kept = {0, 4, 5, 6, 7}
    assert {(row["lp"], row["segment_id"]) for row in rows} == {
        (lp, str(n + 1)) for lp in ("en-de_DE", "en-ja_JP") for n in kept
    }
    drops = json.loads((tmp_path / "out" / "manifest.json").read_text())["drops"]
    assert drops == {"bad_source": 2, "empty": 1, "not_in_every_language": 2}
    by_id = {}
    for row in rows:
        by_id.setdefault(row["id"], set()).add((row["segment_id"], row["source"]))
    assert len(by_id) == 5 and all(len(same) == 1 for same in by_id.values()), "one id in both languages"
    assert all("\n" in row["source"] for row in rows), "structure kept"


@pytest.mark.parametrize("which", [["--first", "3"], ["--sample", "3", "--seed", "4"]])
def test_first_and_sample_are_the_same_segments_in_all_languages_whatever_the_order(files, tmp_path, which):
    rows = prepare(files, tmp_path / "a", *which)
    segments = {lp: {row["segment_id"] for row in rows if row["lp"] == lp} for lp in ("en-de_DE", "en-ja_JP")}
    assert segments["en-de_DE"] == segments["en-ja_JP"] and len(rows) == 6
    if which[0] == "--first":
        assert segments["en-de_DE"] == {"1", "5", "6"}
    for path in files:
        every = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
        lines(Path(path), random.Random(2).sample(every, len(every)))
    prepare(list(reversed(files)), tmp_path / "b", *which)
    assert (tmp_path / "a" / "segments.parquet").read_bytes() == (tmp_path / "b" / "segments.parquet").read_bytes()


def test_fewer_segments_than_wanted_are_told(files, tmp_path, capsys):
    assert len(prepare(files, tmp_path / "out", "--first", "100")) == 10
    assert "5 segments are in every file, not 100: all are taken" in capsys.readouterr().out


def test_seeds_draw_differently(files, tmp_path):
    drawn = {
        frozenset(
            row["segment_id"] for row in prepare(files, tmp_path / str(seed), "--sample", "2", "--seed", str(seed))
        )
        for seed in range(6)
    }
    assert len(drawn) > 1


def test_languages_of_pairs():
    assert [language_of(f"en-{locale}") for locale in ("de_DE", "ar_EG", "ar_SA", "pt_PT", "no_NO", "zh_TW")] == [
        *("de", "ar", "ar", "pt", "no", "zh")
    ]


def test_translate_keeps_ids_and_no_failure_as_text(files, tmp_path):
    rows = prepare(files[:1], tmp_path / "wmt")
    broken = {"sentence 4 ": Reply(status=400), "sentence 5 ": Reply(text="Das ist", finish_reason="length")}

    def reply(body):
        content = body["messages"][-1]["content"]
        fault = next((reply for key, reply in broken.items() if key in content), None)
        return fault or "Übersetzt: " + content.rpartition("\n\n")[2]

    with ModelServer(reply) as server:
        words = ["--segments", str(tmp_path / "wmt" / "segments.parquet"), "--base-url", server.url]
        words += ["--max-failure-share", "1", "--output", str(tmp_path / "out")]
        assert wmt.main(["translate", *words]) == 0
        assert server.chats()[0]["body"]["temperature"] == 0
    by_id = {row["id"]: row for row in read_parquet(tmp_path / "out" / "translations.parquet")}
    for row in rows:
        number = row["segment_id"]
        text, status = by_id[row["id"]]["translation"], by_id[row["id"]]["status"]
        wanted = {"5": (None, "error"), "6": (None, "truncated")}
        assert (text, status) == wanted.get(number, (f"Übersetzt: {row['source']}", "ok"))
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["drops"] == {"error": 1, "truncated": 1}


def test_a_template_without_a_place_for_the_text_asks_nothing(files, tmp_path, capsys):
    prepare(files[:1], tmp_path / "wmt")
    (tmp_path / "t.txt").write_text("Translate into {target}.")
    with ModelServer(lambda body: "ja") as server:
        words = ["--segments", str(tmp_path / "wmt" / "segments.parquet"), "--base-url", server.url]
        words += ["--template", str(tmp_path / "t.txt"), "--output", str(tmp_path / "out")]
        assert wmt.main(["translate", *words]) == 1
        assert not server.chats()
    assert "t.txt has no {text}, so that every question is the same; add it." in capsys.readouterr().err


@pytest.fixture
def candidates(files, tmp_path):
    """good has all, in another order and with a gap; german has nothing in Japanese."""
    rows = prepare(files, tmp_path / "wmt")
    good = [{"id": row["id"], "lp": row["lp"], "translation": row["reference"].replace("Haus", "Heim")} for row in rows]
    gap = next(row for row in good if row["lp"] == "en-de_DE")
    gap["translation"] = None
    german = [
        {"id": row["id"], "lp": row["lp"], "translation": "Das ist ein Satz über ein Haus."}
        for row in rows
        if row["lp"] == "en-de_DE"
    ]
    random.Random(1).shuffle(good)
    return {"good": lines(tmp_path / "good.jsonl", good), "german": lines(tmp_path / "german.jsonl", german)}


def test_numbers_are_sacrebleus(candidates, tmp_path):
    sacrebleu = pytest.importorskip("sacrebleu", reason="sacrebleu is not installed (pip install 'sacrebleu[ja,ko]')")
    assert compare(tmp_path, tmp_path / "out", candidates, "--tokenize", "ja=char") == 0
    segments = read_parquet(tmp_path / "wmt" / "segments.parquet")
    given = {
        (row["id"], row["lp"]): row["translation"]
        for row in map(json.loads, Path(candidates["good"]).read_text().splitlines())
    }
    scores = {(row["translator"], row["lp"]): row for row in read_parquet(tmp_path / "out" / "scores.parquet")}
    for lp, tokenize in (("en-de_DE", "13a"), ("en-ja_JP", "char")):
        rows = [row for row in segments if row["lp"] == lp]
        texts, references = [given[row["id"], lp] or "" for row in rows], [row["reference"] for row in rows]
        score = scores["good", lp]
        assert score["bleu"] == pytest.approx(sacrebleu.corpus_bleu(texts, [references], tokenize=tokenize).score)
        assert score["chrf"] == pytest.approx(sacrebleu.corpus_chrf(texts, [references], word_order=2).score)
        single = [
            sacrebleu.sentence_bleu(text, [reference], tokenize=tokenize).score
            for text, reference in zip(texts, references, strict=True)
        ]
        assert score["bleu_sentence"] == pytest.approx(sum(single) / len(single))
        assert score["bleu_sentence"] != pytest.approx(score["bleu"]) or lp == "en-ja_JP"
    assert (scores["good", "en-de_DE"]["missing"], scores["german", "en-ja_JP"]["missing"]) == (1, 5)
    assert scores["german", "en-ja_JP"]["bleu"] is None
    report = (tmp_path / "out" / "report.md").read_text()
    assert "imputed by the mean of the others" in report and "| german | " in report
    notes = json.loads((tmp_path / "out" / "manifest.json").read_text())["notes"]
    assert "tok:13a" in notes["signatures"]["en-de_DE"]["bleu"]
    assert len(read_parquet(tmp_path / "out" / "sentences.parquet")) == 15


def score(translator, lp, bleu):
    values = dict.fromkeys(("bleu", "chrf", "bleu_sentence", "chrf_sentence", "comet"), bleu)
    return {"translator": translator, "lp": lp, **values}


def test_imputed_averages_are_marked():
    """By hand: z has no ja, so its ja is (10 + 20) / 2 = 15 and its mean (60 + 15) / 2; nobody has is."""
    table = [score("x", "de", 30.0), score("y", "de", 40.0), score("z", "de", 60.0)]
    table += [score("x", "ja", 10.0), score("y", "ja", 20.0), score("z", "ja", None)]
    means = {row["translator"]: (row["bleu"], row["imputed"]) for row in averages(table)}
    assert means == {"x": (20.0, []), "y": (30.0, []), "z": (37.5, ["ja"])}
    assert best(table) == {"de": "z", "ja": "y"}
    nobody = [score(name, "is", None) for name in "xyz"]
    assert averages(table + nobody)[2]["bleu"] == 37.5


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([segment("en-de_DE", 0), segment("en-de_DE", 0)], "in en-de_DE twice"),
        ([segment("en-de_DE", 0), segment("en-ja_JP", 0, source="Other")], "another source"),
        ([segment("en-de_DE", 0, is_bad_source=True)], "no segment is left (1 bad_source)"),
        ([segment("en-xx_XX", 0)], "en-xx_XX: the table has no such language"),
        ([segment("de", 0)], "lp is 'de'"),
        ([segment("en-de_DE", 0, segment_id=None)], "no segment is left (1 no_segment_id)"),
        ([segment("en-de_DE", 0, segment_id=["a"])], "in.jsonl, line 1 has the id ['a']"),
        ([segment("en-de_DE", 0, domain={"a": 1})], "in.jsonl, line 1: 'domain' is {'a': 1}"),
        ([segment("en-de_DE", 0), segment("en-de_DE", 0, segment_id=1.0)], "in en-de_DE twice"),
        ([{"lp": "en-de_DE"}], "has no column"),
    ],
)
def test_bad_segments_are_one_sentence(tmp_path, capsys, rows, words):
    path = lines(tmp_path / "in.jsonl", rows)
    assert wmt.main(["prepare", "--input", path, "--output", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert words in error and len(error.strip().splitlines()) == 1 and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"id": "x", "lp": "en-de_DE", "translation": "a"}], "has no translation of a segment"),
        ([{"id": "x", "lp": "en-de_DE", "text": "a"}], "no column 'translation'"),
        ([{"id": "x", "lp": "de", "translation": 5}], "translation is 5"),
        ([{"id": ["x"], "lp": "de", "translation": "a"}], "x.jsonl, line 1 has the id ['x']"),
        ([{"id": "x", "lp": {"a": 1}, "translation": "a"}], "x.jsonl, line 1: lp is {'a': 1}"),
        ([{"id": "x", "lp": "de", "translation": "a"}] * 2, "has segment 'x' of de again"),
    ],
)
def test_bad_candidates_are_one_sentence(files, tmp_path, capsys, rows, words):
    prepare(files, tmp_path / "wmt")
    capsys.readouterr()
    assert compare(tmp_path, tmp_path / "out", {"x": lines(tmp_path / "x.jsonl", rows)}) == 1
    error = capsys.readouterr().err
    assert words in error and len(error.strip().splitlines()) == 1


# Deutsch et al. 2025, WMT24++
LOCALES = (
    "ar_EG ar_SA bg_BG bn_IN ca_ES cs_CZ da_DK de_DE el_GR es_MX et_EE fa_IR fi_FI fil_PH fr_CA fr_FR gu_IN he_IL "
    "hi_IN hr_HR hu_HU id_ID is_IS it_IT ja_JP kn_IN ko_KR lt_LT lv_LV ml_IN mr_IN nl_NL no_NO pa_IN pl_PL pt_BR "
    "pt_PT ro_RO ru_RU sk_SK sl_SI sr_RS sv_SE sw_KE sw_TZ ta_IN te_IN th_TH tr_TR uk_UA ur_PK vi_VN zh_CN zh_TW "
    "zu_ZA".split()
)


def test_all_targets_can_be_prepared(tmp_path):
    files = [lines(tmp_path / f"{locale}.jsonl", [segment(f"en-{locale}", 0)]) for locale in LOCALES]
    rows = prepare(files, tmp_path / "out")
    assert len(LOCALES) == 55 and {row["lp"] for row in rows} == {f"en-{locale}" for locale in LOCALES}
    assert all(row["language"] == row["lp"][3:].partition("_")[0] for row in rows)


def test_two_locales_of_a_language_are_asked_for_apart():
    assert [languages.variety(*place) for place in (("pt", "pt_BR"), ("pt", "pt_PT"), ("de", "de_DE"))] == [
        "Portuguese (Brazil)",
        "Portuguese (Portugal)",
        "German",
    ]
    assert languages.flores_of("zh", "zh_TW") == "zho_Hant" and languages.flores_of("zh", "zh_CN") == "zho_Hans"
    model = Model(model="m")
    asked = [
        model.translation(SourceText("1", "It rains.", "en", "zh", locale)).messages for locale in ("zh_CN", "zh_TW")
    ]
    assert asked[0] != asked[1] and "Taiwan" in asked[1][0]["content"]


def test_a_tokenizer_for_a_language_that_no_segment_is_in(tmp_path, candidates, capsys):
    assert compare(tmp_path, tmp_path / "out", candidates, "--tokenize", "deutsch=char") == 1
    assert "--tokenize names deutsch, but the segments are in de, ja; use these codes." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("ja=13a", "--tokenize ja=13a: it does not know where a word ends in ja; give ja-mecab"),
        ("ja=zh", "give ja-mecab"),
        ("de=zh", "it does not know where a word ends in de"),
        ("de=13b", "--tokenize de=13b: there is no such tokenizer (did you mean '13a'?)"),
    ],
)
def test_a_tokenizer_that_is_wrong_for_the_script(tmp_path, candidates, capsys, given, told):
    pytest.importorskip("sacrebleu", reason="sacrebleu is not installed (pip install 'sacrebleu[ja,ko]')")
    assert compare(tmp_path, tmp_path / "out", candidates, "--tokenize", given) == 1
    assert told in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_bleu_is_blank_where_its_tokenizer_is_not_there(tmp_path, candidates, monkeypatch, capsys):
    pytest.importorskip("sacrebleu", reason="sacrebleu is not installed (pip install 'sacrebleu[ja,ko]')")
    monkeypatch.setitem(__import__("sys").modules, "MeCab", None)
    assert compare(tmp_path, tmp_path / "out", candidates) == 0
    said = capsys.readouterr().err
    assert "en-ja_JP: BLEU cannot be had for ja" in said and "pip install 'sacrebleu[ja,ko]'" in said
    scores = {(row["translator"], row["lp"]): row for row in read_parquet(tmp_path / "out" / "scores.parquet")}
    japanese, german = scores["good", "en-ja_JP"], scores["good", "en-de_DE"]
    assert japanese["bleu"] is japanese["bleu_sentence"] is None and japanese["chrf"] > 0 and german["bleu"] > 0
    tests = read_parquet(tmp_path / "out" / "tests.parquet")
    assert {row["metric"] for row in tests if row["lp"] == "en-de_DE"} >= {"bleu", "chrf", "bleu_sentence"}
    assert not [row for row in tests if row["lp"] == "en-ja_JP" and "bleu" in row["metric"]]
    means = {row["translator"]: row for row in read_parquet(tmp_path / "out" / "averages.parquet")}
    assert means["good"]["imputed"] == [] and means["german"]["imputed"] == ["en-ja_JP"]
    assert means["good"]["bleu"] == german["bleu"], "a mean of the pairs that have BLEU"
    assert "en-ja_JP: BLEU is blank (BLEU cannot be had for ja" in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.parametrize(("language", "tokenizer"), [("th", "char"), ("ja", "ja-mecab"), ("de", "13a"), ("hi", "13a")])
def test_bleu_is_by_a_tokenizer_that_knows_the_script(language, tokenizer):
    assert tokenizer_of(language) == tokenizer


def test_thai_equal_to_its_reference():
    metrics = Metrics("th")
    texts = ["แมวนอนบนเก้าอี้", "ฝนตกหนักเมื่อวานนี้"]
    assert metrics.corpus(texts, texts)["bleu"] == pytest.approx(100.0)
