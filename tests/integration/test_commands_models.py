"""`crontalk model …`: what it lists, what it asks, and what it never prints."""

from __future__ import annotations

import json
import sys

import pytest

from cli.main import main
from tests.model_server import ModelServer

KEY = "sk-very-secret"


@pytest.fixture(scope="module")
def server():
    with ModelServer() as server:
        yield server


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a command line without a database: exit code, standard output, standard error."""
    monkeypatch.delenv("DATABASE_URL", raising=False)

    def ask(*words):
        monkeypatch.setattr(sys, "argv", ["crontalk", *words])
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
        told = capsys.readouterr()
        assert KEY not in told.out + told.err
        assert "127.0.0.1" not in told.out + told.err
        return code, told.out, told.err

    return ask


@pytest.fixture
def named(monkeypatch, server):
    """Names models of the scripted server in the environment."""

    def name(**entries):
        monkeypatch.setenv("THEIR_KEY", KEY)
        given = {
            name: {"base_url": server.base_url, "api_key_env": "THEIR_KEY", **entry}
            for name, entry in entries.items()
        }
        monkeypatch.setenv("CRONTALK_MODELS", json.dumps(given))

    return name


def test_the_list_tells_of_every_model_and_of_no_secret(run, named, monkeypatch, server):
    named(
        fast={
            "model": "vendor/fast-2",
            "context_tokens": 32_000,
            "fallback": "small",
            "price": {"input": 0.1, "output": 2},
        },
        small={"provider": "vllm", "capabilities": []},
    )
    monkeypatch.setenv("LLM_BASE_URL", server.base_url)
    monkeypatch.setenv("LLM_API_KEY", KEY)
    monkeypatch.setenv("LLM_MODEL", "gpt-5/temperature=0.2")
    code, out, _ = run("model", "list")
    assert code == 0
    for words in ("vendor/fast-2", "32000", "small", "0.1 / 2", "vllm", "gpt-5 (default)", "offline"):
        assert words in out
    items = {item["name"]: item for item in json.loads(run("model", "list", "--json")[1])["items"]}
    assert list(items) == ["offline", "gpt-5", "fast", "small"]
    assert items["fast"] == {
        "name": "fast",
        "default": False,
        "provider": "openai",
        "family": "fast",
        "upstream": "vendor/fast-2",
        "contextTokens": 32_000,
        "maxInputTokens": 8_000,
        "maxOutputTokens": 32_768,
        "capabilities": ["tools"],
        "fallback": "small",
        "price": {"input": 0.1, "output": 2.0},
    }
    assert items["gpt-5"]["default"]


def test_a_mistake_in_the_environment_is_told_by_name(run, monkeypatch):
    monkeypatch.setenv("CRONTALK_MODELS", json.dumps({"fast": {"base_url": f"http://u:{KEY}@127.0.0.1/"}}))
    code, _, err = run("model", "list")
    assert code == 2
    assert "CRONTALK_MODELS: fast: base_url" in err


@pytest.mark.parametrize("model", ["offline", "offline/reasoning=1", "calling", "calls/temperature=0"])
def test_a_model_that_works_is_asked_for_a_word_and_for_a_call(run, named, model):
    named(calling={"model": "calling"}, calls={"model": "calling"})
    code, out, _ = run("model", "test", model, "--json")
    told = json.loads(out)
    assert (code, told["works"]) == (0, True)
    answer, call = told["trials"]
    assert (answer["what"], answer["finishReason"], call["what"], call["finishReason"]) == (
        "answer",
        "stop",
        "call",
        "tool",
    )
    assert answer["firstTokenMs"] <= answer["totalMs"]
    assert answer["inputTokens"] > 0
    assert answer["reasons"] == ("reasoning" in model)


def test_a_model_without_functions_is_asked_for_a_word_alone(run, named):
    named(plain={"model": "ok", "capabilities": []})
    code, out, _ = run("model", "test", "plain")
    assert code == 0
    assert "works" in out
    assert "call" not in out


FAILURES = [
    ("status:401", "misconfigured", "http_401", "does not take the key"),
    ("status:404", "misconfigured", "http_404", "/v1"),
    ("refusal:404,model_not_found", "misconfigured", "model_not_found", "no such model"),
    ("refusal:429,insufficient_quota", "quota", "no_credit", "No money"),
    ("retry-after:5", "quota", "http_429", "no more requests"),
    ("status:503", "provider_error", "http_503", "no usable answer"),
    ("html", "provider_error", "not_json", "base_url"),
    ("empty", "empty_output", "empty", "without a word"),
    ("finish:length", "truncated", "length", "cut off"),
    ("finish:content_filter", "refused", "refused", "filter"),
    ("refusal:context_length_exceeded", "context_too_long", "context_length", "context_tokens"),
    ("hang", "timeout", "deadline", "CRONTALK_MODEL_TIME"),
    ("ok", "provider_error", "no_call", "did not call"),
    ("calling:{nonsense", "provider_error", "broken_call", "cannot be read"),
    ("calling:{}", "provider_error", "broken_call", "cannot be read"),
]


@pytest.mark.parametrize(("behaviour", "error_class", "error_code", "hint"), FAILURES)
def test_a_model_that_fails_is_told_with_what_to_do_about_it(
    run, named, monkeypatch, behaviour, error_class, error_code, hint
):
    monkeypatch.setenv("CRONTALK_MODEL_TIME", "1.5")
    named(bad={"model": behaviour})
    code, out, _ = run("model", "test", "bad", "--json")
    told = json.loads(out)
    last = told["trials"][-1]
    assert (code, told["works"], last["works"]) == (1, False, False)
    assert (last["errorClass"], last["errorCode"]) == (error_class, error_code)
    assert hint in last["hint"]


def test_people_read_the_same(run, named):
    named(bad={"model": "status:401"})
    code, out, _ = run("model", "test", "bad")
    assert code == 1
    assert "misconfigured (http_401)" in out
    assert "SECRET-BODY" not in out


def test_without_an_endpoint_the_hint_says_where_to_name_one(run):
    code, out, _ = run("model", "test", "gpt-5")
    assert code == 1
    assert "CRONTALK_MODELS" in out


def test_what_is_no_model_string_is_not_asked(run):
    code, _, err = run("model", "test", "gpt/temperature=hot")
    assert code == 2
    assert "temperature" in err
