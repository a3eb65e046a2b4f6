"""OpenAI's batch endpoint: submitted once, collected once, whatever happens in between."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.model_server import ModelServer, Reply
from sp3f_verl.errors import BadInput
from sp3f_verl.llm import Ask, Endpoint, FailureKind, Status, Store, Totals
from sp3f_verl.llm.backends.batch import BatchBackend, read_line
from sp3f_verl.llm.backends.openai import OpenAIBackend

CANARY = "sk-canary-0123456789abcdef"
PROGRAM = """
import sys
from pathlib import Path
from sp3f_verl.llm import Ask, Endpoint, Store
from sp3f_verl.llm.backends.batch import BatchBackend
url, folder, rows = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
asks = [Ask(str(row), [{"role": "user", "content": f"question {row}"}], 9) for row in range(rows)]
with BatchBackend(Endpoint((url,), "m"), Store(folder / "s"), folder=folder / "b", poll_seconds=0.02) as backend:
    print("open", flush=True)
    for answer in backend.answers(asks):
        print(answer.id, answer.text, flush=True)
"""


def asks(rows):
    return [Ask(str(row), [{"role": "user", "content": f"question {row}"}], 9) for row in range(rows)]


def backend_for(server, folder, requests=1000, api_key_env=None, max_retries=0):
    endpoint = Endpoint((server.url,), "m", api_key_env, max_retries=max_retries)
    totals, store = Totals(max_failure_share=1), Store(folder / "s")
    return BatchBackend(endpoint, store, totals, folder=folder / "b", poll_seconds=0.01, requests=requests)


def collected(server, folder, rows, **options):
    with backend_for(server, folder, **options) as backend:
        return {answer.id: answer for answer in backend.answers(asks(rows))}, backend.totals


def texts(answers):
    return {row: answer.text for row, answer in answers.items()}


def questions(rows):
    return {str(row): f"question {row}" for row in range(rows)}


def question(body):
    return body["messages"][-1]["content"]


def test_all_of_it_in_as_many_batches_as_it_takes(tmp_path):
    with ModelServer(question) as server:
        answers, totals = collected(server, tmp_path, 25, requests=10)
        assert {row: answer.text for row, answer in answers.items()} == {
            str(row): f"question {row}" for row in range(25)
        }
        assert [batch["request_counts"]["total"] for batch in server.batches.made] == [10, 10, 5]
        again, _ = collected(server, tmp_path, 25)
        assert len(server.batches.made) == 3 and {answer.reused for answer in again.values()} == {True}
    assert totals.usage.prompt_tokens == 250 and not list((tmp_path / "b").iterdir())


def test_an_answer_may_hold_what_unicode_calls_the_end_of_a_line(tmp_path):
    with ModelServer(lambda body: f"{question(body)}\u2028next\x85end") as server:
        answers, _ = collected(server, tmp_path, 2)
    assert texts(answers) == {str(row): f"question {row}\u2028next\x85end" for row in range(2)}


def test_the_store_is_shared_with_the_other_way_of_asking(tmp_path):
    with ModelServer(question) as server:
        collected(server, tmp_path, 5)
        with OpenAIBackend(Endpoint((server.url,), "m"), Store(tmp_path / "s")) as backend:
            assert [answer.text for answer in backend.answers(asks(5))] == [f"question {row}" for row in range(5)]
        assert not server.chats()


def test_what_failed_in_it_is_told_and_alone_asked_again(tmp_path):
    replies = {
        "question 1": Reply(status=400, json={"error": {"message": "bad thing"}}),
        "question 2": Reply(text=None, refusal="no"),
        "question 3": Reply(text="cu", finish_reason="length"),
        "question 4": Reply(status=500, json={"error": {"message": "broken"}}),
    }
    with ModelServer(lambda body: replies.get(question(body), "fine")) as server:
        answers, totals = collected(server, tmp_path, 6)
        assert [answers[str(row)].status for row in range(6)] == ["ok", "error", "refused", "truncated", "error", "ok"]
        assert (answers["1"].failure, answers["1"].text) == (FailureKind.BAD_REQUEST, None)
        assert "bad thing" in answers["1"].message
        assert totals.failures == {FailureKind.BAD_REQUEST: 1, FailureKind.REFUSED: 1, FailureKind.SERVER_ERROR: 1}
        replies.clear()
        answers, _ = collected(server, tmp_path, 6)
        assert [batch["request_counts"]["total"] for batch in server.batches.made] == [6, 2]
    assert answers["2"].status is Status.REFUSED and answers["1"].text == answers["4"].text == "fine"


def test_an_expired_batch_gives_what_it_has(tmp_path):
    with ModelServer(question) as server:
        server.batches.ends = ["expired"]
        answers, _ = collected(server, tmp_path, 10)
        assert [answers[str(row)].status for row in range(10)] == ["ok"] * 5 + ["error"] * 5
        assert {answers[str(row)].failure for row in range(5, 10)} == {FailureKind.DEADLINE}
        answers, totals = collected(server, tmp_path, 10)
        assert {answer.status for answer in answers.values()} == {Status.OK} and (totals.fresh, totals.reused) == (5, 5)
        assert len(server.batches.made) == 2


def test_a_batch_that_is_not_taken_is_told_and_submitted_again(tmp_path):
    with ModelServer(question) as server:
        server.batches.ends = ["failed"]
        with pytest.raises(BadInput, match="Line 3 is no request"):
            collected(server, tmp_path, 3)
        answers, _ = collected(server, tmp_path, 3)
        assert len(answers) == 3 and len(server.batches.made) == 2


def polled(server):
    return bool(server.log) and server.log[-1]["path"].endswith("/batches/batch-0")


def killed_when(condition, server, folder, rows):
    """Starts the program, and kills it when the server sees the condition."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, server.url, folder, str(rows)], stdout=subprocess.PIPE
    ) as run:
        try:
            assert run.stdout.readline() == b"open\n" and server.wait_for(condition)
        finally:
            run.send_signal(signal.SIGKILL)


