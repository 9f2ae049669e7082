"""Migrations from servers that are slow, broken, hostile or gone, and what may never be read anywhere."""

from __future__ import annotations

import json
import logging
from datetime import timedelta

import pytest

from core import migrating, migration_reading, migration_source
from core.carrying import carry_on
from core.errors import Conflict, InvalidInput
from core.jobs import cancel_job
from models import Account
from tests.factories import an_account, one, rows
from tests.imports import errors, talks, texts, the_job
from tests.migrating import TOKEN, Elsewhere, a_migration, finish, make_due, migrated, told

LISTS = [f"/api/v1/{kind}/list" for kind in ("bot", "contact", "task", "conversation")]
MESSAGES = "/api/v1/conversation/a/message/list"
NONE = told({"message": "none", "code": "NOT_FOUND"}, 404)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(migrating, "BASE", timedelta(milliseconds=1))


@pytest.fixture
def elsewhere():
    with Elsewhere() as server:
        server.lists["bot"].append({"id": "b1", "name": "guide", "backstory": "You know the museum."})
        server.lists["contact"].append({"id": "k1", "fingerprint": "f1", "name": "Ada"})
        server.lists["task"].append(
            {"id": "t1", "name": "Morning", "description": "Say it.", "schedule": "daily", "botId": "b1"}
        )
        server.talk("a", "One", "Two", botId="b1", contactId="k1", taskId="t1")
        server.talk("b", "Three")
        yield server


def said(context, account):
    return {talk["name"]: [text for _, text in texts(talk)] for talk in talks(context, account)}


WHOLE = {"About a": ["One", "Two"], "About b": ["Three"]}


def sometimes(*answers, path=None):
    """Answers so at first, then as usual."""
    left = list(answers)

    def hook(at, _query):
        return left.pop(0) if left and (path is None or at == path) else None

    return hook


@pytest.mark.parametrize("path", [None, *LISTS, MESSAGES])
@pytest.mark.parametrize(
    "bad",
    [
        told({"message": "slow down"}, 429),
        told({"message": "no"}, 500),
        told(b"<html>Bad gateway</html>", 502),
        told(b"<html>Welcome</html>"),
        told(b'{"items": "none"}'),
        told(b'{"items": ['),
        told(b"\xff\xfe"),
        told(b"[]"),
        told(b""),
    ],
    ids=["429", "500", "502", "html", "no-list", "cut", "bytes", "array", "empty"],
)
def test_what_fails_some_times_is_asked_for_again(context, account, elsewhere, path, bad):
    elsewhere.hook = sometimes(bad, bad, bad, path=path)
    job = migrated(context, account, elsewhere.url)
    assert (job.state, job.counts.get("errors")) == ("completed", None)
    assert said(context, account) == WHOLE


def test_a_server_is_left_alone_as_long_as_it_asks(context, account, elsewhere):
    elsewhere.hook = sometimes(told({"message": "later"}, 429, **{"Retry-After": "120"}), path=LISTS[3])
    job = a_migration(context, account, elsewhere.url)
    assert carry_on(context, job.id) == "paced"
    wait = one(context, "SELECT extract(epoch FROM run_at - now()) FROM jobs WHERE id = :id", id=job.id)
    assert 100 < wait <= 120
    assert carry_on(context, job.id) == "ignored"
    asked = len(elsewhere.asked)
    make_due(context, job.id)
    assert finish(context, job.id) == "completed"
    assert len(elsewhere.asked) > asked
    assert said(context, account) == WHOLE


def test_an_absurd_wait_is_bounded(context, account, elsewhere):
    elsewhere.hook = sometimes(told({}, 503, **{"Retry-After": "9" * 12}))
    job = a_migration(context, account, elsewhere.url)
    assert carry_on(context, job.id) == "paced"
    assert one(context, "SELECT run_at <= now() + interval '1 hour' FROM jobs WHERE id = :id", id=job.id)


