import json
from datetime import UTC, datetime, timedelta

import pytest

from core.chat.model_failures import failure_from_body, failure_from_status, parse_retry_after
from core.chat.provider import (
    ContextTooLong,
    Deadline,
    ModelMisconfigured,
    ModelQuota,
    ModelRefused,
    ModelTimeout,
    ModelUnavailable,
)

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("0", timedelta(0)),
        (" 7 ", timedelta(seconds=7)),
        ("1.5", timedelta(seconds=1.5)),
        ("31536000", timedelta(days=365)),
        ("9" * 400, timedelta.max),
        ("Fri, 20 Nov 2026 12:01:00 GMT", timedelta(minutes=1)),
        ("Fri, 20 Nov 2026 13:01:00 +0100", timedelta(minutes=1)),
        ("Fri, 20 Nov 2026 12:01:00 -0000", timedelta(minutes=1)),
        ("Fri, 20 Nov 2020 12:00:00 GMT", timedelta(0)),
        ("Fri, 99 Nov 2026 12:00:00 GMT", None),
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("nan", None),
        ("1_000", None),
        ("٧", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value, wait):
    assert parse_retry_after(value, NOW) == wait


@pytest.mark.parametrize(
    ("status", "content", "kind", "code", "retryable"),
    [
        (429, b"", ModelQuota, "http_429", True),
        (429, b'{"error": {"code": "insufficient_quota"}}', ModelQuota, "no_credit", False),
        (402, b"{}", ModelQuota, "http_402", False),
        (413, b"", ContextTooLong, "http_413", False),
        (400, b'{"error": {"type": "exceed_context_size_error"}}', ContextTooLong, "context_length", False),
        (
            400,
            b'{"message": "This model\'s maximum context length is 8"}',
            ContextTooLong,
            "context_length",
            False,
        ),
        (400, b'{"error": "context size exceeded"}', ContextTooLong, "context_length", False),
        (400, b'{"error": []}', ModelMisconfigured, "http_400", False),
        (400, b"[" * 60_000, ModelMisconfigured, "http_400", False),
        (400, b"\xff<html>", ModelMisconfigured, "http_400", False),
        (503, b'{"error": {"code": "insufficient_quota"}}', ModelUnavailable, "http_503", True),
        (599, b"", ModelUnavailable, "http_599", True),
        (409, b"", ModelUnavailable, "http_409", True),
        (204, b"", ModelMisconfigured, "http_204", False),
    ],
)
def test_a_status_and_its_body_are_one_error(status, content, kind, code, retryable):
    error = failure_from_status(status, content, None)
    assert (type(error), error.code, error.retryable) == (kind, code, retryable)


TOO_LONG, NO_CREDIT = (ContextTooLong, "context_length"), (ModelQuota, "no_credit")
RATE, FILTER = (ModelQuota, "rate_limit"), (ModelRefused, "content_filter")
KEY, MODEL = (ModelMisconfigured, "api_key"), (ModelMisconfigured, "model_not_found")
TOOLS, IMAGES = (ModelMisconfigured, "no_tools"), (ModelMisconfigured, "no_images")
BUSY = (ModelUnavailable, "overloaded")


def error(message, code=None, kind=None, **more):
    return {"error": {"message": message, "code": code, "type": kind, **more}}


def vllm(message, kind, code):
    return {"object": "error", "message": message, "type": kind, "param": None, "code": code}


