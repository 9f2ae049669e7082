"""The event log: read off the rows, in one order, whole, and told as it goes on."""

from __future__ import annotations

import json
import socket
import uuid

import anyio
import pytest
from sqlalchemy import text

from api.chatbotkit.events import follow_live
from core.accounts import authenticate, list_tokens, revoke_token
from core.conversations import delete_conversation
from core.errors import InvalidInput
from core.events import DOWNWARD, END, follow, news
from core.firing import fire
from core.runs import cancel_run
from core.tasks import delete_task
from core.turns import carry_out
from models import new_id, new_ids
from tests.api import a_client, a_secret
from tests.factories import (
    a_bot,
    a_contact,
    a_conversation,
    a_due_task,
    a_pending_run,
    an_account,
    execute,
    one,
    rows,
)
from tests.integration.test_api_process import a_process, asked

API = "/api/v1"


def listed(client, path="event/log/list", **params):
    answer = client.get(f"{API}/{path}", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


def kinds(items):
    return [item["type"] for item in items]


@pytest.fixture
def story(context, account, leases):
    """A run that succeeded, one that failed, one cancelled before it began, a skipped occurrence."""
    contact = a_contact(context, account)
    done = a_pending_run(context, account, contact_id=contact.id)
    carry_out(context, leases, done.id, worker="w", delivery="d")
    failed = a_pending_run(context, account)
    execute(
        context,
        "UPDATE runs SET state = 'failed', error_class = 'quota', started_at = clock_timestamp(),"
        " finished_at = clock_timestamp() + interval '1 millisecond' WHERE id = :id",
        id=failed.id,
    )
    cancelled = a_pending_run(context, account)
    with context.transaction(account) as session:
        cancel_run(session, cancelled.id)
    bot = a_bot(context, account)
    task = a_due_task(context, account, bot_id=bot.id)
    execute(context, "DELETE FROM bots WHERE id = :id", id=bot.id)
    fire(context)
    return done, failed, cancelled, task


def test_the_log_tells_what_conversations_and_runs_went_through(client, context, story):
    done, failed, cancelled, skipped = story
    items = listed(client)
    assert sorted(kinds(items)) == [
        *["conversation.create"] * 3,
        *["task.interact"] * 2,
        *["task.interact.aborted"] * 2,
        "task.interact.completed",
        "task.interact.skipped",
    ]
    by_task = {}
    for item in items:
        by_task.setdefault(item["taskId"], {})[item["type"]] = item
    stored = rows(context, "SELECT conversation_id FROM runs WHERE id = :id", id=done.id)[0]
    end = by_task[str(done.task_id)]["task.interact.completed"]
    contact = one(context, "SELECT contact_id FROM tasks WHERE id = :id", id=done.task_id)
    assert (end["conversationId"], end["contactId"]) == (str(stored["conversation_id"]), str(contact))
    assert end["meta"] == {"runId": str(done.id)}
    assert by_task[str(done.task_id)]["conversation.create"]["botId"] == end["botId"]
    assert by_task[str(failed.task_id)]["task.interact.aborted"]["meta"]["reason"] == "quota"
    assert by_task[str(cancelled.task_id)]["task.interact.aborted"]["meta"]["reason"] == "cancelled"
    assert by_task[str(skipped.id)].keys() == {"task.interact.skipped"}
    assert by_task[str(skipped.id)]["task.interact.skipped"]["meta"]["reason"] == "no_bot"


def test_the_log_is_newest_first_and_walks_in_pages_of_any_size(client, story):
    whole = listed(client)
    times = [item["createdAt"] for item in whole]
    assert times == sorted(times, reverse=True)
    assert len({item["id"] for item in whole}) == len(whole)
    for take in (1, 2, 4):
        for order, expected in (("desc", whole), ("asc", whole[::-1])):
            walked, cursor = [], ""
            while page := listed(client, take=take, cursor=cursor, order=order):
                walked += page
                cursor = page[-1]["id"]
            assert walked == expected
    stream = client.get(f"{API}/event/log/export", headers={"Accept": "application/jsonl"})
    assert [json.loads(line)["data"] for line in stream.text.splitlines()] == whole


def test_events_of_one_instant_are_told_once_each_over_pages(client, context, account, world):
    execute(
        context,
        "INSERT INTO runs (id, account_id, task_id, trigger, action, state, reason, scheduled_for,"
        "  started_at, finished_at)"
        " SELECT gen_random_uuid(), :account, :task, 'schedule', 'complete', 'skipped', 'overlap',"
        "  now() + n * interval '1 second', now(), now() FROM generate_series(1, 250) n",
        account=account,
        task=uuid.UUID(world.taskId),
    )
    before = one(context, "SELECT count(*) FROM runs WHERE finished_at IS NOT NULL")
    for order in ("asc", "desc"):
        walked, cursor = [], ""
        while page := listed(client, take=30, cursor=cursor, order=order):
            walked += page
            cursor = page[-1]["id"]
        ends = [item for item in walked if item["type"].startswith("task.interact.")]
        assert len({item["id"] for item in ends}) == len(ends) == before
        assert len(walked) == 2 * before + 1


def test_conversations_of_one_millisecond_are_told_once_each_over_pages(client, context, account):
    ids = new_ids(95)
    execute(
        context,
        "INSERT INTO conversations (id, account_id, source) SELECT id, :account, 'import'"
        " FROM unnest(CAST(:ids AS uuid[])) AS id",
        account=account,
        ids=ids,
    )
    for order in ("asc", "desc"):
        walked, cursor = [], ""
        while page := listed(client, take=10, cursor=cursor, order=order):
            walked += [item["conversationId"] for item in page]
            cursor = page[-1]["id"]
        assert sorted(walked) == sorted(map(str, ids))


def test_what_is_deleted_is_in_no_log_and_a_cursor_outlives_it(client, context, account):
    first, second, third = (a_conversation(context, account) for _ in range(3))
    cursor = next(item["id"] for item in listed(client) if item["conversationId"] == str(second.id))
    with context.transaction(account) as session:
        delete_conversation(session, second.id)
    assert [item["conversationId"] for item in listed(client)] == [str(third.id), str(first.id)]
    assert [item["conversationId"] for item in listed(client, cursor=cursor)] == [str(first.id)]
    assert [item["conversationId"] for item in listed(client, cursor=cursor, order="asc")] == [str(third.id)]


def test_a_deleted_task_keeps_its_runs_in_the_log(client, context, account, story):
    done = story[0]
    with context.transaction(account) as session:
        delete_task(session, done.task_id)
    assert str(done.task_id) in {item.get("taskId") for item in listed(client)}


def test_the_log_is_the_accounts_own(client, context, story):
    other = a_client(context, a_secret(context, an_account(context, "Grace")))
    assert listed(other) == []
    assert listed(other, "event/log/export", cursor=listed(client)[0]["id"]) == []


def test_a_turn_of_a_caller_is_no_interaction_of_a_task(client, context, account, leases):
    from tests.factories import a_pending_turn

    carry_out(context, leases, a_pending_turn(context, account).id, worker="w", delivery="d")
    assert kinds(listed(client)) == ["conversation.create"]


def test_the_log_is_read_off_indexes(context, account, story):
    strangers = an_account(context, "Grace")
    values = {
        "account": account,
        "take": 10,
        "cursor": END,
        "row": END,
        "at": one(context, "SELECT now() + interval '1 day'"),
    }
    with context.transaction() as session:
        # Enough rows of others that only an index of the account's own is worth reading.
        session.execute(
            text(
                "INSERT INTO conversations (id, account_id, source)"
                " SELECT id, :account, 'import' FROM unnest(CAST(:ids AS uuid[])) AS id"
            ),
            {"account": strangers, "ids": new_ids(5000)},
        )
        session.execute(text("ANALYZE conversations"))
        session.execute(text("SET LOCAL enable_seqscan = off"))
        session.execute(text("SET LOCAL enable_sort = off"))
        session.execute(text("SET LOCAL enable_bitmapscan = off"))
        plan = "\n".join(session.scalars(text(f"EXPLAIN {DOWNWARD}"), values))
    for index in ("uq_conversations_account_id_id", "ix_runs_begun", "ix_runs_ended"):
        assert index in plan


def test_whoever_follows_is_told_each_event_once(context, account):
    a_conversation(context, account)
    with context.transaction(account) as session:
        following, past = follow(session, 10)
        assert [event.type for event in past] == ["conversation.create"]
        assert news(session, following) == []
    added = [a_conversation(context, account).id for _ in range(3)]
    with context.transaction(account) as session:
        assert [event.conversation_id for event in news(session, following)] == added
        assert news(session, following) == []


def test_an_event_that_is_committed_late_is_told_late(context, account):
    with context.transaction(account) as session:
        following, _ = follow(session)
    connection = context.engine.connect()
    late = connection.begin()
    connection.execute(
        text("INSERT INTO conversations (id, account_id, source) VALUES (:id, :account, 'api')"),
        {"id": new_id(), "account": account},
    )
    early = a_conversation(context, account).id
    with context.transaction(account) as session:
        assert [event.conversation_id for event in news(session, following)] == [early]
    late.commit()
    connection.close()
    with context.transaction(account) as session:
        assert len(news(session, following)) == 1


def test_without_a_history_only_what_comes_is_told(context, account):
    a_conversation(context, account)
    with context.transaction(account) as session:
        following, past = follow(session, None)
        assert past == []
        assert news(session, following) == []


@pytest.mark.parametrize("history", [-1, 1001])
def test_a_history_is_bounded(context, account, history):
    with context.transaction(account) as session, pytest.raises(InvalidInput):
        follow(session, history)


def test_asked_for_in_json_a_subscription_is_its_history(client, context, account):
    for _ in range(3):
        a_conversation(context, account)
    answer = client.post(f"{API}/event/log/subscribe", json={"historyLength": 2}).json()
    assert answer["items"] == listed(client, take=2)[::-1]
    assert client.post(f"{API}/event/log/subscribe").json() == {"items": [], "cursor": ""}


@pytest.mark.parametrize("length", [-1, 1001, 1.5, "5", True, [], {}, 10**30])
def test_a_history_that_is_no_length_is_refused(client, length):
    for accept in ("application/json", "application/jsonl"):
        answer = client.post(
            f"{API}/event/log/subscribe", json={"historyLength": length}, headers={"Accept": accept}
        )
        assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST")


def told(context, account, pieces, **pace):
    """The first pieces of a live answer; before each of them its step is done."""
    secret = a_secret(context, account)
    with context.transaction() as session:
        caller = authenticate(session, secret)
    with context.transaction(account) as session:
        following, past = follow(session, 10)

    async def listen():
        live = follow_live(context, caller, secret, following, past, **pace)
        heard = []
        for step in pieces:
            await anyio.to_thread.run_sync(step)
            heard += [piece async for piece in _some(live)]
        await live.aclose()
        return heard

    return anyio.run(listen)


async def _some(live):
    async for piece in live:
        yield piece
        return


def test_events_are_told_as_they_happen(context, account):
    begin = a_conversation(context, account).id
    made = []
    heard = told(
        context,
        account,
        [lambda: None, lambda: made.append(a_conversation(context, account).id)],
        poll=0.01,
        beat=60,
    )
    events = [json.loads(line) for piece in heard for line in piece.splitlines()]
    assert [event["type"] for event in events] == ["item", "item"]
    assert [event["data"]["conversationId"] for event in events] == [str(begin), str(made[0])]
    assert all(piece.endswith(b"\n") and piece.isascii() for piece in heard)


def test_a_quiet_log_beats_with_a_space_and_no_line(context, account):
    assert told(context, account, [lambda: None] * 2, poll=0.01, beat=0.02) == [b" ", b" "]


def test_a_revoked_token_is_told_nothing_more(context, account):
    def revoke():
        with context.transaction(account) as session:
            for token in list_tokens(session):
                revoke_token(session, token.id)

    heard = told(context, account, [revoke, *[lambda: None] * 3], poll=0.01, beat=0.02)
    assert heard[:-1] == [b" "]
    assert json.loads(heard[-1]) == {
        "type": "error",
        "data": {
            "message": "The token is missing, unknown, expired or revoked.",
            "code": "NOT_AUTHENTICATED",
        },
    }


@pytest.mark.acceptance
def test_a_client_that_leaves_is_told_nothing_and_holds_nothing(
    settings, context, account, tmp_path, eventually
):
    busy = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'crontalk api'"
        " AND state_change > clock_timestamp() - interval '3 seconds'"
    )
    with a_process(settings, tmp_path) as (_, url, _):
        eventually(lambda: asked(f"{url}/health/live")[0] == 200, seconds=30)
        port = int(url.rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(
                b"POST /api/v1/event/log/subscribe HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                b"Accept: application/jsonl\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
                + f"Authorization: Bearer {a_secret(context, account)}\r\n\r\n{{}}".encode()
            )
            head = connection.recv(10_000)
            assert b"200 OK" in head
            assert b"application/jsonl" in head
            conversation = a_conversation(context, account)
            line = connection.recv(10_000)
            assert str(conversation.id).encode() in line
            assert one(context, busy) > 0
        eventually(lambda: one(context, busy) == 0, seconds=20)
