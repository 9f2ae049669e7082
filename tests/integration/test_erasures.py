"""Deleting is purging: nothing of what was said is left anywhere, and a receipt stays."""

from __future__ import annotations

import json

import pytest

from core.annotating import annotate
from core.attachments import start_attachment
from core.blobs import open_writing, sweep_blobs
from core.contacts import delete_contact
from core.conversations import delete_conversation
from core.expiring import expire_conversations
from core.file_names import Described
from core.messages import delete_message
from core.talking import compact, send
from core.tasks import delete_task
from core.turns import carry_out
from tests.factories import (
    a_backfill,
    a_bot,
    a_contact,
    a_conversation,
    a_due_task,
    a_subscription,
    a_task,
    execute,
    one,
    rows,
)
from tests.traces import analyse, forget_words, statistics_with, traces_of

API = "/api/v1/conversation"
MARK = "xyloquartz"
MAIL = f"{MARK}@example.com"
SAID = f"The {MARK} wrote to {MAIL}."


@pytest.fixture(params=[False, True], ids=["plain", "private"])
def talk(request, context, account):
    bot = a_bot(context, account, backstory="You are Kim.", privacy=request.param)
    return str(a_conversation(context, account, bot_id=bot.id, source="api").id)


@pytest.fixture(autouse=True)
def _silence(context):
    """Without what tests before this one have said, or left behind for a sweep to remove."""
    forget_words(context)
    sweep_blobs(context)


