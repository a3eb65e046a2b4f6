"""The English base set from files in the five sources' own formats, with all that is wrong with their rows."""

import json
import random

import numpy as np
import pandas as pd
import pytest

from data_prep import preferences
from sp3f_verl.architectures.draw import characters, draw
from sp3f_verl.architectures.sources import SOURCES, Pair
from sp3f_verl.data.files import read_parquet
from sp3f_verl.data.preference_rows import read_answers

LATEX = 'Steps:\n\n1. Write $\\frac{1}{2}$\n2. `print("a\\\\n")`\n\n    indented'


def turns(*texts):
    return np.array(
        [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)], dtype=object
    )


def arena_rows():
    """Good: q1 (a wins), q2 (b wins). The others have one fault each."""

    def row(ident, winner="model_a", language="English", a=("Why?", "Because."), b=("Why?", "No idea.")):
        return {
            **{"question_id": ident, "winner": winner, "language": language, "model_a": "x", "model_b": "y"},
            **{"conversation_a": turns(*a), "conversation_b": turns(*b), "turn": 1},
        }

    return [
        row("q1"),
        row("q2", "model_b", a=("How?", "So."), b=("How?", LATEX)),
        row("q3", "tie"),
        row("q4", "tie (bothbad)"),
        row("q5", language="German"),
        row("q6", a=("Why?", "One.", "And?", "Two."), b=("Why?", "One.", "And?", "Three.")),
        row("q7", a=("Why?", "Left."), b=("Whence?", "Right.")),
        row("q8", a=("Who?", "   "), b=("Who?", "Me.")),
        row("q9", a=("What?", "Same."), b=("What?", "Same.")),
        row("q10"),  # the texts of q1 again
        row("q11", a=("", "Hello."), b=("", "Bye.")),
    ]


def helpsteer_rows():
    def rows(prompt, *answers):
        names = ("helpfulness", "correctness", "coherence")
        return [
            {"prompt": prompt, "response": text, **dict(zip(names, grades, strict=True)), "verbosity": 1}
            for text, grades in answers
        ]

    earlier = "Hi\n<extra_id_1>Assistant\nHello\n<extra_id_1>User\nTell me more"
    return [
        *rows("Good one", ("better", (4, 4, 4)), ("worse", (4, 3, 4))),
        *rows(earlier, ("low", (0, 0, 1)), ("high", (3, 3, 3))),
        *rows("Equal", ("left", (4, 3, 2)), ("right", (2, 3, 4))),
        *rows("Three", ("1", (4, 4, 4)), ("2", (3, 3, 3)), ("3", (2, 2, 2))),
        *rows("Alone", ("only", (4, 4, 4))),
        *rows("Ungraded", ("yes", (4, 4, float("nan"))), ("no", (1, 1, 1))),
        *rows("Empty", ("", (4, 4, 4)), ("text", (1, 1, 1))),
        *rows("Hi\n<extra_id_1>User\nTwice", ("a", (4, 4, 4)), ("b", (1, 1, 1))),
    ]


def pair_rows(count, name):
    return [{"prompt": f"{name} {n}?", "chosen": f"yes {n}", "rejected": f"no {n}"} for n in range(count)]


@pytest.fixture
def files(tmp_path):
    """Source -> file, parquet as pandas writes it or JSON lines."""
    folder = tmp_path / "in"
    folder.mkdir()
    steps = [
        {**row, "initial_reason_steps": "Step 1:", "full_chosen": f"Step 1: {row['chosen']}"}
        | {"full_rejected": f"Step 1: {row['rejected']}", "answer": "1", "dataset": "x"}
        for row in pair_rows(5, "math")
    ]
    faults = [
        {"prompt": "p", "chosen": "", "rejected": "b"},
        {"prompt": " \n", "chosen": "a", "rejected": "b"},
        {"prompt": "p", "chosen": "a", "rejected": "a\r\n"},
        {"prompt": "p", "chosen": None, "rejected": "b"},
        {"prompt": LATEX, "chosen": LATEX + "\n\n- x", "rejected": "b\r\nc"},
    ]
    tables = {
        "tasksource": pair_rows(40, "task") + faults,
        "arena": arena_rows(),
        "gutenberg": [*pair_rows(3, "book"), {"prompt": "long", "chosen": "x" * 9000, "rejected": "b"}],
        "math_step": steps,
        "helpsteer2": helpsteer_rows(),
    }
    files = {}
    for name, rows in tables.items():
        lines = name in ("math_step", "helpsteer2")
        files[name] = folder / f"{name}.{'jsonl' if lines else 'parquet'}"
        if lines:
            files[name].write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            pd.DataFrame(rows).to_parquet(files[name])
    return files


