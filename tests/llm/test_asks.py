"""Asking many: what is asked, what is kept, and what comes of failures, over real HTTP."""

import argparse
import gc
import json
import random
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import Counter
from pathlib import Path

import pytest

from helpers.model_server import ModelServer, Reply
from helpers.shared import HELPERS
from sp3f_verl.errors import BadInput
from sp3f_verl.llm import Answer, Ask, Endpoint, FailureKind, Price, Status, Store, TooManyFailures, Totals, Usage
from sp3f_verl.llm.backends.openai import OpenAIBackend
from sp3f_verl.llm.cli_options import (
    add_model_options,
    add_scorer_options,
    model_options,
    open_model,
    open_scorer,
    scorer_options,
    store_of,
    watched,
)
from sp3f_verl.llm.options import ModelOptions
from sp3f_verl.llm.totals import FEWEST, RECENT

CANARY = "sk-canary-0123456789abcdef"
SPANISH = Reply(text="hola", usage={"prompt_tokens": 10, "completion_tokens": 2})


def an_ask(row=0, text=None, **fields):
    fields = {"max_tokens": 9, **fields}
    return Ask(f"row-{row}", [{"role": "user", "content": text or f"question {row}"}], **fields)


def ask_all(server, asks, store=None, totals=None, **endpoint):
    """(answers by (id, number), totals)"""
    endpoint = {"model": "stub", "concurrency": 8, "max_retries": 0, **endpoint}
    with OpenAIBackend(Endpoint((server.url,), **endpoint), store and Store(store), totals) as backend:
        answers = list(backend.answers(asks))
    assert len({(answer.id, answer.number) for answer in answers}) == len(answers)
    return {(answer.id, answer.number): answer for answer in answers}, backend.totals


def backend_for(server, concurrency):
    return OpenAIBackend(Endpoint((server.url,), "stub", concurrency=concurrency))


def question(body):
    return body["messages"][-1]["content"]


class TestAnswers:
    def test_every_kind(self):
        replies = {
            "ok": Reply(text="fine"),
            "cut": Reply(text="fi", finish_reason="length"),
            "filtered": Reply(text="f", finish_reason="content_filter"),
            "unwilling": Reply(text=None, refusal="I will not."),
            "broken": Reply(status=500, json={"error": {"message": "out of memory"}}),
        }
        with ModelServer(lambda body: replies[question(body)]) as server:
            asks = [an_ask(number, text) for number, text in enumerate(replies)]
            answers, totals = ask_all(server, asks, totals=Totals(max_failure_share=1))
        ok, cut, filtered, unwilling, broken = (answers[f"row-{number}", 0] for number in range(5))
        assert ok == Answer("row-0", 0, Status.OK, "fine", "stop", Usage(10, 0, 2), "stub")
        assert (cut.status, cut.text, cut.finish_reason) == (Status.TRUNCATED, "fi", "length")
        for answer in (filtered, unwilling):
            assert (answer.status, answer.text, answer.failure) == (Status.REFUSED, None, FailureKind.REFUSED)
        assert unwilling.message == "I will not."
        assert (broken.status, broken.text, broken.failure) == (Status.ERROR, None, FailureKind.SERVER_ERROR)
        assert "out of memory" in broken.message
        assert totals.as_dict()["answers"] == {"error": 1, "ok": 1, "refused": 2, "truncated": 1}
        assert totals.as_dict()["failures"] == {"refused": 2, "server_error": 1}
        assert json.loads(json.dumps(totals.as_dict())) == totals.as_dict()

    def test_the_request_says_all_that_the_ask_says(self):
        ask = an_ask(temperature=0.7, top_p=0.8, seed=5, number=3, stop=("\n\n",), extra={"top_k": 20})
        with ModelServer() as server:
            ask_all(server, [ask])
            (entry,) = server.chats()
        assert entry["body"] == {
            "model": "stub",
            "messages": ask.messages,
            "max_tokens": 9,
            "stream": False,
            "temperature": 0.7,
            "top_p": 0.8,
            "seed": ask.own_seed,
            "stop": ["\n\n"],
            "top_k": 20,
        }

    def test_each_number_has_a_seed_of_its_own_and_no_other_seed_has_it(self):
        seeds = [an_ask(seed=seed, number=number).own_seed for seed in range(20) for number in range(20)]
        assert len(set(seeds)) == len(seeds) and all(0 <= seed < 2**31 for seed in seeds)
        assert an_ask(seed=7).own_seed == 7 and an_ask(number=3).own_seed is None

    def test_a_slow_answer_holds_nobody_up(self):
        slow_first = lambda body: Reply(delay=3.0 * (question(body) == "question 0"))  # noqa: E731
        with ModelServer(slow_first) as server, backend_for(server, 2) as backend:
            order = [answer.id for answer in backend.answers(an_ask(number) for number in range(20))]
        assert order[-1] == "row-0" and len(order) == 20

    def test_two_streams_of_one_backend_share_its_concurrency(self):
        with (
            ModelServer(latency=0.01) as server,
            backend_for(server, 4) as backend,
        ):
            first = backend.answers(an_ask(number) for number in range(40))
            second = backend.answers(an_ask(answer_number(answer) + 100) for answer in first)
            assert sorted(map(answer_number, second)) == list(range(100, 140))
            assert server.peak <= 4 and len(server.chats()) == 80

    def test_nothing_asked_is_nothing_answered(self):
        with ModelServer() as server:
            assert ask_all(server, []) == ({}, Totals())

    def test_the_model_is_the_first_that_the_server_names(self):
        with ModelServer(models=["first", "second"]) as server:
            answers, _ = ask_all(server, [an_ask()], model=None)
            assert answers["row-0", 0].model == "first" and server.chats()[0]["body"]["model"] == "first"


