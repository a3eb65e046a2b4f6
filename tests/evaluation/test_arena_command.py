"""`sp3f evaluate --arena` as a command, with a judge behind real HTTP: what it writes, resumes, and refuses."""

import json
import random
import signal
import subprocess
import sys
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers.arenas import draw, judge_of, outputs, prompts, sentence, taste, write
from helpers.judging import questions, shown
from helpers.model_server import ModelServer, Reply
from sp3f_verl.cli import main
from sp3f_verl.data.files import read_parquet
from sp3f_verl.data.prompts import Prompts
from sp3f_verl.data.schemas import CANDIDATE
from sp3f_verl.errors import BadInput
from sp3f_verl.evaluation import win_rate
from sp3f_verl.evaluation.arena.outputs import read_outputs
from sp3f_verl.evaluation.arena.pairs import pair_up
from sp3f_verl.llm import Store

CATEGORIES = ((0, "coding"), (1, "writing"))
STRENGTH = {"good": 1.5, "fair": 0.5, "base": 0.0}


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs the command; gives its exit status."""

    def run(*options, output="out"):
        monkeypatch.setattr(
            sys, "argv", ["sp3f", "evaluate", "--arena", *map(str, options), "--output", str(tmp_path / output)]
        )
        return main()

    return run


def given(folder, *names, **changes):
    files = {name: outputs(folder, name, **changes) for name in names}
    *candidates, baseline = files.values()
    told = [part for file in candidates for part in ("--candidate", file)]
    return [*told, "--baseline", baseline, "--prompts", prompts(folder)]


def summary_of(folder):
    return json.loads((folder / "summary.json").read_text())


def test_the_numbers_follow_from_the_verdicts_that_are_written(command, tmp_path):
    with ModelServer(taste(STRENGTH, first=0.5, malformed=0.15)) as server:
        assert command(*given(tmp_path, "good", "fair", "base"), *judge_of(server, model="gpt-4o-mini")) == 0
        asked = questions(server)
    assert len(asked) == 2 * 24 * 2 and len({tuple(each) for each in asked}) == len(asked), "each pair in both orders"
    summary, rows = summary_of(tmp_path / "out"), read_parquet(tmp_path / "out" / "preferences.parquet")
    assert (summary["kind"], summary["candidate"], summary["baseline"]) == ("arena", "good", "base")
    assert len(rows) == 96 and {row["order"] for row in rows} == {"candidate_first", "baseline_first"}
    for name, found in (("good", summary), ("fair", summary["others"]["fair"])):
        kept = set()
        for code in ("de", "es"):
            own = [row for row in rows if (row["candidate"], row["language"]) == (name, code)]
            cell, by_prompt = found["languages"][code], {}
            for row in own:
                if row["verdict"] == "failed":
                    assert row["failure"] == "malformed" and "cannot" in row["answer"] and row["preference"] is None
                    continue
                won = (row["verdict"] == "A") == (row["order"] == "candidate_first")
                assert row["preference"] == won
                by_prompt.setdefault(row["id"], []).append(won)
            alone = sum(len(each) == 1 for each in by_prompt.values())
            means = [sum(each) / len(each) for each in by_prompt.values() if len(each) == 2]
            kept |= {ident for ident, each in by_prompt.items() if len(each) == 2}
            assert cell["one_order"] == alone and cell["unjudged"] == 12 - len(means)
            assert cell["win_rate"]["mean"] == pytest.approx(win_rate(means))
            assert cell["standard_error"] == pytest.approx(win_rate(means).standard_error)
            assert cell["unparseable"] == sum(row["verdict"] == "failed" for row in own)
            assert cell["prompts"] + cell["unjudged"] == 12 and cell["wrong_language"] == 0
            assert cell["win_rate"]["low"] < cell["win_rate"]["mean"] < cell["win_rate"]["high"]
        counts = {category: cell["prompts"] for category, cell in found["categories"].items()}
        assert counts == {name: len({ident for ident in kept if int(ident[1:]) % 2 == at}) for at, name in CATEGORIES}
        means = [found["languages"][code]["win_rate"]["mean"] for code in ("de", "es")]
        assert found["mean"]["win_rate"]["mean"] == pytest.approx(sum(means) / 2)
    assert any(row["verdict"] == "failed" for row in rows)
    (pair,) = summary["paired"]
    assert (pair["a"], pair["b"]) == ("good", "fair") and pair["mean"]["mean"] > 0
    assert summary["cost"]["usd"] == pytest.approx(96 * (100 * 0.15 + 20 * 0.60) / 1e6)
    text = (tmp_path / "out" / "report.md").read_text()
    assert "good against base" in text and "good minus fair" in text and summary["judge"]["prompt_version"] in text
    pairs = read_parquet(tmp_path / "out" / "pairs.parquet")
    assert len(pairs) == 48 and not any(row["settled"] for row in pairs)


def test_the_judge_sees_the_prompt_and_its_language_and_no_solution(command, tmp_path):
    files = given(tmp_path, "good", "base")
    rows = [json.loads(line) | {"reference_en": "SECRET"} for line in files[-1].read_text().splitlines()]
    write(files[-1], rows)
    with ModelServer(taste(STRENGTH)) as server:
        assert command(*files, *judge_of(server)) == 0
        bodies = [each["body"]["messages"] for each in server.chats() if shown(each["body"])]
        assert command(*files, *judge_of(server, privileged="true"), output="told") == 0
        told = [each["body"]["messages"] for each in server.chats() if shown(each["body"])][len(bodies) :]
    for system, user in bodies:
        code = "German" if " in de?" in user["content"] else "Spanish"
        assert code in system["content"] and "SECRET" not in user["content"] and "\\boxed{tie}" in system["content"]
    assert told and all("SECRET" in user["content"] for _, user in told)


def test_a_judge_that_dies_late_ends_the_run_and_the_same_command_goes_on(command, tmp_path, capsys):
    """Nine tenths answered: the desk's ceiling, a share of all questions, would let the rest fail one by one."""
    files, judge = given(tmp_path, "good", "fair", "base"), taste(STRENGTH, malformed=0.1)
    with ModelServer(judge) as server:
        assert command(*files, *judge_of(server), output="whole") == 0
        total = len(questions(server))
    answered = []

    def dying(body):
        if len(shown(body)) == 2 and len(answered) >= total * 0.6:
            return Reply(status=500)
        answered.extend([1] * (len(shown(body)) == 2))
        return judge(body)

    with ModelServer(dying) as server:
        assert command(*files, *judge_of(server, retries=0, concurrency=2)) == 1
        told, asked = capsys.readouterr().err, len(questions(server))
    assert "questions to the judge failed (server_error: " in told and "start the same command again" in told
    assert asked < total and not (tmp_path / "out" / "manifest.json").exists()
    with ModelServer(judge) as server:
        assert command(*files, *judge_of(server, retries=0, concurrency=2)) == 0
        assert len(questions(server)) <= total - len(answered) + 8  # malformed answers are asked again
    assert summary_of(tmp_path / "out")["mean"] == summary_of(tmp_path / "whole")["mean"]


