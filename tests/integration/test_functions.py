"""Functions in turns: every call is written down once, whatever dies in between."""

from __future__ import annotations

import pytest

from core.chat.provider import ToolCall
from core.errors import RunFailed
from core.messages import append, delete_message
from core.talking import complete, receive
from core.turn_requests import Function, TurnRequest
from core.turns import carry_out
from core.work import LeaseLost, reap
from models import MessageType
from tests.factories import a_bot, a_conversation, execute, one, rows, the_run
from tests.scripted import USED, calls, says

SCHEMA = {"type": "object", "properties": {"place": {"type": "string"}}}


@pytest.fixture
def asked(context, account):
    conversation = a_conversation(context, account, bot_id=a_bot(context, account).id)

    def ask(*functions, **more):
        with context.transaction(account) as session:
            return complete(session, conversation.id, "Hello?", TurnRequest(functions=functions, **more))

    return ask


def function(name, result=None, **more):
    return Function(name, "Does it.", SCHEMA, result, **more)


def stored(context):
    return [
        (row["type"], row["step"]) for row in rows(context, "SELECT type, step FROM messages ORDER BY seq")
    ]


def test_calls_and_answers_are_written_down_in_order_and_counted(context, leases, speak, asked):
    provider = speak(calls("one", "two"), says("Done."))
    run = asked(function("one", {"data": 1}), function("two", {"data": 2}))
    assert carry_out(context, leases, run.id, worker="here") == "succeeded"
    assert stored(context) == [
        ("user", "prompt"),
        ("activity", "note.1"),
        ("activity", "note.2"),
        ("activity", "answer.1"),
        ("activity", "answer.2"),
        ("bot", "reply"),
    ]
    shown = [(m.role, bool(m.calls)) for m in provider.requests[1].messages]
    assert shown == [
        ("user", False),
        ("assistant", True),
        ("tool", False),
        ("assistant", True),
        ("tool", False),
    ]
    done = the_run(context, run.id)
    assert (done["input_tokens"], done["output_tokens"], done["model_calls"]) == (15, 6, 2)
    used = rows(context, "SELECT sum(input_tokens)::int AS i, sum(output_tokens)::int AS o FROM usage_days")
    assert used == [{"i": 15, "o": 6}]
    steps = rows(context, "SELECT step, outcome FROM run_steps WHERE step LIKE 'model%' ORDER BY step")
    assert steps == [
        {"step": "model.1", "outcome": "succeeded"},
        {"step": "model.2", "outcome": "succeeded"},
    ]
    steps = rows(
        context, "SELECT step, outcome, error_code FROM run_steps WHERE step LIKE 'call%' ORDER BY 1"
    )
    assert steps == [
        {"step": "call.1", "outcome": "succeeded", "error_code": None},
        {"step": "call.2", "outcome": "succeeded", "error_code": None},
    ]


def test_an_attempt_after_a_crash_goes_on_after_the_last_call_written_down(
    context, leases, speak, asked, monkeypatch
):
    provider = speak(calls("ask"), says("It is blue."))
    run = asked(function("ask", {"channel": "a-channel-of-ours"}))

    def dies(*_):
        raise LeaseLost("killed here")

    with monkeypatch.context() as patched:
        patched.setattr("core.agent._heard", dies)
        assert carry_out(context, leases, run.id, worker="first") == "lost"
    execute(context, "UPDATE runs SET lease_until = now() - interval '1 second'")
    assert reap(context) == 1
    monkeypatch.setattr("core.agent._heard", lambda *_: {"data": "blue"})
    assert carry_out(context, leases, run.id, worker="second") == "succeeded"
    assert stored(context) == [
        ("user", "prompt"),
        ("activity", "note.1"),
        ("activity", "answer.1"),
        ("bot", "reply"),
    ]
    assert len(provider.requests) == 2


def test_what_the_model_said_of_text_deleted_meanwhile_is_not_written_down(
    context, account, leases, speak, asked
):
    run = asked(function("one", {"data": 1}))
    message = one(context, "SELECT id FROM messages")
    conversation = one(context, "SELECT conversation_id FROM messages")
    provider = speak(calls("one"), calls("one"), says("Fine."))
    answers, provider.answers = provider.answers, []

    def deleting():
        with context.transaction(account) as session:
            delete_message(session, conversation, message)
        yield from answers[0]

    provider.answers = [deleting(), *answers[1:]]
    assert carry_out(context, leases, run.id, worker="here") == "discarded"
    assert stored(context) == []
    assert carry_out(context, leases, run.id, worker="here") == "succeeded"


