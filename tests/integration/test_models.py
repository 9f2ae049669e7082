"""Named models, their fallbacks, and what they think and call: over HTTP to scripted servers."""

from __future__ import annotations

import base64
import json
import uuid

import pytest

from core.budgets import Budget
from core.chat.history import StoredMessage
from core.chat.provider import FinishReason, Image, ToolCall
from core.outcomes import Failure
from core.talking import complete
from core.telling import REASONING
from core.turn_requests import Function, TurnRequest
from core.turns import carry_out
from tests.api import a_client, a_secret
from tests.factories import a_bot, a_conversation, a_pending_run, rows, the_run
from tests.model_server import ModelServer
from tests.talks import KEY, a_talk, ask, failing, naming

LOOK = Function("look", "Looks.", {"type": "object", "properties": {"word": {"type": "string"}}}, {"data": 1})
SEND = Function("send", "Sends.", {"type": "object", "properties": {}}, {"data": 2})


@pytest.fixture(scope="module")
def server():
    with ModelServer() as server:
        yield server


@pytest.fixture(scope="module")
def other():
    with ModelServer() as server:
        yield server


@pytest.fixture
def models(context, server, other):
    """Names models of the other server."""
    made = []

    def name(**entries):
        made.append(naming(context, other, server, **entries))
        return made[-1]

    yield name
    for asking in made:
        asking.providers.close()


# Names.


def test_a_name_is_asked_for_under_its_servers_name_with_its_own_key_and_options(models, server, other):
    context = models(
        fast={"model": "vendor/fast-2", "options": {"temperature": 0.2}, "max_output_tokens": 99}
    )
    before = len(server.calls)
    answer, begun, _ = ask(context, a_talk("fast/seed=7"))
    assert answer.text == "The model heard: Hello?"
    assert begun == ["fast"]
    call = other.calls[-1]
    assert call["headers"]["authorization"] == f"Bearer {KEY}"
    sent = {key: call["body"].get(key) for key in ("model", "temperature", "seed", "max_tokens")}
    assert sent == {"model": "vendor/fast-2", "temperature": 0.2, "seed": 7, "max_tokens": 99}
    assert len(server.calls) == before
    ask(context, a_talk("Fast"))
    assert server.calls[-1]["body"]["model"] == "Fast"
    assert "authorization" not in server.calls[-1]["headers"]


def test_a_model_that_takes_no_functions_is_offered_none(models, other):
    context = models(plain={"capabilities": []}, able={})
    ask(context, a_talk("plain", functions=(LOOK,)))
    assert "tools" not in other.calls[-1]["body"]
    ask(context, a_talk("able", functions=(LOOK,)))
    assert other.calls[-1]["body"]["tools"][0]["function"]["name"] == "look"


def test_a_small_context_is_shown_less(models, other):
    context = models(small={"context_tokens": 400}, large={})
    history = [StoredMessage("user", "word " * 100, {}, place) for place in range(1, 9)]
    ask(context, a_talk("small", *history))
    shown = len(other.calls[-1]["body"]["messages"])
    ask(context, a_talk("large", *history))
    assert shown < len(other.calls[-1]["body"]["messages"]) == 8


def test_images_go_to_models_that_see_and_are_named_to_the_others(models, other):
    context = models(sees={"capabilities": ["images"]}, blind={})
    shown = StoredMessage("user", "What is this?", {}, 1, images=(Image("image/png", b"pixels"),))
    ask(context, a_talk("sees", shown))
    words, picture = other.calls[-1]["body"]["messages"][-1]["content"]
    assert words == {"type": "text", "text": "What is this?"}
    assert picture["image_url"]["url"] == f"data:image/png;base64,{base64.b64encode(b'pixels').decode()}"
    ask(context, a_talk("blind", shown))
    assert (
        "[image/png, 1 KiB: this model is not shown it]" in other.calls[-1]["body"]["messages"][-1]["content"]
    )


# Fallbacks.


