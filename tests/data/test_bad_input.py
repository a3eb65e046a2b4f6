"""Every data step against every kind of broken input: one sentence that names the file, and nothing written."""

import json
from importlib import import_module

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

IDS = [f"{number:016x}" for number in range(4)]
STUB = ["--base-url", "http://127.0.0.1:9", "--model", "m"]  # nothing listens there: it must not come to that
SAID = [{"role": "user", "content": "Hola, ¿qué tal?"}]


def _translated(i):
    texts = {"question": f"¿Cuánto es {i}?", "query_en": f"What is {i} today?", "solution": "x", "answer": str(i)}
    return {"id": IDS[i], "problem": f"p{i}", "language": "es", **texts}


def _pair(i):
    return {
        "id": IDS[i],
        "pair_id": f"q{i}",
        "prompt": SAID,
        "prompt_lang": "en",
        "chosen": f"so {i}",
        "rejected": "no",
    }


def _source(i):
    return {"prompt": "x", "chosen": f"so {i}", "rejected": "no"}


def _candidate(i):
    values = {"lang_declared": "es", "status": "ok", "text": f"Hola {i}", "reward_raw": float(i)}
    return {"id": IDS[i // 2], "cand_id": f"es-{i % 2}", **values}


def _problem(i):
    return {"id": f"a{i}", "question": f"What is {i} today?", "solution": f"It is so: {i}", "answer": str(i)}


# step -> (row of a number, its column of a language, arguments before the file)
STEPS = {
    "sp3f": (_translated, "language", ["--translated"]),
    "translate": (_problem, None, [*STUB, "--languages", "es", "--input"]),
    "generate": (lambda i: {"id": IDS[i], "prompt_lang": "es", "prompt": SAID}, "prompt_lang", [*STUB, "--prompts"]),
    "score": (_candidate, "lang_declared", ["--model", "none", "--backend", "transformers", "--candidates"]),
    "croco": (_candidate, "lang_declared", ["--candidates"]),
    "architectures": (_pair, "prompt_lang", ["--config", "A", "--input"]),
    "preferences": (
        lambda i: {"prompt": "x", "chosen": f"so {i}", "rejected": "no"},
        None,
        ["--tokenizer", "characters", "--sources"],
    ),
    "prompts": (lambda i: {"id": IDS[i], "inputs": "Hola", "language": "es"}, None, ["--set", "aya_dolly", "--files"]),
    "convert": (_source, None, ["--from", "trl", "--language", "en", "--input"]),
    "selfplay": (lambda i: {"prompt": "so", "real": f"it is {i}"}, None, ["import", "--input"]),
}


def _parquet(rows):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue().to_pybytes()


def _lines(rows):
    return ["".join(json.dumps(row, ensure_ascii=False)).encode() for row in rows]


def _with(rows, **values):
    return b"\n".join(_lines([{**rows[0], **values}, *rows[1:]]))


CASES = {  # (rows, column of the language) -> (name, bytes), None where the step has no such input
    "truncated": lambda rows, _: ("in.parquet", _parquet(rows)[:-200]),
    "broken line": lambda rows, _: ("in.jsonl", b"\n".join([_lines(rows)[0], _lines(rows)[1][:20], *_lines(rows)[2:]])),
    "encoding": lambda rows, _: ("in.jsonl", _lines(rows)[0] + b"\n" + _lines(rows)[1].replace(b"so", b"s\xf1")
                                 .replace(b"H", b"\xf1").replace(b"t", b"\xf1")),
    "empty": lambda rows, _: ("in.jsonl", b""),
    "id twice": lambda rows, _: ("in.jsonl", b"\n".join(_lines(
        [*rows, {name: value if name in ("id", "cand_id", "pair_id", "prompt_lang") else rows[1][name]
                 for name, value in rows[0].items()}]))) if "id" in rows[0] else None,
    "no language": lambda rows, column: column and ("in.jsonl", _with(rows, **{column: None})),
    "unknown language": lambda rows, column: column and ("in.jsonl", _with(rows, **{column: "tlh"})),
}  # fmt: skip


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("SP3F_LANGUAGES", raising=False)
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_bytes(b"\n".join(_lines({"id": ident, "prompt_lang": "es", "prompt": SAID} for ident in IDS)))

    def run(step, file, output):
        before = STEPS[step][2]
        named = f"tasksource={file}" if step == "preferences" else str(file)
        arguments = [*before, named, "--output", str(output)]
        arguments += ["--prompts", str(prompts)] if step in ("score", "croco") else []
        code = import_module(f"data_prep.{step}").main(arguments)
        return code, capsys.readouterr().err.strip()

    return run


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("step", STEPS)
def test_one_sentence_and_nothing_written(step, case, run, tmp_path):
    row, column, _ = STEPS[step]
    content = CASES[case]([row(i) for i in range(4)], column)
    if content is None:
        pytest.skip("the step's input has no such field")
    file = tmp_path / content[0]
    file.write_bytes(content[1])
    code, error = run(step, file, tmp_path / "out")
    assert code == 1 and error.count("\n") == 0, error
    assert error.startswith(f"data_prep.{step}: ")
    assert str(file) in error or case == "id twice", error
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob("out*sqlite*")) or case != "truncated"


@pytest.mark.parametrize("step", [step for step in STEPS if step != "score"])  # which looks for its model first
def test_a_folder_of_something_else_is_left_alone(step, run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    file = tmp_path / "in.jsonl"
    file.write_bytes(b"\n".join(_lines(STEPS[step][0](i) for i in range(4))))
    code, error = run(step, file, tmp_path / "out")
    assert code == 1 and "mine.txt" in error and error.count("\n") == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]
