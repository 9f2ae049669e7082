"""Turns: claim, call, settle, and every way they end."""

from __future__ import annotations

import dataclasses
import threading
from datetime import timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from core.breaker import Breaker
from core.chat.provider import (
    ContextTooLong,
    Finished,
    FinishReason,
    ModelMisconfigured,
    ModelQuota,
    ModelUnavailable,
    TextDelta,
)
from core.conversations import delete_conversation
from core.database import make_engine
from core.errors import Conflict, RunFailed
from core.firing import fire
from core.runs import cancel_run
from core.talking import complete, receive, send
from core.turns import carry_out
from core.work import Leases, claim, hint, next_suspect, reap, unclaimed
from models import new_id
from tests.factories import (
    a_bot,
    a_conversation,
    a_due_task,
    a_pending_run,
    a_pending_turn,
    an_account,
    crash_and_reap,
    execute,
    one,
    rows,
    the_run,
)
from worker.app import _carry_out
from worker.process import Hands

SAY_NOTHING = "offline/empty=1"

USED = (
    "SELECT sum(runs)::int AS runs, sum(model_calls)::int AS model_calls,"
    " sum(input_tokens)::int AS input_tokens, sum(output_tokens)::int AS output_tokens FROM usage_days"
)


class Scripted:
    """A provider that does what a test says; the seam is ours, so this is a stand-in, not a mock."""

    def __init__(self, *events, before=None):
        self.events, self.before, self.calls = events, before, 0

    def stream(self, request, deadline):
        self.calls += 1
        if self.before:
            self.before()
        for event in self.events:
            if isinstance(event, Exception):
                raise event
            yield event

    def close(self):
        pass


@pytest.fixture
def speak(context, monkeypatch):
    """Lets a scripted provider answer for every model."""

    def use(*events, before=None):
        provider = Scripted(*events, before=before)
        monkeypatch.setattr(
            type(context.providers), "provider_for", lambda _self, _model: (provider, "scripted", {})
        )
        return provider

    return use


def good(text="Fine."):
    return TextDelta(text), Finished(FinishReason.stop, 7, 3)


def test_a_run_succeeds_with_its_reply_usage_and_timeline(context, account, leases):
    run = a_pending_run(context, account)
    assert carry_out(context, leases, run.id, worker="here", delivery=f"{run.id}.1") == "succeeded"
    done = the_run(context, run.id)
    assert (done["state"], done["error_class"], done["attempt"], done["model_calls"]) == (
        "succeeded",
        None,
        1,
        1,
    )
    assert done["input_tokens"] > 0
    assert done["output_tokens"] > 0
    prompt, reply = rows(context, "SELECT type, step, run_id, text, seq FROM messages ORDER BY seq")
    assert (prompt["type"], prompt["step"], reply["type"], reply["step"]) == (
        "user",
        "prompt",
        "bot",
        "reply",
    )
    assert reply["run_id"] == run.id
    assert reply["text"]
    steps = rows(context, "SELECT step, outcome, delivery_id FROM run_steps ORDER BY step")
    assert steps == [
        {"step": "attempt.1", "outcome": "succeeded", "delivery_id": f"{run.id}.1"},
        {"step": "model.1", "outcome": "succeeded", "delivery_id": None},
    ]
    usage = rows(context, USED)
    assert usage == [
        {
            "runs": 1,
            "model_calls": 1,
            "input_tokens": done["input_tokens"],
            "output_tokens": done["output_tokens"],
        }
    ]