def posted(client, path, body=None, **headers):
    answer = client.post(path, json=body or {}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def a_message(client, talk, text=SAID, **fields):
    body = {"type": "user", "text": text, **fields}
    return posted(
        client, f"{API}/{talk}/message/create", body, **{"Idempotency-Key": text.replace(" ", "-")}
    )["id"]


def an_attachment_of(context, account, conversation, message):
    with context.transaction(account) as session:
        told = Described(f"{MARK}.txt", "text/plain")
        blob = start_attachment(session, conversation, told, message_id=message)
        writing = open_writing(context, session, blob)
    writing.add(MARK.encode())
    writing.finish()


def receipts(context):
    query = "SELECT kind, target_id, messages, conversations, attachments, actor FROM erasures ORDER BY id"
    return [tuple(row.values()) for row in rows(context, query)]


def a_told_message(client, context, account, talk):
    """A message with all that can hang on one: labels, a vote, a file, a key, an entity, a token."""
    message = a_message(
        client,
        talk,
        name=SAID,
        description=SAID,
        meta={"note": SAID, "deep": [{"er": MAIL}]},
        entities=[{"begin": 4, "end": 4 + len(MARK), "type": "name"}],
    )
    posted(client, f"{API}/{talk}/message/{message}/upvote", {"reason": f"{SAID} By b{MAIL}"})
    an_attachment_of(context, account, talk, message)
    return message


def test_nothing_of_a_deleted_message_is_left(client, context, account, talk, admin_url):
    message = a_told_message(client, context, account, talk)
    assert "messages" in traces_of(context, MARK) or one(context, "SELECT count(*) FROM pii_tokens")
    analyse(context)
    posted(client, f"{API}/{talk}/message/{message}/delete")
    assert traces_of(context, MARK) == []
    assert statistics_with(context, admin_url, MARK) == []
    assert one(context, "SELECT count(*) FROM pii_tokens") == 0
    assert one(context, "SELECT count(*) FROM annotations") == 0
    assert sweep_blobs(context) == 1
    ((kind, target, messages, conversations, attachments, actor),) = receipts(context)
    assert (kind, str(target), messages, conversations, attachments) == ("message", message, 1, 0, 1)
    assert actor.startswith("token:")


def test_nothing_of_a_deleted_reply_is_left_in_its_run_or_on_its_channel(
    client, context, account, talk, working
):
    channel = "a-channel-for-one-turn"
    answer = posted(client, f"{API}/{talk}/dispatch", {"text": SAID, "channelId": channel})
    with client.stream(
        "POST",
        f"/api/v1/channel/{answer['channelId']}/subscribe",
        json={"historyLength": 100},
        headers={"Accept": "application/jsonl"},
    ) as stream:
        for line in stream.iter_lines():
            if '"result"' in line:
                break
    assert one(context, "SELECT count(*) FROM runs WHERE summary IS NOT NULL") == 1
    for row in rows(context, "SELECT id FROM messages ORDER BY seq DESC"):
        posted(client, f"{API}/{talk}/message/{row['id']}/delete")
    assert traces_of(context, MARK) == []
    assert traces_of(context, "[email:") == []
    assert one(context, "SELECT count(*) FROM runs WHERE summary IS NOT NULL") == 0


def test_what_was_summed_up_of_a_deleted_message_goes_with_it(client, context, account, leases, talk):
    message = a_message(client, talk)
    a_message(client, talk, "Later on.")
    with context.transaction(account) as session:
        run = compact(session, talk)
    assert carry_out(context, leases, run.id, worker="tests") == "succeeded"
    own = posted(client, f"{API}/{talk}/message/create", {"type": "checkpoint", "text": "My own."})["id"]
    posted(client, f"{API}/{talk}/message/{message}/delete")
    left = rows(context, "SELECT id, type, text FROM messages ORDER BY seq")
    assert [(row["type"], row["text"]) for row in left] == [("user", "Later on."), ("checkpoint", "My own.")]
    assert str(left[1]["id"]) == own
    assert traces_of(context, MARK) == []
    assert receipts(context)[0][2] == 2


@pytest.mark.parametrize("way", ["deleted", "expired", "expired slice by slice"])
def test_nothing_of_a_deleted_conversation_is_left(
    client, context, account, leases, talk, admin_url, monkeypatch, way
):
    if way == "expired slice by slice":
        monkeypatch.setattr("core.expiring.SLICE", 2)
        monkeypatch.setattr("core.conversations.SLICE", 2)
    labels = {"name": SAID, "description": SAID, "meta": {"note": SAID}, "backstory": SAID}
    posted(client, f"{API}/{talk}/update", labels)
    a_told_message(client, context, account, talk)
    posted(client, f"{API}/{talk}/upvote", {"reason": SAID})
    posted(client, f"{API}/{talk}/session/create")
    turn = posted(client, f"{API}/{talk}/dispatch", {"text": SAID})
    run = one(context, "SELECT id FROM runs")
    assert carry_out(context, leases, run, worker="tests") == "succeeded"
    posted(client, f"{API}/{talk}/dispatch", {"text": SAID, "extensions": {"backstory": SAID}})
    posted(client, f"/api/v1/channel/{turn['channelId']}/publish", {"message": {"said": SAID}})
    analyse(context)
    count = one(context, "SELECT count(*) FROM messages")
    assert count == 4
    if way == "deleted":
        posted(client, f"{API}/{talk}/delete")
    else:
        execute(context, "UPDATE conversations SET expires_at = now() - interval '1 second'")
        while not expire_conversations(context):
            pass
    assert traces_of(context, MARK) == []
    assert traces_of(context, "[email:") == []
    assert statistics_with(context, admin_url, MARK) == []
    assert one(context, "SELECT count(*) FROM pii_tokens") == 0
    ((kind, target, *counts, _),) = receipts(context)
    assert (kind, str(target), counts) == ("conversation", talk, [4, 1, 1])
    assert one(context, "SELECT count(*) FROM erasures WHERE completed_at IS NULL") == 0


def test_nothing_of_a_deleted_contact_is_left_but_in_what_was_said(client, context, account, admin_url):
    contact = a_contact(
        context,
        account,
        fingerprint=MARK,
        name=SAID,
        email=MAIL,
        nick=MARK,
        phone="+14155550132",
        description=SAID,
        preferences=SAID,
        meta={"note": SAID},
    )
    talk = a_conversation(context, account, contact_id=contact.id, privacy=True)
    task = a_task(context, account, contact_id=contact.id)
    analyse(context)
    with context.transaction(account, actor="tests") as session:
        delete_contact(session, contact.id)
    assert traces_of(context, MARK) == []
    assert statistics_with(context, admin_url, MARK) == []
    assert receipts(context) == [("contact", contact.id, 0, 0, 0, "tests")]
    assert one(context, "SELECT contact_id FROM conversations WHERE id = :id", id=talk.id) is None
    assert one(context, "SELECT contact_id FROM tasks WHERE id = :id", id=task.id) is None
    answer = posted(client, f"{API}/{talk.id}/message/create", {"type": "user", "text": f"{MARK} was here"})
    assert answer["entities"] == []


def test_nothing_of_a_deleted_task_is_left(client, context, account, admin_url):
    bot = a_bot(context, account, privacy=True)
    task = a_due_task(
        context,
        account,
        bot_id=bot.id,
        name=SAID,
        description=SAID,
        meta={"note": SAID},
        assertions={"contains": [MARK]},
    )
    a_subscription(context, account, task.id, target=f"https://{MARK}.example/in")
    a_backfill(context, account, task.id, prompt=SAID)
    analyse(context)
    with context.transaction(account, actor="tests") as session:
        delete_task(session, task.id)
    assert traces_of(context, MARK) == []
    assert statistics_with(context, admin_url, MARK) == []
    assert receipts(context) == [("task", task.id, 0, 0, 0, "tests")]


def test_an_update_forgets_the_tokens_that_nothing_names_any_more(client, context, account):
    talk = a_conversation(context, account, privacy=True, name=MAIL, meta={"from": MAIL}).id
    message = a_message(client, talk, "Plain.", name=f"n-{MAIL}", meta={"from": f"m-{MAIL}"})
    assert one(context, "SELECT count(*) FROM pii_tokens") == 3
    posted(client, f"{API}/{talk}/message/{message}/update", {"name": "Plain.", "meta": None})
    assert one(context, "SELECT count(*) FROM pii_tokens") == 1
    posted(client, f"{API}/{talk}/update", {"name": "Plain."})
    assert one(context, "SELECT count(*) FROM pii_tokens") == 1, "its meta names it"
    posted(client, f"{API}/{talk}/update", {"meta": None})
    assert one(context, "SELECT count(*) FROM pii_tokens") == 0


def test_what_an_annotation_found_meanwhile_goes_as_well(client, context, account):
    talk = a_conversation(context, account, privacy=True).id
    contact = a_contact(context, account, name="Grace Hopper")
    message = a_message(client, talk, "Hopper was here.")
    posted(client, f"{API}/{talk}/update", {"contactId": str(contact.id)})
    annotate(context, one(context, "SELECT message_id FROM annotations"))
    assert one(context, "SELECT count(*) FROM pii_tokens") == 1
    with context.transaction(account) as session:
        delete_message(session, talk, message)
    assert one(context, "SELECT count(*) FROM pii_tokens") == 0


def test_a_long_conversation_goes_in_statements_that_are_short(context, account, monkeypatch):
    monkeypatch.setattr("core.conversations.SLICE", 3)
    talk = a_conversation(context, account, privacy=True).id
    with context.transaction(account) as session:
        for n in range(10):
            send(session, talk, f"a{n}@example.com")
    with context.transaction(account) as session:
        delete_conversation(session, talk)
    assert receipts(context) == [("conversation", talk, 10, 1, 0, None)]
    assert one(context, "SELECT count(*) FROM messages") == 0


def test_receipts_are_listed_page_by_page_and_as_a_stream(client, context, account, talk):
    ids = [a_message(client, talk, f"Word {n}") for n in range(3)]
    for message in ids:
        posted(client, f"{API}/{talk}/message/{message}/delete")
    first = client.get("/api/v1/erasure/list", params={"take": 2}).json()
    assert [item["targetId"] for item in first["items"]] == [ids[2], ids[1]]
    rest = client.get("/api/v1/erasure/list", params={"cursor": first["cursor"]}).json()
    assert [item["targetId"] for item in rest["items"]] == [ids[0]]
    (oldest,) = rest["items"]
    assert client.get(f"/api/v1/erasure/{oldest['id']}/fetch").json() == oldest
    assert (oldest["kind"], oldest["messages"], oldest["conversationId"]) == ("message", 1, talk)
    assert oldest["createdAt"] <= oldest["completedAt"]
    streamed = client.get("/api/v1/erasure/list", headers={"Accept": "application/jsonl"}).text
    assert [json.loads(line)["data"]["targetId"] for line in streamed.splitlines()] == ids[::-1]


def test_a_deletion_that_is_rolled_back_leaves_no_receipt(context, account):
    talk = a_conversation(context, account).id

    def broken(session):
        delete_conversation(session, talk)
        raise RuntimeError

    with pytest.raises(RuntimeError), context.transaction(account) as session:
        broken(session)
    assert receipts(context) == []
    assert one(context, "SELECT count(*) FROM conversations") == 1
