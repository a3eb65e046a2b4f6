"""Translators tested against each other, COMET by a process, the picture, and the set from the Hub's cache."""

import importlib.util
import io
import json
import os
import subprocess
import sys
import venv

import pytest
from PIL import Image

from data_prep import wmt
from helpers.wmt import compare, lines, segment
from sp3f_verl.data.files import read_parquet, write_text
from sp3f_verl.errors import BadInput
from sp3f_verl.evaluation.results import TranslationSummary, TranslatorScore, read
from sp3f_verl.evaluation.translation.comet import comet_scores
from sp3f_verl.evaluation.translation.significance import corpus_tests, sentence_tests
from sp3f_verl.report.document.blocks import Picture
from sp3f_verl.report.document.plots import draw
from sp3f_verl.report.translation import heatmap

needs_sacrebleu = pytest.mark.skipif(importlib.util.find_spec("sacrebleu") is None, reason="sacrebleu is not installed")


def sentence(translator, lp, ident, chrf):
    return {"translator": translator, "lp": lp, "id": ident, "chrf": chrf}


def test_over_all_pairs_a_segment_counts_once():
    """By hand: a gains 1 and 3 in segment x, 5 in y (b has no y in ja): de (1 + 5) / 2, ja 3, all (2 + 5) / 2."""
    rows = [sentence("b", "de", "x", 10.0), sentence("b", "ja", "x", 20.0), sentence("b", "de", "y", 30.0)]
    rows += [sentence("a", "de", "x", 11.0), sentence("a", "ja", "x", 23.0), sentence("a", "de", "y", 35.0)]
    rows += [sentence("a", "ja", "y", 99.0)]
    result = {row["lp"]: row for row in sentence_tests(rows, "b", ["chrf"])}
    assert {lp: (row["difference"], row["segments"]) for lp, row in result.items()} == {
        **{"de": (3.0, 2), "ja": (3.0, 1), "all": (3.5, 2)}
    }
    assert result["all"]["p"] == 0.5, "of the four ways to give two differences signs, two are as far from 0"
    assert all(row["metric"] == "chrf_sentence" and row["translator"] == "a" for row in result.values())


@needs_sacrebleu
def test_a_better_translator_is_found_and_an_equal_one_is_not():
    words = "the house on the lake has a red door and seven small windows that look to the west".split()
    texts = [" ".join(words[n % 7 :] + words[: n % 5]) for n in range(60)]
    segments = [{"id": str(n), "lp": "en-de_DE", "language": "de", "reference": text} for n, text in enumerate(texts)]

    def translator(broken):
        """One word is wrong in each segment for which `broken` holds."""
        given = {n: text.replace("the", "a", 1) if broken(n) else text for n, text in enumerate(texts)}
        return {(str(n), "en-de_DE"): text for n, text in given.items()}

    candidates = {
        "base": translator(lambda n: n % 2),
        "same": translator(lambda n: not n % 2),
        "good": translator(lambda n: n < 6),
    }
    result = {
        (row["translator"], row["metric"]): row for row in corpus_tests(segments, {**candidates, "none": {}}, "base")
    }
    assert set(result) == {(name, kind) for name in ("same", "good") for kind in ("bleu", "chrf")}, "none is not tested"
    for kind in ("bleu", "chrf"):
        assert result["good", kind]["difference"] > 1 and result["good", kind]["p"] < 0.01
        assert abs(result["same", kind]["difference"]) < 1 and result["same", kind]["p"] > 0.1


# COMET, whose package needs numpy 1: by a stand-in with its interface in a Python of its own

STAND_IN = """
class Model:
    def predict(self, samples, batch_size, gpus):
        assert all(sample["mt"] for sample in samples) and gpus == 0
        class Out:
            scores = [len(sample["mt"]) / 100 for sample in samples][: self.few]
        return Out

def download_model(name):
    return name

def load_from_checkpoint(path):
    model = Model()
    model.few = 1 if path == "short" else None
    return model
"""


@pytest.fixture
def comet(tmp_path):
    venv.create(tmp_path / "bare", with_pip=False)
    packages = next((tmp_path / "bare" / "lib").iterdir()) / "site-packages"
    write_text(STAND_IN, packages / "comet.py")
    metadata = packages / "unbabel_comet-2.2.7.dist-info" / "METADATA"
    write_text("Metadata-Version: 2.1\nName: unbabel-comet\nVersion: 2.2.7\n", metadata)
    return str(tmp_path / "bare" / "bin" / "python")


def samples(*texts):
    return [{"src": "s", "mt": text, "ref": "r"} for text in texts]