def test_a_duplicate_hint_is_harmless(context, account, leases):
    run = a_pending_run(context, account)
    outcomes = []
    threads = [
        threading.Thread(target=lambda: outcomes.append(carry_out(context, leases, run.id, worker="here")))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["ignored"] * 7 + ["succeeded"]
    assert one(context, "SELECT count(*) FROM messages WHERE step = 'reply'") == 1


def test_send_as_a_task_action_succeeds_with_the_stored_message(context, account, leases, speak):
    provider = speak(*good())
    run = a_pending_run(context, account, action="send", description="Backup done.")
    assert carry_out(context, leases, run.id, worker="here") == "succeeded"
    assert rows(context, "SELECT type, text FROM messages") == [{"type": "user", "text": "Backup done."}]
    assert provider.calls == 0


def test_receive_as_a_task_action_lets_the_bot_speak_first(context, account, leases):
    run = a_pending_run(context, account, action="receive", description="Greet the user.")
    carry_out(context, leases, run.id, worker="here")
    assert [row["type"] for row in rows(context, "SELECT type FROM messages ORDER BY seq")] == [
        "instruction",
        "bot",
    ]


def usage(context):
    return rows(context, USED)


def test_a_call_is_used_whatever_became_of_its_worker_and_a_run_without_a_call_uses_none(
    context, account, leases, speak
):
    speak(*good(), before=lambda: execute(context, "UPDATE runs SET epoch = epoch + 1"))
    run = a_pending_run(context, account)
    assert carry_out(context, leases, run.id, worker="zombie") == "lost"
    assert usage(context) == [{"runs": 0, "model_calls": 1, "input_tokens": 0, "output_tokens": 0}]
    execute(context, "UPDATE runs SET lease_until = now() - interval '1 second'")
    reap(context)
    execute(context, "DELETE FROM bots")
    with pytest.raises(RunFailed, match="no_bot"):
        carry_out(context, leases, run.id, worker="here")
    assert usage(context) == [{"runs": 1, "model_calls": 1, "input_tokens": 0, "output_tokens": 0}]


def test_an_empty_answer_is_a_failure_however_polite(context, account, leases, speak):
    provider = speak(TextDelta("  \n"), Finished(FinishReason.stop, 1, 1))
    run = a_pending_run(context, account)
    assert carry_out(context, leases, run.id, worker="here") == "retried"
    execute(context, "UPDATE runs SET run_at = now()")
    with pytest.raises(RunFailed, match="^empty_output$"):
        carry_out(context, leases, run.id, worker="here")
    assert provider.calls == 2
    assert one(context, "SELECT count(*) FROM messages WHERE type = 'bot'") == 0
    assert one(context, "SELECT consecutive_failures FROM tasks") == 1


@pytest.mark.parametrize(
    ("reason", "error_class"), [(FinishReason.length, "truncated"), (FinishReason.refused, "refused")]
)
def test_an_answer_with_another_finish_reason_fails_with_its_class(
    context, account, leases, speak, reason, error_class
):
    speak(TextDelta("Half a"), Finished(reason, 1, 1))
    run = a_pending_run(context, account)
    with pytest.raises(RunFailed, match=error_class):
        carry_out(context, leases, run.id, worker="here")
    assert the_run(context, run.id)["error_class"] == error_class


def test_a_failed_run_tells_nothing_of_what_was_said(context, account, leases, speak):
    speak(TextDelta("SECRET"), Finished(FinishReason.length, 1, 1))
    run = a_pending_run(context, account, description="SECRET too")
    with pytest.raises(RunFailed) as raised:
        carry_out(context, leases, run.id, worker="here")
    shown, error = "", raised.value
    while error is not None:
        shown += repr(error) + str(error)
        error = error.__cause__ or error.__context__
    assert "SECRET" not in shown


def test_a_server_error_is_retried_until_the_attempts_are_used_up(context, account, leases, speak):
    provider = speak(ModelUnavailable("http_503"))
    run = a_pending_run(context, account)
    for _ in range(context.settings.attempts - 1):
        assert carry_out(context, leases, run.id, worker="here") == "retried"
        waiting = the_run(context, run.id)
        assert (waiting["state"], waiting["error_class"]) == ("pending", "provider_error")
        execute(context, "UPDATE runs SET run_at = now()")
    with pytest.raises(RunFailed, match="provider_error"):
        carry_out(context, leases, run.id, worker="here")
    assert provider.calls == context.settings.attempts
    assert the_run(context, run.id)["error_code"] == "http_503"


def test_retry_after_is_honoured_without_holding_a_worker(context, account, leases, speak):
    speak(ModelQuota("http_429", retry_after=timedelta(seconds=90)))
    run = a_pending_run(context, account)
    assert carry_out(context, leases, run.id, worker="here") == "retried"
    assert one(context, "SELECT run_at - now() > interval '80 seconds' FROM runs")
    assert carry_out(context, leases, run.id, worker="here") == "ignored"


def test_a_retry_after_of_a_day_ends_the_run_as_quota(context, account, leases, speak):
    speak(ModelQuota("http_429", retry_after=timedelta(days=1)))
    run = a_pending_run(context, account)
    with pytest.raises(RunFailed, match="quota"):
        carry_out(context, leases, run.id, worker="here")


def test_a_misconfigured_model_fails_at_once_and_pauses_the_task(context, account, leases, speak):
    speak(ModelMisconfigured("http_401"))
    run = a_pending_run(context, account, schedule="@every 1h")
    with pytest.raises(RunFailed, match="misconfigured"):
        carry_out(context, leases, run.id, worker="here")
    assert rows(context, "SELECT state, pause_reason FROM tasks") == [
        {"state": "paused", "pause_reason": "misconfigured"}
    ]
    assert one(context, "SELECT next_run_at FROM task_clocks") is None


def test_a_bug_in_a_turn_is_an_internal_error_and_nothing_else_suffers(context, account, leases, speak):
    speak(ValueError("SECRET"))
    run = a_pending_run(context, account)
    assert carry_out(context, leases, run.id, worker="here") == "retried"
    assert the_run(context, run.id)["error_code"] == "ValueError"


def test_a_run_past_its_time_fails_as_timeout(context, account, leases):
    run = a_pending_run(context, account, max_time_ms=1)
    execute(context, "UPDATE runs SET deadline_at = now() - interval '1 second'")
    with pytest.raises(RunFailed, match="timeout"):
        carry_out(context, leases, run.id, worker="here")
    assert the_run(context, run.id)["error_class"] == "timeout"


def test_a_token_limit_ends_the_run_as_limit(context, account, leases):
    run = a_pending_run(context, account, max_tokens=3)
    with pytest.raises(RunFailed, match="limit"):
        carry_out(context, leases, run.id, worker="here")


def test_a_killed_workers_run_is_reaped_and_keeps_its_place(context, account, leases):
    run = a_pending_run(context, account)
    before = the_run(context, run.id)["run_at"]
    crash_and_reap(context, run.id)
    again = the_run(context, run.id)
    assert (again["state"], again["crashes"], again["run_at"]) == ("pending", 1, before)
    assert carry_out(context, leases, run.id, worker="here") == "succeeded"
    assert one(context, "SELECT count(*) FROM messages WHERE step = 'reply'") == 1


def test_a_run_that_has_lost_two_workers_is_tried_alone(context, account, leases):
    run = a_pending_run(context, account)
    crash_and_reap(context, run.id)
    assert [found for found, _ in unclaimed(context, "chat", timedelta(0), 10)] == [run.id]
    assert next_suspect(context) is None
    crash_and_reap(context, run.id)
    assert unclaimed(context, "chat", timedelta(0), 10) == []
    assert next_suspect(context) == run.id
    assert carry_out(context, leases, run.id, worker="beside others") == "ignored"
    assert carry_out(context, leases, run.id, worker="alone", alone=True) == "succeeded"


def test_the_third_crash_ends_a_run_as_poison(context, account):
    run = a_pending_run(context, account)
    for _ in range(3):
        crash_and_reap(context, run.id)
    ended = the_run(context, run.id)
    assert (ended["state"], ended["error_class"], ended["crashes"]) == ("failed", "poison", 3)
    assert one(context, "SELECT consecutive_failures FROM tasks") == 1


def test_a_zombie_whose_run_was_reaped_stores_nothing(context, account, leases, speak):
    def taken_over():
        abandon_running(context)
        reap(context)

    speak(*good("late"), before=taken_over)
    run = a_pending_run(context, account)
    assert carry_out(context, leases, run.id, worker="zombie") == "lost"
    assert one(context, "SELECT count(*) FROM messages WHERE type = 'bot'") == 0
    speak(*good("in time"))
    assert carry_out(context, leases, run.id, worker="here") == "succeeded"
    assert one(context, "SELECT text FROM messages WHERE type = 'bot'") == "in time"


def abandon_running(context):
    execute(context, "UPDATE runs SET lease_until = now() - interval '1 second' WHERE state = 'running'")


def test_a_cancelled_run_stores_nothing(context, account, leases, speak):
    run = a_pending_run(context, account)

    def cancel():
        with context.transaction(account) as session:
            cancel_run(session, run.id)
        leases.beat()

    speak(*good(), before=cancel)
    assert carry_out(context, leases, run.id, worker="here") == "lost"
    assert the_run(context, run.id)["state"] == "cancelled"
    assert one(context, "SELECT count(*) FROM messages WHERE type = 'bot'") == 0


def test_a_worker_whose_run_was_cancelled_begins_no_call(context, account, leases, speak):
    run = a_pending_run(context, account)

    def cancel():
        with context.transaction(account) as session:
            cancel_run(session, run.id)

    provider = speak(ContextTooLong("context_length"), before=cancel)
    assert carry_out(context, leases, run.id, worker="here") == "lost"
    assert provider.calls == 1
    assert the_run(context, run.id)["model_calls"] == 1


def test_a_run_cancelled_while_it_waits_for_its_retry_forgets_the_failure(context, account, leases, speak):
    speak(ModelUnavailable("http_503"))
    run = a_pending_run(context, account)
    assert carry_out(context, leases, run.id, worker="here") == "retried"
    with context.transaction(account) as session:
        cancel_run(session, run.id)
    cancelled = the_run(context, run.id)
    assert (cancelled["error_class"], cancelled["error_code"]) == ("cancelled", None)


def test_a_run_that_has_ended_cannot_be_cancelled(context, account, leases):
    run = a_pending_run(context, account)
    carry_out(context, leases, run.id, worker="here")
    with pytest.raises(Conflict, match="succeeded"), context.transaction(account) as session:
        cancel_run(session, run.id)


def test_a_conversation_deleted_in_mid_call_is_not_resurrected(context, account, leases, speak):
    run = a_pending_run(context, account)

    def delete():
        with context.transaction(account) as session:
            delete_conversation(session, run.conversation_id)

    speak(*good(), before=delete)
    assert carry_out(context, leases, run.id, worker="here") == "lost"
    assert one(context, "SELECT count(*) FROM messages") == 0
    assert the_run(context, run.id)["state"] == "cancelled"


def test_an_answer_made_from_purged_text_is_discarded_and_asked_again(context, account, leases, speak):
    run = a_pending_run(context, account)
    speak(
        *good("old"),
        before=lambda: execute(context, "UPDATE conversations SET purge_epoch = purge_epoch + 1"),
    )
    assert carry_out(context, leases, run.id, worker="here") == "discarded"
    speak(*good("new"))
    assert carry_out(context, leases, run.id, worker="here") == "succeeded"
    assert one(context, "SELECT text FROM messages WHERE type = 'bot'") == "new"


def test_a_discarded_answer_was_paid_for_all_the_same(context, account, leases, speak):
    run = a_pending_run(context, account)
    speak(*good(), before=lambda: execute(context, "UPDATE conversations SET purge_epoch = purge_epoch + 1"))
    assert carry_out(context, leases, run.id, worker="here") == "discarded"
    assert usage(context) == [{"runs": 0, "model_calls": 1, "input_tokens": 7, "output_tokens": 3}]
    discarded = the_run(context, run.id)
    assert (discarded["input_tokens"], discarded["output_tokens"]) == (7, 3)


def test_a_heartbeat_renews_every_lease_of_the_process(context, account, leases):
    runs = [a_pending_run(context, account) for _ in range(3)]
    held = []
    for run in runs:
        with context.transaction() as session:
            claimed = claim(
                session,
                run.id,
                lease=context.settings.lease,
                run_time=context.settings.run_time,
                worker="here",
                delivery=None,
            )
        manager = leases.hold(claimed, 0.0)
        held.append((manager, manager.__enter__()))
    execute(context, "UPDATE runs SET lease_until = now()")
    leases.beat()
    assert one(context, "SELECT count(*) FROM runs WHERE lease_until > now() + interval '5 seconds'") == 3
    assert all(lease.trusted_until > 0 and not lease.lost for _, lease in held)
    for manager, _ in held:
        manager.__exit__(None, None, None)


def test_a_stopping_worker_gives_its_runs_back_without_counting_the_attempt(context, account, speak):
    leases = Leases(context)
    speak(*good(), before=lambda: leases.release_all())
    run = a_pending_run(context, account)
    assert carry_out(context, leases, run.id, worker="here") == "lost"
    given_back = the_run(context, run.id)
    assert (given_back["state"], given_back["attempt"], given_back["crashes"]) == ("pending", 0, 0)
    assert one(context, "SELECT outcome FROM run_steps WHERE step = 'attempt.1'") == "released"
    leases.close()


def test_only_one_turn_is_active_in_a_conversation(context, account):
    run = a_pending_turn(context, account, "First?")
    with pytest.raises(Conflict, match="turn"), context.transaction(account) as session:
        complete(session, run.conversation_id, "Second?")
    assert one(context, "SELECT count(*) FROM messages") == 1
    with context.transaction(account) as session:
        send(session, run.conversation_id, "Stored beside it.")
    assert one(context, "SELECT count(*) FROM messages") == 2


def test_send_receive_and_complete_build_one_conversation(context, account, leases):
    conversation = a_conversation(context, account)
    with context.transaction(account) as session:
        send(session, conversation.id, "Hello.")
    with context.transaction(account) as session:
        first = receive(session, conversation.id)
    carry_out(context, leases, first.id, worker="here")
    with context.transaction(account) as session:
        second = complete(session, conversation.id, "And now?")
    carry_out(context, leases, second.id, worker="here")
    said = rows(context, "SELECT seq, type FROM messages ORDER BY seq")
    assert [(m["seq"], m["type"]) for m in said] == [(1, "user"), (2, "bot"), (3, "user"), (4, "bot")]
    times = [m["created_at"] for m in rows(context, "SELECT created_at FROM messages ORDER BY seq")]
    assert times == sorted(set(times))


def test_hints_are_bounded_by_the_room_in_the_queue(context, account):
    for _ in range(5):
        a_pending_run(context, account)
    execute(context, "UPDATE runs SET hinted_at = NULL, hints = 0")
    context.publisher._client().delete("chat")
    bounded = dataclasses.replace(context, settings=context.settings.model_copy(update={"high_water": 3}))
    assert hint(bounded, "chat") == 3
    assert hint(bounded, "chat") == 0
    context.publisher._client().delete("chat")
    assert hint(bounded, "chat") == 2
    context.publisher._client().delete("chat")
    assert hint(bounded, "chat") == 0


def test_hints_and_polls_are_fair_between_accounts(context, account):
    for _ in range(6):
        a_pending_run(context, account)
    small = an_account(context, "Bo")
    lone = a_pending_run(context, small)
    execute(context, "UPDATE runs SET hinted_at = NULL, run_at = run_at - interval '1 minute'")
    first_two = unclaimed(context, "chat", context.settings.tick, 2)
    assert (lone.id, small) in first_two


def test_the_deadline_of_a_task_bounds_the_model_call(context, account, leases):
    bot = a_bot(context, account, model="offline/latency=30")
    run = a_pending_run(context, account, bot_id=bot.id, max_time_ms=300)
    try:
        outcome = carry_out(context, leases, run.id, worker="here")
    except RunFailed as failed:
        outcome = str(failed)
    assert outcome == "timeout"
    assert one(context, "SELECT finished_at - started_at < interval '5 seconds' FROM runs")


def test_due_work_is_claimed_once_by_many_workers(context, account, leases):
    for _ in range(20):
        a_due_task(context, account)
    fire(context)
    ids = [row["id"] for row in rows(context, "SELECT id FROM runs")]
    outcomes = []

    def work():
        outcomes.extend(carry_out(context, leases, run_id, worker="here") for run_id in ids)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("succeeded") == 20
    assert one(context, "SELECT count(*) FROM messages WHERE step = 'reply'") == 20


def test_a_failure_that_pauses_the_task_takes_the_clock_before_the_task(context, account, leases, eventually):
    bot = a_bot(context, account, model="no-such-model")
    run = a_pending_run(context, account, bot_id=bot.id)
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%task_clocks%'"
    )

    def settle() -> None:
        with pytest.raises(RunFailed, match="misconfigured"):
            carry_out(context, leases, run.id, worker="test")

    settling = threading.Thread(target=settle)
    with context.transaction() as editor:
        clock = "SELECT FROM task_clocks WHERE task_id = :id FOR UPDATE"
        editor.execute(text(clock), {"id": run.task_id})
        settling.start()
        eventually(lambda: one(context, waiting) == 1)
        editor.execute(text("SET LOCAL lock_timeout = '200ms'"))
        editor.execute(text("UPDATE tasks SET name = 'edited' WHERE id = :id"), {"id": run.task_id})
    settling.join()
    assert one(context, "SELECT pause_reason FROM tasks WHERE id = :id", id=run.task_id) == "misconfigured"


