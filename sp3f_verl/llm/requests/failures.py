"""What a server that gives no answer means: status, code, type and message, in the words of the public providers.

OpenAI, Azure, Anthropic, Gemini, Mistral, Cohere, DeepSeek, xAI, Bedrock, Alibaba, Zhipu, Moonshot, OpenRouter,
LiteLLM, vLLM, SGLang, llama.cpp, TGI. Codes and types decide before the words of the message do.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from sp3f_verl.errors import one_line
from sp3f_verl.llm.outcome import FailureKind, Fault, Usage

READ = 1000  # characters of a message that are looked at: the rest may quote the question
_NESTED = ("innererror", "inner_error", "metadata", "error", "errors", "details")  # where codes stand deeper

_CODES = {  # of codes and types, in lower case and with _ between their words
    FailureKind.REFUSED: (
        "content_?(filter(?!_error)|policy|moderation)",  # Azure's content_filter_error: the filter is down
        "moderation|guardrail|safety|censor|high_risk|(?<!case_)sensitive|jailbreak|security_not_pass|^hooks_failed$",
        "responsible_?ai|data_?inspection|(prohibited|harmful|unsafe|inappropriate|toxic)_?content",
        "^invalid_prompt$",  # OpenAI
        "^1301$",  # Zhipu
    ),
    FailureKind.TOO_LONG: (
        "context_?(length|window|size|limit)",
        "(prompt|input|string|request|payload|entity)(_tokens?|_length|_size)?_(is_)?(too_(long|large)|above_max)",
        "tokens_limit_reached|prompt_tokens_exceeded",
        "^1261$",  # Zhipu
    ),
    FailureKind.NO_MONEY: (
        "insufficient_?(user_?)?(quota|balance|credit|fund)|freetieronly",
        "billing|payment_(required|instrument)|arrear|overdue|unpaid|budget_?exceeded|quota_?exhausted|token_quota_failed",
        "exceeded_current_quota|out_of_credit|no_credit",
        "^1113$",  # Zhipu
    ),
    FailureKind.AUTHENTICATION: (
        "(invalid|incorrect|wrong|missing|no|expired|revoked|disabled|deactivated)_?(api_?)?key",
        "api_?key_(invalid|expired|not_found|missing|disabled|revoked)",
        "^authentication|^unauth|invalid_token",
    ),
}
_WORDS = {  # of messages, in lower case
    FailureKind.REFUSED: (
        "content[ _-]?(filter|policy|management|moderation|exists risk|violates)",
        "responsible ?ai|usage (policy|policies|guidelines)|safety (system|check|setting|filter|polic|classifier)",
        r"moderation|\bflagged\b|high risk|inappropriate content|prohibited[ _]content|guardrail",
        r"violat\w+ [^.]{0,40}(polic|terms|guideline|rules)|(polic|terms|guideline)\w* violation",
        r"against (our|the) \w* ?polic|potentially (harmful|unsafe)",
        "(harmful|unsafe|offensive|toxic|nsfw) (content|text|prompt|input|material|language)",
        r"(?<!case[ -])sensitive (words?|content|information|data|topic)|\bnew_sensitive\b"
        r"|\b(prompt|input|output|content|response)s? (was |is |were |has been )?(blocked|rejected by)",
        r"prompt shield|jailbreak|blocked by [^.]{0,40}(polic|filter|guard|shield|moderat)",
        "敏感|不安全|违规|违法|风控|审核|安全检测|内容安全",
    ),
    FailureKind.TOO_LONG: (
        "context ?(length|window|size|limit)|contextwindowexceeded",
        "max(imum)? (supported )?(model|prompt|input|sequence) length|maxlength|range of input length",
        r"\bmax_(model|seq|input|prompt|sequence)_?len|\bsession_len|max_num_tokens",
        r"max (input characters|length of [^.]{0,20}(question|prompt|input|message)s?) is \d",
        r"(input|prompt) tokens\b[^.]{0,60} exceeds? \d|only supports up to",
        "(prompt|input|message|request|sequence|text|string|conversation|payload|entity)s?`?( length| size| tokens?)?"
        "( is| are| was| were)? (too (long|large|big)|over the limit|longer than)",
        "too many (input |prompt )?tokens|too long for|超长|(输入|内容|文本|长度)过长",
        "payload size exceed|exceeds token limit",
        r"inputs?`? tokens \+|requests? exceed\w* (the |our |model |model's )*(token|size|max)",
        r"(prompt|input|message|token)\w*\b[^.]{0,80}"
        r"\b(exceed|cannot be longer|must (have|be) (less|fewer|<)|(larger|greater|longer|more) than|above|over)\w*"
        r"[^.]{0,80}\b(token|length|limit|context|maximum|size)",
        "reduce (the|your) (length|size|prompt|input|message)|token limit (was |is |has been )?exceeded",
        "context (is |was )?too (long|large)|n_ctx|exceed\\w* (the )?(model|context)('s)? (window|size)",
        r"(not|n't) fit\b[^.]{0,60}(window|context|limit)|\d+ tokens\b[^.]{0,40}\b(only|at most|maximum)\b[^.]{0,20}\d",
        "(length|size) of (the|your) (input|prompt|request|messages?) (is too|exceed)",
    ),
    FailureKind.NO_MONEY: (
        "insufficient[ _](quota|balance|credit|fund)|credit balance|account balance",
        "(余额|额度|配额)不足|欠费|扣费额度失败",
        "exceeded your (current|monthly|weekly|daily) (quota|usage|spend|budget|limit)",
        r"(out of|no|not enough|enough|more) (remaining |api )?credits?\b",
        r"reached your \w+ usage limit|unpaid (bill|invoice)|payment[ _](method|instrument)",
        "(key|spend\\w*|budget|usage|monthly|credit|cost) limits? (was |has been |is |been )?(exceeded|reached|hit)",
        "budget has been exceeded|exceeded ?(its |the |your )?budget|specified (api )?usage limit|crossed spend",
        r"(budget|spend\w*|cost) limit|(free|paid) tier\b[^.]{0,40} exhausted|quota (is )?(not enough|insufficient)",
        "spend\\w* (cap|ceiling)|all (of )?(its |the |your )?available credits",
        "no (remaining |available )*(balance|funds)|(not|n['’]t) have (any|enough) [^.]{0,20}(credit|balance|fund)",
        "billing|payment (is )?required|in good standing|top up|recharge|overdue|out of (call volume )?quota",
        r"(balance|credits?|funds?)( \w+){0,2} (not enough|insufficient|too low|exhausted|depleted|negative|used up)",
        r"not enough (balance|funds)|(subscription|trial|plan)( \w+){0,2} (expired|ended)",
    ),
    FailureKind.AUTHENTICATION: (
        "(invalid|incorrect|wrong|missing|no|expired|revoked|disabled|unknown|bad)( or \\w+)?"
        " (x-)?(api[ _-]?key|(access|auth|bearer) token|credentials?|bearer|authentication)",
        r"(api[ _-]?key|credentials?)( (you|we) (have )?\w+| \w+)?( was| is| has been)?"
        " (not valid|(could )?not (be )?found|invalid|incorrect|expired|missing|revoked|disabled|suspended|required)",
        r"(security|access|auth\w*|bearer) token\b[^.]{0,60} (invalid|expired)|your key is (not valid|invalid|expired)",
        r"\b(jwt|token) (is |has )?expired|unregistered callers|signature (we calculated )?does not match|login fail",
        "unauthori[sz]ed|not authenticated|authentication (failed|error)|reported as leaked|无效的令牌|令牌无效",
        r"(account|organi[sz]ation|consumer|api[ _-]?key)\b[^.]{0,80}"
        " (deactivated|suspended|disabled|blocked|terminated)",
    ),
}
_CODES = {kind: re.compile("|".join(patterns)) for kind, patterns in _CODES.items()}
_WORDS = {kind: re.compile("|".join(patterns)) for kind, patterns in _WORDS.items()}
_WORDED = {  # statuses at which a kind is read out of words alone: at others they may be the question's
    FailureKind.REFUSED: (400, 403, 422, 446, 451),
    FailureKind.TOO_LONG: (400, 413, 422),
    FailureKind.NO_MONEY: (400, 401, 402, 403, 412, 429),
    FailureKind.AUTHENTICATION: (400, 403, 412),
}
# A 403 bars from a model, an address or an account at least as often as from a content: its words say which.
_OF_CONTENT = re.compile(
    r"prompt|input|content|flagged|response|moderation|output|guardrail|safety|敏感|不安全|违规|违法|风控|审核|安全检测"
)
_OF_ACCESS = re.compile(r"\b(access|ip|permissions?|terms|organi[sz]ation|workspace|firewall|model is blocked)\b")
_OUTPUT = re.compile(r"\b(max_tokens|max_completion_tokens|max_new_tokens|(completion|output) tokens)\b")
_AGAIN = re.compile(
    r"(retry|try again) (in|after)|concurren|retrydelay|per ?(minute|second|hour|day)|\b[rt]pm\b|rate limit"
)
# What is said of the server at statuses that mean what was sent, or in none.
_BUSY = {
    FailureKind.RATE_LIMITED: re.compile("rate_?limit|throttl|too_?many_?requests|resource_?exhausted|concurrency"),
    FailureKind.SERVER_ERROR: re.compile(
        "(server|internal)_?(server_?)?error|overloaded|^(service_?)?unavailable|^generation$"
    ),
}
_THROTTLED = re.compile(
    r"throttl(ing|ed)|rate limit (is |was |has been )?(exceeded|reached)|too many requests|wait before trying"
)
_NEVER = re.compile(r"request too large|must be reduced|input too large")  # a 429 to more than a minute allows
_KINDS = {
    401: FailureKind.AUTHENTICATION,
    402: FailureKind.NO_MONEY,
    403: FailureKind.FORBIDDEN,
    404: FailureKind.NOT_FOUND,
    405: FailureKind.NOT_FOUND,
    408: FailureKind.TIMEOUT,
    409: FailureKind.SERVER_ERROR,
    413: FailureKind.TOO_LONG,
    424: FailureKind.SERVER_ERROR,  # TGI: the generation failed
    425: FailureKind.SERVER_ERROR,
    429: FailureKind.RATE_LIMITED,
    451: FailureKind.REFUSED,
    498: FailureKind.SERVER_ERROR,  # Groq: no capacity
    499: FailureKind.CONNECTION,  # a gateway's: somebody hung up
}


class Words(NamedTuple):
    """What a body says: its message, one text, and its codes and types in lower case."""

    message: str
    codes: tuple[str, ...] = ()


def read_failure(status: int, body: str, data: Any) -> Fault:
    """What an HTTP status other than success means, with the server's words. data: the body's JSON, or None."""
    words = server_words(data, body)
    message = one_line(words.message)
    return Fault(kind_of(status, words), f"HTTP {status}: {message}" if message else f"HTTP {status}")


def read_error(data: Mapping[str, Any], usage: Usage) -> Fault | None:
    """The error object that stands in a body of status 200, in its choice or its message; None where there is none."""
    choices = data.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], Mapping) else {}
    message = choice.get("message") if isinstance(choice.get("message"), Mapping) else {}
    places = (data.get("error"), data.get("errors"), choice.get("error"), message.get("error"))
    error = next(filter(_says_something, places), None) or _base_resp(data)
    if not error and data.get("object") == "error":  # SGLang's, in a stream
        error = data
    if not error:
        return None
    if isinstance(error, list):
        error = error[0]
    code = error.get("code") if isinstance(error, Mapping) else None
    status = int(code) if str(code).isdecimal() and 400 <= int(code) < 600 else None
    words = server_words({"error": error}, "")
    kind = kind_of(status or 400, words)
    if status is None and kind is FailureKind.BAD_REQUEST:
        kind = FailureKind.SERVER_ERROR  # it began to answer, so the request was none too bad
    return Fault(kind, one_line(f"the server broke the answer off: {words.message}"), usage=usage)


def read_envelope(data: Any, usage: Usage) -> Fault | None:
    """A failure that a gateway says in a body of status 200 without an `error`, as in {"code": 401, "message": ...};
    None where its words are not known."""
    if not isinstance(data, Mapping) or data.get("choices"):
        return None
    words = server_words(data, "")
    code = next((code for code in words.codes if code.isdecimal() and int(code) in _KINDS), "400")
    kind = kind_of(int(code), words)
    if kind in (FailureKind.BAD_REQUEST, FailureKind.FORBIDDEN, FailureKind.NOT_FOUND):
        return None
    return Fault(kind, one_line(words.message), usage=usage)


def _says_something(error: Any) -> bool:
    """Whether an error is one: some servers send its fields with nothing in them."""
    return any(error.values()) if isinstance(error, Mapping) else bool(error)


def _base_resp(data: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """MiniMax's words about its own failure; 0 is none."""
    said = data.get("base_resp")
    return said if isinstance(said, Mapping) and (said.get("status_code") or not data.get("choices")) else None