def test_comet_scores_in_order_and_nothing_for_no_translation(comet):
    assert comet_scores("name", samples("abc", " ", "abcde"), comet) == pytest.approx([3.0, 0.0, 5.0])
    with pytest.raises(BadInput, match="--comet-model=short gave no scores"):
        comet_scores("short", samples("abc", "abcd"), comet)
    with pytest.raises(
        BadInput, match=r"unbabel-comet is not installed in .*pip install 'unbabel-comet'.*--comet-python"
    ):
        comet_scores("name", samples("abc"), sys.executable)


@needs_sacrebleu
def test_compare_writes_tests_comet_and_picture(comet, tmp_path, capsys):
    rows = [segment("en-de_DE", n) for n in range(8)]
    words = ["prepare", "--input", lines(tmp_path / "de.jsonl", rows), "--output", str(tmp_path / "wmt")]
    assert wmt.main(words) == 0
    segments = read_parquet(tmp_path / "wmt" / "segments.parquet")
    candidates = {
        name: lines(
            tmp_path / f"{name}.jsonl",
            [{"id": row["id"], "lp": row["lp"], "translation": row["reference"] + more} for row in segments],
        )
        for name, more in (("long", " und noch mehr"), ("true", ""))
    }
    assert compare(tmp_path, tmp_path / "out", candidates, "--baseline", "tru") == 1
    assert "--baseline=tru is none of --candidates (did you mean 'true'?)" in capsys.readouterr().err
    words = ["--baseline", "true", "--comet-model", "name", "--comet-python", comet]
    assert compare(tmp_path, tmp_path / "out", candidates, *words) == 0
    tests = {(row["lp"], row["metric"]): row for row in read_parquet(tmp_path / "out" / "tests.parquet")}
    scores = {row["translator"]: row for row in read_parquet(tmp_path / "out" / "scores.parquet")}
    gap = tests["en-de_DE", "chrf"]["difference"]
    assert gap == pytest.approx(scores["long"]["chrf"] - scores["true"]["chrf"]) and gap < 0
    assert tests["all", "comet_sentence"]["difference"] == pytest.approx(len(" und noch mehr"))
    assert scores["true"]["comet"] == pytest.approx(sum(len(row["reference"]) for row in segments) / 8)
    summary = read(tmp_path / "out")
    assert [row.model_dump() for row in summary.scores] == [scores[row.translator] for row in summary.scores]
    assert {(row.lp, row.metric): row.model_dump() for row in summary.tests} == tests and len(tests) == len(
        summary.tests
    )
    assert summary.best == {"en-de_DE": "true"} and "tok:13a" in summary.signatures["en-de_DE"]["bleu"]
    report = (tmp_path / "out" / "report.md").read_text()
    assert "## Against true" in report and "| all | long | COMET | +14.00 | +14.00 to +14.00 |" in report
    assert "tok:13a" in report and "(heatmap.png)" in report and (tmp_path / "out" / "heatmap.png").is_file()
    assert "summary.json" in json.loads((tmp_path / "out" / "manifest.json").read_text())["outputs"]


def test_the_heatmap_is_dark_where_scores_are_low():
    given = {("a", "en-de"): 10.0, ("a", "en-ja"): 90.0, ("b", "en-de"): 90.0, ("b", "en-ja"): None}
    scores = [TranslatorScore(translator=name, lp=lp, chrf=value) for (name, lp), value in given.items()]
    grid = heatmap(TranslationSummary(scores=scores), "chrf")
    picture = Image.open(io.BytesIO(draw(Picture("map.png", "scores", [grid])).png)).convert("RGB")
    shares = picture.getcolors(1 << 20)
    area = picture.width * picture.height
    dark, bright = (68, 1, 84), (253, 231, 37)  # the ends of viridis
    share = {color: count / area for count, color in shares}
    assert share[dark] > 0.05 and share[bright] == pytest.approx(2 * share[dark], rel=0.2), (
        "three cells drawn, one empty"
    )


def test_pairs_come_from_the_hub(tmp_path):
    """Through huggingface_hub's own cache, offline; a pair that is not there is one sentence."""
    cache = tmp_path / "hub" / "datasets--google--wmt24pp"
    write_text("abc", cache / "refs" / "main")
    (cache / "snapshots" / "abc").mkdir(parents=True)
    rows = [segment("en-de_DE", n, is_bad_source=n == 2) for n in range(4)]
    lines(cache / "snapshots" / "abc" / "en-de_DE.jsonl", rows)
    run = [sys.executable, "-m", "data_prep.wmt", "prepare", "--output", str(tmp_path / "out"), "--pairs", "en-de_DE"]
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    failed = subprocess.run([*run, "en-is_IS"], env=environment, capture_output=True, text=True)
    error = failed.stderr.strip()
    assert failed.returncode == 1 and "en-is_IS cannot be had from google/wmt24pp" in error and "\n" not in error
    subprocess.run(run, env=environment, check=True)
    kept = [row["segment_id"] for row in read_parquet(tmp_path / "out" / "segments.parquet")]
    assert sorted(kept) == ["1", "2", "4"], "the bad source is left out"