def test_a_model_that_keeps_failing_is_not_asked_again_for_a_while(context, account, leases, speak):
    patient = dataclasses.replace(context, breaker=Breaker(2, timedelta(seconds=30)))
    provider = speak(ModelUnavailable("connect"))
    runs = [a_pending_run(context, account) for _ in range(4)]
    outcomes = [carry_out(patient, leases, run.id, worker="here") for run in runs]
    assert outcomes == ["retried", "retried", "postponed", "postponed"]
    assert provider.calls == 2
    waiting = the_run(context, runs[3].id)
    assert (waiting["state"], waiting["attempt"], waiting["model_calls"]) == ("pending", 0, 0)
    assert one(
        context, "SELECT run_at - now() > interval '29 seconds' FROM runs WHERE id = :id", id=runs[3].id
    )


def test_the_breaker_of_one_account_leaves_the_others_alone(context, account, leases, speak):
    patient = dataclasses.replace(context, breaker=Breaker(1, timedelta(seconds=30)))
    speak(ModelUnavailable("connect"))
    carry_out(patient, leases, a_pending_run(context, account).id, worker="here")
    speak(*good())
    other = a_pending_run(context, an_account(context, "Bo"))
    assert carry_out(patient, leases, other.id, worker="here") == "succeeded"


def test_a_run_whose_deadline_the_pause_would_outlast_fails_at_once(context, account, leases, speak):
    patient = dataclasses.replace(context, breaker=Breaker(1, timedelta(hours=2)))
    speak(ModelUnavailable("connect"))
    carry_out(patient, leases, a_pending_run(context, account).id, worker="here")
    with pytest.raises(RunFailed, match="provider_error"):
        carry_out(patient, leases, a_pending_run(context, account).id, worker="here")