@pytest.mark.parametrize(
    ("answer", "error_class", "sentence"),
    [
        (told({"message": "no"}, 401), "refused", "does not accept the token"),
        (told({"message": "no"}, 403), "refused", "cannot be read"),
        (told({"message": "no"}, 400), "refused", "refuses the request (400)"),
        (NONE, "refused", "There is no list of bots"),
        (told(b"", 302, Location="https://elsewhere.example/"), "refused", "sends elsewhere"),
        (told({"message": "no"}, 500), "provider_error", "keeps failing"),
        (told({"message": "no"}, 429), "quota", "no more requests"),
        (told(b"<html>"), "provider_error", "not ChatBotKit's API"),
    ],
    ids=["401", "403", "400", "404", "302", "500", "429", "html"],
)
def test_a_server_that_never_answers_well_ends_it_in_a_sentence(
    context, account, elsewhere, answer, error_class, sentence
):
    elsewhere.hook = lambda *_: answer
    job = migrated(context, account, elsewhere.url)
    assert (job.state, job.error_class) == ("failed", error_class)
    assert sentence in job.params["refused"]
    assert "sealed" not in job.params
    assert len(elsewhere.asked) <= migrating.MOST_TRIES


def test_a_token_that_is_revoked_in_the_middle_ends_it_and_what_is_there_stays(context, account, elsewhere):
    elsewhere.hook = lambda path, _: told({"message": "no"}, 401) if path.endswith("b/message/list") else None
    job = migrated(context, account, elsewhere.url)
    assert (job.state, job.error_class) == ("failed", "refused")
    assert said(context, account)["About a"] == ["One", "Two"]
    elsewhere.hook = None
    assert migrated(context, account, elsewhere.url).state == "completed"
    assert said(context, account) == WHOLE


def test_nobody_at_the_address_ends_it_in_a_sentence(context, account, elsewhere):
    url = elsewhere.url
    elsewhere._server.server_close()
    job = migrated(context, account, url)
    assert (job.state, job.error_class) == ("failed", "provider_error")
    assert "cannot be reached" in job.params["refused"]


def test_a_conversation_that_is_never_told_is_passed_and_told_of(context, account, elsewhere):
    elsewhere.hook = lambda path, _: told({}, 500) if path == MESSAGES else None
    job = migrated(context, account, elsewhere.url)
    assert (job.state, job.failed) == ("completed_with_errors", 1)
    assert errors(context, account, job) == [(4, "unfetched")]
    assert said(context, account) == {"About b": ["Three"]}


def test_a_server_that_tells_none_of_its_conversations_ends_it(context, account, elsewhere):
    for key in "cdef":
        elsewhere.talk(key, "Hello")
    elsewhere.hook = lambda path, _: told({}, 500) if "/message/" in path else None
    job = migrated(context, account, elsewhere.url)
    assert (job.state, job.error_class) == ("failed", "provider_error")
    assert job.failed == migration_reading.MOST_LOST


def test_what_the_token_may_not_see_is_told_of(context, account, elsewhere):
    elsewhere.hook = lambda path, _: told({}, 403) if path == MESSAGES else None
    job = migrated(context, account, elsewhere.url)
    assert (job.state, errors(context, account, job)) == ("completed_with_errors", [(4, "unfetched")])


@pytest.mark.parametrize("status", [404, 410])
def test_a_conversation_that_vanishes_before_it_is_read_is_no_error(context, account, elsewhere, status):
    elsewhere.hook = lambda path, _: told({}, status) if path == MESSAGES else None
    job = migrated(context, account, elsewhere.url)
    assert (job.state, job.counts["vanished"]) == ("completed", 1)
    assert said(context, account) == {"About b": ["Three"]}


