"""OpenAI's batch endpoint as a backend: answers within a day, for half the price.

Requests are written to a file, uploaded, submitted, waited for and collected. What is under way stands in a folder, a
JSON file a batch: a killed run goes on waiting for what it submitted, and submits none of it again. Where the kill came
between the submission and the note of it, the server's list of batches says: each carries our name for it.
"""

import json
import re
import time
import uuid
from collections import Counter
from collections.abc import Coroutine, Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from sp3f_verl.data.files import write_json
from sp3f_verl.errors import BadInput, one_line
from sp3f_verl.llm.ask import Answer, Ask, answered, failed
from sp3f_verl.llm.backends.base import Batch, Keyed
from sp3f_verl.llm.backends.openai import EndpointBackend
from sp3f_verl.llm.outcome import AskFailed, Completion, FailureKind, Usage
from sp3f_verl.llm.requests.client import Client, chat_body
from sp3f_verl.llm.requests.endpoint import Endpoint
from sp3f_verl.llm.requests.failures import read_error, read_failure
from sp3f_verl.llm.requests.replies import parse_json, read_completion
from sp3f_verl.llm.requests.retry import RETRIED
from sp3f_verl.llm.store import Store
from sp3f_verl.llm.totals import Totals
from sp3f_verl.log import log

REQUESTS, BYTES = 10_000, 50_000_000  # of a batch at most; OpenAI takes 50,000 and 200 MB
ENDED = ("completed", "expired", "cancelled", "failed")
WAITING = ("validating", "in_progress", "finalizing", "cancelling")
ODD_LOOKS = 10  # at a batch that has ended but whose answers cannot be read; then with what there is
PAGE = 100  # batches of the server's list that are read at once
_FULL = re.compile(
    r"token_limit_exceeded|enqueued|in_progress batches|too many (active |pending )?batches|queue is full"
)
_NOBODY = Ask("", [], 0)  # answers are named when it is known who asked


class _QueueFull(Exception):
    """The server takes no batch before others are through."""