def test_a_run_of_a_newer_version_is_left_for_that_version(context, account, leases):
    run = a_pending_run(context, account)
    execute(context, "UPDATE runs SET run_at = run_at - interval '1 minute'")
    with context.engine.connect() as connection, connection.begin() as newer:
        connection.execute(text("ALTER TABLE runs DROP CONSTRAINT ck_runs_action"))
        connection.execute(text("UPDATE runs SET action = 'sing'"))
        session = Session(bind=connection)
        settings = context.settings
        assert (
            claim(
                session, run.id, lease=settings.lease, run_time=settings.run_time, worker="old", delivery=None
            )
            is None
        )
        newer.rollback()


def test_a_run_cancelled_before_its_call_is_not_paid_for(context, account, leases, speak, monkeypatch):
    provider = speak(*good())
    run = a_pending_run(context, account)

    def cancelled_on_the_way(_self, _model):
        with context.transaction(account) as session:
            cancel_run(session, run.id)
        return provider, "scripted", {}

    monkeypatch.setattr(type(context.providers), "provider_for", cancelled_on_the_way)
    assert carry_out(context, leases, run.id, worker="here") == "lost"
    assert provider.calls == 0


def test_an_answer_that_cannot_be_stored_ends_as_an_internal_error(
    context, account, leases, speak, monkeypatch
):
    speak(*good("SECRET"))
    monkeypatch.setattr("core.settlement.SUMMARY", -1)
    monkeypatch.setattr("core.settlement.SUCCEED", text("SELECT 1 / 0, :id, :summary, :input, :output"))
    run = a_pending_run(context, account)
    assert carry_out(context, leases, run.id, worker="here") == "retried"
    assert the_run(context, run.id)["error_class"] == "internal_error"
    assert one(context, "SELECT count(*) FROM messages WHERE type = 'bot'") == 0


