"""What servers say in place of an answer, in the words of the public providers, and what is made of it."""

import json

import pytest

from sp3f_verl.errors import LONGEST
from sp3f_verl.llm.requests.failures import read_failure


def failure(status, body):
    return read_failure(status, json.dumps(body), body)


def kind(status, body):
    return failure(status, {"error": {"message": body}} if isinstance(body, str) else body).kind


def error(message="no", **more):
    return {"error": {"message": message, **more}}


TOO_LONG = [
    (400, "prompt is too long: 208310 tokens > 200000 maximum"),
    (400, "input length and `max_tokens` exceed context limit: 199000 + 8192 > 200000, decrease input length"),
    (400, "Prompt contains 33000 tokens and 0 draft tokens, too large for model with 32768 maximum context length"),
    (400, "too many tokens: total number of tokens in the prompt cannot exceed 4081"),
    (400, "The input (30000 tokens) is longer than the model's context length (8192 tokens)."),
    (400, "the request exceeds the available context size. try increasing the context size or enable context shift"),
    (400, "This model's maximum prompt length is 131072 but the request contains 150001 tokens."),
    (400, "Your request exceeded model token limit: 8192"),
    (400, "Range of input length should be [1, 30720]"),
    (400, "litellm.ContextWindowExceededError: BedrockException: Context Window Error"),
    (400, "Please reduce the length of the messages or completion."),
    (400, {"message": "Input is too long for requested model."}),
    (422, "Input validation error: `inputs` must have less than 1024 tokens. Given: 3000"),
    (422, "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 + 100"),
    (400, [{"error": {"code": 400, "message": "The input token count exceeds the maximum number of tokens allowed"}}]),
    (400, error("no", code="string_above_max_length")),
    (413, error("no", code="tokens_limit_reached")),
    (400, error("no", type="exceed_context_size_error")),
    (400, error("Provider returned error", metadata={"raw": '{"message":"prompt is too long: 9 > 8"}'})),
    (400, "This request has 9000 tokens, more than the maximum of 8192"),
    (400, "Token limit exceeded"),
    (413, "Request body is huge"),
    (429, "Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 40000."),
]
TOO_LONG += [
    (400, {"code": 20015, "message": "length of prompt_tokens (40013) must be less than max_seq_len (32768)."}),
    (400, {"message": "input token length(9001) exceeds session_len"}),
    (400, "The sum of prompt length (4096), query length (0) and max_tokens (1024) should not exceed max_num_tokens"),
    (422, {"detail": "Prompt length 5000 is greater than max_seq_len 4096"}),
    (400, "Input tokens plus max_new_tokens 9000 exceeds 8192"),
    (400, "Request payload size exceeds the limit: 20971520 bytes."),
    (400, "Single round file-content exceeds token limit"),
    (400, "输入内容过长，请缩短后重试"),
    (400, "which is more than the maximum supported sequence length is just 8192"),
    (400, "The model only supports up to 8192"),
]
REFUSED = [
    (400, error("no", code="content_policy_violation")),
    (400, error("no", innererror={"code": "ResponsibleAIPolicyViolation"})),
    (400, error("no", code="data_inspection_failed")),
    (400, error("no", type="content_filter")),
    (400, error("no", code="invalid_prompt")),
    (400, error("no", code="1301")),
    (400, "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."),
    (400, "litellm.ContentPolicyViolationError: AzureException"),
    (400, "Output blocked by content filtering policy"),
    (400, "Content Exists Risk"),
    (422, "The prompt violates the provider's terms"),
    (400, "Potentially harmful content was found"),
    (403, "Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_BIO"),
    (403, 'meta/m requires moderation on OpenInference. Your input was flagged for "violence"'),
    (400, "系统检测到输入或生成内容可能包含不安全或敏感内容"),
]
REFUSED += [
    (422, {"type": "error", "error": {"type": "bad_request_error", "message": "output new_sensitive (1027)"}}),
    (422, {"base_resp": {"status_code": 1026, "status_msg": "input new_sensitive"}}),
    (400, {"code": 20012, "message": "Input contains sensitive words"}),
    (400, "The prompt was rejected by our safety classifier."),
    (400, {"errors": [{"code": "harmful_content", "message": "Unsuitable input detected."}]}),
    (400, {"errors": [{"code": 2016, "message": "Prompt blocked due to security configurations"}]}),
    (446, error("The guardrail checks defined in the config failed.", type="hooks_failed")),
    (400, "Content blocked: credit_card entity detected"),
    (400, "内容安全检测未通过"),
    (403, "Request blocked by guardrail"),
]
NO_MONEY = [
    (429, error("You exceeded your current quota", code="insufficient_quota")),
    (429, error("Rate limit: please retry in 20 s", type="insufficient_quota")),
    (400, "Your credit balance is too low to access the Anthropic API."),
    (402, "This request requires more credits, or fewer max_tokens."),
    (403, error("Key limit exceeded (monthly limit)", code=403)),
    (429, error("余额不足或无可用资源包,请充值。", code="1113")),
    (400, "Budget has been exceeded! Current cost: 10.1, Max budget: 10.0"),
    (400, error("Access denied", code="Arrearage")),
    (401, "Insufficient credits. Add more using https://example.org/credits"),
    (403, "This API method requires billing to be enabled."),
    (403, "Out of call volume quota. Quota will be replenished in 12.21:59:58."),
    (403, "Your account balance is negative, and your credits are used up"),
    (429, "Your account is not active, please check your billing details on our website."),
]
NO_MONEY += [
    (403, error("The free tier of the model has been exhausted.", code="AllocationQuota.FreeTierOnly")),
    (403, error("用户额度不足, 剩余额度: 0", code="insufficient_user_quota")),
    (403, "预扣费额度失败, 用户剩余额度: 0.01"),
    (403, "token quota is not enough, token remain quota: 0.01"),
    (
        412,
        "Account x is suspended, possibly due to reaching the monthly spending limit or failure to pay past invoices",
    ),
    (412, "Budget limit exceeded for this API key"),
    (429, error("ExceededBudget: Crossed spend within team. team_id=x, spend=5.1", code="429")),
]
AUTHENTICATION = [
    (401, "no"),
    (400, [{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key."}}]),
    (400, error("no", details=[{"@type": "x", "reason": "API_KEY_INVALID"}])),
    (403, "Invalid API key provided"),
    (400, error("no", code="invalid_api_key")),
    (403, "The API key has been revoked"),
    (403, "Your API key was reported as leaked. Please use another API key."),
    (403, "Consumer 'projects/7' has been suspended."),
]
AUTHENTICATION += [
    (403, "Method doesn't allow unregistered callers (callers without established identity)."),
    (403, {"message": "Jwt is expired"}),
    (403, {"error": "token expired"}),
    (403, "The request signature we calculated does not match the signature you provided."),
    (400, {"errorMessage": "Provided API key could not be found."}),
]
OTHERWISE = [  # (status, body, kind): near what is above, and not it
    (400, "max_tokens is too large: 9000. This model supports at most 4096 completion tokens", "bad_request"),
    (400, "top_p must be <= 1", "bad_request"),
    (400, "unknown token <|im_start|>", "bad_request"),
    (400, "Unsupported parameter: 'max_tokens' is not supported with this model.", "bad_request"),
    (422, {"detail": [{"loc": ["body", "top_p"], "msg": "too big", "input": "content filter, prompt is too long"}]},
     "bad_request"),
    (429, "You exceeded your current quota, please check your plan and billing details. Please retry in 38.4s.",
     "rate_limited"),
    (429, "Rate limit reached for m on requests per min (RPM): Limit 3. Try again in 20s. Add a payment method at "
     "https://example.org/account/billing", "rate_limited"),
    (429, error("no", code="rate_limit_exceeded"), "rate_limited"),
    (403, error("Project p does not have access to model m", code="model_not_found"), "forbidden"),
    (403, "<html>Attention Required</html>", "forbidden"),
    (404, "The model `m` does not exist", "not_found"),
    (500, "the prompt is too long to fail", "server_error"),
    (503, error("overloaded", type="overloaded_error"), "server_error"),
    (451, "no", "refused"),
    (403, "Model is blocked by your organization's policy", "forbidden"),
    (403, "Your IP address is blocked by the firewall policy", "forbidden"),
    (403, "To use this model, accept the Responsible AI terms", "forbidden"),
    (400, "'user' must not hold case sensitive names", "bad_request"),
    (400, "max_tokens must be at most max_seq_len", "bad_request"),
    (429, error("Your account reached max request concurrency: 1, please try again later; top up to raise your tier",
                type="rate_limit_reached_error"), "rate_limited"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body"), TOO_LONG)
def test_a_question_that_is_too_long(status, body):
    assert kind(status, body) == "too_long"


@pytest.mark.parametrize(("status", "body"), REFUSED)
def test_a_filter_that_refuses(status, body):
    assert kind(status, body) == "refused"


@pytest.mark.parametrize(("status", "body"), NO_MONEY)
def test_an_account_without_money(status, body):
    assert kind(status, body) == "no_money"


@pytest.mark.parametrize(("status", "body"), AUTHENTICATION)
def test_a_key_that_is_not_taken(status, body):
    assert kind(status, body) == "authentication"


@pytest.mark.parametrize(("status", "body", "expected"), OTHERWISE)
def test_what_only_looks_like_it(status, body, expected):
    assert kind(status, body) == expected


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"detail": "Not Found"}, "Not Found"),
        ({"errors": [{"code": 7003, "message": "no route"}]}, "no route"),
        ({"error": "model is loading"}, "model is loading"),
        ([{"error": {"message": "in a list"}}], "in a list"),
        ({"detail": [{"loc": ["body", "top_p"], "msg": "must be positive", "input": "THE QUESTION"}]},
         "body.top_p must be positive"),
        (error("Provider returned error", metadata={"raw": "upstream"}), "Provider returned error: upstream"),
    ],
)  # fmt: skip
def test_the_servers_words_are_told(body, words):
    assert failure(400, body).message == f"HTTP 400: {words}"


@pytest.mark.parametrize("body", [None, 3, [], {}, {"error": {}}, {"error": []}, {"error": {"details": [[[]]]}}, [[1]]])
def test_bodies_of_any_shape_are_a_failure(body):
    assert kind(418, body) == "bad_request" and len(failure(418, body).message) <= LONGEST + 20


@pytest.mark.parametrize(
    ("status", "message", "wanted"),
    [
        (429, "Your team has used all available credits for the month.", "no_money"),
        (403, "spending cap reached for this workspace", "no_money"),
        (429, "You have no remaining balance.", "no_money"),
        (429, "Limit of 60 requests per minute reached", "rate_limited"),
        (403, "The security token included in the request is invalid.", "authentication"),
        (403, "Access from your country is denied", "forbidden"),
        (400, "Sequence length 9000 > n_ctx 8192", "too_long"),
        (400, "the prompt does not fit into the model's window of 8192 tokens", "too_long"),
        (422, "Request has 9000 tokens, only 8192 allowed", "too_long"),
        (400, "request blocked by the Prompt Shield", "refused"),
        (400, "top_p must be at most 1", "bad_request"),
    ],
)
def test_other_words_for_the_same(status, message, wanted):
    assert kind(status, message) == wanted


@pytest.mark.parametrize(
    ("status", "body", "wanted"),
    [
        (400, error("Rate limit exceeded, please wait", code="rate_limit_exceeded"), "rate_limited"),
        (403, error("no", code="rate_limit_exceeded"), "rate_limited"),
        (400, {"__type": "com.amazon.coral.service#ThrottlingException", "message": "no"}, "rate_limited"),
        (400, {"message": "ThrottlingException: Too many tokens, please wait before trying again."}, "rate_limited"),
        (400, error("Internal error", type="server_error"), "server_error"),
        (424, {"error": "Request failed during generation: out of memory", "error_type": "generation"}, "server_error"),
        (503, error("no", code="content_filter_error"), "server_error"),
        (413, error("Request too large for model m on tokens per minute", code="rate_limit_exceeded"), "too_long"),
        (400, error("the input messages must be less than 20000", code="prompt_tokens_too_long"), "too_long"),
        (400, error("max_tokens must be less than 8192", code="max_tokens_too_large"), "bad_request"),
        (403, {"message": "INVALID_PAYMENT_INSTRUMENT: A valid payment instrument must be provided."}, "no_money"),
        (403, error("Access denied due to unpaid bills", code="account_overdue"), "no_money"),
        (429, {"error": "you've reached your weekly usage limit, please upgrade"}, "no_money"),
        (403, error("The API key you provided is invalid.", code="FORBIDDEN"), "authentication"),
        (403, error("no", code="model_unavailable"), "forbidden"),
    ],
)
def test_codes_at_a_status_that_says_something_else(status, body, wanted):
    assert kind(status, body) == wanted
