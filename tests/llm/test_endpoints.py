"""Real endpoints' habits, over HTTP: keys quoted back, huge answers, wrong URLs, gateways, proxies, no money."""

import asyncio
import base64
import gzip
import json
import shutil
import ssl
import subprocess

import pytest

from helpers.model_server import ModelServer, Reply, in_turn
from sp3f_verl.errors import BadInput
from sp3f_verl.llm import Ask, AskFailed, AuthenticationFailed, Client, Endpoint, Status, Store, TooManyFailures, Totals
from sp3f_verl.llm.backends.openai import OpenAIBackend
from sp3f_verl.llm.price import Price, answers_of, longest_answer, price_of
from sp3f_verl.llm.requests import client as client_module
from sp3f_verl.llm.requests.endpoint import checked_url
from sp3f_verl.llm.requests.secrets import HIDDEN, Secrets
from sp3f_verl.llm.totals import Reasons

KEY = "sk-canary/0123+456789=="
OK = Reply(text="fine")


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch):
    monkeypatch.setattr(client_module, "backoff_seconds", lambda *_: 0.001)


def asked(url, **endpoint):
    """The completion of one request, or the failure that was raised."""

    async def main():
        async with Client(Endpoint((url,), **{"model": "stub", **endpoint})) as client:
            return await client.ask([{"role": "user", "content": "hi"}], max_tokens=9)

    try:
        return asyncio.run(asyncio.wait_for(main(), 60))
    except AskFailed as failure:
        return failure


def answers(server, folder, rows=1, totals=None, **endpoint):
    """(answers by id, totals) of a backend with a store in the folder."""
    endpoint = {"model": "stub", "concurrency": 2, "max_retries": 0, **endpoint}
    asks = [Ask(str(row), [{"role": "user", "content": f"question {row}"}], 9) for row in range(rows)]
    totals = totals or Totals(max_failure_share=1)
    with OpenAIBackend(Endpoint((server.url,), **endpoint), Store(folder / "store"), totals) as backend:
        return {answer.id: answer for answer in backend.answers(asks)}, totals


def json_of(message):
    return json.dumps({"error": {"message": message}})


class TestTheKey:
    @pytest.mark.parametrize("status", [200, 400, 401, 500])
    @pytest.mark.parametrize(
        "body",
        [
            json_of(f"bad key {KEY}"),
            json_of(f"bad key {KEY}").replace("/", "\\/"),
            json_of("bad key " + "@").replace("@", "".join(f"\\u{ord(char):04X}" for char in KEY)),
            json_of(json_of(f"upstream said {KEY}").replace("/", "\\/")),
            json_of("bad key " + KEY.replace("/", "%2F").replace("+", "%2b").replace("=", "%3D")),
            f"<html>{KEY.replace('/', '&#47;').replace('+', '&#x2B;')}</html>",
        ],
    )
    def test_is_in_no_failure(self, status, body, monkeypatch):
        monkeypatch.setenv("A_KEY", KEY)
        with ModelServer(lambda _: Reply(status=status, raw=body.encode())) as server:
            failure = asked(server.url, api_key_env="A_KEY", max_retries=0)
        assert isinstance(failure, AskFailed) and "***" in str(failure)
        assert "canary" not in str(failure) and "0123" not in str(failure)

    def test_is_in_no_answer_however_it_comes(self, monkeypatch):
        monkeypatch.setenv("A_KEY", KEY)
        parts = [{"type": "text", "text": KEY[:7]}, {"type": "text", "text": KEY[7:]}]
        message = {"choices": [{"message": {"content": parts}, "finish_reason": "stop"}], "model": KEY}
        escaped = "".join(f"\\u{ord(char):04x}" for char in KEY)
        raw = Reply(text="You sent @.", finish_reason="stop").body("@").replace(b"@", escaped.encode())
        for reply in (Reply(text=f"You sent {KEY}."), Reply(json=message), Reply(raw=raw)):
            with ModelServer(lambda _, reply=reply: reply) as server:
                got = asked(server.url, api_key_env="A_KEY")
            assert "***" in got.text and "canary" not in got.text + got.model

    def test_of_few_letters_leaves_answers_as_they_are(self, monkeypatch):
        monkeypatch.setenv("A_KEY", "EMPTY")
        with ModelServer(lambda _: "The set is EMPTY.") as server:
            assert asked(server.url, api_key_env="A_KEY").text == "The set is EMPTY."

    def test_is_followed_nowhere(self, monkeypatch):
        monkeypatch.setenv("A_KEY", KEY)
        location = {"Location": f"https://gateway.example/v1/chat/completions?key={KEY}"}
        with ModelServer(lambda _: Reply(status=308, headers=location)) as server:
            failure = asked(server.url, api_key_env="A_KEY")
            assert len(server.chats()) == 1
        assert "redirects to https://gateway.example/v1: write that" in str(failure) and "canary" not in str(failure)

    def test_no_key_changes_no_text(self):
        assert Secrets([]).without("text") == Secrets([""]).out_of_answer("text") == "text"