def test_rows_that_vanish_and_come_while_pages_are_read_cost_nothing_else(
    context, account, elsewhere, monkeypatch
):
    monkeypatch.setattr(migration_reading, "MESSAGES", 1)
    for key in "cdefg":
        elsewhere.talk(key, f"Of {key}")
    monkeypatch.setattr(migration_source, "TAKE", 3)
    monkeypatch.setattr(migration_reading, "TAKE", 3)
    monkeypatch.setattr(migrating.Migration, "turn", 0.0)  # every batch asks for its page anew
    job = a_migration(context, account, elsewhere.url)
    for _ in range(5):
        carry_on(context, job.id)
    listed = elsewhere.lists["conversation"]
    del listed[0]  # dealt with already
    listed[:] = [row for row in listed if row["id"] != "e"]
    elsewhere.talk("late", "Come late")
    finish(context, job.id)
    found = said(context, account)
    assert {"About b", "About c", "About d", "About f", "About g", "About late"} <= found.keys()
    assert "About e" not in found
    assert one(context, "SELECT count(*) FROM conversations") == len(found)


def test_a_list_that_goes_round_for_ever_is_left_and_told_of(context, account, elsewhere, monkeypatch):
    monkeypatch.setattr(migration_source, "TAKE", 2)
    monkeypatch.setattr(migration_reading, "TAKE", 2)
    for number in range(2, 8):
        elsewhere.lists["contact"].append({"id": f"k{number}", "fingerprint": f"f{number}"})

    def round_and_round(path, query):
        rows_ = elsewhere.lists["contact"]
        if path != LISTS[1]:
            return None
        begin = int(query.get("cursor") or 0) % len(rows_)
        return told({"items": rows_[begin : begin + 2], "cursor": str(begin + 2)})

    elsewhere.hook = round_and_round
    job = migrated(context, account, elsewhere.url)
    assert job.state == "completed_with_errors"
    assert [code for _, code in errors(context, account, job)] == ["endless"]
    assert one(context, "SELECT count(*) FROM contacts") == 7
    assert elsewhere.asked.count(LISTS[1]) < 20
    assert said(context, account) == WHOLE


@pytest.mark.parametrize("cursor", ["a-m2", "x", ""])
def test_messages_that_go_round_for_ever_are_stored_once(context, account, elsewhere, cursor):
    same = elsewhere.messages["a"]

    def again(path, _query):
        return told({"items": same, "cursor": cursor}) if path == MESSAGES else None

    elsewhere.hook = again
    job = migrated(context, account, elsewhere.url)
    assert [code for _, code in errors(context, account, job)] == ["endless"]
    assert said(context, account) == WHOLE


def test_what_is_listed_twice_is_stored_once(context, account, elsewhere):
    for kind in elsewhere.lists:
        elsewhere.lists[kind] *= 2
    elsewhere.messages["a"] *= 2

    def everything(path, query):
        if query.get("cursor"):
            return told({"items": []})
        kind = path.split("/")[3]
        rows_ = elsewhere.messages["a"] if path == MESSAGES else elsewhere.lists[kind]
        return told({"items": rows_, "cursor": "x"}) if "b/message" not in path else None

    elsewhere.hook = everything
    job = migrated(context, account, elsewhere.url)
    assert (job.state, job.total) == ("completed", 5)
    assert said(context, account) == WHOLE