@pytest.mark.parametrize("answered", [True, False], ids=["while_it_waits", "before_it_knows_the_id"])
def test_a_killed_run_submits_nothing_twice(tmp_path, answered):
    """Killed while it polls; and while the answer to its submission is under way, so that its note has no id."""
    with ModelServer(question) as server:
        server.batches.polls, server.batches.hang_after_submit = 10**9, not answered
        polled = (
            (lambda server: server.log and server.log[-1]["path"].endswith("/batches/batch-0")) if answered else None
        )
        killed_when(polled or (lambda server: server.batches.made), server, tmp_path, 7)
        (note,) = (json.loads(file.read_text()) for file in (tmp_path / "b").glob("*.json"))
        assert note["batch"] == ("batch-0" if answered else None) and len(note["keys"]) == 7
        server.batches.polls, server.batches.hang_after_submit = 1, False
        server.batches._left["batch-0"] = 2
        answers, _ = collected(server, tmp_path, 9)  # two rows are new
        assert [batch["request_counts"]["total"] for batch in server.batches.made] == [7, 2]
        assert {row: answer.text for row, answer in answers.items()} == {
            str(row): f"question {row}" for row in range(9)
        }
        assert not list((tmp_path / "b").iterdir())


def test_our_batch_is_found_on_any_page_of_the_servers_list(tmp_path, monkeypatch):
    monkeypatch.setattr("sp3f_verl.llm.backends.batch.PAGE", 2)
    with ModelServer(question) as server:
        server.batches.polls, server.batches.hang_after_submit = 10**9, True
        killed_when(lambda server: server.batches.made, server, tmp_path, 3)
        server.batches.hang_after_submit = False
        server.batches.made += [{"id": f"other-{number}", "status": "completed"} for number in range(5)]
        server.batches._left["batch-0"] = 0
        answers, _ = collected(server, tmp_path, 3)
        assert len(answers) == 3 and len(server.batches.made) == 6


def test_a_batch_that_the_server_forgot_is_told(tmp_path):
    with ModelServer(question) as server:
        server.batches.polls = 10**9
        killed_when(polled, server, tmp_path, 3)
        server.batches.made.clear()
        with pytest.raises(BadInput, match=r"batch-0 is lost .* delete .*\.json to have it submitted again"):
            collected(server, tmp_path, 3)


def test_a_server_without_batches_is_told_and_nothing_is_lost(tmp_path):
    with ModelServer(question) as server:
        server.batches.serves = lambda path: False
        with pytest.raises(BadInput, match=r"The server does not list its batches .*404"):
            collected(server, tmp_path, 3)
        del server.batches.serves
        assert len(collected(server, tmp_path, 3)[0]) == 3 and len(server.batches.made) == 1