def test_a_server_that_counts_absurd_tokens_cannot_wedge_a_run(context, account, leases, speak):
    most = 2**31 - 1
    speak(TextDelta(" "), Finished(FinishReason.stop, most, most))
    run = a_pending_run(context, account)
    assert carry_out(context, leases, run.id, worker="here") == "retried"
    execute(context, "UPDATE runs SET run_at = now()")
    with pytest.raises(RunFailed, match="empty_output"):
        carry_out(context, leases, run.id, worker="here")
    assert the_run(context, run.id)["input_tokens"] == 2 * most


def test_usage_counts_the_calls_that_were_made(context, account, leases, speak):
    speak(ContextTooLong("context_length_exceeded"))
    twice = a_pending_run(context, account)
    with pytest.raises(RunFailed, match="context_too_long"):
        carry_out(context, leases, twice.id, worker="here")
    assert one(context, "SELECT sum(model_calls) FROM usage_days") == 2
    none = a_pending_run(context, account, max_tokens=1)
    with pytest.raises(RunFailed, match="limit"):
        carry_out(context, leases, none.id, worker="here")
    assert one(context, "SELECT sum(model_calls) FROM usage_days") == 2


def test_a_discarded_answer_is_paid_for_all_the_same(context, account, leases, speak):
    run = a_pending_run(context, account)
    purge = "UPDATE conversations SET purge_epoch = purge_epoch + 1"
    speak(*good("old"), before=lambda: execute(context, purge))
    assert carry_out(context, leases, run.id, worker="here") == "discarded"
    assert the_run(context, run.id)["input_tokens"] == 7
    assert rows(
        context,
        "SELECT sum(runs)::int AS runs, sum(model_calls)::int AS model_calls,"
        " sum(output_tokens)::int AS output_tokens FROM usage_days",
    ) == [{"runs": 0, "model_calls": 1, "output_tokens": 3}]


