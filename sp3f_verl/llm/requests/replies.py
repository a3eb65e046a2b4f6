"""The bodies that servers answer with: chat completions in all the shapes in which they come, and lists of models."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from sp3f_verl.characters import whole
from sp3f_verl.errors import one_line
from sp3f_verl.llm.outcome import Completion, FailureKind, Fault, Usage
from sp3f_verl.llm.requests.failures import read_envelope, read_error, server_words

MOST_TOKENS = 10**9  # of a request; a server that counts more counts wrongly

# Finish reasons as `_reason` writes them. An answer is whole only with one of the first set; what is none of them is
# no answer.
WHOLE = frozenset(
    {
        "stop",
        "end_turn",  # Anthropic
        "stop_sequence",
        "eos_token",  # TGI
        "eos",
        "complete",  # Cohere
        "completed",
        "end_of_turn",
        "end_of_text",
        "endoftext",
        "stop_token",
        "stop_string",
        "stop_str",
        "eos_found",
    }
)
# Those that are no whole answer are told apart by what they speak of, in whatever words.
CUT_OFF = re.compile(
    r"length|^max_|truncat|(token|output|window|context|turn)s?_(limit|budget|exceeded)|exceeded_\w*(context|token)"
    r"|context_window|^(stopped_)?limit$|^repetition$"  # vLLM's, where the text went round in circles
)
REFUSALS = re.compile(
    r"filter|guardrail|safety|moderat|policy|block|flagged|sensitive|prohibited|refus|toxic|recitation|^spii$|armor"
)
BROKEN = frozenset({"abort", "error", "network_error", "insufficient_system_resource", "timeout", "cancelled", "other"})


def parse_json(body: str) -> Any:
    """The JSON value; None for anything else (and for `null`). A byte-order mark, and `data: [DONE]` behind, are no
    part of it. Halves of characters in its texts become U+FFFD."""
    return whole(_parsed(body))


def _parsed(body: str) -> Any:
    text = re.sub(r"^(:[^\n]*\n|\s)+", "", body.lstrip("\ufeff"))  # a proxy's `: still at work` is no part of it
    try:
        value, end = json.JSONDecoder(strict=False).raw_decode(text)  # a raw tab in a text is a tab
    except (ValueError, RecursionError):
        return None
    return value if re.fullmatch(r"(\s|:[^\n]*(\n|$)|(data: ?)?\[DONE\])*", text[end:]) else None


def read_completion(body: str, seconds: float, retries: int, model: str) -> Completion | Fault:
    """The answer in the body of a successful response, or why it is none."""
    data = parse_json(body)
    if data is None and _is_stream(body):
        data = whole(_joined(body))  # not its parts: one may end in the middle of a character
    usage = read_usage(data.get("usage")) if isinstance(data, dict) else Usage()
    if isinstance(data, dict) and (fault := read_error(data, usage)) is not None:
        return fault
    match data:
        case {"choices": [{"message": dict()}, *_] as choices}:
            choice = next((item for item in choices if isinstance(item, dict) and item.get("index") == 0), choices[0])
            message = choice.get("message") if isinstance(choice.get("message"), dict) else {}
        case {"promptFeedback": {"blockReason": reason}}:  # Gemini
            return Fault(FailureKind.REFUSED, one_line(f"the prompt was blocked: {reason}"), usage=usage)
        case _:
            if (fault := read_envelope(data, usage)) is not None:
                return fault
            words = one_line(server_words(data, body).message)
            return Fault(FailureKind.INVALID_RESPONSE, f"no chat completion: {words}", usage=usage)
    text, refusal = _text_and_refusal(message)
    finish_reason = choice.get("finish_reason")
    if not isinstance(finish_reason, str | None) or not isinstance(text, str | None):
        return Fault(FailureKind.INVALID_RESPONSE, "a message whose content or finish_reason is no text", usage=usage)
    reason = _reason(finish_reason)
    if REFUSALS.search(reason) or refusal:
        return Fault(FailureKind.REFUSED, one_line(refusal or "stopped by the content filter"), usage=usage)
    if reason in BROKEN:
        return Fault(FailureKind.SERVER_ERROR, f"the server broke the answer off ({finish_reason})", usage=usage)
    if CUT_OFF.search(reason):  # a reasoning model that ran out of max_tokens before its answer has not refused
        text, finish_reason = text or "", "length"
    elif reason and reason not in WHOLE:
        words = one_line(f"the answer ended with {finish_reason}, which is no end of a whole one")
        return Fault(FailureKind.INVALID_RESPONSE, words, usage=usage)
    elif text is None or (not text.strip() and _said_otherwise(message)):
        return Fault(FailureKind.INVALID_RESPONSE, "the message has no content", usage=usage)
    try:
        top_logprobs = _first_token_logprobs(choice.get("logprobs"))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return Fault(FailureKind.INVALID_RESPONSE, "logprobs that are none", usage=usage)
    served = data.get("model")
    model = served if isinstance(served, str) and served else model
    return Completion(text, finish_reason, usage, top_logprobs, model, seconds, retries)


def read_first_model(body: str) -> str | Fault:
    """The first name in the body of GET /models."""
    match data := parse_json(body):
        case {"data": [{"id": str(name)}, *_]} if name.isprintable() and name:
            return name
        case {"data": [{"id": str(name)}, *_]} if name:
            message = f"the model's name {one_line(name)!r} holds characters that cannot be shown"
            return Fault(FailureKind.INVALID_RESPONSE, message)
    words = one_line(server_words(data, body).message)
    return Fault(FailureKind.INVALID_RESPONSE, f"no list of models: {words}")


def read_context_length(body: str, model: str) -> int | None:
    """vLLM's `max_model_len` of the model in the body of GET /models; None where it is not said."""
    match parse_json(body):
        case {"data": list(models)}:
            cards = [card for card in models if isinstance(card, dict) and card.get("id") == model]
            length = cards[0].get("max_model_len") if cards else None
            return length if isinstance(length, int) and length > 0 else None
    return None


