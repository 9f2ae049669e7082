"""Migrations from a second Crontalk over HTTP: all of it once, as it was, however often workers are lost."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from core import migrating, migration_reading, migration_source
from core.bots import update_bot
from core.carrying import carry_on
from core.contacts import update_contact
from core.conversations import delete_conversation, update_conversation
from core.drafts import Draft
from core.errors import NotAuthorized
from core.jobs import cancel_job, pause_job, resume_job
from core.messages import create_messages
from core.tasks import create_task, delete_task, resume_task
from core.undoing import undo_import
from models import MessageType
from tests.api import a_secret
from tests.factories import a_bot, a_contact, a_conversation, an_account, execute, one, rows
from tests.imports import a_talk, an_export, carry, counts, errors, imported, talks, texts, the_job
from tests.migrating import a_migration, finish, make_due, migrated, served

MAIL = "grace.hopper@example.com"


@pytest.fixture(autouse=True)
def _at_once(context, monkeypatch):
    monkeypatch.setattr(context.settings, "rate_bulk", None)
    monkeypatch.setattr(migrating, "BASE", timedelta(milliseconds=1))


@pytest.fixture
def there(context):
    """Another account, with something of every kind."""
    account = an_account(context, "There")
    bot = a_bot(context, account, name="guide", backstory="You know the museum.", meta={"floor": 2})
    contact = a_contact(
        context, account, name="Ada", email="ada@example.com", fingerprint="f-ada", preferences="tea"
    )
    with context.transaction(account) as session:
        task = create_task(
            session,
            name="Morning",
            description="Say good morning.",
            schedule="0 9 * * 1-5",
            timezone="Europe/Berlin",
            bot_id=str(bot.id),
            contact_id=contact.id,
            max_iterations=7,
            overlap="queue",
            meta={"team": "a"},
        )
    a_said(
        context,
        account,
        ["Where is the café?", "On the second floor."],
        name="The café",
        description="About food",
        bot_id=str(bot.id),
        contact_id=contact.id,
        task_id=task.id,
        source="widget",
        status="archived",
        meta={"page": "visit"},
    )
    a_said(context, account, [f"Text {n}" for n in range(1, 12)], name="Long", bot_id=str(bot.id))
    a_said(context, account, [], name="Nothing said", backstory="You say nothing.", model="offline")
    a_said(context, account, ["One", "Two", "Three"], name="Last", contact_id=contact.id)
    return account


def a_said(context, account, said, **fields):
    talk = a_conversation(context, account, **fields)
    drafts = [
        Draft(MessageType.USER if at % 2 == 0 else MessageType.BOT, words, meta={"at": at})
        for at, words in enumerate(said)
    ]
    with context.transaction(account) as session:
        for begin in range(0, len(drafts), 100):
            create_messages(session, talk.id, drafts[begin : begin + 100])
    return talk


@pytest.fixture
def server(context, there):
    """Where it is served, and a token for it."""
    with served(context) as url:
        yield url, a_secret(context, there, ("read",))


@pytest.fixture
def small(monkeypatch):
    """Pages and batches of few, so that little is much."""
    monkeypatch.setattr(migration_source, "TAKE", 3)
    monkeypatch.setattr(migration_reading, "TAKE", 3)
    monkeypatch.setattr(migration_reading, "MESSAGES", 1)


def all_said(context, account):
    return {talk["name"]: texts(talk) for talk in talks(context, account)}


def test_everything_comes_over_as_it_was(context, account, there, server):
    job = migrated(context, account, *server)
    assert (job.state, job.failed) == ("completed", 0), errors(context, account, job)
    before, after = ({talk["name"]: talk for talk in talks(context, one)} for one in (there, account))
    assert all_said(context, account) == all_said(context, there)
    for name, talk in after.items():
        assert talk["description"] == before[name]["description"]
        assert {"imported", *before[name]["meta"]} == set(talk["meta"])
        assert talk["meta"]["imported"]["id"] == str(before[name]["id"])
        for field in ("created_at", "updated_at"):
            assert abs(talk[field] - before[name][field]) < timedelta(milliseconds=1)
        for was, now in zip(before[name]["messages"], talk["messages"], strict=True):
            assert (now["type"], now["text"], now["meta"]) == (was["type"], was["text"], was["meta"])
            assert abs(now["created_at"] - was["created_at"]) < timedelta(milliseconds=3)
    assert after["The café"]["source"] == "widget"
    assert after["The café"]["meta"]["imported"]["from"] == "chatbotkit"
    told = job.counts
    assert (told["bots"], told["contacts"], told["tasks"]) == (1, 1, 1)
    assert (told["conversations"], told["messages"]) == (4, 16)


def test_links_lead_to_what_was_made_here(context, account, server):
    migrated(context, account, *server)
    bot = rows(context, "SELECT * FROM bots WHERE account_id = :a AND name = 'guide'", a=account)[0]
    contact = rows(context, "SELECT * FROM contacts WHERE account_id = :a", a=account)[0]
    task = rows(context, "SELECT * FROM tasks WHERE account_id = :a", a=account)[0]
    assert (bot["backstory"], bot["meta"]) == ("You know the museum.", {"floor": 2})
    assert (contact["fingerprint"], contact["email"], contact["preferences"]) == (
        "f-ada",
        "ada@example.com",
        "tea",
    )
    assert (task["bot_id"], task["contact_id"]) == (bot["id"], contact["id"])
    assert (task["schedule"], task["timezone"]) == ("0 9 * * 1-5", "Europe/Berlin")
    assert (task["state"], task["pause_reason"]) == ("paused", "imported")
    assert (task["max_iterations"], task["overlap"], task["meta"]) == (7, "queue", {"team": "a"})
    links = rows(
        context,
        "SELECT name, bot_id, contact_id, task_id, status, backstory, model FROM conversations"
        " WHERE account_id = :a",
        a=account,
    )
    by_name = {row["name"]: row for row in links}
    cafe = by_name["The café"]
    assert (cafe["bot_id"], cafe["contact_id"], cafe["task_id"]) == (bot["id"], contact["id"], task["id"])
    assert cafe["status"] == "archived"
    assert by_name["Last"]["contact_id"] == contact["id"]
    silent = by_name["Nothing said"]
    assert (silent["bot_id"], silent["backstory"], silent["model"]) == (None, "You say nothing.", "offline")


def test_a_second_run_changes_nothing(context, account, server):
    first = migrated(context, account, *server)
    execute(context, "UPDATE tasks SET name = 'Mine' WHERE account_id = :a", a=account)
    with context.transaction(account) as session:
        update_bot(session, rows(context, BOT, a=account)[0]["id"], backstory="Changed here.")
        update_contact(session, one(context, CONTACT, a=account), name="Countess")
        talk = talks(context, account)[0]["id"]
        update_conversation(session, talk, name="Renamed here")
    before = everything(context, account)
    again = migrated(context, account, *server)
    assert again.state == "completed"
    assert (again.done, again.skipped) == (0, first.done + first.skipped)
    assert everything(context, account) == before
    assert again.counts == {"known": 20}


BOT = "SELECT * FROM bots WHERE account_id = :a AND name = 'guide'"
CONTACT = "SELECT id FROM contacts WHERE account_id = :a"


def everything(context, account):
    tables = ("bots", "contacts", "tasks", "conversations", "messages")
    return {
        table: rows(context, f"SELECT * FROM {table} WHERE account_id = :a ORDER BY id", a=account)
        for table in tables
    }


def test_a_second_run_brings_only_what_is_new(context, account, there, server):
    migrated(context, account, *server)
    by_name = {talk["name"]: talk for talk in talks(context, there)}
    with context.transaction(there) as session:
        create_messages(session, by_name["Long"]["id"], [Draft(MessageType.USER, "Later")])
    a_said(context, there, ["New"], name="New", bot_id=str(a_bot(context, there, name="second").id))
    again = migrated(context, account, *server)
    told = again.counts
    assert (told["messages"], told["conversations"], told["bots"]) == (2, 1, 1)
    assert all_said(context, account) == all_said(context, there)


def test_what_was_deleted_here_stays_deleted(context, account, server):
    migrated(context, account, *server)
    by_name = {talk["name"]: talk for talk in talks(context, account)}
    with context.transaction(account) as session:
        delete_conversation(session, by_name["Last"]["id"])
        delete_task(session, one(context, "SELECT id FROM tasks WHERE account_id = :a", a=account))
    again = migrated(context, account, *server)
    assert again.counts["deleted"] == 3
    assert "Last" not in all_said(context, account)
    assert one(context, "SELECT state FROM tasks WHERE account_id = :a", a=account) == "deleted"


def test_a_file_and_a_migration_know_of_each_other(context, account, there, server):
    """The same conversation, saved to a file before: its messages are not brought twice."""
    talk = next(talk for talk in talks(context, there) if talk["name"] == "Last")
    saved = {
        "id": str(talk["id"]),
        "name": "Last",
        "messages": [
            {"id": str(m["id"]), "type": m["type"], "text": m["text"]} for m in talk["messages"][:2]
        ],
    }
    imported(context, account, json.dumps([saved]).encode(), "c.json", format="chatbotkit")
    job = migrated(context, account, *server)
    assert job.counts["known"] == 2
    assert all_said(context, account) == all_said(context, there)


def test_bots_that_are_there_are_linked_to_or_left_alone(context, account, there, server):
    same = a_bot(context, account, name="guide", backstory="You know the museum.")
    a_bot(context, there, name="helper", backstory="Theirs.")
    mine = a_bot(context, account, name="helper", backstory="Ours.")
    migrated(context, account, *server)
    found = rows(context, "SELECT id, name, backstory FROM bots WHERE account_id = :a", a=account)
    named = {row["name"]: row for row in found if row["name"] != "default"}
    assert set(named) == {"guide", "helper", "helper (2)"}
    assert (named["helper"]["id"], named["helper"]["backstory"]) == (mine.id, "Ours.")
    assert named["helper (2)"]["backstory"] == "Theirs."
    assert next(talk for talk in talks(context, account) if talk["name"] == "Long")["bot_id"] == same.id


def test_only_some_kinds_are_pulled(context, account, server):
    job = migrated(context, account, *server, only=["bots", "tasks"])
    assert {name: job.counts.get(name) for name in ("bots", "tasks", "contacts", "conversations")} == {
        "bots": 1,
        "tasks": 1,
        "contacts": None,
        "conversations": None,
    }
    later = migrated(context, account, *server, only=["conversations"])
    assert later.counts["conversations"] == 4
    cafe = next(talk for talk in talks(context, account) if talk["name"] == "The café")
    assert cafe["bot_id"] is not None
    assert cafe["contact_id"] is None


def test_what_has_not_changed_since_is_left_out(context, account, there, server):
    before = one(context, "SELECT now()")
    a_said(context, there, ["Fresh"], name="Fresh")
    job = migrated(context, account, *server, only=["conversations"], since=before)
    assert list(all_said(context, account)) == ["Fresh"]
    assert (job.done, job.skipped) == (1, 4)


def test_privacy_of_the_bot_holds_in_the_same_pass(context, account, there):
    bot = a_bot(context, there, name="private")
    talk = a_said(context, there, [f"Write to {MAIL}."], name="Mail", bot_id=str(bot.id))
    assert talk is not None
    with context.transaction(there) as session:  # what was said before stays as it was
        update_bot(session, bot.id, privacy=True)
    with served(context) as url:
        job = migrated(context, account, url, a_secret(context, there))
    assert job.state == "completed"
    (mail,) = [talk for talk in talks(context, account) if talk["name"] == "Mail"]
    assert MAIL not in str(mail)
    assert mail["messages"][0]["pii_types"] == ["EMAIL_ADDRESS"]
    assert MAIL not in str(everything(context, account))


def test_privacy_can_be_asked_for(context, account, there):
    a_said(context, there, [f"Write to {MAIL}."], name="Mail")
    with served(context) as url:
        migrated(context, account, url, a_secret(context, there), privacy=True)
    assert {talk["privacy"] for talk in talks(context, account)} == {True}
    assert MAIL not in str(talks(context, account))


def test_a_long_conversation_keeps_its_order_and_times(context, account, there):
    a_said(context, there, [f"Line {n}" for n in range(730)], name="Very long")
    before = next(talk for talk in talks(context, there) if talk["name"] == "Very long")
    with served(context) as url:
        job = migrated(context, account, url, a_secret(context, there), only=["conversations"])
    assert job.state == "completed"
    after = next(talk for talk in talks(context, account) if talk["name"] == "Very long")
    assert texts(after) == texts(before)
    assert [m["seq"] for m in after["messages"]] == list(range(1, 731))
    assert abs(after["updated_at"] - before["updated_at"]) < timedelta(milliseconds=1)


def stored_is_whole(context, account, there):
    assert all_said(context, account) == all_said(context, there)
    messages = "SELECT count(*) FROM messages WHERE account_id = :a"
    assert one(context, messages, a=account) == one(context, messages, a=there)
    for table in ("contacts", "tasks"):
        assert one(context, f"SELECT count(*) FROM {table} WHERE account_id = :a", a=account) == 1
    assert one(context, "SELECT count(*) FROM bots WHERE account_id = :a AND name = 'guide'", a=account) == 1


@pytest.mark.parametrize("where", ["asked", "stored"])
@pytest.mark.parametrize("nth", range(1, 25))
def test_a_worker_that_is_killed_loses_and_doubles_nothing(
    context, account, there, server, small, monkeypatch, nth, where
):
    """Killed at its nth request, or in its nth batch after everything was written, before the commit."""
    job = a_migration(context, account, *server)
    came = []

    def dying(real):
        def die(*args, **named):
            found = real(*args, **named)
            came.append(1)
            if len(came) == nth:
                raise SystemExit
            return found

        return die

    if where == "asked":
        monkeypatch.setattr(migration_source, "request", dying(migration_source.request))
    else:
        monkeypatch.setattr(migrating, "_count", dying(migrating._count))
    try:
        finish(context, job.id)
    except SystemExit:
        make_due(context, job.id)
    finish(context, job.id)
    ended = the_job(context, account, job.id)
    assert counts(ended) == ("completed", 8, ended.done, ended.skipped, 0)
    stored_is_whole(context, account, there)
    told = ended.counts
    assert (told["messages"], told["conversations"], told["tasks"]) == (16, 4, 1)


def test_slices_pauses_and_a_lost_answer_change_nothing(context, account, there, server, small, monkeypatch):
    from core.errors import Unavailable
    from core.slices import Hold

    monkeypatch.setattr(migrating.Migration, "turn", 0.0)
    job = a_migration(context, account, *server)
    real, came = Hold.batch, []

    def lost(hold, craft, work):
        step = real(hold, craft, work)
        came.append(1)
        if len(came) % 3 == 0:
            raise Unavailable("the answer was lost")
        return step

    monkeypatch.setattr(Hold, "batch", lost)
    assert carry_on(context, job.id) == "sliced"
    with context.transaction(account) as session:
        pause_job(session, job.id)
    assert carry_on(context, job.id) == "ignored"
    with context.transaction(account) as session:
        resume_job(session, job.id)
    finish(context, job.id)
    assert the_job(context, account, job.id).state == "completed"
    stored_is_whole(context, account, there)


def test_a_cancelled_one_keeps_what_it_has_and_the_next_brings_the_rest(
    context, account, there, server, small, monkeypatch
):
    monkeypatch.setattr(migrating.Migration, "turn", 0.0)
    job = a_migration(context, account, *server)
    for _ in range(5):
        carry_on(context, job.id)
    with context.transaction(account) as session:
        cancel_job(session, job.id)
    assert "sealed" not in the_job(context, account, job.id).params
    assert migrated(context, account, *server).state == "completed"
    stored_is_whole(context, account, there)


def test_two_at_once_store_everything_once(context, account, there, server, small):
    from concurrent.futures import ThreadPoolExecutor

    jobs = [a_migration(context, account, *server) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        assert set(pool.map(lambda job: finish(context, job.id), jobs)) == {"completed"}
    stored_is_whole(context, account, there)


def test_an_undone_migration_leaves_nothing_and_can_be_done_again(context, account, there, server):
    job = migrated(context, account, *server)
    undo(context, account, job)
    tables = ("messages", "conversations", "contacts", "import_keys", "task_clocks")
    for table in tables:
        assert one(context, f"SELECT count(*) FROM {table} WHERE account_id = :a", a=account) == 0
    assert rows(context, BOT, a=account) == []
    assert migrated(context, account, *server).done == job.done
    assert all_said(context, account) == all_said(context, there)


def undo(context, account, job):
    with context.transaction(account, actor="tests") as session:
        made = undo_import(session, job.id)
    assert carry(context, made.id) == "completed"


def test_an_undo_leaves_bots_that_others_are_linked_to_or_that_were_there(context, account, server):
    same = a_bot(context, account, name="guide", backstory="You know the museum.")
    job = migrated(context, account, *server)
    undo(context, account, job)
    assert [row["id"] for row in rows(context, BOT, a=account)] == [same.id]
    with context.transaction(account) as session:
        update_bot(session, same.id, name="other")
    job = migrated(context, account, *server)
    made = rows(context, BOT, a=account)[0]["id"]
    a_conversation(context, account, name="Begun here", bot_id=str(made))
    undo(context, account, job)
    assert [row["id"] for row in rows(context, BOT, a=account)] == [made]
    assert list(all_said(context, account)) == ["Begun here"]


def test_other_tenants_are_not_touched(context, account, there, server):
    stranger = an_account(context, "Stranger")
    imported(context, stranger, an_export(a_talk("a", "One")))
    before = everything(context, stranger), everything(context, there)
    job = migrated(context, account, *server)
    undo(context, account, job)
    assert (everything(context, stranger), everything(context, there)) == before
    with context.transaction(stranger) as session, pytest.raises(NotAuthorized):
        undo_import(session, job.id)


def test_a_migrated_task_runs_here_once_it_is_resumed(context, account, server):
    migrated(context, account, *server)
    task = one(context, "SELECT id FROM tasks WHERE account_id = :a", a=account)
    with context.transaction(account) as session:
        assert resume_task(session, task).state == "active"
    assert one(context, "SELECT next_run_at > now() FROM task_clocks WHERE task_id = :t", t=task)