def test_missing_and_unknown_fields_are_forgiven(context, account):
    with Elsewhere() as server:
        server.lists["bot"] = [
            {"id": "b1"},
            {"id": "b2", "name": None, "model": "a//", "visibility": "odd", "new": [1]},
        ]
        server.lists["contact"] = [{"id": "k1"}, {"id": "k2", "email": "no address", "phone": "?", "meta": 7}]
        server.lists["task"] = [
            {"id": "t1", "name": "x", "maxTime": -1, "sessionDuration": "long", "overlap": 3}
        ]
        server.lists["conversation"] = [
            {"id": "a", "createdAt": "yesterday", "meta": {"_x": 1, "ok": {"deep": [1]}}, "status": "odd"},
        ]
        server.messages["a"] = [
            {"id": "m1", "type": "user", "text": "One", "surprise": {}},
            {"id": "m2", "type": "hologram", "text": "Two"},
            {"type": "bot", "text": "Three", "createdAt": None},
        ]
        job = migrated(context, account, server.url)
    assert job.state == "completed", errors(context, account, job)
    (talk,) = talks(context, account)
    assert texts(talk) == [("user", "One"), ("context", "Two"), ("bot", "Three")]
    assert talk["meta"]["ok"] == {"deep": [1]}
    assert one(context, "SELECT count(*) FROM contacts") == 2
    assert job.params["unknown"]["role:hologram"] == 1


def test_rows_that_are_none_are_told_by_number_and_word(context, account):
    with Elsewhere() as server:
        server.lists["bot"] = [
            {"name": "no id"},
            {"id": "../../x"},
            {"id": "b", "backstory": "x" * 70_000},
            7,
        ]
        server.lists["task"] = [
            {"id": "t1", "name": "Never", "schedule": "61 * * * *"},
            {"id": "t2", "name": "Past", "schedule": "2001-01-01T00:00:00Z"},
            {"id": "t3"},
        ]
        server.talk("a", "One", taskId="t2")
        server.messages["a"] += [{"id": "m9", "type": "user"}, "what"]
        server.lists["conversation"].append({"name": "no id either"})
        job = migrated(context, account, server.url)
    assert job.state == "completed_with_errors"
    assert errors(context, account, job) == [
        (1, "bad_id"),
        (2, "bad_id"),
        (3, "bad_bot"),
        (4, "bad_id"),
        (5, "schedule_dropped"),
        (6, "schedule_dropped"),
        (7, "bad_task"),
        (8, "bad_message"),
        (8, "bad_message"),
        (9, "bad_id"),
    ]
    assert (job.done, job.failed) == (3, 6)
    found = rows(context, "SELECT name, schedule, state FROM tasks ORDER BY name")
    assert [tuple(row.values()) for row in found] == [("Never", None, "paused"), ("Past", None, "paused")]
    (link,) = rows(context, "SELECT t.name FROM conversations c JOIN tasks t ON t.id = c.task_id")
    assert link == {"name": "Past"}


def test_what_came_after_its_list_was_read_is_asked_for_by_its_id(context, account, elsewhere):
    late = {"bot": {"id": "b9", "name": "late"}, "contact": {"id": "k9", "name": "Late"}}
    late["task"] = {"id": "t9", "name": "Later", "botId": "b9", "contactId": "k9"}
    elsewhere.talk("z", "Hello", botId="b9", contactId="k9", taskId="t9")
    elsewhere.talk("y", "Hello", botId="gone", contactId="gone", taskId="gone")

    def fetched(path, _query):
        _, _, _, kind, *rest = path.split("/")
        return (
            told(late[kind]) if rest[-1:] == ["fetch"] and rest[0] == late.get(kind, {}).get("id") else None
        )

    elsewhere.hook = fetched
    job = migrated(context, account, elsewhere.url)
    assert job.state == "completed"
    links = rows(
        context,
        "SELECT c.name, b.name AS bot, k.name AS contact, t.name AS task FROM conversations c"
        " LEFT JOIN bots b ON b.id = c.bot_id LEFT JOIN contacts k ON k.id = c.contact_id"
        " LEFT JOIN tasks t ON t.id = c.task_id WHERE c.name IN ('About z', 'About y') ORDER BY c.name DESC",
    )
    assert [tuple(row.values()) for row in links] == [
        ("About z", "late", "Late", "Later"),
        ("About y", None, None, None),
    ]
    assert sum(path.endswith("/gone/fetch") for path in elsewhere.asked) == 3