def read_usage(usage: Any) -> Usage:
    """Tokens that are paid for. Servers leave out any of it, and what is no count is 0.

    Reasoning is a part of completion_tokens (OpenAI), stands beside them (xAI), or in the total alone (Gemini).
    """

    def count(mapping: Any, *names: str) -> int:
        values = [mapping.get(name) for name in names] if isinstance(mapping, Mapping) else []
        values = [int(value) if isinstance(value, str) and value.isdecimal() else value for value in values]
        counts = [int(value) for value in values if type(value) in (int, float) and 0 < value < MOST_TOKENS]
        return max(counts, default=0)

    def part(name: str) -> Any:
        return usage.get(name) if isinstance(usage, Mapping) else None

    prompt = count(usage, "prompt_tokens", "input_tokens")
    generated = count(usage, "completion_tokens", "output_tokens")
    reasoning = max(
        count(part(name), "reasoning_tokens", "thinking_tokens", "thoughts_tokens")
        for name in ("completion_tokens_details", "output_tokens_details")
    )
    reasoning = max(reasoning, count(usage, "reasoning_tokens", "thinking_tokens"))
    beside = generated + reasoning if reasoning > generated else 0
    cached = max(count(part(name), "cached_tokens") for name in ("prompt_tokens_details", "input_tokens_details"))
    cached = max(cached, count(usage, "prompt_cache_hit_tokens"))  # DeepSeek
    if not count(usage, "prompt_tokens"):  # Anthropic counts what its cache holds beside the rest
        read, written = count(usage, "cache_read_input_tokens"), count(usage, "cache_creation_input_tokens")
        prompt, cached = prompt + read + written, max(cached, read)
    return Usage(prompt, cached, max(generated, beside, count(usage, "total_tokens") - prompt))


def _text_and_refusal(message: Mapping[str, Any]) -> tuple[Any, str]:
    """The content, the text parts of a list joined, and what the model says in place of an answer."""
    content, refusal = message.get("content"), message.get("refusal")
    refusals = [refusal] if refusal else []
    if isinstance(content, Mapping):
        content = [content]
    if isinstance(content, list):
        parts = [part if isinstance(part, Mapping) else {"type": "text", "text": part} for part in content]
        refusals += [part["refusal"] for part in parts if part.get("refusal")]
        texts = [_text_of(part) for part in parts if not part.get("thought")]
        texts = [text for text in texts if isinstance(text, str)]
        content = "".join(texts) if texts else None
    return content, " ".join(map(str, refusals))


