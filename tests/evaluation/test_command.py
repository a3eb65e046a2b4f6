"""`sp3f evaluate` as it is called: through an endpoint that fails, a real model that is killed, and wrong options."""

import json
import random
import re
import shutil
import sqlite3
import sys

import pytest

from helpers.model_server import ModelServer, Reply
from helpers.processes import started
from helpers.shared import SHARED_DATA as REAL
from sp3f_verl.cli import evaluate as main
from sp3f_verl.data.files import read_parquet, write_parquet
from sp3f_verl.errors import BadInput
from sp3f_verl.evaluation.arena.outputs import read_outputs
from sp3f_verl.evaluation.run import seed_of
from sp3f_verl.report.benchmarks import output_rows

ES = r"El resultado correcto de la suma es doce. \boxed{%s}"


@pytest.fixture
def questions(tmp_path):
    """mgsm:es with 12 questions: the answer to `n?` is n."""
    path = tmp_path / "mgsm_es.tsv"
    path.write_text("".join(f"{number}?\t{number}\n" for number in range(12)))
    return path


def evaluate(server, folder, *words):
    main(["--backend", "openai", "--base-url", server.url, "--output", str(folder), *map(str, words)])
    return summary(folder)


def run(tmp_path, server, questions, *more, output="out"):
    words = ["--benchmark", "mgsm", "--file", f"mgsm:es={questions}", "--samples", 4, *more]
    return evaluate(server, tmp_path / output, *words)


def rl_row(code, source, ident=None):
    """An RL row that asks for 7."""
    prompt, answer = [{"role": "user", "content": "7?"}], {"ground_truth": "7"}
    return {"id": ident or code, "data_source": source, "prompt": prompt, "language": code, "reward_model": answer}


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def lines(folder, name="mgsm/es"):
    return [json.loads(line) for line in (folder / name / "output.jsonl").read_text().splitlines()]


def right(body):
    return ES % body["messages"][-1]["content"].rstrip("?")


