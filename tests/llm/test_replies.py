"""Bodies that servers send: what is a whole answer, what is part of one, what is none, and what was paid for it."""

import json

import pytest

from sp3f_verl.llm.outcome import Completion, Usage
from sp3f_verl.llm.requests.replies import read_completion, read_first_model, read_usage

TEXT = "Los dos son iguales, así que vale 7"
USAGE = {"prompt_tokens": 30, "completion_tokens": 12, "total_tokens": 42}


def body(content=TEXT, finish_reason="stop", *, choice=None, message=None, **whole):
    message = {"role": "assistant", "content": content, **(message or {})}
    choice = {"index": 0, "message": message, "finish_reason": finish_reason, **(choice or {})}
    return json.dumps({"model": "m", "choices": [choice], "usage": USAGE, **whole})


def read(text):
    return read_completion(text, 0.1, 0, "m")


def kind(text):
    return str(read(text).kind)


def stream(*deltas, end="stop", done=True, **last):
    chunks = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": end}], **last})
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + ("data: [DONE]\n\n" if done else "")


@pytest.mark.parametrize(
    "reason", ["stop", "STOP", "end_turn", "eos_token", "stop_sequence", "COMPLETE", "FinishReason.STOP", None]
)
def test_a_finish_reason_of_a_whole_answer(reason):
    assert (read(body(finish_reason=reason)).text, read(body(finish_reason=reason)).finish_reason) == (TEXT, reason)


@pytest.mark.parametrize("reason", ["length", "MAX_TOKENS", "model_length", "model_context_window_exceeded"])
def test_a_limit_that_cut_the_answer_off_is_length(reason):
    assert (read(body(finish_reason=reason)).text, read(body(finish_reason=reason)).finish_reason) == (TEXT, "length")
    assert read(body(None, reason)).text == ""


@pytest.mark.parametrize("reason", ["content_filter", "SAFETY", "refusal", "guardrail_intervened", "sensitive"])
def test_a_filter_is_a_refusal(reason):
    assert kind(body(finish_reason=reason)) == "refused"


@pytest.mark.parametrize("reason", ["error", "abort", "network_error", "insufficient_system_resource"])
def test_a_server_that_broke_off_is_no_answer(reason):
    assert kind(body(finish_reason=reason)) == "server_error"


@pytest.mark.parametrize("reason", ["tool_calls", "pause_turn", "MALFORMED_FUNCTION_CALL", "something new"])
def test_a_finish_reason_that_nobody_knows_is_no_answer(reason):
    got = read(body(finish_reason=reason))
    assert got.kind == "invalid_response" and reason in got.message and got.usage == Usage(30, 0, 12)