class TestAnswers:
    def test_one_that_is_larger_than_any_answer_is_refused_while_it_comes(self, tmp_path):
        body = Reply(text="all is well " * 2_000_000).body("stub")
        packed = Reply(raw=gzip.compress(body, 1), headers={"Content-Encoding": "gzip"})
        for reply in (packed, Reply(status=500, raw=b"x" * (20 << 20))):
            with ModelServer(lambda _, reply=reply: reply) as server:
                failure = asked(server.url, max_retries=0)
            assert failure.kind == "invalid_response" and "16 MiB" in str(failure)

    def test_the_same_wrong_shape_is_not_asked_for_again_and_again(self):
        with ModelServer(lambda _: Reply(text=None)) as server:
            failure = asked(server.url, max_retries=8)
            assert failure.kind == "invalid_response" and len(server.chats()) == 3
            assert failure.usage.completion_tokens == 6, "three answers were paid for"
        with ModelServer(in_turn(Reply(raw=b"a"), Reply(raw=b"b"), Reply(raw=b"a"), Reply(raw=b"b"), OK)) as server:
            assert asked(server.url, max_retries=8).retries == 4

    def test_what_was_wasted_before_an_answer_is_counted(self, tmp_path):
        with ModelServer(in_turn(Reply(text=None), OK)) as server:
            got, totals = answers(server, tmp_path, max_retries=1)
        assert got["0"].usage.completion_tokens == 2 and totals.usage.completion_tokens == 4


class TestWhatIsKept:
    @pytest.mark.parametrize(
        "reply",
        [
            Reply(status=403, json={"error": {"message": "Project p has no access to model m"}}),
            Reply(text=None),
            Reply(text="half of it", finish_reason="network_error"),
            Reply(text="half of it", finish_reason="tool_calls"),
        ],
    )
    def test_no_answer_is_asked_for_again(self, reply, tmp_path):
        with ModelServer(lambda body: reply if "question 1" in str(body) else OK) as server:
            first, _ = answers(server, tmp_path, 2)
            server.reply = lambda _: OK
            second, totals = answers(server, tmp_path, 2)
        assert (first["1"].status, first["1"].text) == (Status.ERROR, None)
        assert second["1"].status is Status.OK and (totals.fresh, totals.reused) == (1, 1)

    @pytest.mark.parametrize(
        "changes",
        [
            {"status": "refused", "text": None, "finish_reason": "content_filter", "failure": "refused",
             "said": "HTTP 403: no access"},
            {"status": "refused", "text": None, "finish_reason": "content_filter", "failure": "refused",
             "said": "the message has no content"},
            {"finish_reason": "error"},
        ],
    )  # fmt: skip
    def test_what_earlier_versions_kept_as_an_answer_is_asked_for_again(self, changes, tmp_path):
        ask = Ask("0", [{"role": "user", "content": "question 0"}], 9)
        kept = {"status": "ok", "text": "kept", "finish_reason": "stop", "usage": [1, 0, 1], "model": "stub"}
        kept |= {"failure": None, "said": ""}
        for value, text in ((kept, "kept"), (kept | changes, "fine")):
            with Store(tmp_path / "store") as store:
                store.put(ask.key("stub"), value)
            with ModelServer(lambda _: OK) as server:
                assert answers(server, tmp_path)[0]["0"].text == text


