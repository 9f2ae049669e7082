"""Deliveries: announced with what they tell, sent at least once, and what becomes of them."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
import threading
from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from core.conversations import delete_conversation
from core.deliveries import (
    ATTEMPTS,
    FAILURES,
    PER_ACCOUNT,
    announce,
    announce_task,
    claim_delivery,
    hint_deliveries,
    unsent,
)
from core.delivering import deliver
from core.errors import RunFailed, Unavailable
from core.firing import fire
from core.privacy_policies import owner_of, set_policy
from core.runs import cancel_run
from core.subscriptions import (
    delete_subscription,
    list_subscriptions,
    redeliver,
    send_test,
    update_subscription,
)
from core.tasks import delete_task, trigger_task
from core.turns import carry_out
from core.work import CRASHES
from models import Event, new_id
from scheduler.loop import turn
from tests.factories import (
    a_backfill,
    a_bot,
    a_due_task,
    a_subscription,
    a_task,
    an_account,
    crash_and_reap,
    execute,
    one,
    rows,
)
from tests.hook_server import HookServer, status
from tests.told import Box, a_watched_task, deliver_all, events, lose, make_due, told, with_settings
from worker.app import _deliver
from worker.poll import _untold
from worker.process import Hands

FAILING = "offline/empty=1"
LEASE = timedelta(seconds=45)


@pytest.fixture
def server():
    with HookServer() as server:
        yield server


@pytest.fixture
def once(context, account, leases):
    """Runs a task once; `fails` makes it fail."""

    def run(task_id, *, fails=False):
        model = FAILING if fails else None
        execute(context, "UPDATE bots SET model = :model WHERE account_id = :id", model=model, id=account)
        with context.transaction(account) as session:
            run_id = trigger_task(session, task_id).id
        if fails:
            execute(context, "UPDATE runs SET attempt = 90 WHERE id = :id", id=run_id)
            with pytest.raises(RunFailed):
                carry_out(context, leases, run_id, worker="tests")
        else:
            assert carry_out(context, leases, run_id, worker="tests") == "succeeded"
        return run_id

    return run


def announced(context, event, run_ids, **parts):
    with context.transaction() as session:
        return announce(session, event, run_ids, **parts)


# What is announced.


def test_a_success_is_told_with_a_signature_a_link_and_no_text(context, account, server, once):
    task, secret = a_watched_task(
        context, account, server.url("/in"), name="CANARY-name", description="CANARY-prompt"
    )
    run = once(task)
    assert deliver_all(with_settings(context, public_url="https://talk.example/")) == ["delivered"]
    (asked,) = server.asked
    (delivery,) = told(context)
    assert asked.line == "POST /in HTTP/1.1"
    body = json.loads(asked.body)
    assert body["type"] == "run.succeeded"
    assert body["data"]["url"] == f"https://talk.example/runs/{run}"
    assert body["data"]["change"] == "This is the first run of the task."
    assert (body["data"]["taskId"], body["data"]["runId"]) == (str(task), str(run))
    assert b"CANARY" not in asked.body
    reply = one(context, "SELECT text FROM messages WHERE step = 'reply'")
    assert reply.encode() not in asked.body
    # As a receiver checks it.
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{asked.headers['webhook-id']}.{asked.headers['webhook-timestamp']}.".encode() + asked.body
    expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert hmac.compare_digest(asked.headers["webhook-signature"], expected)
    assert asked.headers["webhook-id"] == str(delivery["id"])
    assert (delivery["state"], delivery["status_code"], delivery["attempt"]) == ("delivered", 200, 1)


def test_text_is_told_to_those_who_asked_for_it(context, account, server, once):
    task, _ = a_watched_task(context, account, server.url(), name="Morning", include_text=True)
    once(task)
    deliver_all(context)
    document = json.loads(server.asked[0].body)["data"]
    assert document["taskName"] == "Morning"
    assert document["text"] == one(context, "SELECT text FROM messages WHERE step = 'reply'")


def test_a_text_that_is_blocked_is_told_once_it_was_annotated(context, account, server, once):
    with context.transaction(account) as session:
        policy = {"preset": "annotate", "blockUntilAnnotated": True}
        set_policy(session, owner_of(session), policy)
    task, _ = a_watched_task(context, account, server.url(), include_text=True)
    once(task)
    execute(context, "UPDATE messages SET pii_state = 'blocked' WHERE step = 'reply'")
    assert deliver_all(context) == ["retried"]
    assert server.asked == []
    execute(context, "UPDATE messages SET pii_state = 'done'")
    assert deliver_all(context) == ["delivered"]
    assert json.loads(server.asked[0].body)["data"]["text"]


def test_a_text_deleted_meanwhile_is_told_of_without_its_words(context, account, server, once):
    task, _ = a_watched_task(context, account, server.url(), include_text=True)
    once(task)
    with context.transaction(account) as session:
        delete_conversation(session, one(context, "SELECT id FROM conversations"))
    assert deliver_all(context) == ["delivered"]
    document = json.loads(server.asked[0].body)["data"]
    assert "text" not in document
    assert "conversationId" not in document


def test_a_run_deleted_meanwhile_is_told_of_by_its_task(context, account, server, once):
    task, _ = a_watched_task(context, account, server.url(), include_text=True)
    once(task)
    execute(context, "DELETE FROM runs")
    assert deliver_all(context) == ["delivered"]
    assert json.loads(server.asked[0].body)["data"].keys() == {"taskId", "taskName", "url"}


def test_a_failure_and_the_recovery_after_it_are_told(context, account, server, once):
    task, _ = a_watched_task(context, account, server.url())
    once(task)
    once(task, fails=True)
    once(task)
    once(task)
    assert events(context) == ["success", "failure", "recovery", "success"]
    assert deliver_all(context) == ["delivered"] * 4
    documents = [json.loads(asked.body) for asked in server.asked]
    assert [one_["type"] for one_ in documents] == [
        "run.succeeded",
        "run.failed",
        "run.recovered",
        "run.succeeded",
    ]
    assert documents[1]["data"]["errorClass"] == "empty_output"
    assert documents[2]["data"]["change"].startswith("succeeded after a failure")
    assert "the same answer" in documents[3]["data"]["change"]


def test_a_subscription_is_told_what_it_asked_for_and_nothing_else(context, account, once):
    task = a_task(context, account)
    for number, wanted in enumerate((["success"], ["recovery"], ["failure"], ["missed", "paused"])):
        a_subscription(context, account, task.id, f"https://hooks.example/{number}", events=wanted)
    for fails in (False, True, False):
        once(task.id, fails=fails)
    found = rows(
        context,
        "SELECT s.events[1] AS wanted, array_agg(d.event ORDER BY d.id) AS told FROM deliveries d"
        " JOIN subscriptions s ON s.id = d.subscription_id GROUP BY 1 ORDER BY 1",
    )
    assert found == [
        {"wanted": "failure", "told": ["failure"]},
        {"wanted": "recovery", "told": ["recovery"]},
        {"wanted": "success", "told": ["success", "success"]},
    ]


def test_a_cancelled_run_or_a_retry_is_told_to_nobody(context, account, leases):
    task, _ = a_watched_task(context, account, "https://hooks.example/")
    execute(context, "UPDATE bots SET model = :model", model=FAILING)
    with context.transaction(account) as session:
        run = trigger_task(session, task)
    assert carry_out(context, leases, run.id, worker="tests") == "retried"
    with context.transaction(account) as session:
        cancel_run(session, run.id)
    assert told(context) == []


def test_a_recovery_is_one_even_after_the_task_was_paused_and_resumed(context, account, once):
    task, _ = a_watched_task(context, account, "https://hooks.example/", events=["recovery"])
    once(task, fails=True)
    execute(context, "UPDATE tasks SET consecutive_failures = 0")
    once(task)
    assert events(context) == ["recovery"]


def test_a_backfill_is_no_recovery_and_makes_none(context, account, once):
    task, _ = a_watched_task(context, account, "https://hooks.example/", schedule="0 * * * *")
    earlier = a_backfill(context, account, task)
    ended = [once(task), once(task, fails=True), once(task), once(task)]
    of_backfill = "UPDATE runs SET trigger = 'backfill', backfill_id = :job WHERE id = :id"
    execute(context, "DELETE FROM deliveries")
    execute(context, of_backfill, id=ended[1], job=earlier.id)
    execute(context, "UPDATE runs SET state = 'succeeded', error_class = NULL WHERE id = :id", id=ended[2])
    assert announced(context, Event.SUCCESS, [ended[2]]) == 1
    execute(context, of_backfill.replace(":job", "NULL").replace("backfill'", "manual'"), id=ended[1])
    execute(context, "UPDATE runs SET finished_at = now() WHERE id = :id", id=ended[1])
    execute(context, of_backfill, id=ended[3], job=earlier.id)
    assert announced(context, Event.SUCCESS, [ended[3]]) == 1
    assert events(context) == ["success", "success"]
    assert announced(context, Event.SUCCESS, [ended[0]]) == 1
    assert events(context)[-1] == "recovery"


def test_a_poisoned_run_is_told_as_a_failure(context, account):
    task, _ = a_watched_task(context, account, "https://hooks.example/")
    with context.transaction(account) as session:
        run = trigger_task(session, task)
    for crash in range(CRASHES):
        assert len(told(context)) == 0, crash
        crash_and_reap(context, run.id)
    assert [(row["event"], row["run_id"]) for row in told(context)] == [("failure", run.id)]


def test_missed_and_skipped_occurrences_are_announced_in_a_set(context, account, server):
    task = a_due_task(context, account, late=timedelta(days=3))
    a_subscription(context, account, task.id, server.url())
    fire(context)
    missed = one(context, "SELECT id FROM runs WHERE state = 'missed'")
    assert announced(context, Event.MISSED, [missed]) == 0
    deliver_all(context)
    document = json.loads(server.asked[0].body)
    assert document["type"] == "run.missed"
    assert document["data"]["reason"] in {"late", "outside_window"}
    assert document["data"]["coversCount"] > 1
    assert "change" not in document["data"]


def test_pauses_and_budgets_are_announced_once_per_occasion(context, account, server, once):
    task, _ = a_watched_task(context, account, server.url(), events=["paused", "budget"])
    run = once(task, fails=True)
    execute(context, "UPDATE tasks SET state = 'paused', pause_reason = 'failures'")
    for _ in range(2):
        announced(context, Event.PAUSED, [run])
        announced(context, Event.BUDGET, [run], occasion="2026-11-20")
        announced(context, Event.BUDGET, [once_more(context, run)], occasion="2026-11-20")
        with context.transaction() as session:
            announce_task(session, Event.PAUSED, task, "by hand")
    assert sorted(events(context)) == ["budget", "paused", "paused"]
    deliver_all(context)
    documents = [json.loads(asked.body) for asked in server.asked]
    assert {document["type"] for document in documents} == {"task.paused", "budget.reached"}
    assert {document["data"].get("pauseReason") for document in documents} == {"failures", None}


def once_more(context, run_id):
    """Another run of the same task."""
    other = new_id()
    execute(
        context,
        "INSERT INTO runs (id, account_id, task_id, trigger, action, state, reason, finished_at)"
        " SELECT :other, account_id, task_id, 'manual', action, 'skipped', 'budget', now()"
        " FROM runs WHERE id = :id",
        other=other,
        id=run_id,
    )
    return other


def test_what_is_announced_is_rolled_back_with_what_it_tells(context, account, once):
    task, _ = a_watched_task(context, account, "https://hooks.example/")
    run = once(task)
    before = told(context)
    with context.engine.connect() as connection, Session(connection) as session:
        assert announce(session, Event.SUCCESS, [run], occasion="again") == 1
        session.rollback()
    assert told(context) == before


def test_an_announcement_waits_for_a_subscription_that_is_being_deleted(context, account, once, eventually):
    task, _ = a_watched_task(context, account, "https://hooks.example/")
    run = once(task)
    results = []
    waiting = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND query LIKE '%FOR KEY SHARE%'"
    )
    with context.transaction(account) as session:
        (row,) = list_subscriptions(session, task)
        delete_subscription(session, task, row.id)
        thread = threading.Thread(
            target=lambda: results.append(announced(context, Event.BUDGET, [run], occasion="x"))
        )
        thread.start()
        eventually(lambda: one(context, waiting) == 1)
    thread.join()
    assert results == [0]
    assert told(context) == []


# How it is sent.


def test_a_run_that_settles_twice_is_told_once(context, account, once):
    task, _ = a_watched_task(context, account, "https://hooks.example/")
    run = once(task)
    assert announced(context, Event.SUCCESS, [run, run]) == 0
    assert len(told(context)) == 1


def test_a_crash_after_the_request_sends_again_under_the_same_id(context, account, server, once):
    task, _ = a_watched_task(context, account, server.url())
    once(task)
    assert deliver_all(context) == ["delivered"]
    lose(context)
    assert deliver(context, told(context)[0]["id"]) == "delivered"
    first, second = server.asked
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    assert told(context)[0]["attempt"] == 2


DELIVER = (
    "import sys, uuid; from core.context import make_context; from core.delivering import deliver;"
    " from core.settings import read_settings;"
    " deliver(make_context(read_settings(), 'x'), uuid.UUID(sys.argv[1]))"
)


def test_a_sender_killed_in_mid_request_loses_nothing(context, account, server, once, eventually):
    task, _ = a_watched_task(context, account, server.url())
    once(task)
    (delivery,) = told(context)
    server.replies.append(lambda talk: talk.hang())
    settings = context.settings
    environment = {
        **os.environ,
        "DATABASE_URL": settings.database_url,
        "CRONTALK_KEY": settings.key.get_secret_value(),
        "CRONTALK_OUTBOUND_ALLOW": "127.0.0.1",
    }
    sender = subprocess.Popen([sys.executable, "-c", DELIVER, str(delivery["id"])], env=environment)
    eventually(lambda: server.asked, 30)
    sender.send_signal(signal.SIGKILL)
    sender.wait()
    (left,) = told(context)
    assert (left["state"], left["run_at"]) == ("sending", left["lease_until"])
    assert deliver(context, delivery["id"]) == "ignored"
    lose(context)
    assert deliver(context, delivery["id"]) == "delivered"
    assert {asked.headers["webhook-id"] for asked in server.asked} == {str(delivery["id"])}
    assert len(server.asked) == 2


def test_a_sender_that_lost_its_lease_writes_nothing(context, account, server, once):
    task, _ = a_watched_task(context, account, server.url())
    once(task)
    (delivery,) = told(context)
    words = []

    def taken_over(talk):
        lose(context)
        words.append(deliver(context, delivery["id"]))
        talk.sock.sendall(status(500))

    server.replies.append(taken_over)
    assert deliver(context, delivery["id"]) == "lost"
    assert words == ["delivered"]
    (left,) = told(context)
    assert (left["state"], left["epoch"], left["status_code"]) == ("delivered", 2, 200)


def test_a_duplicate_hint_is_harmless(context, account, server, once):
    task, _ = a_watched_task(context, account, server.url())
    once(task)
    (delivery,) = told(context)
    outcomes = []
    threads = [
        threading.Thread(target=lambda: outcomes.append(deliver(context, delivery["id"]))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["delivered"] + ["ignored"] * 5
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("reply", "error", "code"),
    [
        (status(500), "http_500", 500),
        (status(404), "http_404", 404),
        (status(302, "Location: http://127.0.0.1/"), "redirect", 302),
        (status(429, "Retry-After: 7200"), "http_429", 429),
        (lambda talk: talk.hang(), "deadline", None),
        (b"nonsense\r\n\r\n", "protocol", None),
    ],
    ids=["500", "404", "redirect", "429", "silence", "nonsense"],
)
def test_what_is_not_taken_is_tried_again_later(context, account, server, once, reply, error, code):
    task, _ = a_watched_task(context, account, server.url())
    once(task)
    server.replies.append(reply)
    assert deliver_all(with_settings(context, deliver_time=timedelta(seconds=1))) == ["retried"]
    (delivery,) = told(context)
    assert (delivery["state"], delivery["error_code"], delivery["status_code"]) == ("pending", error, code)
    wait = one(context, "SELECT run_at - now() FROM deliveries")
    lowest = timedelta(seconds=7190) if code == 429 else timedelta(seconds=-5)
    assert lowest <= wait <= timedelta(seconds=7235)
    assert deliver_all(context) == ["delivered"]
    assert one(context, "SELECT consecutive_failures FROM subscriptions") == 0


def test_attempts_come_to_an_end(context, account, server, once):
    task, _ = a_watched_task(context, account, server.url())
    once(task)
    execute(context, "UPDATE deliveries SET attempt = :most", most=ATTEMPTS - 1)
    server.replies.append(status(503))
    assert deliver_all(context) == ["failed"]
    (delivery,) = told(context)
    assert (delivery["state"], delivery["error_code"]) == ("failed", "http_503")
    assert deliver_all(context) == []


def test_a_delivery_that_kills_its_senders_is_given_up(context, account, server, once):
    task, _ = a_watched_task(context, account, server.url())
    once(task)
    execute(context, "UPDATE deliveries SET attempt = :most", most=ATTEMPTS)
    lose(context)
    assert deliver(context, told(context)[0]["id"]) == "failed"
    assert told(context)[0]["error_code"] == "crashes"
    assert server.asked == []


def test_a_receiver_that_is_gone_is_asked_no_more(context, account, server, once):
    task, _ = a_watched_task(context, account, server.url())
    once(task)
    once(task)
    server.replies.append(status(410))
    assert deliver_all(context) == ["failed", "ignored"]
    assert [row["state"] for row in told(context)] == ["failed", "cancelled"]
    with context.transaction(account) as session:
        (row,) = list_subscriptions(session, task)
    assert (row.state, row.disabled_reason) == ("disabled", "gone")
    once(task)
    assert len(told(context)) == 2


def test_a_receiver_that_fails_for_long_is_disabled_and_can_be_started_again(context, account, server, once):
    task, _ = a_watched_task(context, account, server.url())
    once(task)
    server.replies += [status(500)] * (FAILURES + 1)
    for _ in range(FAILURES):
        assert deliver_all(context) == ["retried"]
    assert one(context, "SELECT state FROM subscriptions") == "active"  # not for a day yet
    execute(context, "UPDATE subscriptions SET failing_since = now() - interval '25 hours'")
    once(task)
    deliver_all(context)
    found = "SELECT state, disabled_reason, consecutive_failures FROM subscriptions"
    assert rows(context, found)[0]["disabled_reason"] == "failing"
    assert {row["state"] for row in told(context)} == {"cancelled"}
    with context.transaction(account) as session:
        (row,) = list_subscriptions(session, task)
        update_subscription(session, task, row.id, active=True)
    assert rows(context, found) == [{"state": "active", "disabled_reason": None, "consecutive_failures": 0}]


def test_a_place_that_will_never_be_allowed_is_given_up_at_once(context, account, server, once):
    task, _ = a_watched_task(context, account, server.url())
    once(task)
    assert deliver_all(with_settings(context, outbound_allow="")) == ["failed"]
    assert told(context)[0]["error_code"] == "scheme"
    assert server.connections == 0


@pytest.mark.parametrize("key", [None, "00" * 32])
def test_a_missing_or_wrong_key_is_an_outcome_and_is_tried_again(context, account, server, once, key):
    task, _ = a_watched_task(context, account, server.url())
    once(task)
    assert deliver_all(with_settings(context, key=key)) == ["retried"]
    assert told(context)[0]["error_code"] == "key"
    assert deliver_all(context) == ["delivered"]


def test_a_deleted_task_tells_nobody_any_more(context, account, server, once):
    task, _ = a_watched_task(context, account, server.url())
    once(task)
    with context.transaction(account) as session:
        delete_task(session, task)
    assert told(context) == []
    assert rows(context, "SELECT id FROM subscriptions") == []


def test_a_task_deleted_while_it_is_told_of_leaves_nothing(context, account, server, once):
    task, _ = a_watched_task(context, account, server.url())
    once(task)

    def delete(talk):
        with context.transaction(account) as session:
            delete_task(session, task)
        talk.sock.sendall(status(200))

    server.replies.append(delete)
    assert deliver_all(context) == ["lost"]
    assert told(context) == []


def test_a_closed_account_tells_nobody(context, account, server, once):
    task, _ = a_watched_task(context, account, server.url())
    once(task)
    execute(context, "UPDATE accounts SET closed_at = now()")
    assert deliver_all(context) == ["cancelled"]
    assert server.asked == []


def test_a_test_is_sent_once_and_counts_for_nothing(context, account, server):
    task, _ = a_watched_task(context, account, server.url(), events=["failure"])
    with context.transaction(account) as session:
        (row,) = list_subscriptions(session, task)
        send_test(session, task, row.id)
    server.replies.append(status(500))
    assert deliver_all(context) == ["failed"]
    assert json.loads(server.asked[0].body)["type"] == "subscription.test"
    assert one(context, "SELECT consecutive_failures FROM subscriptions") == 0


def test_a_redelivery_has_its_old_id_and_all_its_attempts(context, account, server, once):
    task, _ = a_watched_task(context, account, server.url())
    once(task)
    deliver_all(context)
    (delivery,) = told(context)
    with context.transaction(account) as session:
        redeliver(session, task, delivery["id"])
    assert told(context)[0]["attempt"] == 0
    assert deliver_all(context) == ["delivered"]
    assert server.asked[0].headers["webhook-id"] == server.asked[1].headers["webhook-id"]


def test_a_database_that_is_away_when_it_is_settled_means_it_is_sent_again(context, account, server, once):
    task, _ = a_watched_task(context, account, server.url())
    once(task)
    (delivery,) = told(context)
    hurried = with_settings(context, deliver_time=timedelta(seconds=1))
    locked = threading.Event()

    def lock_out(talk):
        # Whoever settles finds the subscription locked until its patience ends; the claim is taken over.
        with context.transaction() as session:
            session.connection().exec_driver_sql("SELECT id FROM subscriptions FOR UPDATE")
            talk.sock.sendall(status(200))
            talk.sock.close()
            locked.wait(3)

    server.replies.append(lock_out)
    assert deliver(hurried, delivery["id"]) == "delivered"  # it waited for the lock
    locked.set()


# Who is asked to send.


def test_due_deliveries_are_hinted_by_the_schedulers_turn(context, account, once):
    task, _ = a_watched_task(context, account, "https://hooks.example/")
    once(task)
    boxed = dataclasses.replace(context, publisher=Box())
    turn(boxed)
    (hint,) = [hint for hint in boxed.publisher.hints if hint.action == "deliver"]
    (delivery,) = told(context)
    assert (hint.run_id, hint.delivery_id, hint.queue) == (delivery["id"], f"{delivery['id']}.1", "chat")
    turn(boxed)
    assert len([hint for hint in boxed.publisher.hints if hint.action == "deliver"]) == 1


def test_a_full_queue_of_runs_leaves_deliveries_a_share(context, account, once):
    task, _ = a_watched_task(context, account, "https://hooks.example/")
    once(task)
    high = context.settings.high_water
    assert hint_deliveries(dataclasses.replace(context, publisher=Box(None))) == 0
    assert hint_deliveries(dataclasses.replace(context, publisher=Box(2 * high))) == 0
    assert hint_deliveries(dataclasses.replace(context, publisher=Box(high))) == 1


def test_hints_and_polls_are_fair_between_accounts_and_receivers(context, account, once):
    run = {}
    for owner in (account, an_account(context, "Grace")):
        for number in range(6):
            task, _ = a_watched_task(context, owner, f"https://hooks.example/{number}", events=["budget"])
            run.setdefault(owner, []).append(task)
    for owner, tasks in run.items():
        for task in tasks:
            for day in range(3 if owner == account else 1):
                with context.transaction() as session:
                    announce_task(session, Event.BUDGET, task, str(day))
    make_due(context)
    found = unsent(context, timedelta(0), 100)
    owners = {row["id"]: row["account_id"] for row in told(context)}
    assert [owners[one_] for one_ in found].count(account) == 4  # of eighteen
    assert len(found) == 8
    with context.transaction() as session:
        first = next(one_ for one_ in found if owners[one_] == account)
        assert claim_delivery(session, first, LEASE)
    rest = unsent(context, timedelta(0), 100)
    assert [owners[one_] for one_ in rest].count(account) == 3
    sibling = one(
        context,
        "SELECT d.id FROM deliveries d JOIN deliveries s ON s.subscription_id = d.subscription_id"
        " WHERE s.state = 'sending' AND d.state = 'pending' LIMIT 1",
    )
    assert sibling not in rest
    with context.transaction() as session:
        assert claim_delivery(session, sibling, LEASE) is None  # one request at a time and receiver


def test_an_account_has_no_more_under_way_however_many_hints_there_are(context, account):
    for number in range(PER_ACCOUNT + 1):
        task, _ = a_watched_task(context, account, f"https://hooks.example/{number}", events=["budget"])
        with context.transaction() as session:
            announce_task(session, Event.BUDGET, task, "today")
    taken = []
    for row in told(context):
        with context.transaction() as session:
            taken.append(claim_delivery(session, row["id"], LEASE) is not None)
    assert taken == [True] * PER_ACCOUNT + [False]


def test_a_dead_broker_stops_nothing(context, account, server, once):
    task, _ = a_watched_task(context, account, server.url())
    once(task)
    hands = Hands(context, None)
    assert _untold(hands, {}) == []  # Celery's turn first
    execute(context, "UPDATE deliveries SET run_at = now() - interval '1 minute'")
    (waiting,) = _untold(hands, {})
    assert hands.deliver(waiting) == "delivered"


def test_celery_answers_in_one_word_whatever_happens(context, account, server, once, monkeypatch):
    task, _ = a_watched_task(context, account, server.url())
    once(task)
    hands = Hands(context, None)
    monkeypatch.setattr("worker.app.hands", lambda _settings: hands)
    for forged in (None, 1, "x", str(new_id())):
        assert _deliver(context.settings, forged) == "ignored"
    assert _deliver(context.settings, str(told(context)[0]["id"])) == "delivered"

    def broken(*_args):
        raise Unavailable("away")

    monkeypatch.setattr("worker.process.deliver", broken)
    assert _deliver(context.settings, str(new_id())) == "unavailable"


def test_slow_receivers_never_hold_every_thread(context, account, server, once, eventually):
    for _ in range(2):
        task, _ = a_watched_task(context, account, server.url())
        once(task)
    first, second = [row["id"] for row in told(context)]
    hands = Hands(context, None, senders=1)
    release = threading.Event()
    server.replies.append(lambda talk: release.wait(10) and talk.sock.sendall(status(200)))
    thread = threading.Thread(target=lambda: hands.deliver(first))
    thread.start()
    eventually(lambda: server.asked)
    assert hands.deliver(second) == "busy"
    release.set()
    thread.join()
    assert hands.deliver(second) == "delivered"


def test_two_tenants_hear_of_their_own_tasks_alone(context, account, once, leases):
    grace = an_account(context, "Grace")
    mine, _ = a_watched_task(context, account, "https://ada.example/")
    a_bot(context, grace)
    a_watched_task(context, grace, "https://grace.example/")
    once(mine)
    assert {row["account_id"] for row in told(context)} == {account}