class TestEndpoint:
    def test_layout_and_numbers(self, tmp_path, questions):
        """Even questions are answered right, in Spanish; odd ones wrong, in English."""

        def reply(body):
            number = int(body["messages"][-1]["content"].rstrip("?"))
            return right(body) if number % 2 == 0 else r"The correct result of the sum is this. \boxed{99}"

        with ModelServer(reply) as server:
            result = run(tmp_path, server, questions)
        assert result["decoding"] == {"samples": 4, "temperature": 0.7, "top_p": 0.8, "max_tokens": 2048, "seed": 1}
        (benchmark,) = result["benchmarks"].values()
        spanish = benchmark["languages"]["es"]
        for name in ("accuracy", "majority", "fidelity"):
            assert spanish[name]["mean"] == 0.5 and 0.1 < spanish[name]["low"] < 0.5 < spanish[name]["high"] < 0.9
        assert spanish["pass_at_k"] == {"1": 0.5, "2": 0.5, "4": 0.5} and spanish["parseable"] == 1
        assert spanish["fidelity_curve"]["0.1"] >= spanish["fidelity_curve"]["1.0"] == 0.5
        assert (spanish["problems"], spanish["samples"], spanish["failed"], spanish["tokens"]) == (12, 4, 0, 2)
        assert benchmark["mean"] == spanish
        rows = lines(tmp_path / "out")
        assert [row["id"] for row in rows] == sorted(row["id"] for row in rows) and len(rows) == 12
        fields = {"id", "problem", "language", "lang", "accuracy", "ground_truth", "answer", "finish_reason", "tokens"}
        assert fields | {"status", "parseable"} == set(rows[0]) and all(len(row["answer"]) == 4 for row in rows)
        assert all(row["answer"][0] == ES % row["ground_truth"] for row in rows if row["accuracy"] == [1] * 4)

    def test_failures_are_counted_and_no_zeros(self, tmp_path, questions, capsys):
        """Question 3 always fails, and two samples of question 5: all others are right."""
        asked = []

        def reply(body):
            number = body["messages"][-1]["content"]
            asked.append(number)
            fails = number == "3?" or (number == "5?" and asked.count("5?") <= 2)
            return Reply(status=400, json={"error": {"message": "no"}}) if fails else right(body)

        with ModelServer(reply) as server:
            result = run(tmp_path, server, questions, "--max-failure-share", "0.5")["benchmarks"]["mgsm"]
        spanish = result["languages"]["es"]
        assert spanish["accuracy"]["mean"] == 1.0 and spanish["failed"] == 6 and spanish["unscored"] == 1
        assert spanish["pass_at_k"] == {"1": 1.0, "2": 1.0, "4": None} and spanish["complete"] == 10
        assert "6 samples failed" in capsys.readouterr().out
        failed = [row for row in lines(tmp_path / "out") if None in row["answer"]]
        assert sorted(row["answer"].count(None) for row in failed) == [2, 4]
        assert all(row["accuracy"][at] is None for row in failed for at in range(4) if row["answer"][at] is None)

    def test_the_terminal_shows_the_tables_of_the_report(self, tmp_path, questions, capsys, monkeypatch):
        from sp3f_verl import cli

        with ModelServer(right) as server:
            words = ["--backend", "openai", "--base-url", server.url, "--benchmark", "mgsm", "--samples", "1"]
            words += ["--file", f"mgsm:es={questions}", "--output", str(tmp_path / "out")]
            monkeypatch.setattr(sys, "argv", ["sp3f", "evaluate", *words])
            assert cli.main() == 0
        shown = capsys.readouterr().out
        report = tmp_path / "out" / "report.md"
        (line,) = [line for line in report.read_text().splitlines() if line.startswith("| es |")]
        (row,) = [line for line in shown.splitlines() if line.startswith("es ")]
        assert line.strip("| ").split(" | ") == re.split(r" {2,}", row) and "1.000 [" in row
        assert shown.endswith(f"report: {report}\n") and (tmp_path / "out" / "report.html").is_file()

    def test_the_same_command_again_does_nothing_and_another_model_is_refused(self, tmp_path, questions, capsys):
        with ModelServer(right) as server:
            run(tmp_path, server, questions)
            before, requests = (tmp_path / "out" / "summary.json").read_bytes(), len(server.chats())
            run(tmp_path, server, questions)
            assert "already done" in capsys.readouterr().out and len(server.chats()) == requests
            run(tmp_path, server, questions, "--store", str(tmp_path / "out.answers.sqlite"), output="copy")
            assert len(server.chats()) == requests  # another folder, answers from the store
        assert (tmp_path / "out" / "summary.json").read_bytes() == before
        assert (tmp_path / "copy" / "summary.json").read_bytes() == before

    @pytest.mark.parametrize(
        ("reply", "said"),
        [(Reply(text=" "), r"\(48 empty\)"), (Reply(text="El resultado", finish_reason="length"), r"\(48 cut off\)")],
    )
    def test_no_whole_answer_is_no_evaluation(self, tmp_path, questions, reply, said):
        with ModelServer(lambda body: reply) as server:
            with pytest.raises(BadInput, match=rf"not one of 48 answers is whole {said}; raise --max-tokens"):
                run(tmp_path, server, questions)
            assert not (tmp_path / "out").exists()
            if reply.finish_reason == "length":
                found = run(tmp_path, server, questions, "--keep-truncated")["benchmarks"]["mgsm"]["mean"]
                assert found["truncated"] == 1 and found["accuracy"]["mean"] == 0

    def test_shuffled_questions_give_the_same_result(self, tmp_path, questions):
        rows = questions.read_text().splitlines(keepends=True)
        shuffled = tmp_path / "shuffled.tsv"
        shuffled.write_text("".join(random.Random(3).sample(rows, len(rows))))

        def reply(body):  # by seed: a sample's answer hangs on it
            return ES % (int(body["messages"][-1]["content"].rstrip("?")) + body["seed"] % 2)

        with ModelServer(reply) as server:
            first, second = (run(tmp_path, server, path, output=path.stem) for path in (questions, shuffled))
        assert 0 < first["benchmarks"]["mgsm"]["mean"]["accuracy"]["mean"] < 1
        accuracies = [one["benchmarks"]["mgsm"]["mean"]["accuracy"]["mean"] for one in (first, second)]
        assert accuracies[0] == accuracies[1]
        first, second = (
            [{**row, "problem": None} for row in lines(tmp_path / path.stem)] for path in (questions, shuffled)
        )
        assert first == second

    def test_every_problem_and_sample_has_a_seed_of_its_own(self, tmp_path, questions):
        """One seed for all would draw the same noise for every problem."""
        with ModelServer(right) as server:
            run(tmp_path, server, questions)
            seeds = [chat["body"]["seed"] for chat in server.chats()]
        assert len(set(seeds)) == len(seeds) == 48
        assert seed_of(1, "a") != seed_of(2, "a") and 0 <= seed_of(1, "a") < 2**31

    def test_chinese_is_the_mean_of_cn_and_tw(self, tmp_path):
        rows = [{"zh-cn": f"{at}是多少？", "zh-tw": f"{at}等於多少？", "answer": at} for at in range(4)]
        write_parquet(rows, tmp_path / "mclm.parquet")

        def reply(body):
            """All right in cn; in tw the first of four."""
            asked = body["messages"][-1]["content"]
            return rf"正确的计算结果就是这个数。\boxed{{{asked[0] if '是' in asked else 0}}}"

        with ModelServer(reply) as server:
            words = ["--benchmark", "mt_math100", "--file", f"mt_math100:zh={tmp_path / 'mclm.parquet'}"]
            summary = evaluate(server, tmp_path / "out", *words, "--samples", 2)
        chinese = summary["benchmarks"]["mt_math100"]["languages"]["zh"]
        assert {name: one["accuracy"]["mean"] for name, one in chinese["variants"].items()} == {"cn": 1.0, "tw": 0.25}
        assert chinese["accuracy"]["mean"] == 0.625 and chinese["problems"] == 4
        assert {row["variant"] for row in lines(tmp_path / "out", "mt_math100/zh")} == {"cn", "tw"}

    def test_a_line_is_a_line_whatever_the_answer_holds(self, tmp_path, questions):
        """What other programs take for the end of one, and half a surrogate pair."""
        odd = "a\u2028b\u2029c\x85d\ne\r\nf\udc80 " + ES % 3
        with ModelServer(
            lambda body: Reply(raw=json.dumps(json.loads(Reply(text=odd).body("stub"))).encode())
        ) as server:
            run(tmp_path, server, questions)
        rows = lines(tmp_path / "out")
        assert len(rows) == 12 and all(text.startswith("a\u2028b\u2029c\x85d\ne\r\nf") for text in rows[0]["answer"])

    def test_a_checker_that_fails_is_one_sentence(self, tmp_path, questions, monkeypatch):
        (tmp_path / "nan_checks.py").write_text("def nan(answer, gold):\n    return float('nan')\n")
        monkeypatch.syspath_prepend(tmp_path)
        keys = {"file": "mgsm_{language}.tsv", "columns": {"question": "question", "answer": "answer"}}
        keys |= {"checker": "nan_checks:nan", "languages": ["es"]}
        (tmp_path / "mine.yaml").write_text(json.dumps(keys))  # JSON is YAML
        words = ["--benchmark", tmp_path / "mine.yaml", "--allow-code", "--samples", 2]
        sentence = r"^mine, problem '\d+' in es: the checker 'own' answered nan; .*[^.]\.$"
        with ModelServer(right) as server, pytest.raises(BadInput, match=sentence):
            evaluate(server, tmp_path / "out", *words)
        assert not (tmp_path / "out").exists()

    def test_rl_rows_are_asked_with_their_own_prompt(self, tmp_path):
        rows = [rl_row(code, "mine") for code in ("es", "sw")]
        write_parquet(rows, tmp_path / "rows.parquet")
        with ModelServer(right) as server:
            summary = evaluate(server, tmp_path / "out", "--data", tmp_path / "rows.parquet", "--samples", 2)
            assert all(chat["body"]["messages"] == rows[0]["prompt"] for chat in server.chats())
        mine = summary["benchmarks"]["mine"]
        assert mine["mean"]["accuracy"]["mean"] == 1.0 and mine["mean"]["fidelity"]["mean"] == 0.5
        assert [mine["languages"][code]["fidelity"]["mean"] for code in ("es", "sw")] == [1.0, 0.0]

    def test_a_data_source_with_a_slash_is_one_folder(self, tmp_path):
        """verl's own names are such: the name stays in summary.json and the report, and the arena finds the answers."""
        write_parquet([rl_row(code, "openai/gsm8k") for code in ("es", "sw")], tmp_path / "rows.parquet")
        with ModelServer(right) as server:
            summary = evaluate(server, tmp_path / "out", "--data", tmp_path / "rows.parquet", "--samples", 2)
        assert list(summary["benchmarks"]) == ["openai/gsm8k"]
        assert len(lines(tmp_path / "out", "openai_gsm8k/es")) == 1
        prompts = {(row["id"], row["prompt_lang"]): row for row in read_parquet(tmp_path / "out" / "prompts.parquet")}
        assert {row["task"] for row in prompts.values()} == {"openai/gsm8k"}
        outputs = read_outputs(str(tmp_path / "out"), samples=2)
        assert {key[:2] for key in outputs.answers} == prompts.keys() and len(outputs.answers) == 4
        assert set(output_rows(tmp_path / "out", "openai/gsm8k", "es")) == {"es"}

    def test_two_data_sources_that_would_share_a_folder(self, tmp_path):
        write_parquet([rl_row("es", name, name) for name in ("a/b", "a_b")], tmp_path / "rows.parquet")
        with pytest.raises(BadInput, match="a_b/es would be evaluated twice"):
            main(["--backend", "openai", "--data", str(tmp_path / "rows.parquet"), "--output", str(tmp_path / "out")])