@pytest.mark.parametrize(
    "behaviour",
    [
        "status:503",
        "status:401",
        "retry-after:1",
        "refusal:429,insufficient_quota",
        "hang-up",
        "html",
        "events:{}",
    ],
)
def test_a_model_that_is_away_is_stood_in_for_before_anything_was_told(models, server, other, behaviour):
    context = models(
        first={"model": behaviour, "fallback": "second"}, second={"model": "ok:From the second."}
    )
    answer, begun, ears = ask(context, a_talk("first"))
    assert answer.text == "From the second."
    assert begun == ["first", "second"]
    assert ears.said() == "From the second."
    assert [data["model"] for kind, data in ears.events if kind == "usage"] == ["second"]


@pytest.mark.parametrize("behaviour", ["cut", "error-event", "thinking-cut"])
def test_once_something_was_told_nobody_stands_in(models, behaviour):
    context = models(first={"model": behaviour, "fallback": "second"}, second={})
    talk = a_talk("first")
    with pytest.raises(Failure) as caught:
        ask(context, talk)
    assert caught.value.error_class == "provider_error"
    assert caught.value.answer.text == ("" if behaviour == "thinking-cut" else "Well,")


@pytest.mark.parametrize(
    "behaviour", ["refusal:content_filter", "finish:content_filter", "finish:length", "empty"]
)
def test_an_answer_that_does_not_count_is_no_reason_to_ask_another_model(models, other, behaviour):
    context = models(first={"model": behaviour, "fallback": "second"}, second={})
    before = len(other.calls)
    failing(context, a_talk("first"))
    assert len(other.calls) == before + 1


def test_a_conversation_that_is_too_long_is_halved_first_and_then_goes_to_the_fallback(models, other):
    too_long = "refusal:context_length_exceeded"
    context = models(first={"model": too_long, "fallback": "second"}, second={"model": "ok:Here."})
    answer, begun, _ = ask(context, a_talk("first"))
    assert (answer.text, begun) == ("Here.", ["first", "first", "second"])


def test_an_open_circuit_goes_to_the_fallback_without_a_call(models, other):
    context = models(first={"model": "status:503", "fallback": "second"}, second={"model": "ok:Here."})
    account = uuid.uuid4()
    for _ in range(2):
        ask(context, a_talk("first", account=account))
    before = len(other.calls)
    answer, begun, _ = ask(context, a_talk("first", account=account))
    assert (answer.text, begun, len(other.calls) - before) == ("Here.", ["second"], 1)


def test_a_fallback_is_asked_once_and_its_own_fallback_is_not(models, other):
    context = models(
        first={"model": "status:503", "fallback": "second"},
        second={"model": "status:502", "fallback": "third"},
        third={"model": "ok"},
    )
    assert failing(context, a_talk("first")) == ("provider_error", "http_503")
    assert [call["body"]["model"] for call in other.calls[-2:]] == ["status:503", "status:502"]


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        ("status:503", "status:401", "http_503"),
        ("status:401", "status:503", "http_503"),
        ("status:401", "status:403", "http_401"),
        ("status:503", "status:502", "http_503"),
    ],
)
def test_where_neither_answers_the_attempt_fails_of_what_may_pass(models, first, second, code):
    context = models(first={"model": first, "fallback": "second"}, second={"model": second})
    assert failing(context, a_talk("first"))[1] == code


def test_the_callers_options_go_along_as_far_as_they_mean_the_same_to_every_model(models, other):
    context = models(
        first={"model": "status:503", "options": {"seed": 1}, "fallback": "second"},
        second={"options": {"top_p": 0.5}},
    )
    ask(context, a_talk("first/temperature=0.3/reasoning_effort=high/maxTokens=77"))
    body = other.calls[-1]["body"]
    assert (body["temperature"], body["top_p"], body["max_tokens"]) == (0.3, 0.5, 77)
    assert not {"reasoning_effort", "seed"} & set(body)


