"""Benchmarks as people have them: worked answers, a head, options, and what they say of their language."""

import json
from collections import Counter

import pytest

from data_prep import sp3f
from sp3f_verl.data.sets.mgsm import read_questions
from sp3f_verl.errors import BadInput
from sp3f_verl.evaluation.benchmark import Benchmark
from sp3f_verl.evaluation.problems import QuestionFile
from sp3f_verl.languages.written import is_other


def _lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _questions(path, rows):
    _lines(path, rows)
    return QuestionFile("b", "es", path)


def test_answers_of_gsm8k_and_a_headed_tsv(tmp_path):
    (tmp_path / "a.tsv").write_text("question\tanswer\n¿Uno?\t1\n")
    assert read_questions(tmp_path / "a.tsv", "es") == [("¿Uno?", "1")]
    rows = list(_questions(tmp_path / "a.jsonl", [{"question": "¿Uno?", "answer": "1+0=<<1+0=1>>1\n#### 1"}]).rows())
    assert rows[0]["reward_model"]["ground_truth"] == "1"
    (tmp_path / "b.tsv").write_bytes(b"\xc2\xbfUno?\t1\r\xc2\xbfDos?\t2\r")
    with pytest.raises(BadInput, match="lines end in CR alone"):
        read_questions(tmp_path / "b.tsv", "es")


OPTIONS = ["Venus", "Mars"]


@pytest.mark.parametrize(
    ("row", "taken"),
    [
        ({"answer": 1, "choices": OPTIONS}, False),
        ({"answer": "B", "choices": {"text": OPTIONS, "label": ["A", "B"]}}, False),
        ({"answer": "B", "A": "Venus", "B": "Mars"}, False),
        ({"answer": "Mars", "choices": OPTIONS}, True),
        ({"answer": "B", "choices": OPTIONS, "question": "Which is red? A) Venus B) Mars"}, True),
        ({"answer": 4, "choices": None}, True),
    ],
)
def test_options_that_the_question_does_not_tell(row, taken, tmp_path, capsys):
    file = _questions(tmp_path / "a.jsonl", [{"question": "Which planet is red?"} | row])
    if taken:
        assert len(list(file.rows())) == 1
    else:
        with pytest.raises(BadInput, match="question 0: the question does not tell its options"):
            list(file.rows())
        assert len(list(file.questions())) == 1, "to compare training with, the question is enough"


@pytest.mark.parametrize("written", ["es", "Spanish", "spa", "es-ES", "es_MX", "spa_Latn", None, float("nan")])
def test_a_language_goes_by_any_of_its_names(written, tmp_path):
    rows = [{"question": "¿Uno?", "answer": "1", "language": written}]
    assert len(list(_questions(tmp_path / "a.jsonl", rows).rows())) == 1
    assert read_questions(tmp_path / "a.jsonl", "es") == [("¿Uno?", "1")]


@pytest.mark.parametrize("written", ["de", "German", "deu_Latn", "tlh"])
def test_a_file_that_calls_itself_another_language(written, tmp_path):
    file = _questions(tmp_path / "a.jsonl", [{"question": "¿Uno?", "answer": "1", "language": written}])
    for reading in (lambda: list(file.rows()), lambda: read_questions(file.path, "es")):
        with pytest.raises(BadInput, match=f"line 1 says that it is {written}, not es"):
            reading()


def test_norwegian_is_one_and_no_table_knows_python():
    assert not is_other("nob_Latn", "no", True) and not is_other("python", "es", False) and is_other("nld", "de", False)


def test_the_dialect_of_belebele_is_held_against_the_label(tmp_path):
    texts = {f"mc_answer{n}": str(n) for n in range(1, 5)} | {"flores_passage": "p", "question": "q?"}
    row = {"link": "l", "question_number": 1, "correct_answer_num": "1", "dialect": "deu_Latn"} | texts
    path = _lines(tmp_path / "a.jsonl", [row])
    belebele = Benchmark.load("belebele")
    assert len(belebele.problems("de", "", path)) == 1
    with pytest.raises(BadInput, match="line 1 says that it is deu_Latn, not es"):
        belebele.problems("es", "", path)


def test_questions_of_another_language_end_the_step(tmp_path, capsys):
    questions = _lines(tmp_path / "q.jsonl", [{"question": "¿Uno?", "answer": "1", "language": "de"}])
    solutions = _lines(tmp_path / "s.jsonl", [{"question": "One?", "answer": "so\n#### 1"}])
    words = f"--questions es={questions} --solutions {solutions} --output {tmp_path / 'o'}"
    assert sp3f.main(words.split()) == 1 and "says that it is de, not es" in capsys.readouterr().err
    assert Counter(path.suffix for path in tmp_path.iterdir()) == {".jsonl": 2}