# What servers answer, by the words of their own code and documents.
SAID = [
    ("OpenAI", 400, error("…", "context_length_exceeded", "invalid_request_error"), TOO_LONG),
    (
        "OpenAI",
        429,
        error("You exceeded your current quota, please check your plan", "insufficient_quota"),
        NO_CREDIT,
    ),
    (
        "OpenAI",
        429,
        error("Rate limit reached for gpt-5 on requests per min", "rate_limit_exceeded", "requests"),
        RATE,
    ),
    (
        "OpenAI",
        429,
        error(
            "Request too large for gpt-5: The input or output tokens must be reduced in order to run"
            " successfully.",
            "rate_limit_exceeded",
            "tokens",
        ),
        TOO_LONG,
    ),
    (
        "OpenAI",
        401,
        error("Incorrect API key provided: sk-…", "invalid_api_key", "invalid_request_error"),
        KEY,
    ),
    (
        "OpenAI",
        404,
        error("The model `gpt-9` does not exist or you do not have access to it.", "model_not_found"),
        MODEL,
    ),
    (
        "OpenAI",
        400,
        error(
            "Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
            "invalid_prompt",
        ),
        FILTER,
    ),
    (
        "Azure",
        400,
        error(
            "The response was filtered due to the prompt triggering Azure OpenAI's content management"
            " policy.",
            "content_filter",
            innererror={"code": "ResponsibleAIPolicyViolation"},
        ),
        FILTER,
    ),
    (
        "Azure",
        404,
        error("The API deployment for this resource does not exist.", "DeploymentNotFound"),
        MODEL,
    ),
    ("Azure", 401, error("Access denied due to invalid subscription key or wrong API endpoint.", "401"), KEY),
    (
        "Azure",
        429,
        error("Requests to the ChatCompletions Operation have exceeded token rate limit.", "429"),
        RATE,
    ),
    (
        "vLLM",
        400,
        vllm(
            "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.",
            "BadRequestError",
            400,
        ),
        TOO_LONG,
    ),
    (
        "vLLM",
        400,
        error("The decoder prompt (length 9) is longer than the maximum model length of 8.", 400),
        TOO_LONG,
    ),
    ("vLLM", 404, vllm("The model `x` does not exist.", "NotFoundError", 404), MODEL),
    (
        "vLLM",
        400,
        vllm(
            '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
            "BadRequestError",
            400,
        ),
        TOOLS,
    ),
    ("vLLM", 400, vllm("m is not a multimodal model", "BadRequestError", 400), IMAGES),
    ("vLLM", 401, {"error": "Unauthorized"}, (ModelMisconfigured, "http_401")),
    ("Ollama", 404, error('model "x" not found, try pulling it first', None, "api_error"), MODEL),
    ("Ollama", 400, error("registry.ollama.ai/library/x does not support tools", None, "api_error"), TOOLS),
    (
        "Ollama",
        503,
        error("server busy, please try again. maximum pending requests exceeded"),
        (ModelUnavailable, "http_503"),
    ),
    ("Ollama", 400, {"error": "the input length exceeds the context length"}, TOO_LONG),
    (
        "LiteLLM",
        400,
        error("litellm.ContextWindowExceededError: litellm.BadRequestError: …", "400"),
        TOO_LONG,
    ),
    ("LiteLLM", 429, error("litellm.RateLimitError: …", "429", "throttling_error"), RATE),
    (
        "LiteLLM",
        400,
        error("Budget has been exceeded! Current cost: 1, Max budget: 1", "400", "budget_exceeded"),
        NO_CREDIT,
    ),
    ("LiteLLM", 400, error("litellm.BadRequestError: litellm.ContentPolicyViolationError: …", "400"), FILTER),
    (
        "LiteLLM",
        401,
        error("Authentication Error, Invalid proxy server token passed", "401", "auth_error"),
        KEY,
    ),
    ("LiteLLM", 400, {"error": "/chat/completions: Invalid model name passed in model=x."}, MODEL),
    ("LiteLLM", 401, error("key not allowed to access model.", "401", "key_model_access_denied"), MODEL),
    ("OpenRouter", 402, error("Insufficient credits. Add more using https://…", 402), NO_CREDIT),
    (
        "OpenRouter",
        403,
        error("m requires moderation and your input was flagged", 403, metadata={"reasons": ["x"]}),
        FILTER,
    ),
    ("OpenRouter", 401, error("No auth credentials found", 401), KEY),
    ("OpenRouter", 400, error("x is not a valid model ID", 400), MODEL),
    ("OpenRouter", 404, error("No endpoints found that support tool use.", 404), TOOLS),
    ("OpenRouter", 404, error("No endpoints found that support image input", 404), IMAGES),
    ("OpenRouter", 429, error("Rate limit exceeded: free-models-per-min.", 429), RATE),
    (
        "OpenRouter",
        400,
        error("Provider returned error", 400, metadata={"raw": "prompt is too long: 9 tokens"}),
        TOO_LONG,
    ),
    (
        "llama.cpp",
        400,
        error(
            "the request exceeds the available context size, try increasing it",
            400,
            "exceed_context_size_error",
            n_ctx=4096,
        ),
        TOO_LONG,
    ),
    (
        "llama.cpp",
        500,
        error("the request exceeds the available context size", 500, "server_error"),
        TOO_LONG,
    ),
    ("llama.cpp", 503, error("Loading model", 503, "unavailable_error"), (ModelUnavailable, "http_503")),
    ("llama.cpp", 401, error("Invalid API Key", 401, "authentication_error"), KEY),
    (
        "llama.cpp",
        500,
        error("image input is not supported - hint: you may need to provide the mmproj", 500),
        (ModelUnavailable, "http_500"),
    ),
    (
        "Anthropic",
        400,
        error("prompt is too long: 210000 tokens > 200000 maximum", None, "invalid_request_error"),
        TOO_LONG,
    ),
    ("Anthropic", 400, error("Your credit balance is too low to access the Anthropic API.", None), NO_CREDIT),
    ("Anthropic", 529, error("Overloaded", None, "overloaded_error"), (ModelUnavailable, "http_529")),
    (
        "Gemini",
        400,
        [
            error(
                "The input token count (9) exceeds the maximum number of tokens allowed (8).",
                400,
                status="INVALID_ARGUMENT",
            )
        ],
        TOO_LONG,
    ),
    ("Gemini", 429, [error("You exceeded your current quota.", 429, status="RESOURCE_EXHAUSTED")], RATE),
    ("Gemini", 400, [error("API key not valid. Please pass a valid API key.", 400)], KEY),
    (
        "Groq",
        413,
        error(
            "Request too large for model `m` on tokens per minute (TPM): please reduce your message size",
            "rate_limit_exceeded",
            "tokens",
        ),
        TOO_LONG,
    ),
    (
        "Groq",
        400,
        error("Failed to call a function.", "tool_use_failed"),
        (ModelUnavailable, "tool_use_failed"),
    ),
    ("Groq", 400, error("The model has been decommissioned.", "model_decommissioned"), MODEL),
    (
        "Mistral",
        400,
        {
            "object": "error",
            "message": "Prompt contains 9 tokens, too large for model with 8 maximum context length",
        },
        TOO_LONG,
    ),
    ("DeepSeek", 402, error("Insufficient Balance", "invalid_request_error", "unknown_error"), NO_CREDIT),
    (
        "TGI",
        422,
        {
            "error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8",
            "error_type": "validation",
        },
        TOO_LONG,
    ),
    ("a gateway", 404, {"detail": "Not Found"}, (ModelMisconfigured, "http_404")),
    ("a gateway", 400, {"detail": {"message": "context window full"}}, TOO_LONG),
]