def test_killed_runs_end_in_the_same_numbers_and_ask_nothing_twice(command, tmp_path):
    """A server with faults, two SIGKILLs; what the store has when a run begins is not asked by it."""
    files, seen = given(tmp_path, "good", "fair", "base"), Counter()
    judge = taste(STRENGTH, first=0.5, malformed=0.1)

    def faulty(body):
        texts = tuple(shown(body))
        seen[texts] += 1
        if texts and seen[texts] == 1 and (fault := draw("fault", *texts)) < 0.2:
            return Reply(status=503) if fault < 0.1 else Reply(reset=True)
        return judge(body)

    with ModelServer(judge) as server:
        assert command(*files, *judge_of(server), output="whole") == 0
    with ModelServer(faulty, latency=0.05) as server:
        options = ["--output", str(tmp_path / "killed"), *map(str, files), *judge_of(server, concurrency=4)]
        run = [sys.executable, "-m", "sp3f_verl.cli", "evaluate", "--arena", *options]
        for more in (20, 25):
            begun = len(server.chats())
            with subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                assert server.wait_for(lambda server, least=begun + more: len(server.chats()) >= least, 60)
                process.send_signal(signal.SIGKILL)
            assert server.wait_for(lambda server: server.current == 0)
            assert not (tmp_path / "killed" / "manifest.json").exists()
        with Store(tmp_path / "killed.answers.sqlite") as store:
            known = len(store)
        answered, before = Counter(), Counter(seen)
        assert 20 < known < 96
        assert command(*files, *judge_of(server, concurrency=4), output="killed") == 0
        answered = seen - before
        del answered[()]  # the desk's first question
        assert len(answered) == 96 - known
        assert all(count <= 2 for count in answered.values()), "once, and once more after a fault"
        total = len(server.chats())
        assert command(*files, *judge_of(server, concurrency=4), output="killed") == 0, "it is done"
        assert len(server.chats()) == total
    for name in ("summary.json", "preferences.parquet", "pairs.parquet", "report.md"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_a_judge_that_always_says_first(command, tmp_path):
    with ModelServer(lambda body: "\\boxed{A}") as server:
        assert command(*given(tmp_path, "good", "base"), *judge_of(server)) == 0
    found = summary_of(tmp_path / "out")["mean"]
    assert found["win_rate"] == {"mean": 50, "low": None, "high": None} and found["lc_win_rate"]["mean"] == 50
    assert found["position_bias"]["first"]["mean"] == 100 and found["position_bias"]["consistent"] == 0


def test_requests_that_fail_are_counted_apart_and_asked_again_by_the_next_run(command, tmp_path, capsys):
    """The server refuses whatever is about q000, then recovers."""
    files, refused = given(tmp_path, "good", "base"), True

    def reply(body):
        if refused and "Question 0 in" in body["messages"][-1]["content"]:
            return Reply(status=400, json={"error": {"message": "no"}})
        return taste(STRENGTH)(body)

    with ModelServer(reply) as server:
        assert command(*files, *judge_of(server)) == 0
        store = tmp_path / "out.answers.sqlite"
        assert f"4 questions failed; another --output with --store {store}" in capsys.readouterr().out
        refused, before = False, len(questions(server))
        assert command(*files, *judge_of(server), "--store", store, output="again") == 0
        assert len(questions(server)) - before == 4
    found, again = (summary_of(tmp_path / name)["mean"] for name in ("out", "again"))
    assert (found["failed"], found["unparseable"], found["unjudged"], found["one_order"]) == (4, 0, 2, 0)
    assert (again["failed"], again["unjudged"], again["prompts"]) == (0, 0, 12)


def test_a_budget_stops_and_what_was_paid_is_kept(command, tmp_path, capsys):
    files = given(tmp_path, "good", "base")
    price = "sp3f.judge.price={input: 10.0, output: 10.0}"
    with ModelServer(taste(STRENGTH)) as server:
        told = [*judge_of(server, max_tokens=100, concurrency=1), price]
        assert command(*files, *told, "sp3f.judge.budget_usd=0.06") == 1
        assert "sp3f.judge.budget_usd=0.06" in capsys.readouterr().err
        paid = len(questions(server))
        assert 0 < paid < 48
        assert command(*files, *told, "sp3f.judge.budget_usd=1") == 0
        assert len(questions(server)) == 48, "nothing was paid for twice"
    spent = json.loads((tmp_path / "out.judge_spending.json").read_text())["spent_usd"]
    assert summary_of(tmp_path / "out")["cost"]["usd"] == pytest.approx(48 * 120 * 10 / 1e6)
    assert spent == pytest.approx((48 * 120 + 2 * 12) * 10 / 1e6), "and the first questions of two runs"


def test_what_needs_no_judge_and_what_is_measured_of_the_texts(command, tmp_path):
    """Equal texts tie, an empty one loses, thoughts are not shown, English is the wrong language, a cut is counted."""
    english = "base. The big house stands near the river and the children play there with their dog every day."

    def change(row):
        number = int(row["id"][1:])
        if number == 0:
            return row | {"text": "base. Genau derselbe Text steht hier auf beiden Seiten."}
        if number == 1 and "good." in row["text"]:
            return row | {"text": " \n"}
        if number == 2:
            return row | {"text": f"<think>geheim</think>{row['text']}"}
        if number == 3 and "base." in row["text"]:
            return row | {"text": english, "status": "off_language"}
        return row | ({"status": "truncated"} if number == 4 and "good." in row["text"] else {})

    with ModelServer(taste(STRENGTH)) as server:
        assert command(*given(tmp_path, "good", "base", codes=("de",), change=change), *judge_of(server)) == 0
        texts = [text for question in questions(server) for text in question]
    assert len(texts) == 10 * 2 * 2 and not any("geheim" in text for text in texts)
    pairs = {row["id"]: row for row in read_parquet(tmp_path / "out" / "pairs.parquet")}
    assert [(pairs[f"q{n:03}"]["settled"], pairs[f"q{n:03}"]["preference"]) for n in (0, 1)] == [(True, 0.5), (True, 0)]
    found = summary_of(tmp_path / "out")["languages"]["de"]
    assert (found["settled"], found["truncated"], found["baseline_truncated"]) == (2, 1, 0)
    assert found["wrong_language"] == 0 and found["baseline_wrong_language"] == pytest.approx(100 / 12)


def test_candidates_of_generate_and_answers_of_evaluate_meet(command, tmp_path):
    rng, folder = random.Random(1), tmp_path / "lr=1e-5" / "generated"
    folder.mkdir(parents=True)
    rows = [
        {
            "id": f"bench/q{number:03}", "cand_id": f"{code}-{draw}", "lang_declared": code, "status": "ok",
            "text": f"good. {sentence(code, rng)} {draw}",
        }
        for number in range(6) for code in ("de", "es") for draw in range(2)
    ]  # fmt: skip
    columns = [{name: row.get(name) for name in CANDIDATE.names} for row in rows]
    pq.write_table(pa.Table.from_pylist(columns, CANDIDATE), folder / "candidates.parquet")
    asked = [json.loads(line) for line in prompts(tmp_path, 6).read_text().splitlines()]
    asked = [row | {"id": f"bench/{row['id']}"} for row in asked]
    pq.write_table(pa.Table.from_pylist(asked), folder / "prompts.parquet")
    for code in ("de", "es"):
        place = tmp_path / "base" / "bench" / code
        place.mkdir(parents=True)
        write(
            place / "output.jsonl",
            [
                {
                    "id": f"x{number}", "problem": f"q{number:03}", "language": code, "status": ["ok", "ok"],
                    "answer": [f"base. {sentence(code, rng)} {draw}" for draw in range(2)], "accuracy": [0, 1],
                }
                for number in range(6)
            ],
        )  # fmt: skip
    options = ["--candidate", folder, "--baseline", tmp_path / "base", "--samples", 2]
    with ModelServer(taste(STRENGTH)) as server:
        assert command(*options, *judge_of(server)) == 0
        assert len(questions(server)) == 6 * 2 * 2 * 2
    found = summary_of(tmp_path / "out")
    assert (found["candidate"], found["baseline"]) == ("generated", "base")
    assert list(found["categories"]) == ["bench"] and found["mean"]["prompts"] == 6
    assert Counter(row["sample"] for row in read_parquet(tmp_path / "out" / "pairs.parquet")) == {0: 12, 1: 12}


@pytest.mark.parametrize("given_too", [False, True])
def test_answers_to_other_questions_under_the_same_ids_do_not_meet(given_too, command, tmp_path, capsys):
    options = []
    for role, name in (("--candidate", "good"), ("--baseline", "base")):
        (tmp_path / name).mkdir()
        rows = [json.loads(line) for line in outputs(tmp_path, name, 3).read_text().splitlines()]
        rows = [row | {"lang_declared": row["language"], "cand_id": "0", "status": "ok"} for row in rows]
        columns = [{column: row.get(column) for column in CANDIDATE.names} for row in rows]
        pq.write_table(pa.Table.from_pylist(columns, CANDIDATE), tmp_path / name / "candidates.parquet")
        asked = [json.loads(line) for line in prompts(tmp_path, 3).read_text().splitlines()]
        if name == "base":
            asked[3]["prompt"][0]["content"] = "Something else?"
        pq.write_table(pa.Table.from_pylist(asked), tmp_path / name / "prompts.parquet")
        options += [role, tmp_path / name]
    told = ["--prompts", tmp_path / "prompts.jsonl"] if given_too else []
    with ModelServer(taste(STRENGTH)) as server:
        assert command(*options, *told, *judge_of(server)) == 1
        error = capsys.readouterr().err
        assert "'q001' in 'es'" in error and str(tmp_path / "base") in error and error.count("\n") == 1
        assert not server.chats()
        (tmp_path / "base" / "prompts.parquet").write_bytes((tmp_path / "good" / "prompts.parquet").read_bytes())
        assert command(*options, *told, *judge_of(server)) == 0


def test_the_first_samples_are_those_with_the_lowest_numbers(tmp_path):
    row = {"id": "q", "language": "de"}
    for name, ids in (("numbers", [11, 2, 0, 10, 1]), ("texts", ["de-11", "de-2", "de-0", "de-10", "de-1"])):
        file = write(tmp_path / f"{name}.jsonl", [row | {"cand_id": each, "text": f"{each}"} for each in ids])
        texts = [answer.text.removeprefix("de-") for answer in read_outputs(str(file), 4).answers.values()]
        assert texts == ["0", "1", "2", "10"]


def test_missing_counts_prompts_and_not_their_samples(tmp_path):
    rows = [
        {"id": f"q{at:03}", "language": "de", "cand_id": draw, "text": f"{at} {draw}"}
        for at in range(3)
        for draw in range(4)
    ]
    both = write(tmp_path / "base.jsonl", rows), write(tmp_path / "good.jsonl", rows[4:])
    baseline, candidate = (read_outputs(str(each), 4) for each in both)
    asked = Prompts([prompts(tmp_path, 3)])
    with pytest.raises(BadInput, match="one of 1 of 3 prompts"):
        pair_up([candidate], baseline, asked, allow_missing=False)
    assert pair_up([candidate], baseline, asked, allow_missing=True).missing == {"good": {"de": 1}}


def test_two_evaluations_meet_as_they_are(command, tmp_path, monkeypatch):
    """Two benchmarks whose problems have the same keys, one of them asked in two scripts of a language."""
    questions_of = {"mgsm:zh": tmp_path / "mgsm.tsv", "mt_math100:zh.cn": tmp_path / "cn.parquet"}
    questions_of["mt_math100:zh.tw"] = tmp_path / "tw.parquet"
    write_mgsm = "".join(f"一加{number}等于多少？\t{number + 1}\n" for number in range(4))
    questions_of["mgsm:zh"].write_text(write_mgsm)
    for script, word in (("cn", "少"), ("tw", "幾")):
        rows = [{f"zh-{script}": f"{number}是多{word}？", "answer": str(number)} for number in range(4)]
        pq.write_table(pa.Table.from_pylist(rows), questions_of[f"mt_math100:zh.{script}"])
    files = [f"{name}={path}" for name, path in questions_of.items()]
    for name in ("good", "base"):
        with ModelServer(lambda body, name=name: f"{name}. {body['messages'][-1]['content']}") as server:
            words = ["--backend", "openai", "--base-url", server.url, "--benchmark", "mgsm", "mt_math100"]
            words += ["--file", *files, "--samples", "1", "--output", str(tmp_path / name)]
            monkeypatch.setattr(sys, "argv", ["sp3f", "evaluate", *words])
            assert main() == 0
    with ModelServer(taste(STRENGTH)) as server:
        options = ["--candidate", tmp_path / "good", "--baseline", tmp_path / "base"]
        assert command(*options, *judge_of(server)) == 0
        seen = [entry["body"]["messages"][-1]["content"] for entry in server.chats()]
    assert any("2是多幾？" in text for text in seen), "the judge sees what was asked"
    found = summary_of(tmp_path / "out")
    assert found["mean"]["prompts"] == 12
    assert {name: cell["prompts"] for name, cell in found["categories"].items()} == {"mgsm": 4, "mt_math100": 8}


def test_missing_answers_are_refused_or_counted(command, tmp_path, capsys):
    def change(row):
        if "base." in row["text"] and row["id"] == "q001" and row["language"] == "es":
            return row | {"text": None, "status": "error"}
        return None if "good." in row["text"] and row["id"] == "q000" else row

    files = given(tmp_path, "good", "base", change=change)
    with ModelServer(taste(STRENGTH)) as server:
        assert command(*files, *judge_of(server)) == 1
        error = capsys.readouterr().err
        assert "'q000' in 'de', one of 3 of 24 prompts" in error and "--allow-missing" in error
        assert not server.chats()
        assert command(*files, "--allow-missing", *judge_of(server)) == 0
    found = summary_of(tmp_path / "out")
    assert [found["languages"][code]["missing"] for code in ("de", "es")] == [1, 2]
    assert found["mean"]["missing"] == 3 and found["languages"]["es"]["prompts"] == 10


def test_one_token_verdicts_and_a_panel(command, tmp_path):
    """P(A) of one token is soft credit; a second judge weighs a third."""

    def reply(body):
        if len(shown(body)) != 2:
            return Reply(text="\\boxed{A}", top_logprobs={"A": -0.1})
        if body.get("logprobs"):
            first = shown(body)[0].startswith("good")
            return Reply(text="A", top_logprobs={"A": -0.105 if first else -2.303, "B": -2.303 if first else -0.105})
        return "\\boxed{A}"

    panel = "sp3f.judge.panel=[{model: other, verdict: text, weight: 0.5}]"
    with ModelServer(reply) as server:
        told = judge_of(server, verdict="logprob")
        assert command(*given(tmp_path, "good", "base"), *told, panel) == 0
    found, rows = summary_of(tmp_path / "out"), read_parquet(tmp_path / "out" / "preferences.parquet")
    assert found["mean"]["win_rate"]["mean"] == pytest.approx((90 * 1 + 50 * 0.5) / 1.5, abs=0.1)
    assert found["judge"]["prompt"] == "arena_token" and found["judge"]["panel"][0]["prompt"] == "arena"
    assert Counter(row["judge"] for row in rows) == {"openai:stub": 48, "openai:other#1": 48}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"judge": []}, "judge=openai"),
        ({"judge": ["judge=reference"]}, "judge=reference"),
        ({"judge": ["judge=opnai"]}, "did you mean 'openai'"),
        ({"judge": ["judge=openai", "trainer.x=1"]}, "'trainer.x=1'"),
        ({"more": ["sp3f.judge.modl=x"]}, "modl"),
        ({"more": ["sp3f.judge.schedule=listwise"]}, "listwise"),
        ({"more": ["sp3f.judge.prompt=nowhere.txt"]}, "nowhere.txt"),
        ({"more": ["sp3f.judge.privileged=true"]}, "reference_en"),
        ({"judge": ["judge=local"]}, "sp3f.judge.base_url"),
        ({"more": ["sp3f.judge.panel=5"]}, "sp3f.judge.panel=5"),
        ({"more": ["sp3f.judge.panel=[5]"]}, "sp3f.judge.panel[0]=5"),
        ({"files": ["--candidate", "none.jsonl"]}, "none.jsonl"),
        ({"files": ["--candidate", "good=BASE", "--candidate", "good=BASE"]}, "'good'"),
        ({"files": ["--candidate", "EMPTY"]}, "neither candidates.parquet"),
        ({"files": ["--candidate", "STRANGE"]}, "'q999' in 'de'"),
        ({"files": ["--candidate", "TWICE"]}, "'q000' in 'de' twice"),
        ({"files": ["--candidate", "TEXTLESS"]}, "'text'"),
        ({"files": ["--candidate", "NUMBER"]}, "'text' holds 5"),
        ({"files": ["--candidate", "LIST"]}, "'text' holds ['a']"),
        ({"files": ["--candidate", "UNKNOWN"]}, "unknown language 'xx'"),
        ({"files": ["--candidate", "BASE2", "--samples", "0"]}, "--samples=0"),
        ({"files": ["--candidate", "BASE2", "--min-language-share", "7"]}, "--min-language-share=7"),
        ({"prompts": False}, "--prompts"),
        ({"reply": lambda body: "no verdict" if shown(body) else "\\boxed{A}"}, "malformed 48"),
        ({"reply": lambda body: Reply(status=401, json={"error": {"message": "wrong"}})}, "does not answer"),
    ],
)
def test_bad_input_is_one_sentence(change, named, command, tmp_path, capsys):
    row = {"id": "q000", "language": "de", "text": "x"}
    (tmp_path / "EMPTY").mkdir()
    places = {
        "STRANGE": [row | {"id": "q999"}], "TWICE": [row, row], "TEXTLESS": [{"id": "q000", "language": "de"}],
        "UNKNOWN": [row | {"language": "xx"}], "NUMBER": [row | {"text": 5}], "LIST": [row | {"text": ["a"]}],
    }  # fmt: skip
    paths = {name: str(write(tmp_path / f"{name}.jsonl", rows)) for name, rows in places.items()}
    *files, _, prompt_file = given(tmp_path, "good", "base")
    paths |= {"BASE": str(files[-1]), "BASE2": f"second={files[1]}", "EMPTY": str(tmp_path / "EMPTY")}
    if "files" in change:
        told = [each.replace(name, path) for each in change["files"] for name, path in [_place(each, paths)]]
        files = [*told, "--baseline", files[-1]]
    if change.get("prompts", True):
        files += ["--prompts", prompt_file]
    with ModelServer(change.get("reply", taste(STRENGTH))) as server:
        judge = change.get("judge", judge_of(server)) + change.get("more", [])
        assert command(*files, *judge) == 1
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("sp3f: ")]
    assert len(error) == 1 and named in error[0] and error[0].endswith("."), error
    assert not (tmp_path / "out").exists()


def _place(text, paths):
    return next(((name, path) for name, path in paths.items() if text.endswith(name)), ("\0", ""))
