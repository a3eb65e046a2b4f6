"""The client against a real HTTP server that fails in every way a server does."""

import asyncio
import contextlib
import functools
import logging
import math
import pickle
import socket
import subprocess
import sys
import threading
import traceback
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from helpers.model_server import ModelServer, Reply, in_turn
from helpers.shared import HELPERS
from sp3f_verl.errors import LONGEST, BadInput
from sp3f_verl.llm import AskFailed, AuthenticationFailed, Client, Endpoint, FailureKind, RateLimit, Usage
from sp3f_verl.llm.requests import client as client_module
from sp3f_verl.llm.requests.retry import backoff_seconds

MESSAGES = [{"role": "user", "content": "Which? \\boxed{A} or ö?"}]
CANARY = "sk-canary-0123456789abcdef"
OK = Reply(text="fine")


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch):
    monkeypatch.setattr(client_module, "backoff_seconds", functools.partial(backoff_seconds, base=0.01, ceiling=0.05))


def run(main):
    return asyncio.run(asyncio.wait_for(main, 60))


def asked(server, *, rate_limit=None, ask=None, **endpoint):
    """Completion of one request to the server, or the failure that was raised."""

    async def main():
        urls = server if isinstance(server, tuple) else (server.url,)
        async with Client(Endpoint(urls, **{"model": "stub", **endpoint}), rate_limit, seed=0) as client:
            return await client.ask(MESSAGES, **{"max_tokens": 9, **(ask or {})})

    try:
        return run(main())
    except AskFailed as failure:
        return failure


def failed(answer, kind, retries=0):
    assert isinstance(answer, AskFailed), answer
    assert (answer.kind, answer.retries) == (kind, retries)
    assert str(answer).isprintable() and len(str(answer)) < LONGEST + 100
    return str(answer)


@contextlib.contextmanager
def raw_server(content):
    """A TCP server that is no HTTP server: says this to everybody."""

    def serve():
        with contextlib.suppress(OSError):  # closed: the test is over
            while True:
                connection, _ = listening.accept()
                with connection:
                    connection.recv(1)
                    connection.sendall(content)
                    while connection.recv(65536):  # closing with unread data would reset what was sent
                        pass

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"


def unused_url():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"http://127.0.0.1:{listening.getsockname()[1]}/v1"


