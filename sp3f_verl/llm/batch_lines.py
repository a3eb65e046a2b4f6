"""The lines of a batch's files: requests in, answers and errors out."""

import json
from typing import Any

from sp3f_verl.llm.ask import Answer, Ask, answered, failed
from sp3f_verl.llm.client import chat_body
from sp3f_verl.llm.outcome import Completion, FailureKind, one_line, read_completion, read_failure

_NOBODY = Ask("", [], 0)  # answers are named when it is known who asked


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
        return key, without_answer(_said(error), model, (error or {}).get("code"))
    body, status = json.dumps(response.get("body")), response.get("status_code")
    if status != 200:
        fault = read_failure(status if isinstance(status, int) else 500, body)
        return key, failed(_NOBODY, fault.kind, fault.message, model)
    got = read_completion(body, 0.0, 0, model)
    if isinstance(got, Completion):
        return key, answered(_NOBODY, got.text, got.finish_reason, got.usage, got.model)
    return key, failed(_NOBODY, got.kind, got.message, model)


def without_answer(said: str, model: str, code: Any = "batch_expired") -> Answer:
    """The answer to what a batch did not come to."""
    kind = FailureKind.DEADLINE if code in ("batch_expired", "batch_cancelled") else FailureKind.SERVER_ERROR
    return failed(_NOBODY, kind, said, model)


def _said(error: Any) -> str:
    return one_line(str(error.get("message") or error.get("code"))) if isinstance(error, dict) else "no answer"
