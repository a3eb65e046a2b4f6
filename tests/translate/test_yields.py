"""What a translated set tells of itself: words left in English, yield and reasons by language, rows side by side."""

import json

import pytest

from data_prep import translate
from helpers.model_server import ModelServer, Reply
from helpers.translator import asked, translated
from sp3f_verl.report.command import document_of
from sp3f_verl.report.document.markdown import markdown
from sp3f_verl.report.folders import look
from sp3f_verl.translate.yields import left_in_english

QUESTION = "On the market of the village Omar sells %d bookshelves that his friends have painted. How many are they?"


@pytest.mark.parametrize(
    ("source", "translation", "language", "left"),
    [
        ("Anna sells muffins and bookshelves.", "Anna vende muffins y bookshelves.", "es", ["bookshelves", "muffins"]),
        ("The total is 5 animals in a hotel.", "El total son 5 animales en un hotel.", "es", []),
        ("Mr. Bookshelves has shillings.", "El señor Bookshelves tiene shillings.", "es", ["shillings"]),  # a name
        ("A streaming service and a puppy.", "บริการ streaming และ puppy หนึ่งตัว", "th", ["puppy", "streaming"]),
        ("They repainted it.", "Lo pintaron de nuevo; repainted-free.", "es", ["repainted"]),
        ("They repainted it.", "Lo pintaron de nuevo; repaintedly.", "es", []),  # whole words
        ("It is so big and red.", "Es so big y red.", "es", []),  # short words say nothing
    ],
)
def test_words_left_in_english(source, translation, language, left):
    assert left_in_english(source, translation, language) == left


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Spanish: row 0 keeps `bookshelves`, row 1 has another number; Swahili: all fine."""
    here = tmp_path_factory.mktemp("yields")
    rows = [{"id": str(n), "question": QUESTION % (n + 20), "solution": "x", "answer": "1"} for n in range(4)]
    (here / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def reply(body):
        _, target, text = asked(body)
        good = translated(text, target)
        if target == "Spanish" and "20" in text:
            good = f"bookshelves {good}"
        if target == "Spanish" and "21" in text:
            good = good.replace("21", "99")
        return Reply(text=f"<translation>{good}</translation>")

    with ModelServer(reply) as server:
        words = ["--input", str(here / "in.jsonl"), "--languages", "es", "sw", "en", "--question-only"]
        words += ["--base-url", server.url, "--model", "m", "--candidates", "1", "--output", str(here / "out")]
        assert translate.main(words) == 0
    return here / "out"


def test_the_manifest_tells_yield_by_language(folder):
    found = json.loads((folder / "manifest.json").read_text())["notes"]["yield"]
    es, sw, en = (found[code] for code in ("es", "sw", "en"))
    assert (es["rows"], es["of"], es["left_out"]) == (3, 4, {"question: numbers": 1})
    assert (sw["rows"], sw["left_out"], en["rows"]) == (4, {}, 4)
    assert es["left_in_english"] == {"rows": 1, "words": {"bookshelves": 1}} and sw["left_in_english"]["rows"] == 0
    assert es["side_by_side"][0][0].startswith("On the market") and "bookshelves" in es["side_by_side"][0][1]
    assert len(es["side_by_side"]) == 3 and not en["side_by_side"] and es["numbers_kept"] == 1.0


def test_the_page_shows_it(folder):
    text = markdown(document_of(look(folder)))
    (line,) = [line for line in text.splitlines() if line.startswith("| es | 3 | 4 | 0.750")]
    assert line.endswith("| 1 | bookshelves 1 |")
    assert "| question: numbers | – | 1 | – |" in text.replace("| reason | en | es | sw |", "")
    assert f"| es | {QUESTION % 20} | bookshelves " in text
    assert "`yield." not in text, "it is no note of the step beside that"


def test_it_is_printed(folder, capsys, tmp_path):
    row = {"id": "0", "question": QUESTION % 20, "solution": "x", "answer": "1"}
    (tmp_path / "in.jsonl").write_text(json.dumps(row))

    def reply(body):
        _, target, text = asked(body)
        return Reply(text=f"<translation>bookshelves {translated(text, target)}</translation>")

    with ModelServer(reply) as server:
        words = ["--input", str(tmp_path / "in.jsonl"), "--languages", "es", "--question-only", "--candidates", "1"]
        assert translate.main([*words, "--base-url", server.url, "--output", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "es: in 1 of 1 rows words stand as in the English source: bookshelves 1\n" in said