class TestAnswers:
    def test_the_request_and_the_answer(self):
        usage = {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 5}}
        sampling = {"temperature": 0.0, "top_p": 0.9, "seed": 3, "stop": ["\n"], "top_logprobs": 2}
        extra = {"extra_body": {"chat_template_kwargs": {"enable_thinking": False}, "max_tokens": None}}
        reply = Reply(text="B ö", finish_reason="length", usage=usage, top_logprobs={"A": -1.5, "B": -0.25})
        with ModelServer(lambda body: reply) as server:
            answer = asked(server, ask=sampling | extra)
            (entry,) = server.log
        assert (answer.text, answer.finish_reason, answer.model, answer.retries) == ("B ö", "length", "stub", 0)
        assert answer.usage == Usage(prompt_tokens=7, cached_tokens=5, completion_tokens=3)
        assert answer.top_logprobs == {"A": -1.5, "B": -0.25}
        assert answer.seconds > 0
        sampling["logprobs"] = True
        extra = {"chat_template_kwargs": {"enable_thinking": False}}
        assert entry["body"] == {"model": "stub", "messages": MESSAGES, "stream": False, **sampling, **extra}

    @pytest.mark.parametrize(
        "usage", [None, {}, {"prompt_tokens": None}, {"prompt_tokens": -1, "completion_tokens": True}, "many"]
    )
    def test_usage_may_be_missing(self, usage):
        with ModelServer(lambda body: Reply(text="x", usage=usage)) as server:
            answer = asked(server)
        assert (answer.text, answer.usage, answer.top_logprobs) == ("x", Usage(), None)

    def test_tokens_that_decode_to_one_text_are_added_up(self):
        pairs = [("A", math.log(0.3)), ("A", math.log(0.2)), ("B", -9999.0), ("C", -math.inf), ("C", -math.inf)]
        with ModelServer(lambda body: Reply(text="A", top_logprobs=pairs)) as server:
            top = asked(server, ask={"top_logprobs": 5}).top_logprobs
        assert top == {"A": pytest.approx(math.log(0.5)), "B": -9999.0, "C": -math.inf}

    def test_reasoning_cut_off_before_its_answer_is_no_refusal(self):
        with ModelServer(lambda body: Reply(text=None, finish_reason="length")) as server:
            assert asked(server).text == ""

    def test_the_first_model_is_asked_for_once(self):
        async def main(server):
            async with Client(Endpoint((server.url,))) as client:
                answers = await asyncio.gather(*(client.ask(MESSAGES, max_tokens=9) for _ in range(20)))
                return {answer.model for answer in answers} | {await client.model()}

        with ModelServer(models=["first", "second"]) as server:
            assert run(main(server)) == {"first"}
            assert [entry["path"] for entry in server.log].count("/v1/models") == 1

    def test_one_waiters_deadline_does_not_end_the_search_for_the_others(self):
        async def main(server):
            async with Client(Endpoint((server.url,))) as client:
                deadline = asyncio.get_running_loop().time() + 0.1
                hasty = client.ask(MESSAGES, max_tokens=9, deadline=deadline)
                return await asyncio.gather(hasty, client.ask(MESSAGES, max_tokens=9), return_exceptions=True)

        with ModelServer(lambda body: OK, latency=0.4) as server:
            hasty, patient = run(main(server))
        failed(hasty, FailureKind.DEADLINE)
        assert patient.text == "fine"

    def test_a_failed_search_for_the_model_is_tried_again(self):
        async def main(server):
            async with Client(Endpoint((server.url,), max_retries=1)) as client:
                failures = await asyncio.gather(
                    *(client.ask(MESSAGES, max_tokens=9) for _ in range(3)), return_exceptions=True
                )
                server.models = ["late"]
                return failures, await client.model()

        with ModelServer(models=[]) as server:
            failures, model = run(main(server))
            assert [entry["path"] for entry in server.log] == ["/v1/models"] * 3
        for failure in failures:
            failed(failure, FailureKind.INVALID_RESPONSE, 1)
        assert model == "late"