class BatchBackend(EndpointBackend):
    """Asks through batches, at the first of the endpoint's URLs; the endpoint must name its model.

    folder: of what is under way; for one run at a time. poll_seconds: between two looks at each batch.
    BadInput where the server does not take a batch, or does not know one that it took.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        store: Store | None = None,
        totals: Totals | None = None,
        *,
        folder: Path,
        poll_seconds: float = 30.0,
        requests: int = REQUESTS,
    ):
        super().__init__(Client(endpoint), store, totals)
        self.model, self._folder, self._poll, self._requests = endpoint.model, folder, poll_seconds, requests
        self._odd: Counter[str] = Counter()  # looks in a row that came to nothing, by the batch's name
        self._full: set[str] = set()  # names of batches that found the server's queue full
        folder.mkdir(parents=True, exist_ok=True)

    def _ask(self, fresh: Iterator[Keyed]) -> Generator[Batch, None, None]:
        notes = {note["name"]: note for note in map(_read_note, sorted(self._folder.glob("*.json")))}
        for file in self._folder.glob("*.jsonl"):
            if file.stem not in notes:  # killed before it was noted: its requests come again
                file.unlink()
        under_way = {key: name for name, note in notes.items() for key in note["keys"]}
        asks: dict[str, tuple[str, int]] = {}  # id and number, of those whose answers are waited for
        wanted: dict[str, None] = {}  # names of the batches that hold them, in order
        lines: dict[str, bytes] = {}  # of the next batch, by key
        size = 0
        for chunk in fresh:
            for key, ask in chunk:
                asks[key] = ask.id, ask.number
                if key in under_way:
                    wanted[under_way[key]] = None
                    continue
                line = request_line(key, ask, self.model)
                size += len(line)
                if lines and (len(lines) == self._requests or size > BYTES):
                    wanted[self._prepare(lines, notes)] = None
                    size = len(line)
                lines[key] = line
            yield []
        if lines:
            wanted[self._prepare(lines, notes)] = None
        for name in wanted:
            self._submit(notes[name])
        while wanted:
            for name in list(wanted):
                waited_for = any(notes[other]["batch"] for other in wanted)
                if notes[name]["batch"] is None and not (name in self._full and waited_for):
                    self._submit(notes[name])
                answers = self._collect(notes[name]) if notes[name]["batch"] else None
                if answers is not None:
                    del wanted[name]
                    self._keep(answers)
                    self._forget(name)
                    yield [
                        (key, replace(answer, id=asks[key][0], number=asks.pop(key)[1]))
                        for key, answer in answers
                        if key in asks
                    ]
            if wanted:
                time.sleep(self._poll)

    def _prepare(self, lines: dict[str, bytes], notes: dict[str, Any]) -> str:
        """Name of a batch of these lines, which lies in the folder when it returns; takes the lines."""
        note = {"name": uuid.uuid4().hex, "keys": list(lines), "batch": None}
        (self._folder / f"{note['name']}.jsonl").write_bytes(b"".join(lines.values()))
        write_json(note, self._folder / f"{note['name']}.json")
        notes[note["name"]] = note
        lines.clear()
        return note["name"]

    def _submit(self, note: dict[str, Any]) -> None:
        """Submits the batch, unless it is submitted. Its requests stay in the folder until it is collected: a queue
        that is full may refuse it now or later."""
        if note["batch"] is not None:
            return
        name = note["name"]
        note["batch"] = self._require(self._find(name), "list its batches")
        if note["batch"] is None:
            try:
                note["batch"] = self._require(self._send(note), "take a batch")
            except _QueueFull as reason:
                self._wait_for_room(note, str(reason))
                return
            log.info("%s: submitted, %d requests", note["batch"], len(note["keys"]))
        self._write(note)

    def _wait_for_room(self, note: dict[str, Any], reason: str) -> None:
        if note["name"] not in self._full:
            log.warning(
                "the server's queue of batches is full (%s): %d requests wait until others are through; where there "
                "are none, smaller batches fit (--batch-requests)",
                reason,
                len(note["keys"]),
            )
        self._full.add(note["name"])
        note["batch"] = None
        self._write(note)

    def _write(self, note: dict[str, Any]) -> None:
        kept = {name: note[name] for name in ("name", "keys", "batch")}
        write_json(kept, self._folder / f"{note['name']}.json")

    async def _send(self, note: dict[str, Any]) -> str:
        if "file" not in note:
            uploaded = json.loads(await self._client.upload("/files", self._file(note), {"purpose": "batch"}))
            note["file"] = uploaded["id"]
        body = {"input_file_id": note["file"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        try:
            sent = await self._client.post("/batches", {**body, "metadata": {"sp3f": note["name"]}})
        except AskFailed as error:
            if error.kind is FailureKind.RATE_LIMITED or _FULL.search(str(error).lower()):
                raise _QueueFull(error.args[1]) from None
            raise
        return json.loads(sent)["id"]

    async def _find(self, name: str) -> str | None:
        """The server's id of the batch with our name; one that the server has not taken is none."""
        after = ""
        while True:
            page = json.loads(await self._client.get(f"/batches?limit={PAGE}{after}"))
            for batch in page["data"]:
                if (batch.get("metadata") or {}).get("sp3f") == name and batch.get("status") != "failed":
                    return batch["id"]
            if not page.get("has_more") or not page["data"]:
                return None
            after = f"&after={page['data'][-1]['id']}"

    def _collect(self, note: dict[str, Any]) -> Batch | None:
        """All answers of the batch; None while it is under way, out of reach, or waits for room in a full queue."""
        name, ident = note["name"], note["batch"]
        got = self._look(note, f"/batches/{ident}")
        batch = parse_json(got) if got is not None else None
        if got is None:
            return None
        if isinstance(batch, dict) and batch.get("status") in WAITING:
            self._odd.pop(name, None)
            return None
        if not isinstance(batch, dict) or batch.get("status") not in ENDED:
            self._tell_odd(note, one_line(got))
            return None
        answers: dict[str, Answer] = {}
        junk = ""
        for field in ("output_file_id", "error_file_id"):
            if batch.get(field):
                text = self._look(note, f"/files/{batch[field]}/content")
                if text is None:
                    return None
                lines = [line for line in text.split("\n") if line.strip()]
                read = [read_line(line, self.model) for line in lines]
                junk = junk or next((line for line, (key, _) in zip(lines, read, strict=True) if not key), "")
                answers |= {key: self._without_key(answer) for key, answer in read}
        if batch["status"] == "failed" and not answers:
            return self._refused(note, batch)
        known = [key for key in note["keys"] if key in answers]
        if (batch["status"] == "completed" and len(known) < len(note["keys"])) or junk:
            self._tell_odd(note, one_line(junk) or "answers are missing")
            if self._odd[name] < ODD_LOOKS:
                return None
            if not known:
                raise BadInput(
                    f"{ident} has ended, but the server does not give its answers ({one_line(junk) or 'no file'}); "
                    "start again later: they are still waited for."
                )
        counts = batch.get("request_counts") if isinstance(batch.get("request_counts"), dict) else {}
        log.info("%s: %s, %s failed", ident, batch["status"], counts.get("failed", 0))
        code = "lost" if batch["status"] == "completed" else "batch_expired"
        missing = without_answer(f"the batch is {batch['status']}, without this answer", self.model, code)
        return [(key, answers.get(key, missing)) for key in note["keys"]]

    def _look(self, note: dict[str, Any], path: str) -> str | None:
        """The body of GET of the path, None where the way there fails: a day is long, and the network comes back."""
        try:
            return self._thread.run(self._client.get(path))
        except AskFailed as error:
            if error.kind in RETRIED:
                return None
            # A page that asks to log in, an account that is looked at, a server that does not know yet what it took:
            if self._odd[note["name"]] + 1 < ODD_LOOKS:
                self._tell_odd(note, error.args[1])
                return None
            if error.kind is FailureKind.NOT_FOUND:
                file = self._folder / f"{note['name']}.json"
                raise BadInput(
                    f"{note['batch']} is lost ({error}): delete {file} to have it submitted again."
                ) from None
            raise BadInput(
                f"The server does not show {note['batch']} ({error}): mend that and start again, it is waited for."
            ) from None

    def _tell_odd(self, note: dict[str, Any], body: str) -> None:
        self._odd[note["name"]] += 1
        if self._odd[note["name"]] == 1:
            log.warning("%s: the server says nothing that can be read (%s): looking again", note["batch"], body)

    def _refused(self, note: dict[str, Any], batch: dict[str, Any]) -> None:
        """A batch that failed as a whole: it waits where the queue was full; else BadInput."""
        errors = batch["errors"].get("data") if isinstance(batch.get("errors"), dict) else None
        error = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
        message = one_line(self._client.secrets.without(str(error.get("message") or "no reason is given")))
        if _FULL.search(f"{error.get('code')} {message}".lower()) and self._file(note).exists():
            self._wait_for_room(note, message)
            return None
        self._forget(note["name"])
        raise BadInput(f"{note['batch']} was not taken: {message}; mend that and start again.")

    def _file(self, note: dict[str, Any]) -> Path:
        return self._folder / f"{note['name']}.jsonl"

    def _without_key(self, answer: Answer) -> Answer:
        secrets = self._client.secrets
        text = answer.text and secrets.out_of_answer(answer.text)
        return replace(
            answer, text=text, message=secrets.without(answer.message), model=secrets.out_of_answer(answer.model)
        )

    def _require(self, coroutine: Coroutine[Any, Any, Any], what: str) -> Any:
        try:
            return self._thread.run(coroutine)
        except (AskFailed, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadInput(
                f"The server does not {what} ({error}); start again later: what is submitted is waited for."
            ) from None

    def _forget(self, name: str) -> None:
        for suffix in (".json", ".jsonl"):
            (self._folder / f"{name}{suffix}").unlink(missing_ok=True)


def _read_note(file: Path) -> dict[str, Any]:
    try:
        note = json.loads(file.read_text(encoding="utf-8"))
        return {"name": file.stem, "keys": list(note["keys"]), "batch": note["batch"]}
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"{file} is no note of a batch ({error}): move it away, and its requests are submitted again."
        ) from None