def test_a_page_too_large_for_one_answer_is_asked_for_in_parts(context, account, elsewhere, monkeypatch):
    elsewhere.talk("c", *(f"{n} " + "x" * 2000 for n in range(40)))
    monkeypatch.setattr(migration_source, "MOST_BODY", 30_000)
    job = migrated(context, account, elsewhere.url)
    assert job.state == "completed"
    assert len(said(context, account)["About c"]) == 40


def test_a_message_too_large_for_any_answer_is_told_of(context, account, elsewhere, monkeypatch):
    elsewhere.talk("c", "x" * 50_000)
    elsewhere.talk("d", "Behind it")
    monkeypatch.setattr(migration_source, "MOST_BODY", 30_000)
    job = migrated(context, account, elsewhere.url)
    assert errors(context, account, job) == [(6, "unfetched")]
    assert said(context, account) == {**WHOLE, "About d": ["Behind it"]}


def test_what_postgresql_cannot_store_is_mended(context, account, elsewhere):
    elsewhere.talk("c", "Half \ud83d and NUL \x00")
    job = migrated(context, account, elsewhere.url)
    assert said(context, account)["About c"] == ["Half \ufffd and NUL \ufffd"]
    assert job.params["unknown"]["mended_text"] == 1


def test_its_base_may_have_a_path_and_an_end(context, account, elsewhere):
    for end in ("/", "/api/v1", "/v1/"):
        assert migrated(context, account, elsewhere.url + end).state == "completed"
    assert {path.split("/")[1] for path in elsewhere.asked} == {"api"}
    assert migration_source.checked_base("https://api.chatbotkit.com", "") == "https://api.chatbotkit.com/v1"


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("https://10.1.2.3", "CRONTALK_OUTBOUND_ALLOW"),
        ("http://chat.example.com", "CRONTALK_OUTBOUND_ALLOW"),
        ("https://[::1]/", "CRONTALK_OUTBOUND_ALLOW"),
        ("https://ada:secret@chat.example.com", "must not hold a user name"),
        ("https://chat.example.com/?token=secret", "must not have a query"),
        ("chat.example.com", "must be https"),
        ("file:///etc/passwd", "must be https"),
    ],
)
def test_addresses_that_are_none_are_refused_at_the_door(context, account, monkeypatch, url, sentence):
    monkeypatch.setattr(context.settings, "outbound_allow", "")
    with pytest.raises(InvalidInput, match=sentence) as refused:
        a_migration(context, account, url)
    for word in ("secret", "example", "10.1", "ada"):
        assert word not in str(refused.value).replace("host:port", "")
    assert rows(context, "SELECT 1 FROM jobs") == []


def test_an_allowance_that_is_taken_back_ends_it(context, account, elsewhere, monkeypatch):
    job = a_migration(context, account, elsewhere.url)
    monkeypatch.setattr(context.settings, "outbound_allow", "")
    finish(context, job.id)
    ended = the_job(context, account, job.id)
    assert (ended.state, ended.error_class) == ("failed", "refused")
    assert "CRONTALK_OUTBOUND_ALLOW" in ended.params["refused"]
    assert elsewhere.asked == []


@pytest.mark.parametrize("token", ["", " ", "two words", "umläut", "x" * 5000, "line\nbreak"])
def test_tokens_that_are_none_are_refused_at_the_door(context, account, token):
    with pytest.raises(InvalidInput, match="token must be one word"):
        a_migration(context, account, "https://chat.example.com", token)


def test_kinds_and_keys_are_checked_at_the_door(context, account, monkeypatch):
    with pytest.raises(InvalidInput, match="What can be pulled"):
        a_migration(context, account, "https://chat.example.com", only=["secrets"])
    monkeypatch.setattr(context.settings, "key", None)
    with pytest.raises(Conflict, match="CRONTALK_KEY"):
        a_migration(context, account, "https://chat.example.com")