def test_an_upload_that_fails_is_sent_again_in_full(tmp_path, monkeypatch):
    monkeypatch.setattr("sp3f_verl.llm.requests.client.backoff_seconds", lambda *_: 0.01)
    with ModelServer(question) as server:
        taken, uploads = server.batches.reply, []

        def reply(request, content, body):
            if request.path.endswith("/files"):
                uploads.append(content.count(b"custom_id"))
                if len(uploads) == 1:
                    return Reply(status=500)
            return taken(request, content, body)

        server.batches.reply = reply
        answers, _ = collected(server, tmp_path, 3, max_retries=1)
    assert texts(answers) == questions(3) and uploads == [3, 3]


def test_the_key_lies_in_none_of_its_files(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SOME_KEY", CANARY)
    with ModelServer(question, api_key=CANARY) as server:
        server.batches.ends = ["failed"]
        with pytest.raises(BadInput):
            collected(server, tmp_path, 3, api_key_env="SOME_KEY")
        monkeypatch.setenv("SOME_KEY", CANARY + "-wrong")
        with pytest.raises(BadInput) as caught:
            collected(server, tmp_path, 4, api_key_env="SOME_KEY")
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) > 2 and not [file for file in files if CANARY.encode() in file.read_bytes()]
    assert CANARY not in str(caught.value) + "".join(capsys.readouterr())