def request_line(key: str, ask: Ask, model: str) -> bytes:
    """The ask as a line of a batch's input, with its key as the custom id."""
    body = chat_body(model, ask.messages, ask.max_tokens, ask.sampling, ask.extra)
    line = {"custom_id": key, "method": "POST", "url": "/v1/chat/completions", "body": body}
    return json.dumps(line).encode() + b"\n"


def read_line(line: str, model: str) -> tuple[str, Answer]:
    """(key, answer) of a line of a batch's output or errors; key "" for what is no such line."""
    try:
        data = parse_json(line)
        key, response, error = str(data["custom_id"]), data.get("response"), data.get("error")
    except (KeyError, TypeError, AttributeError):
        return "", without_answer("a line that is none", model)
    if not isinstance(response, dict):
        return key, without_answer(_message(error), model, error.get("code") if isinstance(error, dict) else None)
    body, status = json.dumps(response.get("body")), str(response.get("status_code"))
    if status != "200":
        fault = read_failure(int(status) if status.isdecimal() else 500, body, response.get("body"))
        return key, failed(_NOBODY, fault.kind, fault.message, model)
    got = read_completion(body, 0.0, 0, model)
    if isinstance(got, Completion):
        return key, answered(_NOBODY, got.text, got.finish_reason, got.usage, got.model)
    return key, failed(_NOBODY, got.kind, got.message, model, got.usage)


def without_answer(message: str, model: str, code: Any = "batch_expired") -> Answer:
    """The answer to what a batch did not come to."""
    if code in ("batch_expired", "batch_cancelled"):
        return failed(_NOBODY, FailureKind.DEADLINE, message, model)
    fault = read_error({"error": {"message": message, "code": code}}, Usage())
    kind = fault.kind if fault is not None and fault.kind is FailureKind.REFUSED else FailureKind.SERVER_ERROR
    return failed(_NOBODY, kind, message, model)


def _message(error: Any) -> str:
    return one_line((error.get("message") or error.get("code")) if isinstance(error, dict) else error or "no answer")