def answer_number(answer):
    return int(answer.id.removeprefix("row-"))


class TestStore:
    def test_only_what_failed_is_asked_again(self, tmp_path):
        broken = {"question 1", "question 3"}

        def reply(body):
            if question(body) in broken:
                return Reply(status=500)
            return Reply(text=None, refusal="no") if question(body) == "question 2" else SPANISH

        with ModelServer(reply) as server:
            asks = [an_ask(number) for number in range(6)]
            before, _ = ask_all(server, asks, tmp_path / "a", Totals(max_failure_share=0.5))
            asked = len(server.log)
            broken.clear()
            after, totals = ask_all(server, asks, tmp_path / "a")
            assert sorted(question(entry["body"]) for entry in list(server.log)[asked:]) == ["question 1", "question 3"]
        assert [answer.status for answer in before.values()].count(Status.ERROR) == 2
        assert after["row-2", 0].status is Status.REFUSED and after["row-1", 0].text == "hola"
        assert (totals.fresh, totals.reused, totals.usage) == (2, 4, Usage(20, 0, 4))

    def test_equal_questions_are_asked_once_whoever_asks(self):
        with ModelServer(lambda body: SPANISH, latency=0.01) as server:
            answers, totals = ask_all(server, [an_ask(number, "the same") for number in range(300)])
            assert len(server.chats()) < 10  # the equals within a chunk, and those that come before it is answered
            assert len(answers) == 300 and {answer.text for answer in answers.values()} == {"hola"}
            assert totals.fresh == len(server.chats())

    @pytest.mark.parametrize(
        "change",
        [
            {"max_tokens": 10},
            {"temperature": 0.5},
            {"top_p": 0.5},
            {"seed": 1},
            {"number": 1},
            {"stop": ("x",)},
            {"extra": {"top_k": 1}},
            {"text": "question 0 "},
        ],
    )
    def test_whatever_shapes_the_answer_is_in_the_key(self, change):
        assert an_ask().key("m") != an_ask(**change).key("m")

    def test_the_id_is_not_in_the_key_but_the_model_is(self):
        assert an_ask(1, "x").key("m") == an_ask(2, "x").key("m") != an_ask(1, "x").key("n")

    def test_neither_key_nor_question_lies_in_the_store(self, tmp_path, monkeypatch, caplog):
        monkeypatch.setenv("SOME_KEY", CANARY)
        caplog.set_level("DEBUG")
        refused = Reply(text=None, refusal=f"your key {CANARY} is bad")
        with ModelServer(lambda body: refused, api_key=CANARY) as server:
            answers, _ = ask_all(server, [an_ask(0, "a private question")], tmp_path / "a", api_key_env="SOME_KEY")
        stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())
        assert b"is bad" in stored and CANARY.encode() not in stored and b"private" not in stored
        assert CANARY not in caplog.text and CANARY not in str(answers)

    def test_a_killed_run_asks_nothing_again_that_it_had_handed_on(self, tmp_path):
        """Five kills at random moments. What was handed on is asked once; of the rest each kill costs the requests in
        flight at most: nothing further is asked before an answer is on disk, which takes its time here."""
        rows, concurrency, rng = 400, 16, random.Random(4)
        program = HELPERS / "ask_rows.py"
        with ModelServer(lambda body: question(body), latency=0.02) as server:
            command = [sys.executable, program, server.url, tmp_path / "answers", str(rows), str(concurrency)]
            handed: set[str] = set()
            for _ in range(5):
                with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
                    for _ in range(rng.randrange(5, 90)):
                        handed.add(run.stdout.readline().strip())
                    run.send_signal(signal.SIGKILL)
                    handed |= set(run.stdout.read().split("\n")[:-1])
                assert server.wait_for(lambda server: server.current == 0)
                asked = Counter(question(entry["body"]) for entry in server.chats())
                before = {name: asked[name] for name in handed if name}
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
            asked = Counter(question(entry["body"]) for entry in server.chats())
        assert sorted(done.stdout.split()) == sorted(f"question-{number}" for number in range(rows))
        assert len(before) > 50 and all(asked[name] == count for name, count in before.items())
        assert sum(asked.values()) <= rows + 5 * concurrency

    def test_a_disk_that_takes_nothing_ends_the_asking_with_its_error(self, tmp_path):
        class FullDisk(Store):
            def put_many(self, items):
                raise OSError(28, "No space left on device")

        with ModelServer() as server:
            backend = OpenAIBackend(Endpoint((server.url,), "stub", concurrency=4), FullDisk(tmp_path / "a"))
            with backend, pytest.raises(OSError, match="No space left"):
                list(backend.answers(an_ask(number) for number in range(40)))
            assert len(server.chats()) <= 8