def answers_in(store):
    try:
        with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as connection:
            return connection.execute("SELECT COUNT(*) FROM answers").fetchone()[0]
    except sqlite3.Error:
        return 0


def test_a_killed_run_goes_on_and_ends_as_an_unbroken_one(tmp_path, tiny_model):
    """MGSM in eleven languages and a real model; SIGKILL after the first answers."""
    if not (REAL / "mgsm").is_dir():
        pytest.skip(f"real data is not at {REAL} (set SP3F_REAL_DATA)")
    files = [f"mgsm:{path.stem[-2:]}={path}" for path in sorted((REAL / "mgsm").glob("*.tsv"))]
    model = shutil.copytree(tiny_model, tmp_path / "model")
    settings = json.loads((model / "config.json").read_text()) | {"max_position_embeddings": 8192}
    (model / "config.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "sp3f_verl.cli", "evaluate", "--model", str(model), "--backend", "transformers"]
    command += ["--benchmark", "mgsm", "--file", *files, "--samples", "2", "--limit", "4"]
    command += ["--max-tokens", "6", "--keep-truncated"]
    main([*command[4:], "--output", str(tmp_path / "whole")])
    assert json.loads((tmp_path / "whole" / "summary.json").read_text())["limit"] == 4
    command += ["--output", str(tmp_path / "broken")]
    store = tmp_path / "broken.answers.sqlite"
    with started(command, tmp_path / "first.log") as first:
        first.wait_for(lambda: answers_in(store) >= 10, 400, "answers")
        first.kill()
    had = answers_in(store)
    assert had < 88 and not (tmp_path / "broken" / "summary.json").exists()
    with started(command, tmp_path / "second.log") as second:
        second.wait(400)
    asked = json.loads((tmp_path / "broken" / "manifest.json").read_text())["notes"]["asked"]
    assert asked["from_store"] >= had and asked["asked"] + asked["from_store"] == 88
    for name in ("summary.json", *(f"mgsm/{one[5:7]}/output.jsonl" for one in files)):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


class TestWrongOptions:
    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            (["--benchmark", "mgms"], "did you mean 'mgsm'"),
            ([], "nothing to evaluate on"),
            (["--benchmark", "mgsm", "--languages", "xx"], "unknown language 'xx'"),
            (["--benchmark", "mgsm", "--languages", "pt"], "none is there (mgsm has bn, de"),
            (["--benchmark", "mgsm", "--samples", "0"], "--samples=0: give a number of at least 1"),
            (["--benchmark", "mgsm", "--temperature", "nan"], "--temperature=nan: give a number"),
            (["--benchmark", "mgsm", "--temperature", "0"], "--samples 1"),
            (["--benchmark", "mgsm", "--top-p", "1.5"], "--top-p=1.5: give a number from"),
            (["--benchmark", "mgsm", "--threshold", "70"], "--threshold=70: give a number from 0 to 1"),
            (["--benchmark", "mgsm", "--limit", "0"], "--limit=0"),
            (["--benchmark", "mgsm", "--file", "es=a.tsv"], "write NAME:LANGUAGE=FILE"),
            (["--benchmark", "mgsm", "--file", "mgsm:es=no.tsv"], "no.tsv does not exist"),
            (["--benchmark", "mgsm", "--file", "mgsm:pt=no.tsv"], "mgsm has bn, de"),
            (["--data", "no.parquet"], "no.parquet does not exist"),
            (["--benchmark", "mgsm", "--adapter", "a", "--backend", "openai"], "--adapter is for"),
            (["--benchmark", "mgsm", "--model", "/no/such/model"], "does not exist"),
        ],
    )
    def test_one_sentence(self, options, expected, tmp_path, tiny_model, capsys, monkeypatch):
        from sp3f_verl import cli

        monkeypatch.chdir(tmp_path)
        model = [] if "--model" in options else ["--model", str(tiny_model)]
        command = ["sp3f", "evaluate", *model, *options, "--output", str(tmp_path / "out")]
        monkeypatch.setattr(sys, "argv", command)
        assert cli.main() == 1
        error = capsys.readouterr().err
        assert expected in error and error.startswith("sp3f: ") and error.count("\n") == 1, error
        assert not (tmp_path / "out").exists()