class TestFaultsThatPass:
    @pytest.mark.parametrize(
        ("fault", "kind"),
        [
            (Reply(status=429), "rate_limited"),
            (Reply(status=429, headers={"Retry-After": "0.05"}), "rate_limited"),
            (Reply(status=429, headers={"Retry-After": "junk"}), "rate_limited"),
            (Reply(status=500, json={"error": {"message": "EngineDeadError"}}), "server_error"),
            (Reply(status=503, raw=b"<html>Service Unavailable</html>"), "server_error"),
            (Reply(status=408), "timeout"),
            (Reply(status=409), "server_error"),
            (Reply(text="cut in the middle", reset=True), "connection"),
            (Reply(raw=b"<html>a proxy's page</html>"), "invalid_response"),
            (Reply(raw=b'{"choices": [{"mess'), "invalid_response"),
            (Reply(raw=b"[" * 100_000), "invalid_response"),
            (Reply(raw=b'{"choices": ' + b"9" * 5000 + b"}"), "invalid_response"),
            (Reply(raw=b"\xff\xfe\x00"), "invalid_response"),
            (Reply(raw=b""), "invalid_response"),
            (Reply(json=[]), "invalid_response"),
            (Reply(json={"choices": []}), "invalid_response"),
            (Reply(json={"choices": None}), "invalid_response"),
            (Reply(json={"choices": [{"text": "a completion, no chat"}]}), "invalid_response"),
            (Reply(json={"choices": [{"message": {"content": 3}}]}), "invalid_response"),
            (Reply(json={"choices": [{"message": {"content": ""}, "logprobs": {"content": [3]}}]}), "invalid_response"),
            (Reply(text="x", top_logprobs={"A": math.nan}), "invalid_response"),
            (Reply(json={"error": {"message": "upstream failed"}}), "server_error"),  # with status 200
        ],
    )  # fmt: skip
    def test_a_retry_gets_over_them(self, fault, kind):
        seen = []
        with ModelServer(in_turn(fault, OK)) as server:
            answer = asked(server, ask={"on_retry": seen.append})
            assert len(server.log) == 2
        assert (answer.text, answer.retries) == ("fine", 1)
        assert seen == [FailureKind(kind)]

    def test_the_retries_end(self):
        with ModelServer(lambda body: Reply(status=500, json={"error": {"message": "out of memory"}})) as server:
            message = failed(asked(server, max_retries=3), FailureKind.SERVER_ERROR, 3)
            assert len(server.log) == 4
        assert "HTTP 500: out of memory" in message and "after 3 retries" in message

    @pytest.mark.parametrize("reply", [Reply(hang=True), Reply(text="x" * 100, drip=0.05)])
    def test_a_silent_or_dripping_server_times_out(self, reply):
        with ModelServer(lambda body: reply) as server:
            failed(asked(server, request_timeout=1.0, max_retries=1), FailureKind.TIMEOUT, 1)
            assert len(server.log) == 2
            assert server.wait_for(lambda server: server.current == 0)

    def test_nobody_listens(self):
        assert "onnect" in failed(asked((unused_url(),), max_retries=2), FailureKind.CONNECTION, 2)

    def test_no_such_host(self):
        failed(asked(("http://nonexistent.invalid/v1",), max_retries=1), FailureKind.CONNECTION, 1)

    def test_no_http(self):
        with raw_server(b"SSH-2.0-OpenSSH_9.9\r\n\r\n") as url:
            failed(asked((url,), max_retries=1), FailureKind.CONNECTION, 1)

    def test_a_server_that_is_killed_and_restarted_loses_no_request(self, monkeypatch):
        slower = functools.partial(backoff_seconds, base=0.05, ceiling=0.2)
        monkeypatch.setattr(client_module, "backoff_seconds", slower)

        async def main(server):
            async with Client(Endpoint((server.url,), model="stub", concurrency=8, max_retries=50)) as client:
                tasks = [asyncio.create_task(client.ask(MESSAGES, max_tokens=9)) for _ in range(60)]
                assert await asyncio.to_thread(server.wait_for, lambda server: len(server.log) > 20)
                await asyncio.to_thread(server.stop)
                await asyncio.sleep(0.1)
                server.reply = lambda body: OK
                server.start()
                return await asyncio.gather(*tasks)

        with ModelServer(in_turn(*[OK] * 20, Reply(hang=True))) as server:
            answers = run(main(server))
        assert [answer.text for answer in answers] == ["fine"] * 60
        assert max(answer.retries for answer in answers) > 0


class TestFaultsThatStay:
    @pytest.mark.parametrize(
        ("reply", "kind", "message"),
        [
            (Reply(status=400, json={"error": {"message": "no such field"}}), "bad_request", "no such field"),
            (Reply(status=422, json={"detail": [{"loc": ["top_p"]}]}), "bad_request", "top_p"),
            (Reply(status=404, json={"message": "The model `x` does not exist."}), "not_found", "does not exist"),
            (Reply(status=302, headers={"Location": "/elsewhere"}), "not_found", "HTTP 302"),
            (Reply(status=413), "too_long", "HTTP 413"),
            (Reply(status=400, json={"error": {"code": "context_length_exceeded"}}), "too_long", "HTTP 400"),
            (Reply(status=400, json={"message": "This model's maximum context length is 8"}), "too_long", "is 8"),
            (Reply(status=400, json={"error": {"code": "content_filter", "message": "bad"}}), "refused", "bad"),
            (Reply(text="", finish_reason="content_filter"), "refused", "content filter"),
            (Reply(text=None, refusal="I cannot."), "refused", "I cannot."),
        ],
    )
    def test_they_are_reported_at_once(self, reply, kind, message):
        with ModelServer(lambda body: reply) as server:
            assert message in failed(asked(server), FailureKind(kind))
            assert len(server.log) == 1

    def test_what_the_server_says_is_cut_and_made_printable(self):
        message = "line\nline\x1b[31m\x00" + "x" * 10_000
        with ModelServer(lambda body: Reply(status=400, json={"error": {"message": message}})) as server:
            message = failed(asked(server), FailureKind.BAD_REQUEST)
        assert "line line [31m x" in message and message.endswith("x…")

    def test_half_a_surrogate_pair_is_sent_as_a_replacement_character(self):
        with ModelServer(lambda body: body["messages"][0]["content"]) as server:
            messages = [{"role": "user", "content": "high \ud83d, low \ude00, whole \U0001f600"}]
            assert asked(server, ask={"extra_body": {"messages": messages}}).text == (
                "high \ufffd, low \ufffd, whole \U0001f600"
            )

    def test_a_failure_survives_pickling(self):
        failure = AuthenticationFailed(FailureKind.AUTHENTICATION, "HTTP 401", 2, 1.5)
        copy = pickle.loads(pickle.dumps(failure))
        assert type(copy) is AuthenticationFailed and str(copy) == str(failure)
        assert (copy.kind, copy.retries, copy.seconds) == (FailureKind.AUTHENTICATION, 2, 1.5)