def build(files, output, *more, names=None):
    chosen = [f"{name}={files[name]}" for name in names or files]
    words = ["--sources", *chosen, "--tokenizer", "characters", "--output", str(output), *more]
    return preferences.main(words)


def by_prompt(output):
    return {row["prompt"][-1]["content"]: row for row in read_parquet(output / "train.parquet")}


def test_every_source_with_its_faults(files, tmp_path):
    assert build(files, tmp_path / "out") == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["drops"] == {
        "arena: tie": 2,
        "arena: not_english": 1,
        "arena: not_one_turn": 1,
        "arena: sides_answer_different_prompts": 1,
        "arena: side_empty": 1,
        "arena: sides_identical": 1,
        "arena: duplicate": 1,
        "arena: prompt_empty": 1,
        "gutenberg: too_long": 1,
        "helpsteer2: equal_scores": 1,
        "helpsteer2: not_two_answers": 2,
        "helpsteer2: no_score": 1,
        "helpsteer2: side_empty": 1,
        "helpsteer2: broken_turns": 1,
        "tasksource: side_empty": 2,
        "tasksource: prompt_empty": 1,
        "tasksource: sides_identical": 1,
    }
    rows = by_prompt(tmp_path / "out")
    assert len(rows) == 41 + 2 + 3 + 5 + 2
    assert (rows["Why?"]["chosen"], rows["Why?"]["rejected"]) == ("Because.", "No idea.")
    assert (rows["How?"]["chosen"], rows["How?"]["rejected"]) == (LATEX, "So."), "b won, and keeps its structure"
    assert rows[LATEX]["chosen"] == LATEX + "\n\n- x" and rows[LATEX]["rejected"] == "b\nc"
    assert (rows["Good one"]["chosen"], rows["Good one"]["margin"]) == ("better", 1.0)
    row = rows["Tell me more"]
    assert [turn["role"] for turn in row["prompt"]] == ["user", "assistant", "user"]
    assert (row["chosen"], row["chosen_score"], row["rejected_score"]) == ("high", 9.0, 1.0)
    assert rows["math 3?"]["chosen"] == "yes 3" and rows["math 3?"]["task"] == "mathematical_reasoning"
    report = manifest["notes"]["report"]
    assert report["overall"]["pairs"] == 53 and set(report["by_source"]) == set(SOURCES)
    assert report["repeated_rows"] == 0 and not report["unusable"]
    answers, dropped = read_answers(str(tmp_path / "out" / "train.parquet"), ("chosen", "rejected"))
    assert len(answers) == 53 and not dropped, "as the trainer reads it"


def test_whole_solutions(files, tmp_path):
    assert build(files, tmp_path / "out", "--whole-solutions", names=["math_step"]) == 0
    assert by_prompt(tmp_path / "out")["math 3?"]["chosen"] == "Step 1: yes 3"


def test_counts_and_saved_ids(files, tmp_path):
    assert build(files, tmp_path / "a", "--count", "4", "--counts", "tasksource=7", "helpsteer2=1") == 0
    ids = json.loads((tmp_path / "a" / "ids.json").read_text())
    drawn = {"arena": 2, "gutenberg": 3, "helpsteer2": 1, "math_step": 4, "tasksource": 7}
    assert {name: len(own) for name, own in ids.items()} == drawn
    assert build(files, tmp_path / "b", "--count", "4", "--counts", "tasksource=7", "helpsteer2=1", "--seed", "2") == 0
    assert json.loads((tmp_path / "b" / "ids.json").read_text())["tasksource"] != ids["tasksource"]
    assert build(files, tmp_path / "c", "--ids", str(tmp_path / "a" / "ids.json"), "--seed", "9") == 0
    assert (tmp_path / "c" / "train.parquet").read_bytes() == (tmp_path / "a" / "train.parquet").read_bytes()


def test_counts_of_what_is_no_source(files, tmp_path, capsys):
    assert build(files, tmp_path / "out", "--counts", "arena=7", names=["tasksource"]) == 1
    assert "--counts names arena, which is none of --sources." in capsys.readouterr().err