def test_a_step_begun_while_a_cancellation_waits_is_ended_too(context, account, eventually):
    run = a_pending_run(context, account)
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE runs%'"
    )

    def cancel() -> None:
        with context.transaction(account) as session:
            cancel_run(session, run.id)

    cancelling = threading.Thread(target=cancel)
    with context.transaction() as session:
        assert a_claim(context, session, run.id)
        cancelling.start()
        eventually(lambda: one(context, waiting) == 1)
    cancelling.join()
    assert rows(context, "SELECT outcome FROM run_steps WHERE finished_at IS NOT NULL") == [
        {"outcome": "cancelled"}
    ]


def a_claim(context, session, run_id):
    settings = context.settings
    return claim(
        session, run_id, lease=settings.lease, run_time=settings.run_time, worker="here", delivery=None
    )


def test_a_run_claimed_while_the_worker_stops_goes_back_at_once(context, account, speak):
    provider = speak(*good())
    leases = Leases(context)
    leases.release_all()
    run = a_pending_run(context, account)
    assert carry_out(context, leases, run.id, worker="here") == "lost"
    assert provider.calls == 0
    given_back = the_run(context, run.id)
    assert (given_back["state"], given_back["attempt"], given_back["crashes"]) == ("pending", 0, 0)
    leases.close()