@pytest.mark.parametrize(("server", "status", "body", "expected"), SAID)
def test_servers_are_understood_in_their_own_words(server, status, body, expected):
    found = failure_from_status(status, json.dumps(body).encode(), timedelta(seconds=7))
    assert (type(found), found.code) == expected
    assert found.retryable == (type(found) is ModelUnavailable or found.code in {"rate_limit", "http_429"})
    assert found.retry_after == (timedelta(seconds=7) if found.retryable else None)


# In the midst of a stream, under a status of 200.
MIDST = [
    (error("Provider disconnected", 502), (ModelUnavailable, "error_body")),
    (error("slow down", 429), RATE),
    (error("No auth credentials found", "401"), KEY),
    (error("x", 401), (ModelMisconfigured, "http_401")),
    (error("x", 402), NO_CREDIT),
    (error("x", 408), (ModelUnavailable, "http_408")),
    (error("Overloaded", None, "overloaded_error"), BUSY),
    (error("Loading model", 503, "unavailable_error"), BUSY),
    (error("context size exceeded", 500), TOO_LONG),
    ({"error": "an error was encountered while running the model"}, (ModelUnavailable, "error_body")),
    (vllm("x", "InternalServerError", 500), (ModelUnavailable, "error_body")),
]


@pytest.mark.parametrize(("body", "expected"), MIDST)
def test_an_error_in_the_midst_of_a_stream_is_what_its_status_would_have_been(body, expected):
    found = failure_from_body(body)
    assert (type(found), found.code) == expected


@pytest.mark.parametrize(
    "body", [[], [[]], 7, None, "x", {"error": 7}, {"detail": []}, {"error": {"metadata": "x"}}]
)
def test_any_body_is_an_error_of_ours(body):
    assert failure_from_status(400, json.dumps(body).encode(), None).code == "http_400"


def test_a_busy_server_may_say_when_to_come_back():
    assert failure_from_status(503, b"", timedelta(seconds=3)).retry_after == timedelta(seconds=3)


def test_an_error_inside_a_good_status_is_found():
    assert failure_from_body({"choices": [], "error": None}) is None
    assert failure_from_body({"object": "error", "message": "x"}).code == "error_body"
    quota = failure_from_body({"error": {"code": 429, "message": "slow down"}})
    assert (type(quota), quota.retryable) == (ModelQuota, True)


def test_a_deadline_passes_and_can_be_brought_closer():
    passed = Deadline.after(timedelta(seconds=-1))
    with pytest.raises(ModelTimeout):
        passed.check()
    ahead = Deadline.after(timedelta(minutes=1))
    ahead.check()
    assert ahead.or_sooner(timedelta(hours=1)) == ahead
    assert ahead.or_sooner(timedelta(seconds=1)).remaining() <= 1
    assert passed.or_sooner(timedelta(seconds=1)) == passed