class TestRetryAfter:
    def test_a_429_holds_everybody(self):
        """Both the one that was turned away and those that come later; the reply's headers say 0.4 s."""

        async def main(server):
            async with Client(Endpoint((server.url,), model="stub")) as client:
                turned_away = asyncio.Event()
                ask = client.ask(MESSAGES, max_tokens=9, on_retry=lambda kind: turned_away.set())
                first = asyncio.create_task(ask)
                await turned_away.wait()
                others = (client.ask(MESSAGES, max_tokens=9) for _ in range(3))
                return await asyncio.gather(first, *others)

        with ModelServer(in_turn(Reply(status=429, headers={"retry-after-ms": "400"}), OK)) as server:
            assert [answer.retries for answer in run(main(server))] == [1, 0, 0, 0]
            times = [entry["seconds"] for entry in server.log]
        assert min(times[1:]) - times[0] >= 0.39

    def test_a_date_is_waited_for(self):
        at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
        fault = Reply(status=503, headers={"Retry-After": format_datetime(at, usegmt=True)})
        with ModelServer(in_turn(fault, OK)) as server:
            assert asked(server).retries == 1
        assert at <= datetime.now(UTC)

    def test_more_than_the_ceiling_is_not_waited_for(self):
        with ModelServer(in_turn(Reply(status=429, headers={"Retry-After": "3600"}), OK)) as server:
            assert asked(server, retry_after_ceiling=0.05).retries == 1

    def test_the_pace_is_kept(self):
        """One request a second: the second one waits for its turn."""

        async def main(server):
            async with Client(Endpoint((server.url,), model="stub"), RateLimit(requests_per_minute=60)) as client:
                await asyncio.gather(*(client.ask(MESSAGES, max_tokens=9) for _ in range(2)))

        with ModelServer() as server:
            run(main(server))
            times = sorted(entry["seconds"] for entry in server.log)
        assert times[-1] - times[0] >= 0.3

    def test_the_pace_is_settled_by_the_usage(self):
        """Of 1000 tokens per second, a failed attempt keeps its 100, the answer needs 15: 885 are left of the burst."""
        rate_limit = RateLimit(tokens_per_minute=60_000, clock=lambda: 0.0)
        answer = Reply(usage={"prompt_tokens": 10, "completion_tokens": 5})
        with ModelServer(in_turn(Reply(status=500), answer)) as server:
            assert asked(server, rate_limit=rate_limit, ask={"estimated_tokens": 100}).retries == 1
        assert rate_limit.reserve(885) == pytest.approx(0)
        assert rate_limit.reserve(1) == pytest.approx(0.001)