@pytest.mark.parametrize(
    "message",
    [
        {"content": None},
        {"content": None, "reasoning_content": "hm"},
        {"content": "", "reasoning": "hm"},
        {"content": None, "tool_calls": [{"id": "1"}]},
        {"content": [{"type": "thinking", "thinking": "hm"}]},
        {"content": []},
    ],
)
def test_no_content_is_no_refusal_and_no_answer(message):
    got = read(body(message=message))
    assert (got.kind, got.message, got.usage) == ("invalid_response", "the message has no content", Usage(30, 0, 12))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (body(error={"message": "upstream died", "code": 502}), "server_error"),
        (body(choice={"error": {"message": "upstream died", "code": "boom"}}), "server_error"),
        (body(choice={"error": {"message": "slow down", "code": 429}}), "rate_limited"),
        (json.dumps({"error": {"message": "Insufficient credits", "code": 402}}), "no_money"),
        (json.dumps({"error": {"message": "User not found.", "code": 401}}), "authentication"),
        (json.dumps({"promptFeedback": {"blockReason": "SAFETY"}}), "refused"),
        (body([{"type": "refusal", "refusal": "I will not."}]), "refused"),
        (body(errors=[{"message": "died"}]), "server_error"),
        (body(message={"error": {"message": "died"}}), "server_error"),
        (body(base_resp={"status_code": 1000, "status_msg": "unknown error"}), "server_error"),
        (json.dumps({"base_resp": {"status_code": 1004, "status_msg": "login fail"}}), "authentication"),
        (json.dumps({"object": "error", "message": "OOM", "code": 500}), "server_error"),
    ],
)
def test_an_error_that_comes_with_status_200(text, expected):
    assert kind(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        body([{"type": "text", "text": TEXT[:9]}, {"type": "text", "text": TEXT[9:]}]),
        body([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": TEXT}]),
        body([TEXT]),
        body([{"type": None, "text": TEXT}]),
        body([{"type": "TEXT", "text": {"value": TEXT, "annotations": []}}]),
        body([{"text": "hm", "thought": True}, {"text": TEXT}]),
        body(errors=[], error=None, base_resp={"status_code": 0, "status_msg": ""}),
        body() + "\n\n: keep-alive\n\n",
        stream({"content": TEXT[:9]}, {"content": TEXT[9:]}).replace("\n\n", "\n"),
        stream({"content": TEXT[:9]}) + stream({}) + f"data: {body()}\n\n",
        "\ufeff" + body(),
        ": STILL AT WORK\n\n: STILL AT WORK\n\n" + body(),
        "\n\n  " + body() + "\n\ndata: [DONE]\n\n",
        stream({"role": "assistant", "content": ""}, {"content": TEXT[:9]}, {"content": TEXT[9:]}),
        ": comment\n\n" + stream({"reasoning_content": "hm"}, {"content": TEXT}),
        stream({"content": TEXT}, done=False),
        stream({"content": TEXT}, end=None),
        stream({"content": TEXT}).replace("\n", "\r\n"),
        "event: message\n" + stream({"content": TEXT}),
    ],
)
def test_answers_in_other_shapes_are_read(text):
    got = read(text)
    assert isinstance(got, Completion) and got.text == TEXT


def test_a_stream_has_usage_and_the_halves_of_a_character_meet():
    got = read(stream({"content": "a \ud83d"}, {"content": "\ude00 \ud83d"}, usage=USAGE))
    assert (got.text, got.usage) == ("a \U0001f600 \ufffd", Usage(30, 0, 12))


@pytest.mark.parametrize(
    "text",
    [
        stream({"content": TEXT}, end=None, done=False),
        stream({"content": TEXT}, end=None, done=False) + 'data: {"error": {"message": "died", "code": 500}}\n\n',
        stream({"content": TEXT}, end="error"),
        stream({"content": TEXT}, end=None, done=False)
        + 'data: {"object": "error", "message": "OOM", "code": 500}\n\ndata: [DONE]\n\n',
    ],
)
def test_a_stream_that_broke_off_is_no_answer(text):
    assert kind(text) == "server_error"


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ({"top_logprobs": [{"token": "A", "logprob": -0.1}, {"token": "x", "logprob": None}]}, {"A": -0.1}),
        ({"token": "A", "logprob": -0.1}, {"A": -0.1}),
        ({"top_logprobs": []}, {}),
    ],
)
def test_log_probabilities_with_gaps(first, expected):
    assert read(body("A", choice={"logprobs": {"content": [first]}})).top_logprobs == expected


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 40, "completion_tokens": 9, "total_tokens": 49}, (40, 0, 9)),
        ({"prompt_tokens": 40, "completion_tokens": 9, "total_tokens": 849}, (40, 0, 809)),
        ({"prompt_tokens": 40, "total_tokens": 100}, (40, 0, 60)),
        ({"prompt_tokens": 40, "completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 700}},
         (40, 0, 709)),
        ({"prompt_tokens": 40, "completion_tokens": 900, "completion_tokens_details": {"reasoning_tokens": 700}},
         (40, 0, 900)),
        ({"prompt_tokens": 40, "completion_tokens": 9, "reasoning_tokens": 700}, (40, 0, 709)),
        ({"prompt_tokens": 40, "completion_tokens": 9, "completion_tokens_details": {"thinking_tokens": 700}},
         (40, 0, 709)),
        ({"prompt_tokens": "40", "completion_tokens": "9", "total_tokens": "x"}, (40, 0, 9)),
        ({"input_tokens": 40, "output_tokens": 9, "input_tokens_details": {"cached_tokens": 8}}, (40, 8, 9)),
        ({"prompt_tokens": 40, "completion_tokens": None, "total_tokens": 10**12}, (40, 0, 0)),
    ],
)  # fmt: skip
def test_what_is_paid_for(usage, expected):
    assert read_usage(usage) == Usage(*expected)