def test_the_offline_model_may_stand_in(models):
    context = models(first={"model": "status:503", "fallback": "offline"})
    answer, begun, _ = ask(context, a_talk("first"))
    assert begun == ["first", "offline"]
    assert "Offline answer" in answer.text


PRICES = {
    "first": {"model": "status:503", "fallback": "second", "price": {"input": 1, "output": 1}},
    "second": {"model": "ok", "price": {"input": 10, "output": 100}},
}


def test_prices_are_those_of_the_model_that_answered(models):
    answer, _, _ = ask(models(**PRICES), a_talk("first"))
    assert answer.cost == 11 * 10 + 7 * 100


def test_a_fallback_that_a_budget_cannot_pay_for_is_not_asked(models, other):
    context = models(**PRICES)
    talk = a_talk("first", budget=Budget(cost=60))
    assert failing(context, talk) == ("provider_error", "http_503")
    assert other.calls[-1]["body"]["model"] == "status:503"
    unpriced = models(first=PRICES["first"], second={"model": "ok"})
    assert failing(unpriced, talk) == ("provider_error", "http_503")
    assert other.calls[-1]["body"]["model"] == "status:503"


def test_a_fallback_counts_as_a_call_of_those_that_are_left(models, other):
    context = models(**PRICES)
    assert failing(context, a_talk("first", calls_left=1)) == ("provider_error", "http_503")
    assert ask(context, a_talk("first", calls_left=2))[1] == ["first", "second"]


def test_a_run_names_the_model_that_answered_and_its_timeline_the_one_that_did_not(
    models, context, account, leases
):
    asking = models(**PRICES)
    run = a_pending_run(context, account, bot_id=a_bot(context, account, model="first").id)
    assert carry_out(asking, leases, run.id, worker="here") == "succeeded"
    done = the_run(context, run.id)
    assert (done["model"], done["model_calls"], done["cost"]) == ("second", 2, 810)
    steps = rows(
        context,
        "SELECT step, model, outcome, input_tokens FROM run_steps WHERE step LIKE 'model%' ORDER BY step",
    )
    assert steps == [
        {"step": "model.1", "model": "first", "outcome": "failed", "input_tokens": None},
        {"step": "model.2", "model": "second", "outcome": "succeeded", "input_tokens": 11},
    ]


# Calls.


def test_calls_that_come_in_pieces_and_interleaved_are_told_whole(models):
    context = models(m={"model": 'calling:{"word": "é\\u0000!"}'})
    answer, _, _ = ask(context, a_talk("m", functions=(LOOK, SEND)))
    assert answer.finish is FinishReason.tool
    assert answer.calls == (
        ToolCall("call0", "look", {"word": "é!"}),
        ToolCall("call1", "send", {"word": "é!"}),
    )


def test_a_call_of_nothing_known_or_with_broken_arguments_is_the_agents_to_answer(models):
    context = models(else_={"model": "calling-else:drop tables"}, broken={"model": "calling:{nonsense"})
    (call,) = ask(context, a_talk("else_", functions=(LOOK,)))[0].calls
    assert (call.name, call.broken) == ("drop tables", None)
    (call,) = ask(context, a_talk("broken", functions=(LOOK,)))[0].calls
    assert (call.name, dict(call.arguments), call.broken) == ("look", {}, "not_json")


def test_a_name_no_server_would_take_is_sent_back_as_one_it_takes(models, other):
    context = models(m={})
    called = {"activity": {"type": "request", "function": {"name": "drop tables;", "arguments": {}}}}
    result = {"activity": {"type": "response", "function": {"name": "drop tables;", "result": 1}}}
    said = (
        StoredMessage("user", "Hello?", {}, 1),
        StoredMessage("activity", "x", called, 2),
        StoredMessage("activity", "x", result, 3),
    )
    ask(context, a_talk("m", *said, functions=(LOOK,)))
    (call,) = other.calls[-1]["body"]["messages"][1]["tool_calls"]
    assert call["function"]["name"] == "drop_tables_"