def test_a_function_that_ends_the_turn_ends_it(context, leases, speak, asked):
    provider = speak(calls("finish"))
    run = asked(function("finish", {"data": None}, start=True, end=True))
    assert carry_out(context, leases, run.id, worker="here") == "succeeded"
    assert provider.requests[0].forced == "finish"
    assert the_run(context, run.id)["end_reason"] == "stop"


def test_more_calls_than_allowed_fail_the_run_and_keep_what_was_done(context, leases, speak, asked):
    speak(calls("one"), calls("one"), says("never"))
    run = asked(function("one", {"data": 1}), calls=1)
    with pytest.raises(RunFailed, match="limit"):
        carry_out(context, leases, run.id, worker="here")
    assert stored(context)[:3] == [("user", "prompt"), ("activity", "note.1"), ("activity", "answer.1")]
    assert the_run(context, run.id)["request"] is None


def test_a_result_the_model_cannot_be_shown_fails_the_run_instead_of_asking_for_it_again(
    context, leases, speak, asked
):
    provider = speak(*[calls("one")] * 5)
    run = asked(function("one", {"data": "x" * context.settings.history_tokens * 5}))
    with pytest.raises(RunFailed, match="context_too_long"):
        carry_out(context, leases, run.id, worker="here")
    assert len(provider.requests) == 1


def test_a_model_that_calls_and_calls_is_stopped(context, leases, speak, asked, monkeypatch):
    monkeypatch.setattr("core.agent.ITERATIONS", 3)
    provider = speak(*[calls("one")] * 5)
    run = asked(function("one", {"data": 1}))
    assert carry_out(context, leases, run.id, worker="here") == "succeeded"
    assert len(provider.requests) == 3
    assert the_run(context, run.id)["end_reason"] == "iteration"


def test_the_model_is_told_of_a_function_nobody_declared_and_goes_on(context, leases, speak, asked):
    provider = speak(calls("other"), says("I cannot."))
    run = asked(function("one", {"data": 1}))
    assert carry_out(context, leases, run.id, worker="here") == "succeeded"
    assert "unknown_function" in provider.requests[1].messages[-1].text
    steps = rows(context, "SELECT outcome, error_code FROM run_steps WHERE step = 'call.1'")
    assert steps == [{"outcome": "failed", "error_code": "unknown_function"}]


def test_a_model_that_asks_for_the_very_same_without_end_is_stopped(context, leases, speak, asked):
    provider = speak(*[calls("one")] * 20)
    run = asked(function("one", {"data": 1}))
    with pytest.raises(RunFailed, match="tool_loop"):
        carry_out(context, leases, run.id, worker="here")
    assert len(provider.requests) == 11


def test_a_call_that_was_left_behind_is_no_reason_not_to_answer(context, account, leases, speak):
    talk = a_conversation(context, account, bot_id=a_bot(context, account).id)
    left = {"activity": {"type": "request", "function": {"name": "one", "arguments": {}}}}
    with context.transaction(account) as session:
        append(session, talk.id, MessageType.USER, "Hello?")
        append(session, talk.id, MessageType.ACTIVITY, "one()", meta=left)
        append(session, talk.id, MessageType.BOT, "I could not ask.")
        append(session, talk.id, MessageType.INSTRUCTION, "Say good bye.")
        run = receive(session, talk.id)
    speak(says("Good bye."))
    assert carry_out(context, leases, run.id, worker="here") == "succeeded"
    assert stored(context)[-1] == ("bot", "reply")


def test_a_request_sealed_with_another_key_fails_the_run(context, leases, asked):
    run = asked(function("one", {"data": 1}))
    execute(context, "UPDATE runs SET request = 'nonsense'")
    with pytest.raises(RunFailed, match="misconfigured"):
        carry_out(context, leases, run.id, worker="here")


def test_a_call_whose_arguments_cannot_be_read_is_answered_with_an_error_by_nobody_else(
    context, leases, speak, asked
):
    broken = ToolCall("c", "mine", {}, broken="not_json")
    provider = speak([broken, USED], says("I see."))
    run = asked(function("mine"))
    assert carry_out(context, leases, run.id, worker="here") == "succeeded"
    assert "not JSON" in provider.requests[1].messages[-1].text
