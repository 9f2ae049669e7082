"""The conversations API over HTTP: its shapes, its pages and its refusals, as its own document tells them."""

from __future__ import annotations

import base64
import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

from core.chat import offline
from core.conversations import delete_conversation
from core.turns import carry_out
from tests.api import a_client, a_secret
from tests.factories import a_bot, a_conversation, an_account, execute, one, rows
from tests.generalbots import BASE, TALK, WITH_IDS, a_contacts_secret, asked, refused

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@pytest.fixture
def mine(context, account):
    """The API, asked with a token of one contact."""
    return a_client(context, a_contacts_secret(context, account))


def begun(client, **body):
    answer = client.post(f"{BASE}/start", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["conversation_id"]


def say(client, conversation, content="Hello", **more):
    return client.post(f"{BASE}/{conversation}/messages", json={"content": content, **more})


def history(client, conversation, **params):
    answer = client.get(f"{BASE}/{conversation}/history", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def listed(client, **params):
    answer = client.get(BASE, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def written(context, account, conversation, count, kind="user"):
    """That many messages, a minute apart."""
    execute(
        context,
        "INSERT INTO messages (id, account_id, conversation_id, seq, type, text, created_at)"
        " SELECT gen_random_uuid(), :account, :id, 1000 + n, :kind, 'Number ' || n,"
        "  '2026-03-01T09:00:00Z'::timestamptz + n * interval '1 minute' FROM generate_series(1, :count) n",
        account=account,
        id=uuid.UUID(conversation),
        count=count,
        kind=kind,
    )


def test_a_conversation_is_started_and_answered(context, mine, working):
    answer = mine.post(f"{BASE}/start", json={"bot_id": "default", "initial_message": "Hello"})
    assert answer.json().keys() == {"conversation_id", "session_id", "status"}
    assert answer.json()["conversation_id"] == answer.json()["session_id"]
    assert answer.json()["status"] == "active"
    conversation = answer.json()["conversation_id"]
    while len(found := history(mine, conversation)["messages"]) < 2:
        pass
    assert [one["sender"] for one in found] == ["user", "bot"]
    assert found[0]["content"] == "Hello"
    assert found[1]["content"]
    assert found[0].keys() == {"id", "sender", "content", "timestamp"}
    assert all(INSTANT.fullmatch(one["timestamp"]) for one in found)


def test_starting_always_opens_another_one(mine):
    assert begun(mine) != begun(mine)
    assert begun(mine, initial_message=None)
    empty = mine.post(f"{BASE}/start")
    assert empty.status_code == 200, "no body is an empty one"


def test_a_bot_is_found_by_id_and_by_name(context, account, mine):
    bot = a_bot(context, account, name="Support")
    for name in (str(bot.id), "Support"):
        conversation = begun(mine, bot_id=name)
        assert one(context, "SELECT bot_id FROM conversations WHERE id = :id", id=conversation) == bot.id
    execute(context, "UPDATE bots SET name = 'Main' WHERE is_default")
    assert listed(mine, bot_id="default")["total"] == 0
    begun(mine, bot_id="default")
    assert listed(mine, bot_id="default")["conversations"][0]["bot_name"] == "Main"
    other = a_bot(context, an_account(context, "Grace"))
    refused(mine.post(f"{BASE}/start", json={"bot_id": str(other.id)}), 403, "forbidden")
    for unknown in (str(uuid.uuid4()), "nobody", "", "x" * 2000):
        refused(mine.post(f"{BASE}/start", json={"bot_id": unknown}), 404, "not_found")


def test_a_message_is_delivered_before_it_is_answered(context, mine):
    conversation = begun(mine)
    answer = say(mine, conversation)
    assert answer.json().keys() == {"message_id", "timestamp", "status"}
    assert answer.json()["status"] == "delivered"
    (shown,) = history(mine, conversation)["messages"]
    assert (shown["id"], shown["timestamp"]) == (answer.json()["message_id"], answer.json()["timestamp"])
    assert one(context, "SELECT state FROM runs") == "pending"


def test_messages_beside_a_turn_are_taken_and_the_first_dialect_still_refuses(context, account, mine, client):
    conversation = begun(mine, initial_message="Hello")
    execute(context, "UPDATE runs SET state = 'running', lease_until = now() + interval '1 hour'")
    for _ in range(3):
        assert say(mine, conversation).status_code == 200
    assert [row["state"] for row in rows(context, "SELECT state FROM runs ORDER BY id")] == [
        "running",
        "waiting",
    ]
    answer = client.post(f"/api/v1/conversation/{conversation}/complete", json={"text": "And?"})
    assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT")


def test_the_history_has_the_newest_fifty_and_pages_back_to_the_first(context, account, mine):
    conversation = begun(mine)
    written(context, account, conversation, 120)
    page = history(mine, conversation)
    assert (len(page["messages"]), page["has_more"]) == (50, True)
    assert page["messages"][-1]["content"] == "Number 120"
    seen, before = [], None
    while True:
        page = history(mine, conversation, limit=30, **({"before": before} if before else {}))
        seen = [one["content"] for one in page["messages"]] + seen
        before = page["messages"][0]["timestamp"]
        if not page["has_more"]:
            break
    assert seen == [f"Number {n}" for n in range(1, 121)]
    assert len(history(mine, conversation, limit=5000)["messages"]) == 100


def test_after_an_instant_come_the_first_ones_after_it(context, account, mine):
    conversation = begun(mine)
    written(context, account, conversation, 10)
    page = history(mine, conversation, after="2026-03-01T09:03:00Z", limit=3)
    assert [one["content"] for one in page["messages"]] == ["Number 4", "Number 5", "Number 6"]
    assert page["has_more"] is True
    page = history(mine, conversation, after="2026-03-01T09:03:00.000000+00:00", before="2026-03-01T09:06")
    assert [one["content"] for one in page["messages"]] == ["Number 4", "Number 5"]
    assert page["has_more"] is False
    answer = mine.get(f"{BASE}/{conversation}/history?after=2026-03-01T10:03:00+01:00&limit=1")
    assert answer.json()["messages"][0]["content"] == "Number 4", "a plus sign that arrived as a blank"
    assert history(mine, conversation, after="2030-01-01")["messages"] == []


def test_messages_of_one_instant_are_not_lost_between_pages(context, account, mine):
    conversation = begun(mine)
    written(context, account, conversation, 6)
    execute(context, "UPDATE messages SET created_at = '2026-03-01T10:00Z' WHERE seq IN (1003, 1004)")
    page = history(mine, conversation, limit=3)
    assert [one["content"] for one in page["messages"]] == ["Number 5", "Number 6"]
    assert page["has_more"] is True
    execute(context, "UPDATE messages SET created_at = '2026-03-01T10:00Z'")
    assert len(history(mine, conversation, limit=3)["messages"]) == 3


def test_what_is_neither_of_a_user_nor_of_a_bot_is_not_shown(context, account, mine):
    conversation = begun(mine)
    for kind in ("context", "activity", "instruction", "backstory", "reasoning", "checkpoint"):
        execute(
            context,
            "INSERT INTO messages (id, account_id, conversation_id, seq, type, text) VALUES"
            " (gen_random_uuid(), :account, :id, (SELECT count(*) + 1 FROM messages), :kind, 'Hidden')",
            account=account,
            id=uuid.UUID(conversation),
            kind=kind,
        )
    assert history(mine, conversation) == {"messages": [], "has_more": False}
    assert listed(mine)["conversations"][0]["last_message"] is None


def test_the_list_tells_the_last_word_and_how_many_there_are(context, account, mine):
    bot = a_bot(context, account, name="Support")
    first, second, third = (begun(mine, bot_id=bot.id and str(bot.id)) for _ in range(3))
    say(mine, second, "x" * 300)
    begun(mine)
    page = listed(mine, bot_id=str(bot.id), limit=2)
    assert page["total"] == 3
    assert [one["id"] for one in page["conversations"]] == [second, third]
    shown = page["conversations"][0]
    assert shown.keys() == {"id", "bot_id", "bot_name", "last_message", "last_activity", "status"}
    assert (shown["bot_name"], shown["last_message"]) == ("Support", "x" * 200)
    assert INSTANT.fullmatch(shown["last_activity"])
    assert page["conversations"][1]["last_message"] is None
    rest = listed(mine, bot_id=str(bot.id), limit=2, offset=2)
    assert [one["id"] for one in rest["conversations"]] == [first]
    assert listed(mine, offset=50) == {"conversations": [], "total": 4}
    for unknown in (str(uuid.uuid4()), "nobody", str(a_bot(context, an_account(context, "G")).id)):
        assert listed(mine, bot_id=unknown) == {"conversations": [], "total": 0}


def test_a_conversation_is_archived_and_revives_when_somebody_speaks(context, mine):
    conversation = begun(mine)
    answer = mine.patch(f"{BASE}/{conversation}", json={"status": "archived"})
    assert (answer.status_code, answer.json()["status"]) == (200, "archived")
    assert (listed(mine, status="archived")["total"], listed(mine, status="active")["total"]) == (1, 0)
    assert mine.patch(f"{BASE}/{conversation}", json={"status": "archived"}).status_code == 200
    assert mine.patch(f"{BASE}/{conversation}", json={"status": "active"}).json()["status"] == "active"
    mine.patch(f"{BASE}/{conversation}", json={"status": "archived"})
    assert say(mine, conversation).status_code == 200
    assert listed(mine, status="active")["total"] == 1
    for bad in ({}, {"status": None}, {"status": "gone"}, {"status": ["active"]}):
        refused(mine.patch(f"{BASE}/{conversation}", json=bad), 400, "invalid_request")


BAD_BODIES = {
    "not JSON": b"{",
    "not an object": b"[]",
    "null": b"null",
    "no UTF-8": b"\xff\xfe",
    "empty": b"",
    "no content": b"{}",
    "content is null": b'{"content": null}',
    "content is a number": b'{"content": 7}',
    "content is a list": b'{"content": ["x"]}',
    "content is blank": b'{"content": " \\n "}',
    "content holds a NUL": b'{"content": "a\\u0000b"}',
    "content holds half a pair": b'{"content": "\\ud800"}',
    "content is too long": b'{"content": "' + b"x" * (256 * 1024 + 1) + b'"}',
    "a key twice": b'{"content": "x", "content": "y"}',
    "too deep": b'{"content": ' + b"[" * 5000,
    "NaN": b'{"content": NaN}',
    "attachments are text": b'{"content": "x", "attachments": "x"}',
    "attachments are an object": b'{"content": "x", "attachments": {}}',
    "an attachment is text": b'{"content": "x", "attachments": ["x"]}',
    "an attachment is empty": b'{"content": "x", "attachments": [{}]}',
    "an attachment of another scheme": b'{"content": "x", "attachments": [{"url": "javascript:x"}]}',
    "a broken data URL": b'{"content": "x", "attachments": [{"url": "data:text/plain;base64,%%%"}]}',
    "too many attachments": b'{"content": "x", "attachments": ['
    + b",".join([b'{"url": "https://x"}'] * 21)
    + b"]}",
}


@pytest.mark.parametrize("bad", BAD_BODIES)
@pytest.mark.parametrize("kind", ["application/json", "text/plain", None])
def test_a_malformed_message_is_400_and_stores_nothing(bad, kind, context, mine):
    conversation = begun(mine)
    headers = {"Content-Type": kind} if kind else {}
    for key in ({}, {"Idempotency-Key": "k"}):
        answer = mine.post(f"{BASE}/{conversation}/messages", content=BAD_BODIES[bad], headers=headers | key)
        refused(answer, 400, "invalid_message")
    assert one(context, "SELECT count(*) FROM messages") == 0
    assert one(context, "SELECT count(*) FROM attachments") == 0


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"initial_message": 7}', b'{"initial_message": " "}', b'{"bot_id": 7}']
)
def test_a_malformed_start_is_400_and_opens_nothing(body, context, mine):
    refused(mine.post(f"{BASE}/start", content=body), 400, "invalid_message")
    assert one(context, "SELECT count(*) FROM conversations") == 0


@pytest.mark.parametrize(
    "query",
    [
        "limit=abc",
        "limit=0",
        "limit=-1",
        "limit=",
        "limit=1.5",
        "limit=" + "9" * 5000,
        "limit=%D9%A3",
        "before=yesterday",
        "before=",
        "after=0001-01-01T00:00:00%2B14:00",
        "after=9999-12-31T23:59:59-14:00",
        "before=%00",
    ],
)
def test_bad_parameters_are_400_and_never_422_or_500(query, mine):
    refused(mine.get(f"{BASE}/{begun(mine)}/history?{query}"), 400, "invalid_request")


@pytest.mark.parametrize("query", ["limit=x", "limit=0", "offset=-1", "offset=" + "9" * 17, "status=gone"])
def test_bad_parameters_of_the_list_are_400(query, mine):
    refused(mine.get(f"{BASE}?{query}"), 400, "invalid_request")


def test_odd_but_fair_parameters_are_taken(mine):
    for query in ("limit=99999999", "offset=0", "bot_id=%00", "bot_id=", "foo=bar"):
        assert mine.get(f"{BASE}?{query}").status_code == 200, query


def test_addresses_that_are_none_and_methods_that_are_not_taken(mine):
    refused(mine.get(f"{BASE}/x/y/z"), 404, "not_found")
    refused(mine.get(f"{BASE}/start"), 405, "method_not_allowed")
    refused(mine.delete(f"{BASE}/{uuid.uuid4()}"), 405, "method_not_allowed")


def test_a_message_that_is_far_too_large_is_refused_in_the_same_shape(mine):
    conversation = begun(mine)
    refused(mine.post(f"{BASE}/{conversation}/messages", content=b"x" * 7_000_000), 413, "too_large")
    refused(mine.post(f"{BASE}/start", content=b"x" * 2_000_000), 413, "too_large")


@pytest.mark.parametrize("route", TALK, ids=" ".join)
def test_without_a_valid_token_everything_is_401(route, context, account, nobody):
    conversation = str(a_conversation(context, account).id)
    for headers in ({}, {"Authorization": "Bearer ct_" + "x" * 43}, {"Authorization": "Basic eDp5"}):
        answer = asked(nobody, route, conversation, headers=headers)
        refused(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"
    if route[0] != "get":
        bad = nobody.request(route[0], route[1].format(conversation_id=conversation), content=b"{")
        refused(bad, 401, "unauthorized")
    assert one(context, "SELECT count(*) FROM messages") == 0


@pytest.mark.parametrize("route", TALK, ids=" ".join)
def test_a_scope_opens_what_it_names(route, context, account):
    conversation = str(a_conversation(context, account).id)
    opens, other = ("read", "write") if route[0] == "get" else ("write", "read")
    refused(
        asked(a_client(context, a_secret(context, account, (other,))), route, conversation), 403, "forbidden"
    )
    answer = asked(a_client(context, a_secret(context, account, (opens,))), route, conversation)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("route", WITH_IDS, ids=" ".join)
def test_what_is_somebody_elses_is_403_and_stays_as_it_is(route, context, account, mine, client):
    other = a_client(context, a_contacts_secret(context, account))
    foreign = a_client(context, a_secret(context, an_account(context, "Grace")))
    of_nobody, of_other, of_foreign = begun(client), begun(other), begun(foreign)
    before = rows(context, "SELECT * FROM conversations ORDER BY id")
    for conversation in (of_nobody, of_other, of_foreign):
        refused(asked(mine, route, conversation), 403, "forbidden")
        if route[0] != "get":
            bad = mine.request(route[0], route[1].format(conversation_id=conversation), content=b"{")
            refused(bad, 403, "forbidden")
    refused(asked(client, route, of_foreign), 403, "forbidden")
    assert rows(context, "SELECT * FROM conversations ORDER BY id") == before
    assert asked(client, route, of_other).status_code == 200, "an unbound token is the account's"
    assert one(context, "SELECT count(*) FROM messages WHERE conversation_id = :id", id=of_nobody) == 0


@pytest.mark.parametrize("route", WITH_IDS, ids=" ".join)
def test_unknown_ids_in_any_shape_are_404(route, mine):
    for unknown in (str(uuid.uuid4()), "conv-456", "%00", "%ff", "0", "a" * 500, "%F0%9F%98%80"):
        refused(asked(mine, route, unknown), 404, "not_found")
        if route[0] != "get":
            bad = mine.request(route[0], route[1].format(conversation_id=unknown), content=b"{")
            refused(bad, 404, "not_found")


def test_the_list_holds_the_users_own_only(context, account, mine, client):
    other = a_client(context, a_contacts_secret(context, account))
    foreign = a_client(context, a_secret(context, an_account(context, "Grace")))
    own, theirs, everybodys = begun(mine), begun(other), begun(client)
    begun(foreign)
    assert [one["id"] for one in listed(mine)["conversations"]] == [own]
    assert {one["id"] for one in listed(client)["conversations"]} == {own, theirs, everybodys}


def test_a_deleted_conversation_is_unknown(context, account, mine):
    conversation = begun(mine, initial_message="Hello")
    with context.transaction(account) as session:
        delete_conversation(session, conversation)
    for route in WITH_IDS:
        refused(asked(mine, route, conversation), 404, "not_found")
    assert listed(mine)["total"] == 0


def test_a_token_of_a_session_is_in_its_own_conversation(context, account, client):
    own, other = begun(client), begun(client)
    token = client.post(f"/api/v1/conversation/{own}/session/create").json()["token"]
    guest = a_client(context, token)
    assert say(guest, own).status_code == 200
    assert len(history(guest, own)["messages"]) == 1
    assert [one["id"] for one in listed(guest)["conversations"]] == [own]
    refused(say(guest, other), 403, "forbidden")
    refused(guest.post(f"{BASE}/start", json={}), 403, "forbidden")


def test_writes_under_a_key_have_one_effect_and_one_answer(context, mine):
    keyed = {"Idempotency-Key": "k-1"}
    first, again = (
        mine.post(f"{BASE}/start", json={"initial_message": "Hi"}, headers=keyed) for _ in range(2)
    )
    assert (first.json(), first.status_code) == (again.json(), 200)
    assert again.headers["idempotency-replayed"] == "true"
    conversation = first.json()["conversation_id"]
    keyed, body = {"Idempotency-Key": "k-2"}, {"content": "Hello"}
    first, again = (mine.post(f"{BASE}/{conversation}/messages", json=body, headers=keyed) for _ in range(2))
    assert first.json() == again.json()
    assert one(context, "SELECT count(*) FROM messages") == 2
    other = mine.post(f"{BASE}/{conversation}/messages", json={"content": "Other"}, headers=keyed)
    refused(other, 422, "key_reused")
    refused(
        mine.post(f"{BASE}/{conversation}/messages", json=body, headers={"Idempotency-Key": "a b"}),
        400,
        "invalid_message",
    )


def test_keys_of_two_contacts_do_not_meet(context, account, mine):
    other = a_client(context, a_contacts_secret(context, account))
    keyed = {"Idempotency-Key": "k"}
    first, second = (each.post(f"{BASE}/start", json={}, headers=keyed) for each in (mine, other))
    assert first.json()["conversation_id"] != second.json()["conversation_id"]


def test_attachments_by_address_are_kept_and_told_again(mine):
    conversation = begun(mine)
    given = {
        "url": "https://files.example/a.png",
        "attachment_type": "image",
        "mime_type": "image/png",
        "filename": "a.png",
        "size": 10,
        "unknown": "left out",
    }
    assert say(mine, conversation, "Look", attachments=[given]).status_code == 200
    (shown,) = history(mine, conversation)["messages"]
    assert shown["attachments"] == [{name: given[name] for name in given if name != "unknown"}]
    assert say(mine, conversation, "", attachments=[given]).status_code == 200
    assert history(mine, conversation)["messages"][-1]["content"] == "Attached: a.png"


def test_bytes_become_an_attachment_of_the_message(context, account, mine, client):
    conversation = begun(mine)
    data = base64.b64encode(b"hello").decode()
    answer = say(
        mine,
        conversation,
        "Look",
        attachments=[
            {"data": data, "mime_type": "text/plain", "filename": "../../a.txt"},
            {"url": f"data:text/plain;base64,{data}"},
        ],
    )
    assert answer.status_code == 200, answer.text
    (shown,) = history(mine, conversation)["messages"]
    first, second = shown["attachments"]
    assert first == {"id": first["id"], "mime_type": "text/plain", "size": 5, "filename": "a.txt"}
    content = client.get(f"/api/v1/conversation/{conversation}/attachment/{first['id']}/download")
    assert content.content == b"hello"
    assert (
        one(context, "SELECT count(*) FROM attachments WHERE message_id = :id", id=uuid.UUID(shown["id"]))
        == 2
    )
    assert say(mine, conversation, "Again", attachments=[{"id": second["id"]}]).status_code == 200
    other = begun(mine)
    refused(say(mine, other, "No", attachments=[{"id": second["id"]}]), 404, "not_found")
    refused(say(mine, other, "No", attachments=[{"id": "nonsense"}]), 404, "not_found")


def test_bytes_of_a_message_that_is_refused_or_told_again_are_thrown_away(context, mine):
    conversation = begun(mine)
    brought = {"data": base64.b64encode(b"hello").decode(), "mime_type": "text/plain"}
    refused(say(mine, conversation, 7, attachments=[brought]), 400, "invalid_message")
    refused(say(mine, conversation, "x", attachments=[brought, {"url": "ftp://x"}]), 400, "invalid_message")
    assert one(context, "SELECT count(*) FROM attachments") == 0
    keyed = {"Idempotency-Key": "k"}
    for _ in range(2):
        answer = mine.post(
            f"{BASE}/{conversation}/messages",
            json={"content": "x", "attachments": [brought]},
            headers=keyed,
        )
        assert answer.status_code == 200, answer.text
    assert one(context, "SELECT count(*) FROM attachments") == 1


def test_bytes_for_a_foreign_conversation_are_not_stored(context, account, mine, client):
    brought = [{"data": base64.b64encode(b"hello").decode()}]
    refused(say(mine, begun(client), "x", attachments=brought), 403, "forbidden")
    refused(say(mine, str(uuid.uuid4()), "x", attachments=brought), 404, "not_found")
    assert one(context, "SELECT count(*) FROM blobs") == 0


def test_what_is_private_is_shown_to_whom_may_see_it(context, account):
    contact = uuid.uuid4().hex
    with context.transaction(account) as session:
        from core.contacts import ensure_contact

        contact = ensure_contact(session, fingerprint=contact).id
    plain = a_client(context, a_contacts_secret(context, account, contact))
    entitled = a_client(context, a_contacts_secret(context, account, contact, ("read", "write", "pii:read")))
    bot = a_bot(context, account, privacy=True)
    conversation = begun(plain, bot_id=str(bot.id))
    assert say(plain, conversation, "Write to ada@example.com").status_code == 200
    assert "ada@example.com" not in one(context, "SELECT text FROM messages")
    (shown,) = history(plain, conversation)["messages"]
    assert "ada@example.com" not in shown["content"]
    (shown,) = history(entitled, conversation)["messages"]
    assert shown["content"] == "Write to ada@example.com"
    assert listed(entitled)["conversations"][0]["last_message"] == "Write to ada@example.com"
    assert "ada@example.com" not in listed(plain)["conversations"][0]["last_message"]


def test_what_nobody_may_see_yet_has_no_words(context, account, mine):
    conversation = begun(mine)
    say(mine, conversation, "Secret")
    execute(context, "UPDATE messages SET pii_state = 'blocked'")
    assert history(mine, conversation)["messages"][0]["content"] == ""
    assert listed(mine)["conversations"][0]["last_message"] == ""
    assert one(context, "SELECT content FROM message_history") == ""


def test_the_views_show_the_documented_tables(context, account, mine):
    columns = rows(
        context,
        "SELECT table_name AS name, column_name, data_type FROM information_schema.columns"
        " WHERE table_name IN ('sessions', 'message_history') ORDER BY table_name, ordinal_position",
    )
    shown = {
        name: {row["column_name"]: row["data_type"] for row in columns if row["name"] == name}
        for name in ("sessions", "message_history")
    }
    instant = "timestamp with time zone"
    assert shown["sessions"] == {
        "id": "uuid",
        "user_id": "uuid",
        "bot_id": "uuid",
        "status": "text",
        "created_at": instant,
        "updated_at": instant,
        "account_id": "uuid",
    }
    assert shown["message_history"] == {
        "id": "uuid",
        "session_id": "uuid",
        "sender": "text",
        "content": "text",
        "metadata": "jsonb",
        "created_at": instant,
        "account_id": "uuid",
    }


def test_the_views_hold_what_is_there_and_nothing_that_was_deleted(context, account, mine):
    conversation = begun(mine, initial_message="Hello")
    (stored,) = rows(context, "SELECT * FROM sessions")
    assert (str(stored["id"]), stored["status"], stored["account_id"]) == (conversation, "active", account)
    assert stored["user_id"] == one(context, "SELECT contact_id FROM conversations")
    assert stored["updated_at"] >= stored["created_at"]
    (said,) = rows(context, "SELECT * FROM message_history")
    assert (str(said["session_id"]), said["sender"], said["content"]) == (conversation, "user", "Hello")
    assert isinstance(said["created_at"], datetime)
    with context.transaction(account) as session:
        delete_conversation(session, conversation)
    assert rows(context, "SELECT * FROM sessions") == rows(context, "SELECT * FROM message_history") == []


def test_suggestions_come_from_the_bots_configuration_and_from_the_model(context, account, mine, working):
    fixed = a_bot(context, account, name="Fixed", meta={"suggestions": ["Yes", {"text": "No", "value": "n"}]})
    conversation = begun(mine, bot_id=str(fixed.id), initial_message="Hello")
    while len(found := history(mine, conversation)["messages"]) < 2:
        pass
    assert "suggestions" not in found[0]
    assert found[1]["suggestions"] == [{"text": "Yes", "value": "Yes"}, {"text": "No", "value": "n"}]


ANSWER = "Gladly, ada@example.com.\n\n```suggestions\nTrack it\nWrite to bob@example.com => mail\n```\n"


@pytest.fixture
def answering(monkeypatch):
    monkeypatch.setattr(offline, "compose", lambda *_: ANSWER)


def answered(context, leases, mine, bot):
    conversation = begun(mine, bot_id=str(bot.id), initial_message="Hello")
    (run,) = rows(context, "SELECT id FROM runs WHERE state = 'pending'")
    assert carry_out(context, leases, run["id"], worker="tests") == "succeeded"
    return history(mine, conversation)["messages"][-1], run["id"]


def test_a_block_of_suggestions_is_taken_off_the_answer(context, account, mine, leases, answering):
    bot = a_bot(context, account, name="Asks", meta={"suggestions": "model"})
    shown, run = answered(context, leases, mine, bot)
    assert shown["content"] == "Gladly, ada@example.com."
    assert shown["suggestions"] == [
        {"text": "Track it", "value": "Track it"},
        {"text": "Write to bob@example.com", "value": "mail"},
    ]
    assert one(context, "SELECT summary FROM runs WHERE id = :id", id=run) == "Gladly, ada@example.com."
    assert (
        one(
            context,
            "SELECT metadata -> 'suggestions' -> 0 ->> 'text' FROM message_history WHERE sender = 'bot'",
        )
        == "Track it"
    )


def test_suggestions_are_private_as_the_answer_is(context, account, mine, leases, answering):
    bot = a_bot(context, account, name="Asks", meta={"suggestions": "model"}, privacy=True)
    shown, _ = answered(context, leases, mine, bot)
    assert "example.com" not in str(shown)
    assert "example.com" not in str(rows(context, "SELECT text, meta FROM messages"))
    assert [one["value"] for one in shown["suggestions"]] == ["Track it", "mail"]


def test_a_bot_that_wants_none_says_what_its_model_says(context, account, mine, leases, answering):
    shown, _ = answered(context, leases, mine, a_bot(context, account, name="Plain"))
    assert shown["content"] == ANSWER
    assert "suggestions" not in shown


def test_the_same_write_at_once_is_stored_once(context, mine):
    conversation = begun(mine)

    def write(_):
        return mine.post(
            f"{BASE}/{conversation}/messages", json={"content": "x"}, headers={"Idempotency-Key": "k"}
        )

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(write, range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["message_id"] for answer in answers}) == 1
    assert one(context, "SELECT count(*) FROM messages") == 1