def kind_of(status: int, words: Words) -> FailureKind:
    """The kind of an HTTP status with these words."""
    message = words.message[:READ].lower()
    if status in (413, 429) and _NEVER.search(message):
        return FailureKind.TOO_LONG
    for kind, pattern in _CODES.items():
        if any(map(pattern.search, words.codes)) and not (
            kind is FailureKind.NO_MONEY and _waits(status, words, message)
        ):
            return kind
    if status in (400, 403) and _THROTTLED.search(message):
        return FailureKind.RATE_LIMITED
    for kind, pattern in _WORDS.items():
        if status not in _WORDED[kind] or not pattern.search(message):
            continue
        if kind is FailureKind.REFUSED and status == 403 and not _is_of_the_content(message):
            continue
        if kind is FailureKind.TOO_LONG and status != 413 and _is_of_the_output(message):
            continue
        if kind is FailureKind.NO_MONEY and _waits(status, words, message):
            continue
        return kind
    if status >= 500:
        return FailureKind.SERVER_ERROR
    if status in (400, 403, 424):
        for kind, pattern in _BUSY.items():
            if any(map(pattern.search, words.codes)):
                return kind
    if status < 400:  # a redirect, which is not followed: the key is for this address only
        return FailureKind.NOT_FOUND
    return _KINDS.get(status, FailureKind.BAD_REQUEST)