def test_a_changed_key_ends_it_in_a_sentence(context, account, elsewhere, monkeypatch):
    from pydantic import SecretStr

    job = a_migration(context, account, elsewhere.url)
    monkeypatch.setattr(context.settings, "key", SecretStr("7f" * 32))
    finish(context, job.id)
    ended = the_job(context, account, job.id)
    assert (ended.state, ended.error_class) == ("failed", "refused")
    assert elsewhere.asked == []


@pytest.mark.parametrize("how", ["well", "badly", "cancelled", "closed"])
def test_the_token_is_readable_nowhere_and_gone_at_the_end(
    context, account, elsewhere, caplog, capfd, how, redis_url
):
    caplog.set_level(logging.DEBUG)
    job = a_migration(context, account, elsewhere.url)
    assert canaries(context, redis_url, elsewhere.url) == []
    if how == "badly":
        elsewhere.hook = sometimes(*[told({"message": TOKEN}, 500)] * 3, told({"message": TOKEN}, 401))
    if how == "closed":
        from core.accounts import close_account

        with context.transaction() as session:
            close_account(session, session.get_one(Account, account))
    if how == "cancelled":
        with context.transaction(account) as session:
            cancel_job(session, job.id)
    else:
        finish(context, job.id)
        assert elsewhere.tokens <= {f"Bearer {TOKEN}"}
    assert "sealed" not in str(rows(context, "SELECT params FROM jobs"))
    assert canaries(context, redis_url, elsewhere.url) == []
    told_ = caplog.text + "".join(capfd.readouterr())
    assert TOKEN not in told_
    assert elsewhere.url not in told_