def test_the_order_of_the_rows_changes_nothing(files, tmp_path):
    assert build(files, tmp_path / "a", "--count", "6") == 0
    for path in files.values():
        if path.suffix == ".jsonl":
            lines = path.read_text().splitlines()
            path.write_text("\n".join(random.Random(3).sample(lines, len(lines))) + "\n")
        else:
            pd.read_parquet(path).sample(frac=1, random_state=3).to_parquet(path)
    assert build(files, tmp_path / "b", "--count", "6") == 0
    assert (tmp_path / "a" / "train.parquet").read_bytes() == (tmp_path / "b" / "train.parquet").read_bytes()
    drops = [json.loads((tmp_path / name / "manifest.json").read_text())["drops"] for name in "ab"]
    assert drops[0] == drops[1]


def test_a_larger_draw_holds_the_smaller_one_and_looks_no_further_than_it_must():
    pairs = [Pair(f"{n:04}", ({"role": "user", "content": f"{n}"},), f"yes {n}", "x" * (n % 7)) for n in range(1, 400)]
    pairs = [pair for pair in pairs if pair.rejected]
    asked = []

    def length(texts):
        asked.extend(texts)
        return characters(texts)

    small, large = (draw(pairs, count, 5, 7, length) for count in (20, 60))
    ids = [{pair.id for pair, _ in drawn.pairs} for drawn in (small, large)]
    assert ids[0] < ids[1] and [len(own) for own in ids] == [20, 60]
    assert len(asked) < 2 * 3 * len(pairs)
    assert len(small.pairs) + small.dropped.total() + small.left == len(pairs)


def test_tokens_are_those_of_the_tokenizer(files, tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]").save_pretrained(tmp_path / "words")
    for most, prompts in (("2", {"long"}), ("3", {"long", "book 0?", "book 1?", "book 2?"})):
        words = ["--tokenizer", str(tmp_path / "words"), "--max-length", most]
        assert build(files, tmp_path / most, *words, names=["gutenberg"]) == 0
        assert set(by_prompt(tmp_path / most)) == prompts, "`book 1?` is three words"
    lengths = {row["chosen"]: row["len_chosen"] for row in by_prompt(tmp_path / "3").values()}
    assert (lengths["yes 1"], lengths["x" * 9000]) == (2, 1)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--sources", "arina=x.parquet"], "no 'arina' (did you mean 'arena'?)"),
        (["--sources", "arena=none.parquet"], "none.parquet does not exist"),
        (["--sources", "gutenberg="], "--sources=gutenberg= names no file; give gutenberg=FILE"),
        (["--sources", "arena={gutenberg}"], "has no column 'question_id'"),
        (["--sources", "gutenberg={gutenberg}", "--count", "0"], "--count=0: give a number of at least 1"),
        (["--sources", "gutenberg={gutenberg}", "--tokenizer", "/nowhere/at/all"], "--tokenizer=/nowhere/at/all"),
        (["--sources", "gutenberg={gutenberg}", "--ids", "{gutenberg}"], "is no ids.json"),
        (["--sources", "gutenberg={gutenberg}", "--ids", "{other}"], "no usable pair of id 'strange'"),
        (["--sources", "gutenberg={broken}"], "broken.jsonl, line 2"),
    ],
)
def test_bad_input_is_one_sentence(files, tmp_path, capsys, monkeypatch, words, sentence):
    (tmp_path / "broken.jsonl").write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n{"prompt": \n')
    (tmp_path / "other.json").write_text('{"gutenberg": ["strange"]}')
    places = {**files, "broken": tmp_path / "broken.jsonl", "other": tmp_path / "other.json"}
    words = [word.format(**places) for word in words]
    tokenizer = [] if "--tokenizer" in words else ["--tokenizer", "characters"]
    assert preferences.main([*words, *tokenizer, "--output", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert sentence in error and len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_hub_that_cannot_be_reached_is_one_sentence(tmp_path, capsys, monkeypatch):
    """With `datasets` itself: offline, and without a copy in its cache."""
    import datasets

    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.setattr(datasets.config, name, True, raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    words = ["--sources", "gutenberg", "--tokenizer", "characters", "--output", str(tmp_path / "out")]
    assert preferences.main(words) == 1
    error = capsys.readouterr().err
    assert "cannot be loaded from the Hub" in error and "--sources gutenberg=FILE" in error
    assert not (tmp_path / "out").exists()