class TestSeveralUrls:
    def test_affinity_chooses_the_url(self):
        async def main(urls):
            async with Client(Endpoint(urls, model="stub")) as client:
                return [(await client.ask(MESSAGES, max_tokens=9, affinity=n)).text for n in (0, 1, 2, 3, 3, 2)]

        with ModelServer(lambda body: "one") as one, ModelServer(lambda body: "two") as two:
            assert run(main((one.url, two.url))) == ["one", "two", "one", "two", "two", "one"]

    def test_a_dead_url_is_passed_over(self):
        async def main(urls):
            async with Client(Endpoint(urls, model="stub")) as client:
                return [await client.ask(MESSAGES, max_tokens=9, affinity=n) for n in (0, 0, 1, 2)]

        with ModelServer(lambda body: OK) as server:
            answers = run(main((unused_url(), server.url)))
        assert [answer.retries for answer in answers] == [1, 0, 0, 0]

    def test_a_hung_url_costs_one_timeout(self):
        with ModelServer(lambda body: Reply(hang=True)) as hung, ModelServer(lambda body: OK) as well:
            assert asked((hung.url, well.url), request_timeout=3.0).retries == 1


class TestTime:
    def test_no_more_requests_than_slots_reach_the_server(self):
        async def main(server):
            async with Client(Endpoint((server.url,), model="stub", concurrency=5)) as client:
                await asyncio.gather(*(client.ask(MESSAGES, max_tokens=9) for _ in range(40)))

        with ModelServer(lambda body: OK, latency=0.2) as server:
            run(main(server))
            assert (server.peak, len(server.log), server.cancelled) == (5, 40, 0)

    def test_more_slots_than_the_transports_usual_hundred(self):
        async def main(server):
            async with Client(Endpoint((server.url,), model="stub", concurrency=150)) as client:
                asked = [asyncio.create_task(client.ask(MESSAGES, max_tokens=9)) for _ in range(150)]
                assert await asyncio.to_thread(server.wait_for, lambda server: server.current == 150)
                for task in asked:
                    task.cancel()
                await asyncio.gather(*asked, return_exceptions=True)

        with ModelServer(lambda body: Reply(hang=True)) as server:
            run(main(server))

    def test_a_cancelled_request_frees_its_slot_and_its_connection(self):
        async def main(server):
            async with Client(Endpoint((server.url,), model="stub", concurrency=1)) as client:
                task = asyncio.create_task(client.ask(MESSAGES, max_tokens=9))
                assert await asyncio.to_thread(server.wait_for, lambda server: server.current == 1)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert await asyncio.to_thread(server.wait_for, lambda server: server.cancelled == 1)
                assert server.current == 0
                return await client.ask(MESSAGES, max_tokens=9)

        with ModelServer(in_turn(Reply(hang=True), OK)) as server:
            assert run(main(server)).text == "fine"

    @pytest.mark.timeout(60)  # without the deadline each would go on for ever
    @pytest.mark.parametrize("reply", [Reply(hang=True), Reply(text="x" * 100, drip=0.05), Reply(status=500)])
    def test_the_deadline_of_a_group_ends_all_of_it(self, reply):
        async def main(server):
            async with Client(Endpoint((server.url,), model="stub", concurrency=2, max_retries=10_000)) as client:
                deadline = asyncio.get_running_loop().time() + 0.4
                asks = (client.ask(MESSAGES, max_tokens=9, deadline=deadline) for _ in range(10))
                failures = await asyncio.gather(*asks, return_exceptions=True)
                return failures, asyncio.get_running_loop().time() - deadline

        with ModelServer(lambda body: reply) as server:
            failures, late = run(main(server))
            assert {failure.kind for failure in failures} == {FailureKind.DEADLINE}
            assert late >= 0 and all(failure.seconds > 0 for failure in failures)
            assert server.wait_for(lambda server: server.current == 0)

    def test_nothing_is_sent_after_the_deadline(self):
        async def main(server):
            async with Client(Endpoint((server.url,), model="stub")) as client:
                await client.ask(MESSAGES, max_tokens=9)  # opens a connection, over which the next could go at once
                with pytest.raises(AskFailed, match="deadline"):
                    await client.ask(MESSAGES, max_tokens=9, deadline=asyncio.get_running_loop().time() - 1)

        with ModelServer() as server:
            run(main(server))
            assert len(server.log) == 1

    def test_a_callers_own_timeout_stays_his(self):
        async def main(server):
            async with Client(Endpoint((server.url,), model="stub")) as client:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.2):
                        await client.ask(MESSAGES, max_tokens=9, deadline=asyncio.get_running_loop().time() + 50)

        with ModelServer(lambda body: Reply(hang=True)) as server:
            run(main(server))

    def test_an_error_of_the_callers_callback_is_no_deadline(self):
        def on_retry(kind):
            raise TimeoutError("the caller's")

        with ModelServer(lambda body: Reply(status=500)) as server, pytest.raises(TimeoutError, match="the caller's"):
            asked(server, ask={"on_retry": on_retry})

    def test_another_event_loop_is_told(self):
        with ModelServer() as server:
            client = Client(Endpoint((server.url,), model="stub"))
            run(client.ask(MESSAGES, max_tokens=9))
            with pytest.raises(RuntimeError, match="another event loop"):
                run(client.ask(MESSAGES, max_tokens=9))

    def test_a_closed_client_is_told(self):
        async def main(server):
            client = Client(Endpoint((server.url,), model="stub"))
            await client.ask(MESSAGES, max_tokens=9)
            await client.close()
            with pytest.raises(RuntimeError, match="closed"):
                await client.ask(MESSAGES, max_tokens=9)

        with ModelServer() as server:
            run(main(server))