class TestRunsThatCannotSucceed:
    @pytest.mark.parametrize(
        ("reply", "words"),
        [
            (Reply(status=402, json={"message": "Payment required: top up"}), "nothing left on it"),
            (Reply(status=429, json={"error": {"code": "insufficient_quota", "message": "no more"}}), "no more"),
            (Reply(status=403, json={"error": {"message": "Key limit exceeded"}}), "Key limit exceeded"),
            (Reply(status=400, json=[{"error": {"message": "API key not valid."}}]), "mend --api-key-env"),
            (Reply(json={"error": {"code": 402, "message": "Insufficient credits"}}), "Insufficient credits"),
        ],
    )
    def test_end_at_once(self, reply, words, tmp_path):
        with ModelServer(lambda _: reply) as server:
            with pytest.raises(TooManyFailures, match=words):
                answers(server, tmp_path, 60, max_retries=5)
            assert len(server.chats()) <= 4
            assert isinstance(asked(server.url), AuthenticationFailed)

    def test_a_run_in_which_every_request_failed_fails_however_many_may(self, tmp_path):
        ended = pytest.raises(TooManyFailures, match="bad_request 1200; most often: HTTP 400: Unknown field")
        reply = Reply(status=400, json={"error": {"message": "Unknown field"}})
        with ModelServer(lambda _: reply) as server, ended:
            answers(server, tmp_path, 1200, concurrency=32)

    def test_the_commonest_sentence_stands_beside_the_counts(self, tmp_path, capsys):
        replies = {0: OK, 1: Reply(status=422, json={"message": "top_p must lie in (0, 1)"})}
        with ModelServer(lambda body: replies[int(body["messages"][0]["content"].split()[1]) % 2]) as server:
            _, totals = answers(server, tmp_path, 6)
        assert "bad_request 3; most often: HTTP 422: top_p must lie in (0, 1)" in capsys.readouterr().err
        assert totals.as_dict()["reasons"] == {"bad_request": "HTTP 422: top_p must lie in (0, 1)"}

    def test_sentences_that_differ_in_numbers_are_one(self):
        reasons = Reasons()
        for sentence in ("request a1 of 5 bytes", "no", "request b2 of 7 bytes", "no", "request c3 of 9 bytes"):
            reasons.add("bad_request", sentence)
        assert reasons.commonest() == "request a1 of 5 bytes" and reasons.commonest(["refused"]) == ""


class TestUrls:
    @pytest.mark.parametrize("route", ["/chat/completions", "/completions", "/models/"])
    def test_with_a_route_are_told(self, route):
        with pytest.raises(BadInput, match=r"write 'https://a\.example/v1'"):
            checked_url(f"https://a.example/v1{route}")

    @pytest.mark.parametrize("reply", [Reply(status=404, raw=b"Not Found"), Reply(raw=b"<html>Welcome</html>")])
    def test_without_a_version_are_told_where_they_fail(self, reply):
        with ModelServer(lambda _: reply) as server:
            bare = server.url.removesuffix("/v1")
            assert f"has no version: most servers want {bare}/v1" in str(asked(bare, max_retries=0))
            assert "version" not in str(asked(server.url, max_retries=0))


class TestNetworks:
    def test_headers_of_the_users(self, monkeypatch):
        monkeypatch.setenv("A_SECRET", "gateway-secret-77")
        headers = ("OpenAI-Organization=org-1", "api-key=env:A_SECRET")
        with ModelServer(lambda _: Reply(status=400, raw=b"no gateway-secret-77")) as server:
            failure = asked(server.url, headers=headers)
            sent = server.chats()[0]["headers"]
        assert (sent["openai-organization"], sent["api-key"]) == ("org-1", "gateway-secret-77")
        assert "gateway-secret" not in str(failure)
        with pytest.raises(BadInput, match="api-key names holds no value"):
            asked("http://127.0.0.1:9/v1", headers=("api-key=env:NOT_SET",))
        with pytest.raises(BadInput, match="not NAME=VALUE"):
            Endpoint(("http://127.0.0.1:9/v1",), headers=("no header\n",))

    def test_a_proxy_is_used_where_it_is_asked_for(self, monkeypatch):
        with ModelServer(lambda _: OK) as proxy, ModelServer(lambda _: "direct") as server:
            address = f"http://127.0.0.1:{proxy.port}"
            monkeypatch.setenv("http_proxy", address)
            assert asked(server.url).text == "direct"
            assert asked("http://model.invalid/v1", proxy=address).text == "fine"
            assert asked("http://model.invalid/v1", proxy="environment").text == "fine"
            assert proxy.chats()[0]["headers"]["host"] == "model.invalid"
            monkeypatch.setenv("no_proxy", "127.0.0.1")
            assert asked(server.url, proxy="environment").text == "direct"
        with pytest.raises(BadInput, match="proxy: give an http"):
            Endpoint(("http://127.0.0.1:9/v1",), proxy="socks5://user:secret@h")

    def test_a_companys_authority(self, monkeypatch, tmp_path):
        if shutil.which("openssl") is None:
            pytest.skip("no openssl to make a certificate with")
        command = "req -x509 -newkey rsa:2048 -nodes -keyout k.pem -out c.pem -days 2 -subj /CN=localhost -addext"
        command = ["openssl", *command.split(), "subjectAltName=IP:127.0.0.1"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "c.pem", tmp_path / "k.pem")
        with ModelServer(lambda _: OK, tls=context) as server:
            assert asked(server.url, max_retries=0).kind == "connection"
            monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "c.pem"))
            assert asked(server.url).text == "fine"
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
        with pytest.raises(BadInput, match=r"SSL_CERT_FILE=.*missing\.pem holds no certificates"):
            asked(server.url)


