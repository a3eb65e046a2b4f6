"""OpenAI's batch endpoint as a backend: answers within a day, for half the price.

Requests are written to a file, uploaded, submitted, waited for and collected. What is under way stands in a folder, a
JSON file a batch: a killed run goes on waiting for what it submitted, and submits none of it again. Where the kill came
between the submission and the note of it, the server's list of batches says: each carries our name for it.
"""

import json
import time
import uuid
from collections.abc import Coroutine, Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from sp3f_verl.data.files import write_json
from sp3f_verl.errors import BadInput
from sp3f_verl.llm.ask import Answer, Ask, answered, failed
from sp3f_verl.llm.backends import Backend, Batch, Keyed
from sp3f_verl.llm.client import Client, chat_body
from sp3f_verl.llm.endpoint import Endpoint
from sp3f_verl.llm.loop import LoopThread
from sp3f_verl.llm.outcome import AskFailed, Completion, FailureKind, one_line, read_completion, read_failure
from sp3f_verl.llm.retry import RETRIED
from sp3f_verl.llm.store import Store
from sp3f_verl.llm.totals import Totals
from sp3f_verl.log import log

REQUESTS, BYTES = 10_000, 50_000_000  # of a batch at most; OpenAI takes 50,000 and 200 MB
ENDED = ("completed", "expired", "cancelled", "failed")
PAGE = 100  # batches of the server's list that are read at once
_NOBODY = Ask("", [], 0)  # answers are named when it is known who asked


class BatchBackend(Backend):
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
        super().__init__(store, totals)
        self.model, self._folder, self._poll, self._requests = endpoint.model, folder, poll_seconds, requests
        self._client, self._thread = Client(endpoint), LoopThread()
        folder.mkdir(parents=True, exist_ok=True)

    def close(self) -> None:
        if not self._thread.closed:
            self._thread.run(self._client.close())
            self._thread.close()
        super().close()

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
                answers = self._collect(notes[name])
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
        """Submits the batch, unless it is submitted."""
        if note["batch"] is not None:
            return
        name = note["name"]
        note["batch"] = self._require(self._find(name), "list its batches")
        if note["batch"] is None:
            file = self._folder / f"{name}.jsonl"
            note["batch"] = self._require(self._send(name, file), "take a batch")
            log.info("%s: submitted, %d requests", note["batch"], len(note["keys"]))
        write_json(note, self._folder / f"{name}.json")
        (self._folder / f"{name}.jsonl").unlink(missing_ok=True)

    async def _send(self, name: str, file: Path) -> str:
        uploaded = json.loads(await self._client.upload("/files", file, {"purpose": "batch"}))
        body = {"input_file_id": uploaded["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        return json.loads(await self._client.post("/batches", {**body, "metadata": {"sp3f": name}}))["id"]

    async def _find(self, name: str) -> str | None:
        """The server's id of the batch with our name."""
        after = ""
        while True:
            page = json.loads(await self._client.get(f"/batches?limit={PAGE}{after}"))
            for batch in page["data"]:
                if (batch.get("metadata") or {}).get("sp3f") == name:
                    return batch["id"]
            if not page.get("has_more") or not page["data"]:
                return None
            after = f"&after={page['data'][-1]['id']}"

    def _collect(self, note: dict[str, Any]) -> Batch | None:
        """All answers of the batch, None while it is under way or out of reach."""
        try:
            got = self._thread.run(self._client.get(f"/batches/{note['batch']}"))
        except AskFailed as error:
            if error.kind in RETRIED:
                return None  # a day is long: the network comes back
            file = self._folder / f"{note['name']}.json"
            raise BadInput(f"{note['batch']} is lost ({error}): delete {file} to have it submitted again.") from None
        batch = json.loads(got)
        if batch["status"] not in ENDED:
            return None
        answers: dict[str, Answer] = {}
        for field in ("output_file_id", "error_file_id"):
            if batch.get(field):
                lines = self._require(self._client.get(f"/files/{batch[field]}/content"), f"give {batch[field]}")
                answers |= {key: answer for key, answer in (read_line(line, self.model) for line in lines.split("\n"))}
        if batch["status"] == "failed" and not answers:
            self._forget(note["name"])
            errors = (batch.get("errors") or {}).get("data") or [{}]
            raise BadInput(f"{note['batch']} was not taken: {errors[0].get('message')}; mend that and start again.")
        counts = batch.get("request_counts") or {}
        log.info("%s: %s, %s failed", note["batch"], batch["status"], counts.get("failed", 0))
        missing = without_answer(f"the batch is {batch['status']}", self.model)
        return [(key, answers.get(key, missing)) for key in note["keys"]]

    def _require(self, coroutine: Coroutine[Any, Any, Any], what: str) -> Any:
        try:
            return self._thread.run(coroutine)
        except (AskFailed, ValueError, KeyError, TypeError) as error:
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
        data = json.loads(line)
        key, response, error = str(data["custom_id"]), data.get("response"), data.get("error")
    except (ValueError, KeyError, TypeError, AttributeError):
        return "", without_answer("a line that is none", model)
    if not isinstance(response, dict):
        return key, without_answer(_message(error), model, (error or {}).get("code"))
    body, status = json.dumps(response.get("body")), response.get("status_code")
    if status != 200:
        fault = read_failure(status if isinstance(status, int) else 500, body)
        return key, failed(_NOBODY, fault.kind, fault.message, model)
    got = read_completion(body, 0.0, 0, model)
    if isinstance(got, Completion):
        return key, answered(_NOBODY, got.text, got.finish_reason, got.usage, got.model)
    return key, failed(_NOBODY, got.kind, got.message, model)


def without_answer(message: str, model: str, code: Any = "batch_expired") -> Answer:
    """The answer to what a batch did not come to."""
    kind = FailureKind.DEADLINE if code in ("batch_expired", "batch_cancelled") else FailureKind.SERVER_ERROR
    return failed(_NOBODY, kind, message, model)


def _message(error: Any) -> str:
    return one_line(str(error.get("message") or error.get("code"))) if isinstance(error, dict) else "no answer"
