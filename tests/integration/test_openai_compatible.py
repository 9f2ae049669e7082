"""The OpenAI-compatible provider against a real socket server that misbehaves in every known way."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from core.chat.openai_compatible import OpenAICompatible
from core.chat.provider import (
    ChatMessage,
    ContextTooLong,
    Deadline,
    Finished,
    FinishReason,
    ModelError,
    ModelMisconfigured,
    ModelQuota,
    ModelRefused,
    ModelRequest,
    ModelTimeout,
    ModelUnavailable,
    TextDelta,
)
from tests.model_server import ModelServer

KEY = "sk-very-secret"
PROMPT = "PROMPT-CANARY what is new?"


@pytest.fixture(scope="module")
def server():
    with ModelServer() as server:
        yield server


@pytest.fixture(scope="module")
def provider(server):
    provider = OpenAICompatible(server.base_url, KEY)
    # The library takes a second to load: not on the first test's deadline.
    list(provider.stream(asking("ok"), Deadline.after(timedelta(seconds=30))))
    yield provider
    provider.close()


def asking(model, *, options=None, limit=None, text=PROMPT):
    return ModelRequest(model, options or {}, "Be brief.", (ChatMessage("user", text),), limit)


def answer(provider, model, seconds=10.0, **parts):
    """The text, the last event and how long it took."""
    began = time.monotonic()
    *deltas, last = provider.stream(asking(model, **parts), Deadline.after(timedelta(seconds=seconds)))
    assert all(isinstance(delta, TextDelta) and delta.text for delta in deltas)
    return "".join(delta.text for delta in deltas), last, time.monotonic() - began


def failure(provider, model, seconds=10.0):
    """The error a call ends in, checked to be free of everything that was said, and how long it took."""
    began = time.monotonic()
    with pytest.raises(ModelError) as caught:
        list(provider.stream(asking(model), Deadline.after(timedelta(seconds=seconds))))
    elapsed = time.monotonic() - began
    error = caught.value
    seen = f"{error} {error!r} {error.code} {error.args} {error.__cause__!r}"
    if not error.__suppress_context__:
        seen += repr(error.__context__)
    for secret in (KEY, "SECRET-BODY", "PROMPT-CANARY", "127.0.0.1"):
        assert secret not in seen
    return error, elapsed


def test_a_streamed_answer_arrives_in_pieces_and_is_counted(provider):
    events = list(provider.stream(asking("gpt"), Deadline.after(timedelta(seconds=10))))
    assert "".join(event.text for event in events[:-1]) == f"The model heard: {PROMPT}"
    assert len(events) > 3
    assert events[-1] == Finished(FinishReason.stop, 11, 7)


def test_the_request_carries_what_was_asked_and_nothing_of_this_machine(server, provider, monkeypatch):
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Leak: yes")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    fresh = OpenAICompatible(server.base_url + "/", KEY)
    options = {"temperature": 0.5, "latency": 3, "max_tokens": 50, "stream": 0}
    answer(fresh, "gpt", options=options, limit=80)
    fresh.close()
    call = server.calls[-1]
    assert call["what"] == "POST /v1/chat/completions"
    assert call["body"] == {
        "model": "gpt",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": PROMPT}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
        "max_tokens": 50,
    }
    assert call["headers"]["authorization"] == f"Bearer {KEY}"
    assert not {"x-leak", "x-stainless-os", "x-stainless-runtime-version"} & set(call["headers"])


def test_a_server_without_a_key_gets_none(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    keyless = OpenAICompatible(server.base_url, None)
    answer(keyless, "gpt")
    keyless.close()
    assert "authorization" not in server.calls[-1]["headers"]


def test_a_finished_call_gives_its_connection_back(server, provider):
    answer(provider, "ok")
    before = server.connections
    for _ in range(5):
        answer(provider, "ok")
    assert server.connections == before


def test_an_answer_without_usage_is_estimated(provider):
    text, last, _ = answer(provider, "no-usage")
    assert text == "Twelve bytes"
    assert last.output_tokens == 3
    assert last.input_tokens > 8


def test_a_server_that_does_not_stream_is_understood(provider):
    assert answer(provider, "whole")[:2] == ("All at once.", Finished(FinishReason.stop, 11, 7))


def test_an_empty_answer_is_finished_and_has_no_text(provider):
    assert answer(provider, "empty")[:2] == ("", Finished(FinishReason.stop, 11, 7))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("length", FinishReason.length),
        ("content_filter", FinishReason.refused),
        ("tool_calls", FinishReason.tool),
    ],
)
def test_the_finish_reason_is_told(provider, name, reason):
    assert answer(provider, f"finish:{name}")[1].reason is reason


def test_nul_and_lone_surrogates_are_removed_and_split_emoji_joined(provider):
    assert answer(provider, "unclean")[0] == "ab😀c"


def test_a_prompt_with_a_lone_surrogate_is_sent(server, provider):
    answer(provider, "ok", text="a\ud83d")
    assert server.calls[-1]["body"]["messages"][-1]["content"] == "a?"


@pytest.mark.parametrize("model", ["hang", "hang-body", "drip-headers", "drip-body", "drip-body:0.01"])
def test_a_server_that_never_ends_is_cut_off_at_the_deadline(server, provider, model):
    error, elapsed = failure(provider, model, seconds=1.2)
    assert isinstance(error, ModelTimeout)
    assert error.code == "deadline"
    assert error.retryable
    assert 1 < elapsed < 3
    assert server.wait_until(lambda calls: calls[-1]["ended"] == "client_closed")


def test_a_silent_server_is_given_up_before_a_distant_deadline(server):
    impatient = OpenAICompatible(server.base_url, KEY, idle_timeout=timedelta(seconds=0.5))
    for model in ("hang", "hang-body"):
        error, elapsed = failure(impatient, model, seconds=60)
        assert isinstance(error, ModelTimeout)
        assert error.code == "idle"
        assert elapsed < 10
    impatient.close()


def test_a_deadline_that_has_passed_calls_nobody(server, provider):
    before = len(server.calls)
    error, _ = failure(provider, "ok", seconds=-1)
    assert isinstance(error, ModelTimeout)
    assert len(server.calls) == before


@pytest.mark.parametrize("model", ["hang-after-finish", "hang-after-done"])
def test_an_answer_is_whole_once_its_finish_reason_came(provider, model):
    text, last, elapsed = answer(provider, model, seconds=60)
    assert (text, last.reason) == ("Said.", FinishReason.stop)
    assert elapsed < 10


def test_the_status_counts_when_its_body_never_comes(provider):
    error, elapsed = failure(provider, "hang-error-body", seconds=60)
    assert (type(error), error.code) == (ModelUnavailable, "http_503")
    assert elapsed < 10


@pytest.mark.parametrize(
    ("model", "code"),
    [
        ("html", "not_json"),
        ("error-body", "error_body"),
        ("error-event", "error_body"),
        ("empty-body", "empty_body"),
        ("garbage", "no_answer"),
        ("garbage-event", "not_json"),
        ("events:[]", "not_a_completion"),
        ('events:{"choices": 1}', "not_a_completion"),
        ('events:{"choices": ["x"]}', "not_a_completion"),
        ('events:{"choices": [{"delta": {"content": {}}}]}', "not_a_completion"),
        ('events:{"choices": [{"finish_reason": ["stop"]}]}', "unknown_finish"),
        ("events:" + "[" * 100_000, "not_json"),
        ("compressed", "encoded"),
        ("cut", "stream_cut"),
        ("unfinished", "stream_cut"),
        ("hang-up", "no_answer"),
        ("huge", "too_large"),
        ("huge:comments", "too_large"),
        ("huge-headers", "no_answer"),
        ("status:500", "http_500"),
        ("status:503", "http_503"),
        ("status:408", "http_408"),
    ],
)
def test_nonsense_and_outages_may_be_tried_again(provider, model, code):
    error, elapsed = failure(provider, model, seconds=30)
    assert (type(error), error.code) == (ModelUnavailable, code)
    assert error.retryable
    assert elapsed < 15


def test_text_without_end_is_cut_at_its_limit(server, provider):
    text, last, _ = answer(provider, "huge:text", seconds=30)
    assert len(text.encode()) == 256 * 1024
    assert last.reason is FinishReason.length
    assert server.wait_until(lambda calls: calls[-1]["ended"] == "client_closed")


@pytest.mark.parametrize(
    ("model", "kind", "code"),
    [
        ("status:401", ModelMisconfigured, "http_401"),
        ("status:403", ModelMisconfigured, "http_403"),
        ("status:404", ModelMisconfigured, "http_404"),
        ("status:400", ModelMisconfigured, "http_400"),
        ("status:422", ModelMisconfigured, "http_422"),
        ("redirect", ModelMisconfigured, "http_302"),
        ("refusal:context_length_exceeded", ContextTooLong, "context_length"),
        ("refusal:content_filter", ModelRefused, "content_filter"),
        ("refusal:429,insufficient_quota", ModelQuota, "no_credit"),
        ("error-body:context_length_exceeded", ContextTooLong, "context_length"),
    ],
)
def test_what_only_a_person_can_mend_is_not_tried_again(server, provider, model, kind, code):
    before = len(server.calls)
    error, _ = failure(provider, model)
    assert (type(error), error.code, error.retryable) == (kind, code, False)
    assert len(server.calls) == before + 1


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("7", timedelta(seconds=7)),
        ("86400", timedelta(days=1)),
        ("9" * 20, timedelta.max),
        ("", None),
        ("soon", None),
    ],
)
def test_retry_after_is_told_as_the_server_gave_it(provider, value, wait):
    error, _ = failure(provider, f"retry-after:{value}")
    assert (type(error), error.retryable, error.retry_after) == (ModelQuota, True, wait)


def test_retry_after_may_be_a_date(provider):
    moment = datetime.now(UTC) + timedelta(hours=1)
    error, _ = failure(provider, f"retry-after:{format_datetime(moment, usegmt=True)}")
    assert timedelta(minutes=59) < error.retry_after <= timedelta(hours=1)


def test_a_refused_connection_may_be_tried_again(server):
    with socket.create_server(("127.0.0.1", 0)) as closing:
        port = closing.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}", "http://nowhere.invalid/v1", f"https://127.0.0.1:{server.port}"):
        absent = OpenAICompatible(url, KEY, connect_timeout=timedelta(seconds=1))
        error, elapsed = failure(absent, "ok", seconds=20)
        absent.close()
        assert (type(error), error.code) == (ModelUnavailable, "connect")
        assert elapsed < 15


def test_a_server_that_accepts_nobody_is_given_up_at_the_deadline():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
        absent = OpenAICompatible(f"http://127.0.0.1:{port}", KEY)
        error, elapsed = failure(absent, "ok", seconds=1)
        absent.close()
        for sock in waiting:
            sock.close()
    assert isinstance(error, ModelTimeout)
    assert elapsed < 5


@pytest.mark.parametrize(
    "url", ["", "model", "ftp://model/v1", "http://", "http://u:p@model/v1", "http://m:x/"]
)
def test_an_address_that_cannot_be_one_is_refused(url):
    with pytest.raises(ModelMisconfigured) as caught:
        OpenAICompatible(url, KEY)
    assert "u:p" not in str(caught.value)


def test_closing_the_stream_early_ends_the_call_at_the_server(server, provider):
    stream = provider.stream(asking("hang-body"), Deadline.after(timedelta(seconds=30)))
    assert next(stream) == TextDelta("Well,")
    stream.close()
    assert server.wait_until(lambda calls: calls[-1]["ended"] == "client_closed")


def test_hanging_calls_do_not_slow_the_others(provider):
    with ThreadPoolExecutor(24) as pool:
        hanging = [pool.submit(failure, provider, "hang", 3.5) for _ in range(20)]
        began = time.monotonic()
        for _ in range(10):
            answer(provider, "ok")
        elapsed = time.monotonic() - began
        assert not any(call.done() for call in hanging)
        assert elapsed < 3
        assert all(isinstance(call.result()[0], ModelTimeout) for call in hanging)


def test_many_threads_share_the_connections(server, provider):
    barrier = threading.Barrier(100)

    def call(number):
        barrier.wait(30)
        return answer(provider, "slow:0.2", seconds=30, text=f"number {number}")[0]

    with ThreadPoolExecutor(100) as pool:
        texts = list(pool.map(call, range(100)))
    assert texts == [f"The model heard: number {number}" for number in range(100)]


def test_a_script_of_behaviours_comes_before_the_model_name(server, provider):
    server.script("status:503", "ok:better now")
    assert failure(provider, "ok")[0].code == "http_503"
    assert answer(provider, "ok")[0] == "better now"


class NotWanted(Exception):
    pass


def unwanted_after(seconds):
    """A deadline a minute away of a call that nobody wants any more after so many seconds."""
    end = time.monotonic() + seconds

    def wanted():
        if time.monotonic() >= end:
            raise NotWanted

    return Deadline.after(timedelta(seconds=60)).while_wanted(wanted)


@pytest.mark.parametrize(
    "model", ["hang", "hang-body", "hang-after-finish", "drip-body:0.3", "hang-error-body"]
)
def test_a_call_that_nobody_wants_any_more_ends_at_once(server, provider, model):
    began = time.monotonic()
    with pytest.raises((NotWanted, ModelError)):
        list(provider.stream(asking(model), unwanted_after(0.6)))
    assert time.monotonic() - began < 3
    assert server.wait_until(lambda calls: calls[-1]["ended"] == "client_closed")


def test_a_call_that_nobody_wants_sends_nothing(server, provider):
    before = len(server.calls)
    with pytest.raises(NotWanted):
        list(provider.stream(asking("ok"), unwanted_after(0)))
    assert len(server.calls) == before


def test_a_server_that_does_not_read_holds_no_call_that_nobody_wants():
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        one = OpenAICompatible(f"http://127.0.0.1:{deaf.getsockname()[1]}/v1", None)
        began = time.monotonic()
        with pytest.raises(NotWanted):
            list(one.stream(asking("gpt", text="x" * 50_000_000), unwanted_after(1)))
        assert time.monotonic() - began < 5
        one.close()


def test_a_name_that_is_looked_up_for_ever_holds_no_call_that_nobody_wants(monkeypatch):
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: answered.wait(20) and [])
    one = OpenAICompatible("http://model.example/v1", None)
    with pytest.raises(NotWanted):
        list(one.stream(asking("gpt"), unwanted_after(0.3)))
    answered.set()
    for thread in threading.enumerate():
        if thread.name == "resolve":
            thread.join(5)
    one.close()