@pytest.mark.parametrize(
    ("name", "shown"), [("m\x1b[31m", "characters that"), ("m\n# x", "characters that"), ("", "no list of models")]
)
def test_a_models_name_that_cannot_be_shown_is_told(name, shown):
    got = read_first_model(json.dumps({"data": [{"id": name}]}))
    assert shown in got.message and got.message.isprintable()
    assert read_first_model(json.dumps({"data": [{"id": "llama[/q4]"}]})) == "llama[/q4]"


@pytest.mark.parametrize(
    "reason",
    ["maxTokens", "max-tokens", "FINISH_REASON_LENGTH", "truncated", "output_limit", "FinishReason.MAX_TOKENS"],
)
def test_a_limit_in_any_spelling_cuts_off(reason):
    assert read(body(finish_reason=reason)).finish_reason == "length"


@pytest.mark.parametrize("reason", ["content-filter", "MODEL_ARMOR", "guardrail_blocked", "FINISH_REASON_SAFETY"])
def test_a_filter_in_any_spelling_refuses(reason):
    assert kind(body(finish_reason=reason)) == "refused"


@pytest.mark.parametrize("reason", ["unknown", "rate_limit", "preempted", "server_error", "pause_turn", "load"])
def test_any_other_reason_ends_no_answer(reason):
    assert kind(body(finish_reason=reason)) in ("invalid_response", "server_error")


def test_blank_content_beside_thoughts_is_no_answer():
    for name in ("reasoning_details", "thinking", "thinking_blocks"):
        assert kind(body("", message={name: [{"text": "hm"}]})) == "invalid_response"


def test_minimax_says_in_a_200_that_the_money_is_gone():
    said = {"choices": None, "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}
    assert kind(json.dumps(said)) == "no_money"


def test_a_raw_tab_in_a_text_is_a_tab():
    assert read(body("a-tab").replace("a-tab", "a\ttab")).text == "a\ttab"


@pytest.mark.timeout(60)  # linear: a second
def test_a_megabyte_of_lines_takes_linear_time():
    assert kind("data: {\n" * 120_000) == "invalid_response"


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ({"code": 401, "message": "Invalid token", "data": None}, "authentication"),
        ({"code": "1113", "msg": "余额不足"}, "no_money"),
        ({"status": "439", "msg": "Your API token has expired."}, "authentication"),
        ({"error_code": 336007, "error_msg": "the max input characters is 20000"}, "too_long"),
        ({"type": "error", "error": {"type": "rate_limit_error", "message": "slow"}}, "rate_limited"),
        ({"detail": "Not Found"}, "invalid_response"),
        ({"code": 200, "message": "success"}, "invalid_response"),
    ],
)
def test_a_gateways_own_envelope_with_status_200(said, wanted):
    assert kind(json.dumps(said)) == wanted


@pytest.mark.parametrize(
    "text",
    [
        body({"type": "text", "text": TEXT}),
        body(error={"code": 0, "message": ""}),
        body(error={"code": None, "message": None}),
        json.dumps({**json.loads(body()), "code": 200, "message": "success"}),
        stream({"content": TEXT}) + "data: \n\n",
        json.dumps({"choices": [{"index": 1, "message": {"content": "second"}, "finish_reason": "stop"},
                                {"index": 0, "message": {"content": TEXT}, "finish_reason": "stop"}]}),
    ],
)  # fmt: skip
def test_more_shapes_of_an_answer(text):
    assert read(text).text == TEXT


def test_a_hole_in_the_log_probabilities_is_passed_over():
    first = {"token": "A", "logprob": -0.1, "top_logprobs": [{"token": "A", "logprob": -0.1}, None]}
    assert read(body("A", choice={"logprobs": {"content": [first]}})).top_logprobs == {"A": -0.1}


def test_what_a_cache_holds_is_a_part_of_the_prompt():
    assert read_usage({"prompt_tokens": 40, "completion_tokens": 9, "prompt_cache_hit_tokens": 30}) == Usage(40, 30, 9)
    anthropic = {
        "input_tokens": 40,
        "output_tokens": 9,
        "cache_read_input_tokens": 30,
        "cache_creation_input_tokens": 7,
    }
    assert read_usage(anthropic) == Usage(77, 30, 9)