class TestMoney:
    TABLE = {  # noqa: RUF012
        "gpt-4o": Price(input=2, output=10),
        "gpt-4o-2024-05-13": Price(input=5, output=15),
        "openai/o3-mini": Price(input=1, output=4),
        "claude-3-5-sonnet": Price(input=3, output=15),
    }

    @pytest.mark.parametrize(
        ("model", "output"),
        [
            ("gpt-4o", 10),
            ("gpt-4o-2024-08-06", 10),
            ("gpt-4o-2024-05-13", 15),
            ("openai/gpt-4o", 10),
            ("azure/eu/gpt-4o-2024-11-20", 10),
            ("o3-mini-20250131", 4),
            ("anthropic.claude-3-5-sonnet-20241022-v2:0", 15),
            ("claude-3-5-sonnet@20240620", 15),
            ("claude-3-5-sonnet-latest", 15),
            ("gpt-4o-mini", None),
            ("o3", None),
        ],
    )
    def test_prices_by_bare_names(self, model, output):
        price = price_of(self.TABLE, model)
        assert (price and price.output) == output

    @pytest.mark.parametrize(
        ("extra", "longest", "count"),
        [
            (None, 100, 1),
            ({"n": 4}, 100, 4),
            ({"best_of": 3, "n": 2}, 100, 3),
            ({"max_tokens": None}, None, 1),
            ({"max_tokens": None, "max_completion_tokens": 4000}, 4000, 1),
            ({"max_tokens": 7}, 7, 1),
            ({"n": "4", "max_tokens": "700"}, 700, 4),
            ({"max_tokens": -1}, None, 1),
            ({"max_tokens": 0, "n_predict": 900}, 900, 1),
            ({"thinking_budget": 3000}, 3100, 1),
            ({"thinking": {"type": "enabled", "budget_tokens": 3000}}, 3100, 1),
            ({"reasoning": {"max_tokens": 3000}}, 3100, 1),
            ({"chat_template_kwargs": {"thinking_budget": 3000}, "n": 2}, 3100, 2),
        ],
    )
    def test_what_a_request_may_make(self, extra, longest, count):
        assert (longest_answer(100, extra), answers_of(extra)) == (longest, count)


@pytest.mark.parametrize(
    "escape",
    [
        lambda char: f"\\x{ord(char):02x}",
        lambda char: f"\\U{ord(char):08X}",
        lambda char: f"\\u{{{ord(char):x}}}",
        lambda char: f"\\{ord(char):03o}",
        lambda char: f"%25{ord(char):02X}",
        lambda char: f"&amp;#{ord(char)};",
        lambda char: {"/": "&sol;", "+": "&plus;", "=": "&equals;"}.get(char, char),
    ],
)
def test_the_key_is_found_in_other_escapes(escape):
    escaped = f"bad {''.join(map(escape, KEY))} here"
    assert Secrets([KEY]).without(escaped) == Secrets([KEY]).out_of_answer(escaped) == "bad *** here"


@pytest.mark.parametrize("before", ["", "a", "ab", "Bearer ", "user:"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode, bytes.hex])
def test_the_key_is_found_in_encodings_whatever_stands_beside_it(before, encode):
    for after in ("", "x", "yz", "\n"):
        sent = encode(f"{before}{KEY}{after}".encode())
        sent = sent if isinstance(sent, str) else sent.decode()
        for text in (sent, sent.replace("/", "\\/"), sent.rstrip("="), sent.replace("=", "%3D")):
            assert HIDDEN in Secrets([KEY]).without(f"bad {text}.") and HIDDEN in Secrets([KEY]).out_of_answer(text)


@pytest.mark.parametrize("unseen", ["\u200b", "\u200d", "\u2060", "\ufeff", "\u00ad", "\u200e", "\ufe0f"])
def test_the_key_is_found_with_characters_between_that_nobody_sees(unseen, monkeypatch):
    monkeypatch.setenv("A_KEY", KEY)
    spread = unseen.join(KEY)
    for status in (200, 401):
        with ModelServer(lambda _, status=status: Reply(text=f"has {spread}.", status=status)) as server:
            got = asked(server.url, api_key_env="A_KEY", max_retries=0)
        told = str(got) if status == 401 else got.text
        assert HIDDEN in told and "y" not in told.partition("has ")[2]


def test_azure_is_asked_with_the_version_of_its_api():
    path = "/openai/deployments/judge"
    url = f"https://name.openai.azure.com{path}"
    assert checked_url(f"{url}?api-version=2024-10-21") == f"{url}?api-version=2024-10-21"
    with pytest.raises(BadInput):
        checked_url(f"{url}?api-version=2024-10-21&key=secret")
    with pytest.raises(BadInput, match="is added to it"):
        checked_url(f"{url}/chat/completions?api-version=2024-10-21")
