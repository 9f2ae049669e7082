"""Long histories: summed up before they no longer fit, and cut where that fails."""

from __future__ import annotations

import pytest

from core.chat.provider import Finished, FinishReason, ModelUnavailable, TextDelta
from core.errors import RunFailed
from core.messages import append, delete_message
from core.talking import compact, complete, receive, send
from core.turns import carry_out
from models import MessageType
from tests.factories import a_bot, a_conversation, a_task, one, rows, the_run
from tests.scripted import calls, says

LONG = "x" * 2000


@pytest.fixture
def talk(context, account):
    return a_conversation(context, account, bot_id=a_bot(context, account).id)


def fill(context, account, talk, count=14):
    with context.transaction(account) as session:
        for number in range(count):
            send(session, talk.id, f"{number} {LONG}")


def answered(context, account, leases, talk, text=None):
    with context.transaction(account) as session:
        run = complete(session, talk.id, text) if text else receive(session, talk.id)
    return carry_out(context, leases, run.id, worker="here"), run


def stored(context):
    return [tuple(row.values()) for row in rows(context, "SELECT type, step FROM messages ORDER BY seq")][14:]


def test_a_long_history_is_summed_up_and_the_rest_goes_on_word_for_word(
    context, account, leases, talk, speak
):
    fill(context, account, talk)
    provider = speak(says("They counted."), says("Fourteen."), says("Still fourteen."))
    outcome, run = answered(context, account, leases, talk)
    assert outcome == "succeeded"
    assert stored(context) == [("checkpoint", "note.1"), ("bot", "reply")]
    summing, answering = provider.requests
    assert "Summarise" in summing.system
    assert "Summarise" not in answering.system
    assert summing.tools == ()
    shown = [message.text[:40] for message in answering.messages]
    assert shown[0] == "Summary of the conversation so far:\nThey"
    assert [text[:2].strip() for text in shown[1:]] == ["11", "12", "13"]
    assert [m.text[:2].strip() for m in summing.messages] == [str(n) for n in range(11)]
    assert the_run(context, run.id)["model_calls"] == 2
    assert answered(context, account, leases, talk, "And now?")[0] == "succeeded"
    shown = [message.text for message in provider.requests[-1].messages]
    assert [text[:9] for text in shown] == [
        "Summary o",
        "11 xxxxxx",
        "12 xxxxxx",
        "13 xxxxxx",
        "Fourteen.",
        "And now?",
    ]


def test_a_message_that_a_summary_stands_for_takes_it_along_when_it_is_deleted(
    context, account, leases, talk, speak
):
    fill(context, account, talk)
    provider = speak(says("They said a secret."), says("Done."), says("They counted."), says("Ok."))
    answered(context, account, leases, talk)
    first = one(context, "SELECT id FROM messages ORDER BY seq LIMIT 1")
    with context.transaction(account) as session:
        delete_message(session, talk.id, first)
    assert one(context, "SELECT count(*) FROM messages WHERE type = 'checkpoint'") == 0
    answered(context, account, leases, talk, "Again?")
    assert not any("secret" in m.text for request in provider.requests[2:] for m in request.messages)


@pytest.mark.parametrize(
    "trouble", [[ModelUnavailable("http_503")], [Finished(FinishReason.refused, 1, 0)], says("")[1:]]
)
def test_without_a_summary_the_oldest_end_is_cut(context, account, leases, talk, speak, trouble):
    fill(context, account, talk, 60)
    provider = speak(trouble, says("Fine."))
    assert answered(context, account, leases, talk)[0] == "succeeded"
    shown = provider.requests[-1].messages
    assert 10 < len(shown) < 20
    assert shown[-1].text.startswith("59 ")
    assert one(context, "SELECT count(*) FROM messages WHERE type = 'checkpoint'") == 0


def test_a_summary_is_paid_out_of_the_tasks_limits(context, account, leases, speak):
    task = a_task(context, account, bot_id=a_bot(context, account).id, description="Go on.", max_iterations=1)
    talk = a_conversation(context, account, bot_id=task.bot_id, task_id=task.id)
    fill(context, account, talk)
    speak(says("Summed up."), says("never"))
    with context.transaction(account) as session:
        run = receive(session, talk.id)
        session.flush()
    with context.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE runs SET task_id = %s", (task.id,))
    with pytest.raises(RunFailed, match="limit"):
        carry_out(context, leases, run.id, worker="here")


def test_calls_keep_their_responses_and_a_short_history_stays(context, account, leases, talk, speak):
    fill(context, account, talk, 3)
    called = {"activity": {"type": "request", "function": {"name": "one", "arguments": {}}}}
    with context.transaction(account) as session:
        append(session, talk.id, MessageType.ACTIVITY, "one()", meta=called)
    provider = speak(says("Fine."))
    assert answered(context, account, leases, talk, "And?")[0] == "succeeded"
    assert len(provider.requests) == 1


def test_a_summary_asked_for_stands_for_all_before_it(context, account, leases, talk, speak):
    fill(context, account, talk, 3)
    provider = speak(says("Three counts."), says("Fine."))
    with context.transaction(account) as session:
        run = compact(session, talk.id)
    carry_out(context, leases, run.id, worker="here")
    answered(context, account, leases, talk, "And?")
    assert [m.text[-13:] for m in provider.requests[-1].messages] == ["Three counts.", "And?"]


def test_what_only_looks_like_a_summary_hides_nothing_it_does_not_follow(
    context, account, leases, talk, speak
):
    with context.transaction(account) as session:
        send(session, talk.id, "Hello.")
        append(session, talk.id, MessageType.CHECKPOINT, "Summed.", meta={"until": 10**9})
    provider = speak(says("Fine."))
    answered(context, account, leases, talk, "And?")
    assert [m.text[-7:] for m in provider.requests[-1].messages] == ["Hello.", "Summed.", "And?"]


def test_a_summary_made_before_a_crash_is_not_made_again(context, account, leases, talk, speak):
    fill(context, account, talk)
    provider = speak(says("Summed."), [ModelUnavailable("http_503")], says("Fine."), calls("never"))
    outcome, run = answered(context, account, leases, talk)
    assert outcome == "retried"
    with context.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE runs SET run_at = now()")
    assert carry_out(context, leases, run.id, worker="here") == "succeeded"
    assert stored(context) == [("checkpoint", "note.1"), ("bot", "reply")]
    assert len(provider.requests) == 3


def test_a_summary_that_was_cut_is_paid_for(context, account, leases, talk, speak):
    fill(context, account, talk)
    speak([TextDelta("They"), Finished(FinishReason.length, 100, 50)], says("Fine."))
    outcome, run = answered(context, account, leases, talk)
    assert outcome == "succeeded"
    row = the_run(context, run.id)
    assert (row["input_tokens"], row["output_tokens"]) == (105, 52)
    assert one(context, "SELECT sum(input_tokens) FROM usage_days") == 105


def test_a_summary_that_was_imported_hides_nothing_by_a_place_of_elsewhere(
    context, account, leases, talk, speak
):
    with context.transaction(account) as session:
        for said in ("One.", "Two.", "Three."):
            send(session, talk.id, said)
        append(session, talk.id, MessageType.CHECKPOINT, "Summed.", meta={"until": 1})
    provider = speak(says("Fine."))
    answered(context, account, leases, talk, "And?")
    shown = [m.text.rpartition("\n")[2] for m in provider.requests[-1].messages]
    assert shown == ["One.", "Two.", "Three.", "Summed.", "And?"]