def test_a_worker_stops_even_when_it_can_give_nothing_back(context, account, leases, monkeypatch):
    run = a_pending_run(context, account)
    with context.transaction() as session:
        claimed = a_claim(context, session, run.id)
    away = make_engine("postgresql://nobody@127.0.0.1:1/nothing", pool_size=1, name="away")
    monkeypatch.setattr(leases, "_engine", away)
    with leases.hold(claimed, 0.0) as lease:
        assert leases.release_all() == 1
        assert lease.lost


def test_hints_are_published_in_the_order_in_which_runs_are_due(context, account, monkeypatch):
    bo = an_account(context, "Bo")
    mine = [a_pending_run(context, account).id for _ in range(12)]
    his = a_pending_run(context, bo).id
    execute(context, "UPDATE runs SET hinted_at = NULL, run_at = now() - interval '1 hour'")
    for place, run_id in enumerate(reversed(mine)):
        execute(
            context,
            "UPDATE runs SET run_at = now() - interval '2 hours' + :n * interval '1 minute' WHERE id = :id",
            n=place,
            id=run_id,
        )
    context.publisher._client().delete("chat")
    published = []
    monkeypatch.setattr(type(context.publisher), "publish", lambda _self, hints: published.extend(hints))
    hint(context, "chat")
    assert [h.run_id for h in published] == [mine[-1], his, *reversed(mine[:-1])]


def test_a_broken_delivery_tells_celery_nothing_of_a_row(context, monkeypatch):
    def broken(*_args, **_kwargs):
        raise ValueError("SECRET")

    monkeypatch.setattr("worker.app.carry_out", broken)
    monkeypatch.setattr("worker.app.hands", lambda _settings: Hands(context, None))
    with pytest.raises(RunFailed, match="^internal_error$") as raised:
        _carry_out(
            context.settings, SimpleNamespace(request=SimpleNamespace(hostname="h", id="i")), str(new_id())
        )
    assert raised.value.__context__ is None