class TestKeys:
    """The key goes to the server, and nowhere else."""

    def test_the_key_of_the_variable_is_sent(self, monkeypatch):
        monkeypatch.setenv("JUDGE_KEY", f"{CANARY}\n")  # as `export KEY="$(cat file)"` or a compose file leaves it
        with ModelServer(lambda body: OK, api_key=CANARY) as server:
            assert asked(server, api_key_env="JUDGE_KEY").text == "fine"

    def test_a_wrong_key_is_told_without_a_retry(self, monkeypatch):
        monkeypatch.setenv("JUDGE_KEY", CANARY)
        with ModelServer(api_key="another") as server:
            failure = asked(server, api_key_env="JUDGE_KEY")
            failed(failure, FailureKind.AUTHENTICATION)
            assert isinstance(failure, AuthenticationFailed) and len(server.log) == 1

    @pytest.mark.parametrize("value", [None, "", " \n"])
    def test_a_missing_key_is_bad_input(self, monkeypatch, value):
        monkeypatch.delenv("JUDGE_KEY", raising=False)
        if value is not None:
            monkeypatch.setenv("JUDGE_KEY", value)
        with pytest.raises(BadInput, match="JUDGE_KEY holds no key"):
            Client(Endpoint(("http://127.0.0.1:1/v1",), api_key_env="JUDGE_KEY"))

    @pytest.mark.parametrize("value", [f"{CANARY}\nX-Header: 1", f"{CANARY}ö", f"{CANARY} {CANARY}"])
    def test_a_key_that_fits_no_header_is_not_repeated(self, monkeypatch, value):
        monkeypatch.setenv("JUDGE_KEY", value)
        with pytest.raises(BadInput, match="JUDGE_KEY") as caught:
            Client(Endpoint(("http://127.0.0.1:1/v1",), api_key_env="JUDGE_KEY"))
        assert CANARY not in str(caught.value)

    @pytest.mark.parametrize(
        "reply",
        [
            Reply(status=401, json={"error": {"message": f"Incorrect API key provided: {CANARY}."}}),
            Reply(status=400, raw=f"{'x' * 180} {CANARY}".encode()),  # the cut would go through the key
            Reply(status=500, json={"error": {"message": CANARY}}),
            Reply(raw=f"<html>Authorization: Bearer {CANARY}</html>".encode()),
            Reply(text=None, refusal=CANARY),
            Reply(text=CANARY, reset=True),
            Reply(hang=True),
            None,
        ],
    )
    def test_no_error_and_no_log_tells_the_key(self, monkeypatch, caplog, reply):
        monkeypatch.setenv("JUDGE_KEY", CANARY)
        caplog.set_level(logging.DEBUG)
        for name in ("openai", "httpx", "httpx2", "httpcore", "httpcore2", "aiohttp", "asyncio"):
            caplog.set_level(logging.DEBUG, logger=name)

        async def main(url):
            async with Client(Endpoint((url,), "stub", "JUDGE_KEY", request_timeout=0.3, max_retries=1)) as client:
                with pytest.raises(AskFailed) as caught:
                    await client.ask(MESSAGES, max_tokens=9)
                return caught.value, repr(client)

        with ModelServer(lambda body: reply) as server:
            failure, shown = run(main(unused_url() if reply is None else server.url))
            assert all(entry["headers"]["authorization"] == f"Bearer {CANARY}" for entry in server.log)
        assert failure.__context__ is None and failure.__cause__ is None
        with_locals = traceback.TracebackException.from_exception(failure, capture_locals=True)
        shown += "".join(with_locals.format()) + str(failure) + repr(failure) + str(vars(failure))
        assert "client.py" in shown and "Building HTTP request" in caplog.text  # both looked where there is something
        for length in range(12, len(CANARY)):
            assert CANARY[:length] not in shown
        assert CANARY not in caplog.text and CANARY.encode() not in pickle.dumps(failure)

    def test_nothing_of_the_environment_reaches_the_server(self, monkeypatch, tmp_path):
        netrc = tmp_path / "netrc"
        netrc.write_text(f"machine 127.0.0.1 login me password {CANARY}\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))
        for name in ("API_KEY", "ADMIN_KEY", "ORG_ID", "PROJECT_ID", "WEBHOOK_SECRET"):
            monkeypatch.setenv(f"OPENAI_{name}", CANARY)
        monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"X-Team: {CANARY}\nAuthorization: Bearer {CANARY}")
        monkeypatch.setenv("OPENAI_BASE_URL", unused_url())
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, unused_url())
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        with ModelServer(lambda body: OK) as server:
            assert asked(server, model=None).text == "fine"
            assert [entry["path"] for entry in server.log] == ["/v1/models", "/v1/chat/completions"]
            assert CANARY not in str(server.log)
            assert not [name for entry in server.log for name in entry["headers"] if name.startswith("openai-")]

    def test_a_redirect_does_not_carry_the_key_away(self, monkeypatch):
        monkeypatch.setenv("JUDGE_KEY", CANARY)
        with ModelServer() as elsewhere:
            away = Reply(status=307, headers={"Location": f"{elsewhere.url}/chat/completions"})
            with ModelServer(lambda body: away) as server:
                failed(asked(server, api_key_env="JUDGE_KEY"), FailureKind.NOT_FOUND)
            assert not elsewhere.log