class TestPressure:
    def test_asks_are_drawn_as_answers_are_taken(self):
        drawn = 0

        def asks():
            nonlocal drawn
            while True:  # without end
                yield an_ask(drawn)
                drawn += 1

        with ModelServer() as server, backend_for(server, 4) as backend:
            answers = backend.answers(asks())
            for taken in range(2000):
                assert drawn <= taken + 600
                next(answers)
            answers.close()
            assert drawn < 2600

    def test_who_stops_taking_stops_the_asking(self):
        with (
            ModelServer(latency=0.2) as server,
            backend_for(server, 4) as backend,
        ):
            answers = backend.answers(an_ask(number) for number in range(1000))
            next(answers)
            answers.close()
            time.sleep(0.3)  # what was on the way arrives
            assert server.wait_for(lambda server: server.current == 0)
            asked = len(server.log)
            time.sleep(0.2)
            assert len(server.log) == asked < 30

    def test_a_stop_between_two_answers_ends_what_is_in_flight_and_keeps_what_came(self, tmp_path, caplog):
        """As a Ctrl-C comes: the backend closes while somebody still holds the answers."""
        with ModelServer(lambda body: Reply(hang=int(question(body)[9:]) >= 4)) as server:
            backend = OpenAIBackend(Endpoint((server.url,), "stub", concurrency=8), Store(tmp_path / "a"))
            with backend:
                answers = backend.answers(an_ask(number) for number in range(40))
                next(answers)
                assert server.wait_for(lambda server: len(server.chats()) == 12)
            assert server.wait_for(lambda server: server.current == 0)
            assert next(answers, None) is None
            del answers, backend
            gc.collect()
        assert caplog.text == ""  # no task is left for asyncio to complain of
        with Store(tmp_path / "a") as store:
            assert len(store) == 4

    def test_memory_stays_flat(self, monkeypatch):
        """Asks and Answers that live, while 2,500 go by. Weak references count them: gc.get_objects() would hold tuples
        that another thread is still filling, which ends that thread with a SystemError."""
        made: list[weakref.ref] = []

        def counted(kind):
            class Counted(kind):
                __slots__ = ("__weakref__",)

                def __init__(self, *values, **named):
                    super().__init__(*values, **named)
                    made.append(weakref.ref(self))

            return Counted

        monkeypatch.setitem(globals(), "Ask", counted(Ask))
        monkeypatch.setattr("sp3f_verl.llm.ask.Answer", counted(Answer))
        most = 0
        with ModelServer() as server, backend_for(server, 16) as backend:
            for place, _ in enumerate(backend.answers(an_ask(number) for number in range(2500))):
                if place % 1000 == 500:
                    gc.collect()
                    most = max(most, sum(reference() is not None for reference in made))
        assert len(made) >= 5000, "both kinds are counted"
        assert 0 < most < 600

    def test_an_error_of_the_asks_comes_through_and_ends_what_runs(self):
        def asks():
            yield from (an_ask(number) for number in range(200))
            raise BadInput("row 200 is broken")

        with ModelServer() as server, backend_for(server, 64) as backend:
            with pytest.raises(BadInput, match="row 200"):
                list(backend.answers(asks()))
            assert backend.totals.statuses[Status.OK] <= 200
        assert not [thread for thread in threading.enumerate() if thread.name == "sp3f-asks"]