def _text_of(part: Mapping[str, Any]) -> Any:
    """The text of a part of a message; None of a part that is none of its answer."""
    if str(part.get("type") or "text").lower() not in ("text", "output_text"):
        return None
    text = part.get("text", part.get("content"))
    return text.get("value") if isinstance(text, Mapping) else text


def _reason(finish_reason: str | None) -> str:
    """In lower case, with _ between its words: MAX_TOKENS, maxTokens, FINISH_REASON_MAX_TOKENS and
    FinishReason.MAX_TOKENS are one."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|[\s.-]+", "_", finish_reason or "")
    return words.lower().removeprefix("finish_reason_")


def _said_otherwise(message: Mapping[str, Any]) -> bool:
    """Whether the message holds something beside its content: thoughts, calls of tools."""
    names = ("reasoning_content", "reasoning", "reasoning_details", "thinking", "thinking_blocks")
    names += ("tool_calls", "function_call")
    return any(message.get(name) for name in names)


def _is_stream(body: str) -> bool:
    return body.lstrip("\ufeff \t\r\n").startswith(("data:", "event:", ":", "id:", "retry:"))


def _joined(body: str) -> dict[str, Any] | None:
    """The completion that a stream of server-sent events comes to, though none was asked for; None for no such stream.

    One that ends without a finish reason or [DONE] was broken off: its error says so.
    """
    content, refusal, message, choice, whole_body = [], [], {}, {"finish_reason": None}, {}
    ended = False
    for event in _events(body):
        if event.upper() == "[DONE]":
            ended = True
            continue
        data = _parsed(event)
        if not isinstance(data, dict):
            return None
        if data.get("object") == "error":  # SGLang's, without a name of its own
            data = {"error": data}
        whole_body |= {name: value for name, value in data.items() if value is not None and name != "choices"}
        choices = data.get("choices")
        part = next((part for part in choices or () if isinstance(part, dict) and not part.get("index")), None)
        if part is None:
            continue
        delta = part.get("delta") or part.get("message") or {}
        if not part.get("delta") and part.get("message"):
            content, refusal = [], []  # the whole message, whatever came in parts
        text, refused = _text_and_refusal(delta)
        content += [text] if isinstance(text, str) else []
        refusal += [refused]
        message |= {name: value for name, value in delta.items() if value}
        choice["finish_reason"] = part.get("finish_reason") or choice["finish_reason"]
        if part.get("logprobs") and not choice.get("logprobs"):
            choice["logprobs"] = part["logprobs"]
        if part.get("error"):
            choice["error"] = part["error"]
    if not (ended or choice["finish_reason"] or whole_body.get("error") or choice.get("error")):
        choice["error"] = {"message": "the stream ended before the answer did"}
    message |= {"content": "".join(content) if content else None, "refusal": "".join(refusal)}
    return {**whole_body, "choices": [{**choice, "message": message}]}


def _events(body: str) -> Iterator[str]:
    """The data of each server-sent event. Some servers end it with one line's end: then each line is a whole one."""
    lines: list[str] = []
    for line in [*body.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n"), ""]:
        if line.startswith("data:"):
            event = line.removeprefix("data:").removeprefix(" ")
            lines += [event] if event.strip() else []
        elif not line and lines:
            together = "\n".join(lines)
            yield from lines if len(lines) > 1 and _parsed(together) is None else [together]
            lines = []


def _first_token_logprobs(logprobs: Any) -> dict[str, float] | None:
    if not logprobs or not logprobs.get("content"):
        return None
    first = logprobs["content"][0]
    merged: dict[str, float] = {}
    for entry in first.get("top_logprobs") or ([first] if "token" in first else []):
        if not entry or entry.get("logprob") is None:
            continue  # of a token of which the server knows none
        token, logprob = str(entry["token"]), float(entry["logprob"])
        if math.isnan(logprob):
            raise ValueError("a log-probability that is no number")
        merged[token] = float(np.logaddexp(merged[token], logprob)) if token in merged else logprob
    return merged