def test_a_broken_note_is_told(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.json").write_text("{")
    with ModelServer(question) as server, pytest.raises(BadInput, match=r"x\.json is no note of a batch"):
        collected(server, tmp_path, 1)


def test_the_command_as_a_program(tmp_path):
    with ModelServer(question) as server:
        command = [sys.executable, "-c", PROGRAM, server.url, Path(tmp_path), "2"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert sorted(done.stdout.splitlines()) == ["0 question 0", "1 question 1", "open"]
    assert "batch-0: submitted, 2 requests" in done.stderr and "batch-0: completed" in done.stderr


FULL = {"code": "token_limit_exceeded", "message": "Enqueued token limit reached for m. Please try again later."}


def test_a_full_queue_is_waited_for(tmp_path, capsys):
    with ModelServer(question) as server:
        server.batches.error, server.batches.ends = FULL, ["completed", "failed", "failed"]
        answers, _ = collected(server, tmp_path, 7, requests=3)
        assert texts(answers) == questions(7) and len(server.batches.made) == 5
    assert capsys.readouterr().err.count("queue of batches is full") == 2 and not list((tmp_path / "b").iterdir())


def test_a_full_queue_that_refuses_the_submission_is_waited_for(tmp_path):
    refused = []

    def reply(request, content, body):
        if request.method == "POST" and request.path.endswith("/batches") and len(refused) < 2:
            refused.append(1)
            return Reply(status=429 if len(refused) == 1 else 400, json={"error": FULL})
        return taken(request, content, body)

    with ModelServer(question) as server:
        taken, server.batches.reply = server.batches.reply, reply
        assert texts(collected(server, tmp_path, 3)[0]) == questions(3) and len(refused) == 2
        assert sum(entry["path"].endswith("/files") for entry in server.log) == 1, "one file serves each try"


@pytest.mark.parametrize(
    "odd",
    [
        Reply(raw=b"<html>please log in</html>"),
        Reply(json=[1, 2]),
        Reply(json={}),
        Reply(json={"status": "paused"}),
        Reply(json={"status": 3}),
        Reply(json=None, raw=b"null"),
        Reply(status=302, headers={"Location": "https://login.example/"}),
        Reply(status=403, raw=b"<html>Attention Required</html>"),
        Reply(status=401, json={"error": {"message": "expired"}}),
        Reply(status=404, json={"error": {"message": "No such batch"}}),
    ],
)
def test_an_odd_look_is_told_and_taken_again(odd, tmp_path, capsys):
    looks = []

    def reply(request, content, body):
        if request.path.endswith("/batches/batch-0") and len(looks) < 2:
            looks.append(1)
            return odd
        return taken(request, content, body)

    with ModelServer(question) as server:
        taken, server.batches.reply = server.batches.reply, reply
        assert texts(collected(server, tmp_path, 3)[0]) == questions(3)
    assert capsys.readouterr().err.count("looking again") == 1


@pytest.mark.parametrize("junk", [b"<html>please log in</html>", b"", b'{"custom_id": "x', b"[]\n3\n"])
def test_answers_that_are_junk_are_looked_at_again_and_never_forgotten(junk, tmp_path):
    left = [2]

    def reply(request, content, body):
        if request.path.endswith("/content") and left[0]:
            left[0] -= 1
            return Reply(raw=junk)
        return taken(request, content, body)

    with ModelServer(question) as server:
        taken, server.batches.reply = server.batches.reply, reply
        assert texts(collected(server, tmp_path, 3)[0]) == questions(3)
        left[0] = 10**6
        with pytest.raises(BadInput, match="still waited for"):
            collected(server, tmp_path, 5)
        left[0] = 0
        assert texts(collected(server, tmp_path, 5)[0]) == questions(5) and len(server.batches.made) == 2


def test_a_line_that_stays_junk_costs_its_row_alone(tmp_path):
    def reply(request, content, body):
        got = taken(request, content, body)
        if request.path.endswith("/content"):
            _, *rest = got.raw.split(b"\n")
            return Reply(raw=b"\n".join([b"junk", *rest]))
        return got

    with ModelServer(question) as server:
        taken, server.batches.reply = server.batches.reply, reply
        answers, _ = collected(server, tmp_path, 3)
    assert sorted(answer.status for answer in answers.values()) == ["error", "ok", "ok"]
    assert {answer.failure for answer in answers.values()} == {None, FailureKind.SERVER_ERROR}


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ('\ufeff{"custom_id": "k", "response": {"status_code": 200, "body": @}}', "ok"),
        ('{"custom_id": "k", "response": {"status_code": "200", "body": @}}\r', "ok"),
        ('{"custom_id": "k", "response": {"status_code": 200, "body": null}}', "error"),
        ('{"custom_id": "k", "response": {"status_code": 200, "body": "<html>"}}', "error"),
        ('{"custom_id": "k", "response": {"body": {"error": "no"}}}', "error"),
        ('{"custom_id": "k", "response": null, "error": "gone"}', "error"),
        ('{"custom_id": "k", "response": [], "error": {"code": 7}}', "error"),
        ('{"custom_id": "k"}', "error"),
        ('{"custom_id": "k", "response": null, "error": {"code": "content_filter", "message": "no"}}', "refused"),
        ('{"custom_id": "k", "response": null, "error": {"code": "batch_expired", "message": "no"}}', "error"),
    ],
)
def test_lines_in_odd_shapes_are_read_as_far_as_they_go(line, status):
    key, answer = read_line(line.replace("@", Reply(text="fine").body("m").decode()), "m")
    assert (key, answer.status) == ("k", status) and (answer.text == "fine") == (status == "ok")


@pytest.mark.parametrize("page", [[], {}, {"data": ["x"]}, {"data": 3}, {"data": [{"id": 1}], "has_more": True}, None])
def test_an_odd_list_of_batches_is_one_sentence(page, tmp_path):
    def reply(request, content, body):
        if request.method == "GET" and request.path.endswith("/batches"):
            return Reply(raw=json.dumps(page).encode()) if request.query.get("after") is None else Reply(json={})
        return taken(request, content, body)

    with ModelServer(question) as server:
        taken, server.batches.reply = server.batches.reply, reply
        with pytest.raises(BadInput, match="does not list its batches"):
            collected(server, tmp_path, 1)


def test_the_key_is_told_in_no_failure_of_a_batch(tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_KEY", CANARY)
    replies = {
        "question 0": Reply(status=400, json={"error": {"message": f"bad {CANARY}"}}),
        "question 1": Reply(text=f"echo {CANARY}"),
    }
    with ModelServer(lambda body: replies.get(question(body), "fine")) as server:
        answers, _ = collected(server, tmp_path, 3, api_key_env="SOME_KEY")
        assert answers["0"].message == "HTTP 400: bad ***" and answers["1"].text == "echo ***"
        server.batches.error = {"message": f"bad key Bearer {CANARY}"}
        server.batches.ends = ["failed"]
        with pytest.raises(BadInput, match=r"bad key Bearer \*\*\*"):
            collected(server, tmp_path / "other", 1, api_key_env="SOME_KEY")