class TestFailures:
    def test_too_many_end_it_in_one_sentence_and_the_rest_is_kept(self, tmp_path):
        with ModelServer(lambda body: SPANISH if int(question(body)[9:]) % 5 else Reply(status=400)) as server:
            with pytest.raises(TooManyFailures) as caught:
                ask_all(server, [an_ask(number) for number in range(3000)], tmp_path / "a")
            asked = len(server.chats())
        message = str(caught.value)
        assert "bad_request" in message and "--max-failure-share=0.1" in message and "\n" not in message
        assert FEWEST <= asked < 600
        with Store(tmp_path / "a") as store:
            assert len(store) >= FEWEST // 2

    @pytest.mark.parametrize(
        "reply",
        [
            Reply(status=404, json={"error": {"message": "The model `m` does not exist"}}),
            Reply(status=403, json={"error": {"message": "Project p has no access to model m"}}),
            Reply(status=400, json={"error": {"message": "m is not a valid model ID"}}),
        ],
    )
    def test_what_every_request_gets_ends_it_soon(self, reply):
        with ModelServer(lambda body: reply) as server, backend_for(server, 2) as backend:
            with pytest.raises(TooManyFailures, match=r"8 of the last 8 .*model"):
                list(backend.answers(an_ask(number) for number in range(60)))
            assert len(server.chats()) < 40  # of 60

    def test_a_share_below_the_limit_goes_on(self):
        with ModelServer(lambda body: SPANISH if int(question(body)[9:]) % 20 else Reply(status=400)) as server:
            _, totals = ask_all(server, [an_ask(number) for number in range(400)])
        assert totals.failures == {FailureKind.BAD_REQUEST: 20}

    def test_a_run_that_resumes_may_find_little_but_what_cannot_succeed(self, tmp_path):
        with ModelServer(lambda body: SPANISH if int(question(body)[9:]) % 12 else Reply(status=400)) as server:
            asks = [an_ask(number) for number in range(1200)]
            ask_all(server, asks, tmp_path / "a")
            _, totals = ask_all(server, asks, tmp_path / "a")
        assert (totals.fresh, totals.failures.total(), totals.reused) == (100, 100, 1100)

    def test_refusals_are_no_failures(self):
        with ModelServer(lambda body: Reply(text=None, refusal="no")) as server:
            answers, _ = ask_all(server, [an_ask(number) for number in range(200)])
        assert {answer.status for answer in answers.values()} == {Status.REFUSED}

    def test_few_that_all_fail_are_too_many_at_the_end(self):
        with (
            ModelServer(lambda body: Reply(status=400)) as server,
            pytest.raises(TooManyFailures, match="3 of the last 3"),
        ):
            ask_all(server, [an_ask(number) for number in range(3)])

    def test_a_key_that_is_not_taken_ends_it_at_once(self, monkeypatch):
        monkeypatch.setenv("SOME_KEY", CANARY)
        with ModelServer(api_key="another") as server:
            with pytest.raises(TooManyFailures, match="--api-key-env") as caught:
                ask_all(server, [an_ask(number) for number in range(1000)], api_key_env="SOME_KEY")
            assert len(server.chats()) < 100 and CANARY not in str(caught.value)

    def test_an_endpoint_that_dies_late_is_told_soon(self):
        """10,000 good answers before do not let 1,000 bad ones pass: the share is of the last ones."""
        good = Answer("r", 0, Status.OK, "t", "stop", Usage(), "m")
        bad = Answer("r", 0, Status.ERROR, None, None, Usage(), "m", FailureKind.CONNECTION, "refused")
        totals = Totals(max_failure_share=0.1)
        for _ in range(10 * RECENT):
            totals.add(good)
        for _ in range(RECENT // 10):
            totals.add(bad)
        with pytest.raises(TooManyFailures):
            totals.add(bad)


class TestPrice:
    def test_only_fresh_answers_are_paid(self, tmp_path):
        with ModelServer(lambda body: SPANISH) as server:
            for number, fresh in ((10, 10), (30, 20)):
                totals = Totals(Price(input=1e6, output=2e6))  # a dollar a prompt token, two a generated one
                ask_all(server, [an_ask(row) for row in range(number)], tmp_path / "a", totals)
                assert totals.usd == fresh * (10 + 2 * 2)
            assert totals.expected_usd(50) == 40 * 14

    def test_no_price_is_no_sum(self):
        assert Totals().usd is None and Totals().expected_usd(10) is None


class TestArguments:
    @staticmethod
    def options(*line):
        parser = argparse.ArgumentParser()
        parser.add_argument("--output")
        add_model_options(parser)
        return parser.parse_args(list(line))

    def test_a_command_line_asks(self, tmp_path, capsys):
        with ModelServer(lambda body: SPANISH) as server:
            line = [f"--base-url={server.url}", f"--output={tmp_path / 'out'}", "--price-in=1", "--price-out=2"]
            for fresh in (3, 0):
                options = self.options(*line)
                with open_model(model_options(options), store_of(options)) as backend:
                    answers = list(watched(backend.answers(an_ask(number) for number in range(3)), backend, 3))
                assert len(answers) == 3 and backend.totals.fresh == fresh
        captured = capsys.readouterr()
        assert captured.out == "" and "3/3" in captured.err and "3 from the store" in captured.err
        assert (tmp_path / "out.answers.sqlite").is_file()

    def test_the_store_lies_beside_the_output_unless_it_is_named(self):
        assert store_of(self.options("--output=runs/a/")) == Path("runs/a.answers.sqlite")
        assert store_of(self.options("--output=a", "--store=b")) == Path("b")
        assert store_of(self.options()) == Path("answers.sqlite")

    def test_a_batch_costs_half(self, tmp_path):
        line = ["--backend=batch", "--base-url=http://127.0.0.1:1/v1", "--model=m", "--price-in=1", "--price-out=8"]
        with open_model(model_options(self.options(*line)), tmp_path / "s") as backend:
            assert backend.totals.price == Price(input=0.5, output=4.0)

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            (["--max-failure-share=2"], "--max-failure-share=2.0; give a share"),
            (["--adapter=a", "--model=m"], "--adapter is for --backend vllm and transformers"),
            (["--backend=vllm"], "--model is missing"),
            (["--backend=vllm", "--model=/no/such"], "no/such' is no folder"),
            (["--backend=batch", "--base-url=http://127.0.0.1:1/v1"], "--model is missing"),
            (["--price-in=1"], "--price-out is missing"),
            (["--price-in=-1", "--price-out=1"], "--price-in=-1.0 is no price"),
            (["--concurrency=0", "--base-url=http://127.0.0.1:1/v1"], "--concurrency=0; give a whole number"),
            (["--base-url=nowhere"], "--base-url: 'nowhere' is no http"),
            (
                ["--requests-per-minute=0", "--base-url=http://127.0.0.1:1/v1"],
                "--requests-per-minute=0.0; give a positive number",
            ),
            ([], "OPENAI_API_KEY holds no key"),
        ],
    )
    def test_bad_input(self, line, message, tmp_path, monkeypatch):
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        with pytest.raises(BadInput) as caught:
            open_model(model_options(self.options(*line)), tmp_path / "s")
        assert message in str(caught.value) and "\n" not in str(caught.value)
        assert not [thread for thread in threading.enumerate() if thread.name == "sp3f-asks"]

    def test_a_scorers_command_line(self, tiny_model, tmp_path):
        parser = argparse.ArgumentParser()
        add_scorer_options(parser)
        for backend in ("vllm", "transformers"):
            line = [f"--backend={backend}", f"--model={tiny_model}"]
            with open_scorer(scorer_options(parser.parse_args(line)), tmp_path / "s") as scorer:
                assert scorer.model.startswith("model@") and backend in type(scorer).__name__.lower()
        with pytest.raises(BadInput, match="no folder"):
            open_scorer(scorer_options(parser.parse_args(["--model=/no/such"])), tmp_path / "s")
        with pytest.raises(BadInput, match="--model is missing"):
            scorer_options(parser.parse_args([]))

    def test_batch_is_short_for_its_backend(self):
        assert self.options("--batch") == self.options("--backend", "batch")

    def test_a_key_of_yaml_is_a_flag(self):
        """One set of fields: what YAML takes, the command line takes, and the other way round."""
        for keys, line in (
            ({"backend": "vllm", "model": "m", "workers": 2}, "--backend=vllm --workers=2"),
            ({"model": "m", "base_url": ["http://a/v1/"]}, "--base-url http://a/v1"),
        ):
            assert model_options(self.options("--model=m", *line.split())) == ModelOptions.read(keys, "models.mt")
        urls = [
            self.options("--base-url", *words)
            for words in (["http://a/v1", "http://b/v1"], ["http://a/v1,http://b/v1"])
        ]
        assert {model_options(options).base_url for options in urls} == {("http://a/v1", "http://b/v1")}
        assert set(ModelOptions.model_fields) | {"store", "output"} == set(vars(self.options()))

    @pytest.mark.parametrize(
        ("line", "sentence"),
        [
            ("--backend vllm --model m --base-url http://a/v1", "--base-url is for --backend openai, batch"),
            ("--workers 2", "--workers is for --backend vllm, transformers, and the backend here is openai"),
            ("--model= ", "--model='' is blank"),
        ],
    )
    def test_an_option_of_another_backend_or_none_is_one_sentence(self, line, sentence):
        with pytest.raises(BadInput) as caught:
            model_options(self.options(*line.split()))
        assert sentence in str(caught.value)

    @pytest.mark.parametrize(
        ("keys", "sentence"),
        [
            ({"batch": True}, "models.mt.batch is now backend: batch; write that."),
            ({"base_ulr": "http://a/v1"}, "models.mt.base_ulr does not exist (did you mean 'base_url'?)"),
            ({"backend": "vlm"}, "models.mt.backend=vlm (did you mean 'vllm'?)"),
            ({"workers": "two"}, "models.mt.workers='two'; give a whole number, 1 or more."),
            ({"base_url": 8000}, "models.mt.base_url=8000 is no URL"),
            ({"base_url": " "}, "base_url: ' ' is no http(s) URL"),
            ({"base_url": [None]}, "models.mt.base_url=[None] is no URL"),
            ("gpt-4o", "models.mt='gpt-4o' is not a mapping"),
        ],
    )
    def test_bad_keys_are_one_sentence(self, keys, sentence):
        with pytest.raises(BadInput) as caught:
            ModelOptions.read(keys, "models.mt")
        assert sentence in str(caught.value)