def canaries(context, redis_url, url):
    """Where in the database or Valkey the token or the address can be read."""
    import redis

    found = []
    tables = rows(context, "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
    for row in tables:
        table = row["tablename"]
        every = str(rows(context, f"SELECT CAST(t AS text) AS whole FROM {table} t"))
        found += [table for word in (TOKEN, url.partition("//")[2]) if word in every]
    with redis.Redis.from_url(redis_url) as valkey:
        for key in valkey.scan_iter():
            kind = valkey.type(key)
            value = valkey.lrange(key, 0, -1) if kind == b"list" else valkey.dump(key)
            found += [str(key)] if TOKEN.encode() in (str(value).encode() + key) else []
    return found


def test_a_failing_server_is_not_told_of_in_words_of_its_own(context, account, elsewhere):
    """What a server says is of somebody else's making."""
    elsewhere.hook = lambda *_: told({"message": "<b>call +49 30 901820</b>", "code": "X"}, 403)
    job = migrated(context, account, elsewhere.url)
    whole = json.dumps(job.params) + str(rows(context, "SELECT * FROM job_errors"))
    assert "901820" not in whole


def test_two_accounts_migrate_the_same_without_meeting(context, account, elsewhere):
    other = an_account(context, "Other")
    migrated(context, account, elsewhere.url)
    migrated(context, other, elsewhere.url)
    assert said(context, account) == said(context, other) == WHOLE


@pytest.fixture
def few(monkeypatch):
    """Pages of three, batches of one, and every batch asks for its page anew."""
    monkeypatch.setattr(migration_source, "TAKE", 3)
    monkeypatch.setattr(migration_reading, "TAKE", 3)
    monkeypatch.setattr(migration_reading, "MESSAGES", 1)
    monkeypatch.setattr(migrating.Migration, "turn", 0.0)


@pytest.mark.parametrize("gone", [1, 2, 3])
def test_a_place_in_a_list_that_vanishes_is_found_again(context, account, elsewhere, few, gone):
    """A server that knows nothing of what follows a row that is not there any more."""
    for number in range(2, 9):
        elsewhere.lists["contact"].append({"id": f"k{number}", "fingerprint": f"f{number}"})
    job = a_migration(context, account, elsewhere.url)
    while one(context, "SELECT count(*) FROM contacts") < 6:
        carry_on(context, job.id)
    listed = elsewhere.lists["contact"]
    del listed[6 - gone : 6]
    finish(context, job.id)
    assert the_job(context, account, job.id).state == "completed"
    assert one(context, "SELECT count(*) FROM contacts") == 8


def test_a_place_in_a_list_that_is_lost_is_told_of(context, account, elsewhere, few):
    for number in range(2, 9):
        elsewhere.lists["contact"].append({"id": f"k{number}", "fingerprint": f"f{number}"})
    job = a_migration(context, account, elsewhere.url)
    while one(context, "SELECT count(*) FROM contacts") < 6:
        carry_on(context, job.id)
    del elsewhere.lists["contact"][:6]
    finish(context, job.id)
    assert [code for _, code in errors(context, account, the_job(context, account, job.id))] == ["lost_place"]
    assert migrated(context, account, elsewhere.url).state == "completed"
    assert one(context, "SELECT count(*) FROM contacts") == 8


def test_a_place_in_a_conversation_that_vanishes_is_found_again(context, account, elsewhere, few):
    elsewhere.talk("c", *(f"Text {n}" for n in range(1, 12)))
    job = a_migration(context, account, elsewhere.url)
    while one(context, "SELECT count(*) FROM messages WHERE text LIKE 'Text %'") < 6:
        carry_on(context, job.id)
    del elsewhere.messages["c"][5]
    finish(context, job.id)
    ended = the_job(context, account, job.id)
    assert (ended.state, ended.done) == ("completed", 6)
    assert said(context, account)["About c"] == [f"Text {n}" for n in range(1, 12)]


def test_what_something_hangs_on_and_is_never_told_costs_nothing_else(context, account, elsewhere):
    elsewhere.talk("z", "Hello", botId="b9")
    elsewhere.hook = lambda path, _: told({}, 500) if path.endswith("b9/fetch") else None
    job = migrated(context, account, elsewhere.url)
    assert job.state == "completed"
    assert said(context, account) == {**WHOLE, "About z": ["Hello"]}


def test_a_server_that_is_too_slow_is_asked_for_less(context, account, elsewhere, monkeypatch):
    import time

    asked = []

    def slow(path, query):
        if path == MESSAGES:
            asked.append(int(query["take"]))
            if asked[-1] > 30:
                time.sleep(0.6)

    elsewhere.hook = slow
    monkeypatch.setattr(context.settings, "lease", timedelta(seconds=0.6))
    assert migrated(context, account, elsewhere.url).state == "completed"
    assert asked[:3] == [100, 50, 25]


def test_people_who_share_an_address_stay_two(context, account, elsewhere):
    mine = {"email": "home@example.com", "phone": "+14155550132"}
    elsewhere.lists["contact"] += [
        {"id": "k2", "fingerprint": "f2", "name": "Grace", **mine},
        {"id": "k3", "fingerprint": "f3", "name": "Alan", **mine},
    ]
    migrated(context, account, elsewhere.url)
    assert one(context, "SELECT count(*) FROM contacts") == 3


def test_privacy_of_a_conversation_holds(context, account, elsewhere):
    elsewhere.talk("p", "Write to grace.hopper@example.com", privacy=True)
    migrated(context, account, elsewhere.url)
    (private,) = [talk for talk in talks(context, account) if talk["privacy"]]
    assert private["name"] == "About p"
    assert "grace.hopper" not in str(private)


@pytest.mark.parametrize("value", [[], {}, ["x"], {"a": []}, 1, True])
def test_values_of_any_type_stop_nothing(context, account, elsewhere, value):
    for kind, field in (("bot", "visibility"), ("task", "action"), ("conversation", "status")):
        elsewhere.lists[kind][0][field] = value
    job = migrated(context, account, elsewhere.url)
    assert (job.state, job.failed) == ("completed", 0)
    assert said(context, account) == WHOLE