def _waits(status: int, words: Words, message: str) -> bool:
    """Whether a 429 that speaks of a quota means one that fills again: Gemini says so of its limits per minute."""
    return status == 429 and "insufficient_quota" not in words.codes and _AGAIN.search(message) is not None


def _is_of_the_content(message: str) -> bool:
    """Whether a 403 bars what was sent, and not whoever sent it."""
    return _OF_CONTENT.search(message) is not None and _OF_ACCESS.search(message) is None


def _is_of_the_output(message: str) -> bool:
    """Whether only max_tokens is too large, so that a shorter question changes nothing."""
    return _OUTPUT.search(message) is not None and not re.search(r"context|prompt|input|messages", message)


def server_words(data: Any, body: str) -> Words:
    """The words of `{"error": {...}}` (OpenAI), `[{"error": ...}]` (Gemini), `{"message": ...}`, `{"detail": ...}`
    (FastAPI), `{"errors": [...]}`, or of a text."""
    if isinstance(data, list) and data:
        data = data[0]
    if not isinstance(data, Mapping):
        return Words(body)
    error = data.get("error") or data.get("errors") or data
    if isinstance(error, list):
        error = error[0] if error else data
    if not isinstance(error, Mapping):
        return Words(str(error), tuple(_codes(data)))
    message = next(
        (_text(error[name]) for name in ("message", "detail", "msg", "error_msg", "status_msg") if error.get(name)),
        body,
    )
    raw = error["metadata"].get("raw") if isinstance(error.get("metadata"), Mapping) else None
    message = f"{message}: {raw}" if isinstance(raw, str) and raw else message  # OpenRouter: what the provider said
    return Words(message or str(dict(error)), tuple(_codes(data)))


def _text(message: Any) -> str:
    """A message; of a list of pydantic's complaints the complaints alone, since they quote what was sent."""
    if not isinstance(message, list):
        return str(message)
    complaints = [part for part in message if isinstance(part, Mapping) and part.get("msg")]
    if not complaints:
        return "; ".join(map(str, message))
    return "; ".join(f"{'.'.join(map(str, part.get('loc') or ()))} {part['msg']}".strip() for part in complaints)


def _codes(value: Any, depth: int = 0) -> Iterator[str]:
    """code, type, status and reason of an error and of what stands in it."""
    if isinstance(value, list):
        value, rest = (value[0] if value else None), value[1:]
        for part in rest[:8]:
            yield from _codes(part, depth + 1)
    if not isinstance(value, Mapping) or depth > 4:
        return
    for name in ("code", "type", "status", "reason", "error_type", "error_code", "__type"):
        if isinstance(code := value.get(name), str | int) and not isinstance(code, bool):
            yield re.sub(r"[\s-]+", "_", str(code)[:100]).lower()
    for name in _NESTED:
        yield from _codes(value.get(name), depth + 1)