class TestEndpoint:
    def test_a_trailing_slash_is_the_same_url(self):
        assert (
            Endpoint(("http://host:8000/v1/",)) == Endpoint(["http://host:8000/v1"]) == Endpoint("http://host:8000/v1")
        )

    @pytest.mark.parametrize("url", ["", "host:8000", "ftp://host/v1", "http://", "http://host:x/v1", "/v1", None, 3])
    def test_no_url(self, url):
        with pytest.raises(BadInput, match=r"no http\(s\) URL"):
            Endpoint((url,))

    @pytest.mark.parametrize(
        "url", [f"http://me:{CANARY}@host/v1", f"http://me:{CANARY}@host:x", f"http://h/v1?key={CANARY}"]
    )
    def test_a_url_with_a_secret_is_not_repeated(self, url):
        with pytest.raises(BadInput, match="user name, a query") as caught:
            Endpoint((url,))
        assert CANARY not in str(caught.value)

    @pytest.mark.parametrize(
        "fields",
        [
            {"base_urls": ()},
            {"request_timeout": 0},
            {"request_timeout": math.nan},
            {"max_retries": -1},
            {"max_retries": 1.5},
            {"concurrency": 0},
            {"retry_after_ceiling": math.inf},
        ],
    )
    def test_other_fields(self, fields):
        (name,) = fields
        with pytest.raises(BadInput, match=name):
            Endpoint(**{"base_urls": ("http://host/v1",), **fields})


def test_the_server_as_a_program():
    with subprocess.Popen(
        [sys.executable, "-m", "helpers.model_server", "--judge", "always_a"],
        cwd=HELPERS.parent,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            answer = asked((process.stdout.readline().strip(),), model=None)
        finally:
            process.kill()
    assert (answer.text, answer.model) == (r"analysis \boxed{A}", "stub")