def test_calls_over_the_wire_are_carried_out_and_answered_under_their_own_ids(
    models, context, account, leases, other
):
    asking = models(m={"model": "calling"})
    conversation = a_conversation(context, account, bot_id=a_bot(context, account, model="m").id)
    with context.transaction(account) as session:
        run = complete(session, conversation.id, "Hello?", TurnRequest(functions=(LOOK, SEND)))
    assert carry_out(asking, leases, run.id, worker="here") == "succeeded"
    system, *said = other.calls[-1]["body"]["messages"]
    assert system["role"] == "system"
    assert [message["role"] for message in said] == ["user", "assistant", "tool", "assistant", "tool"]
    for call, result in ((said[1], said[2]), (said[3], said[4])):
        assert call["tool_calls"][0]["id"] == result["tool_call_id"]
    assert [message["content"] for message in said if message["role"] == "tool"] == ["1", "2"]
    assert the_run(context, run.id)["model_calls"] == 2


def test_a_call_of_nothing_known_is_told_to_the_model_and_the_turn_goes_on(
    models, context, account, leases, other
):
    asking = models(m={"model": "calling-else:drop tables"})
    conversation = a_conversation(context, account, bot_id=a_bot(context, account, model="m").id)
    with context.transaction(account) as session:
        run = complete(session, conversation.id, "Hello?", TurnRequest(functions=(LOOK,)))
    assert carry_out(asking, leases, run.id, worker="here") == "succeeded"
    (result,) = [message for message in other.calls[-1]["body"]["messages"] if message["role"] == "tool"]
    assert "There is no function of this name." in result["content"]


def test_the_offline_model_shows_a_chain_of_calls(context, account, leases):
    conversation = a_conversation(context, account, bot_id=a_bot(context, account, model="offline").id)
    with context.transaction(account) as session:
        words = "look word=Rome, then send it"
        run = complete(session, conversation.id, words, TurnRequest(functions=(LOOK, SEND)))
    assert carry_out(context, leases, run.id, worker="here") == "succeeded"
    noted = [row["text"] for row in rows(context, "SELECT text FROM messages ORDER BY seq")]
    assert noted[1:5] == ['look({"word": "Rome"})', 'look({"word": "Rome"})', "send({})", "send({})"]
    assert "look said “1”. send said “2”." in noted[5]


def test_the_platform_lists_the_models_that_are_named(models, account):
    asking = models(
        fast={
            "family": "vendor-fast",
            "context_tokens": 4_000,
            "max_output_tokens": 1_000,
            "provider": "vendor",
        }
    )
    page = a_client(asking, a_secret(asking, account)).get("/api/v1/platform/model/list").json()
    fast, offline = page["items"]
    assert offline["id"] == "offline"
    told = {key: fast[key] for key in ("id", "name", "type", "provider", "family")}
    assert told == {
        "id": "fast",
        "name": "fast",
        "type": "language",
        "provider": "vendor",
        "family": "vendor-fast",
    }
    assert (fast["maxTokens"], fast["maxInputTokens"], fast["maxOutputTokens"]) == (4_000, 3_000, 1_000)
    assert KEY not in str(page)
    assert "127.0.0.1" not in str(page)


# What a model thinks.


def test_what_a_model_thinks_is_told_apart_and_kept_apart(models, other):
    context = models(m={"model": "thinking:Hm, a greeting."})
    answer, _, ears = ask(context, a_talk("m"))
    assert answer.reasoning == "Hm, a greeting. "
    assert answer.text == "The model heard: Hello? "
    assert (ears.said(REASONING), ears.said()) == (answer.reasoning, answer.text)
    assert "greeting" not in repr(answer)


def test_what_a_model_thought_is_never_sent_back(models, other):
    context = models(m={})
    ask(
        context, a_talk("m", StoredMessage("user", "Hello?", {}, 1), StoredMessage("reasoning", "Hm.", {}, 2))
    )
    assert "Hm." not in json.dumps(other.calls[-1]["body"])
    assert "reasoning" not in json.dumps(other.calls[-1]["body"])
