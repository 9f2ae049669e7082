"""Imports: what a file holds is stored once, as it was said and when, however often workers are lost."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from core import import_columns, import_reading, import_rows, importing
from core.conversations import delete_conversation
from core.drafts import Draft
from core.errors import Conflict, InvalidInput, NotAuthorized, NotFound
from core.import_jobs import create_import_job, import_now
from core.importers import Source, read
from core.jobs import cancel_job, pause_job, resume_job
from core.messages import create_messages, delete_message
from core.undoing import undo_import
from models import MessageType
from tests.factories import a_bot, a_contact, an_account, execute, one, rows
from tests.imports import (
    a_stream,
    a_talk,
    an_export,
    an_import,
    carry,
    counts,
    errors,
    imported,
    jsonl,
    talks,
    texts,
    the_job,
)
from tests.knowledge import a_file
from tests.unit.import_samples import T0, archive, claude, compact, gpt, gpt_node

THREE = an_export(a_talk("a", "One", "Two"), a_talk("b", "Three"), a_talk("c", "Four", "Five", "Six"))


@pytest.fixture
def small(monkeypatch):
    """Batches of few messages, so that little is much."""
    monkeypatch.setattr(import_reading, "MESSAGES", 3)
    monkeypatch.setattr(import_rows, "PIECE", 4)


@pytest.fixture(autouse=True)
def _unlimited(context, monkeypatch):
    monkeypatch.setattr(context.settings, "rate_bulk", None)


def test_conversations_are_stored_as_they_were_said_and_when(context, account):
    job = imported(context, account, compact([gpt("c1"), gpt("c2", title="Another")]), "conversations.json")
    assert counts(job) == ("completed", 2, 2, 0, 0)
    assert job.counts["messages"] == 4
    assert job.counts["conversations"] == 2
    first = talks(context, account)[0]
    assert (first["name"], first["source"]) == ("The moon", "chatgpt")
    assert texts(first) == [("user", "How far is the moon?"), ("bot", "384,400 km.")]
    assert [m["created_at"] for m in first["messages"]] == [
        datetime.fromtimestamp(T0 + 1, UTC),
        datetime.fromtimestamp(T0 + 2, UTC),
    ]
    assert first["messages"][1]["meta"]["model"] == "gpt-9"
    assert first["meta"]["imported"] == {"from": "chatgpt", "id": "c1"}
    assert first["created_at"] == datetime.fromtimestamp(T0 + 0.5, UTC)
    assert first["next_seq"] == 3
    assert first["last_message_at"] == first["messages"][1]["created_at"]


def test_the_same_file_twice_changes_nothing(context, account):
    imported(context, account, THREE)
    before = talks(context, account)
    job = imported(context, account, THREE)
    assert counts(job) == ("completed", 3, 0, 3, 0)
    assert job.counts == {"known": 6, "size": len(THREE), "read": len(THREE)}
    assert talks(context, account) == before


def test_a_newer_export_brings_only_what_is_new(context, account):
    imported(context, account, compact([gpt("c1")]), "conversations.json")
    nodes = [
        gpt_node("n1", "root", "user", "How far is the moon?", T0 + 1),
        gpt_node("n2", "n1", "assistant", "384,400 km.", T0 + 2),
        gpt_node("n3", "n2", "user", "And the sun?", T0 + 60),
    ]
    job = imported(context, account, compact([gpt("c1", *nodes), gpt("c2")]), "conversations.json")
    assert counts(job) == ("completed", 2, 2, 0, 0)
    assert (job.counts["messages"], job.counts["known"], job.counts["conversations"]) == (3, 2, 1)
    told = [texts(talk) for talk in talks(context, account)]
    assert [("user", "How far is the moon?"), ("bot", "384,400 km."), ("user", "And the sun?")] in told


def test_what_comes_later_stands_behind_what_was_said_here_since(context, account):
    imported(context, account, an_export(a_talk("a", "One")))
    (talk,) = talks(context, account)
    with context.transaction(account) as session:
        create_messages(session, talk["id"], [Draft(MessageType.USER, "Said here")])
    imported(context, account, an_export(a_talk("a", "One", "Two")))
    (talk,) = talks(context, account)
    assert [text for _, text in texts(talk)] == ["One", "Said here", "Two"]
    times = [message["created_at"] for message in talk["messages"]]
    assert times == sorted(set(times))


def test_branches_are_kept_and_marked(context, account):
    nodes = [
        gpt_node("n1", "root", "user", "Name a fruit.", T0 + 1),
        gpt_node("n2", "n1", "assistant", "Apple", T0 + 2),
        gpt_node("n3", "n1", "assistant", "Pear", T0 + 3),
    ]
    imported(context, account, compact([gpt("c1", *nodes)]), "conversations.json")
    (talk,) = talks(context, account)
    archived = {m["text"]: m["meta"].get("archived") for m in talk["messages"]}
    assert archived == {"Name a fruit.": None, "Apple": True, "Pear": None}


def test_rows_that_cannot_be_read_are_told_by_number_and_word(context, account):
    content = jsonl({"key": "a", "messages": []}).replace(b'{"key": "a", "messages": []}\n', b"")
    lines = [
        b'{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Ho"}]}',
        b'{"messages":[{"role":"user","content":"cut',
        b'{"messages":[{"role":"user","content":"Again"}]}',
        b"[]",
    ]
    job = imported(context, account, content + b"\n".join(lines) + b"\n", "train.jsonl", format="openai")
    assert counts(job) == ("completed_with_errors", 4, 2, 0, 2)
    assert errors(context, account, job) == [(2, "not_json"), (4, "not_an_object")]
    assert job.counts["errors"] == 2
    assert len(talks(context, account)) == 2


def test_a_file_of_another_format_is_refused_and_nothing_is_stored(context, account):
    job = imported(context, account, b'{"hello":"world"}', "x.json", format="chatgpt")
    assert (job.state, job.error_class) == ("failed", "refused")
    assert "no ChatGPT export" in job.params["refused"]
    assert talks(context, account) == []


def test_an_archive_that_leads_out_of_itself_is_refused(context, account):
    job = imported(context, account, archive({"../conversations.json": compact([gpt()])}), "x.zip")
    assert (job.state, job.error_class) == ("failed", "refused")


def test_an_archive_is_read_in_place(context, account):
    job = imported(
        context, account, archive({"conversations.json": compact([claude()]), "users.json": b"[]"})
    )
    assert counts(job) == ("completed", 1, 1, 0, 0)
    assert job.params["found"] == "claude"


def test_the_file_goes_with_the_job_unless_it_is_kept(context, account):
    job = imported(context, account, THREE)
    assert job.file_id is None
    kept = imported(context, account, THREE, keep_file=True)
    assert kept.file_id is not None
    assert one(context, "SELECT count(*) FROM files") == 1


def test_a_long_conversation_is_stored_in_pieces_and_counted_once(context, account, small):
    content = an_export(a_talk("long", *(f"Text {n}" for n in range(1, 31))), a_talk("b", "Short"))
    job = imported(context, account, content)
    assert counts(job) == ("completed", 2, 2, 0, 0)
    assert job.counts["messages"] == 31
    long = next(talk for talk in talks(context, account) if talk["name"] == "About long")
    assert [text for _, text in texts(long)] == [f"Text {n}" for n in range(1, 31)]
    assert [m["seq"] for m in long["messages"]] == list(range(1, 31))
    again = imported(context, account, content)
    assert counts(again) == ("completed", 2, 0, 2, 0)


@pytest.mark.parametrize("nth", range(1, 12))
def test_a_worker_that_is_killed_loses_and_doubles_nothing(context, account, small, monkeypatch, nth):
    """Killed within its nth batch after everything was written, before the commit."""
    content = an_export(
        a_talk("a", "One", "Two"), a_talk("long", *(f"Text {n}" for n in range(1, 16))), a_talk("b", "X")
    )
    job = an_import(context, account, content)
    real, came = importing._count, []

    def die(*args):
        real(*args)
        came.append(1)
        if len(came) == nth:
            raise SystemExit

    monkeypatch.setattr(importing, "_count", die)
    try:
        carry(context, job.id)
    except SystemExit:
        execute(context, "UPDATE jobs SET run_at = now(), lease_until = now() WHERE id = :id", id=job.id)
    carry(context, job.id)
    ended = the_job(context, account, job.id)
    assert counts(ended) == ("completed", 3, 3, 0, 0)
    assert ended.counts["messages"] == 18
    assert [len(talk["messages"]) for talk in talks(context, account)].count(15) == 1
    assert one(context, "SELECT count(*) FROM messages") == 18
    assert one(context, "SELECT count(DISTINCT (conversation_id, seq)) FROM messages") == 18


def test_a_commit_whose_answer_was_lost_is_not_counted_twice(context, account, small, monkeypatch):
    from core.errors import Unavailable
    from core.slices import Hold

    job = an_import(context, account, THREE)
    real, came = Hold.batch, []

    def lost(hold, craft, work):
        step = real(hold, craft, work)
        came.append(1)
        if len(came) == 1:
            raise Unavailable("the answer was lost")
        return step

    monkeypatch.setattr(Hold, "batch", lost)
    carry(context, job.id)
    assert counts(the_job(context, account, job.id)) == ("completed", 3, 3, 0, 0)
    assert one(context, "SELECT count(*) FROM messages") == 6


def test_slices_are_given_back_and_gone_on_with(context, account, small, monkeypatch):
    monkeypatch.setattr(importing.Import, "turn", 0.0)
    from core.carrying import carry_on

    job = an_import(context, account, THREE)
    words = [carry_on(context, job.id) for _ in range(8)]
    assert words.count("sliced") == 1
    assert "completed" in words
    assert counts(the_job(context, account, job.id)) == ("completed", 3, 3, 0, 0)


def test_it_is_paused_resumed_and_cancelled_between_batches(context, account, small, monkeypatch):
    content = an_export(*(a_talk(key, "One", "Two", "Three") for key in "abcd"))
    job = an_import(context, account, content)
    real, steps = importing.Import.step, []

    def interrupted(craft):
        step = real(craft)
        steps.append(step)
        if len(steps) in {1, 3}:
            with context.transaction(account) as session:
                (pause_job if len(steps) == 1 else cancel_job)(session, job.id)
        return step

    monkeypatch.setattr(importing.Import, "step", interrupted)
    assert carry(context, job.id) == "lost"
    assert the_job(context, account, job.id).state == "paused"
    assert carry(context, job.id) == "ignored"
    with context.transaction(account) as session:
        resume_job(session, job.id)
    assert carry(context, job.id) == "lost"
    ended = the_job(context, account, job.id)
    assert ended.state == "cancelled"
    assert one(context, "SELECT count(*) FROM messages") == 6
    assert ended.file_id is None
    # What it has stored is known to the next one, which brings the rest.
    again = imported(context, account, content)
    assert again.state == "completed"
    assert one(context, "SELECT count(*) FROM messages") == 12


def test_a_closed_account_imports_no_further(context, account, small, monkeypatch):
    job = an_import(context, account, an_export(*(a_talk(key, "One", "Two", "Three") for key in "abcd")))
    real = importing.Import.step

    def closing(craft):
        step = real(craft)
        execute(context, "UPDATE accounts SET closed_at = now() WHERE id = :id", id=account)
        return step

    monkeypatch.setattr(importing.Import, "step", closing)
    assert carry(context, job.id) == "cancelled"
    assert one(context, "SELECT count(*) FROM messages") == 3
    assert the_job(context, account, job.id).file_id is None


def test_two_imports_of_one_file_at_once_store_it_once(context, account, small):
    from concurrent.futures import ThreadPoolExecutor

    jobs = [an_import(context, account, THREE) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        assert set(pool.map(lambda job: carry(context, job.id), jobs)) == {"completed"}
    assert one(context, "SELECT count(*) FROM messages") == 6
    assert one(context, "SELECT count(*) FROM conversations") == 3
    done = [the_job(context, account, job.id).counts.get("messages", 0) for job in jobs]
    assert sum(done) == 6


def test_a_piece_that_the_database_refuses_takes_no_other_along(context, account, monkeypatch):
    real = import_columns.RowMaker.message

    def refused(maker, message_id, talk, placed, shield):
        row = real(maker, message_id, talk, placed, shield)
        return (*row[:4], "no such type", *row[5:]) if placed.message.text == "Three" else row

    monkeypatch.setattr(import_columns.RowMaker, "message", refused)
    job = imported(context, account, THREE)
    assert counts(job) == ("completed_with_errors", 3, 2, 0, 1)
    assert errors(context, account, job) == [(2, "unstorable")]
    assert one(context, "SELECT count(*) FROM messages") == 5


def test_what_was_deleted_here_is_not_imported_again(context, account):
    imported(context, account, THREE)
    by_name = {talk["name"]: talk for talk in talks(context, account)}
    with context.transaction(account) as session:
        delete_conversation(session, by_name["About b"]["id"])
        delete_message(session, by_name["About a"]["id"], by_name["About a"]["messages"][0]["id"])
    job = imported(context, account, THREE)
    assert counts(job) == ("completed", 3, 0, 3, 0)
    assert job.counts["deleted"] == 1
    assert one(context, "SELECT count(*) FROM messages") == 4


def test_an_undone_import_leaves_nothing_and_can_be_done_again(context, account):
    bot = a_bot(context, account)
    contact = {"key": "k1", "name": "Ada", "email": "ada@example.com"}
    content = an_export(a_talk("a", "One", "Two", contact=contact), a_talk("b", "Three"))
    job = imported(context, account, content, bot_id=str(bot.id))
    crontab = imported(context, account, b"0 9 * * 1-5 Say good morning\n", "crontab", format="crontab")
    for of in (job, crontab):
        with context.transaction(account, actor="tests") as session:
            undo = undo_import(session, of.id)
        assert carry(context, undo.id) == "completed"
    for table in ("messages", "conversations", "contacts", "import_keys", "task_clocks"):
        assert one(context, f"SELECT count(*) FROM {table}") == 0
    assert one(context, "SELECT state FROM tasks") == "deleted"
    receipts = rows(context, "SELECT kind, messages, conversations FROM erasures ORDER BY kind")
    assert {row["kind"] for row in receipts} == {"messages", "conversations", "contact", "task"}
    again = imported(context, account, content)
    assert counts(again) == ("completed", 2, 2, 0, 0)


def test_an_undo_leaves_what_was_said_since_and_what_others_imported(context, account):
    job = imported(context, account, an_export(a_talk("a", "One", "Two"), a_talk("b", "Three")))
    by_name = {talk["name"]: talk for talk in talks(context, account)}
    with context.transaction(account) as session:
        create_messages(session, by_name["About a"]["id"], [Draft(MessageType.USER, "Said here")])
    imported(context, account, an_export(a_talk("b", "Three", "Later")))
    with context.transaction(account) as session:
        undo = undo_import(session, job.id)
    carry(context, undo.id)
    told = {talk["name"]: [text for _, text in texts(talk)] for talk in talks(context, account)}
    assert told == {"About a": ["Said here"], "About b": ["Later"]}
    assert counts(the_job(context, account, undo.id)) == ("completed", 3, 3, 0, 0)


def test_only_an_ended_import_is_undone_and_once(context, account):
    job = an_import(context, account, THREE)
    with context.transaction(account) as session, pytest.raises(Conflict, match="unfinished"):
        undo_import(session, job.id)
    carry(context, job.id)
    with context.transaction(account) as session:
        undo = undo_import(session, job.id)
    with context.transaction(account) as session, pytest.raises(Conflict, match="already"):
        undo_import(session, job.id)
    carry(context, undo.id)
    with context.transaction(account) as session, pytest.raises(Conflict, match="Nothing"):
        undo_import(session, job.id)
    with context.transaction(account) as session, pytest.raises(Conflict, match="Only an import"):
        undo_import(session, undo.id)


def test_schedules_become_paused_tasks(context, account):
    content = b"CRON_TZ=Europe/Berlin\n0 9 * * 1-5 Say good morning\n61 * * * * Never\n@daily Sum up\n"
    job = imported(context, account, content, "crontab", format="crontab")
    assert job.state == "completed_with_errors"
    assert job.counts["tasks"] == 2
    found = rows(
        context,
        "SELECT t.schedule, t.timezone, t.state, t.pause_reason, c.next_run_at FROM tasks t"
        " JOIN task_clocks c ON c.task_id = t.id ORDER BY t.schedule",
    )
    assert [(t["schedule"], t["state"], t["pause_reason"], t["next_run_at"]) for t in found] == [
        ("0 9 * * 1-5", "paused", "imported", None),
        ("@daily", "paused", "imported", None),
    ]
    assert found[0]["timezone"] == "Europe/Berlin"
    again = imported(context, account, content, "crontab", format="crontab")
    assert (again.done, again.counts["known"]) == (0, 2)


def test_contacts_are_found_or_made(context, account):
    there = a_contact(context, account, name="Grace", email="grace@example.com", fingerprint="g")
    content = an_export(
        a_talk("a", "One", contact={"key": "x1", "name": "Grace H.", "email": "Grace@Example.com"}),
        a_talk("b", "Two", contact={"key": "x2", "name": "Ada", "phone": "+14155550132"}),
        a_talk("c", "Three", contact={"key": "x2", "name": "Ada"}),
        a_talk("d", "Four", contact={"key": "x3", "email": "no address"}),
    )
    job = imported(context, account, content)
    assert job.state == "completed_with_errors"
    assert errors(context, account, job) == [(4, "bad_contact")]
    assert job.counts["contacts"] == 1
    by_name = {talk["name"][-1]: talk["contact_id"] for talk in talks(context, account)}
    assert by_name["a"] == there.id
    assert by_name["b"] == by_name["c"] is not None
    assert by_name["d"] is None


def test_all_of_a_file_can_be_linked_to_one_contact_and_bot(context, account):
    bot, contact = a_bot(context, account, name="other"), a_contact(context, account)
    imported(context, account, THREE, bot_id="other", contact_id=str(contact.id))
    assert {(talk["bot_id"], talk["contact_id"]) for talk in talks(context, account)} == {
        (bot.id, contact.id)
    }


def test_a_bot_that_is_deleted_meanwhile_is_not_linked_to(context, account):
    bot = a_bot(context, account, name="other")
    job = an_import(context, account, THREE, bot_id="other")
    execute(context, "DELETE FROM bots WHERE id = :id", id=bot.id)
    carry(context, job.id)
    assert the_job(context, account, job.id).state == "completed"
    assert {talk["bot_id"] for talk in talks(context, account)} == {None}


def test_a_dry_run_stores_nothing_and_tells_what_there_is(context, account):
    imported(context, account, an_export(a_talk("a", "One")))
    before = one(context, "SELECT count(*) FROM messages")
    job = imported(context, account, THREE, dry_run=True)
    assert job.state == "completed"
    told = job.params["survey"]
    assert (told["conversations"], told["messages"]["total"]) == (3, 6)
    assert (job.counts["knownConversations"], job.counts["known"]) == (1, 1)
    assert one(context, "SELECT count(*) FROM messages") == before
    broken = imported(context, account, b"nothing known", "x.bin", dry_run=True)
    assert (broken.state, broken.error_class) == ("failed", "refused")


def test_a_small_batch_is_imported_while_its_sender_waits(context, account):
    records = list(read(Source(a_stream(THREE), "x"), "crontalk"))
    with context.transaction(account) as session:
        job = import_now(session, records)
    assert counts(job) == ("completed", 3, 3, 0, 0)
    with context.transaction(account) as session:
        again = import_now(session, records)
    assert counts(again) == ("completed", 3, 0, 3, 0)
    many = list(read(Source(a_stream(an_export(a_talk("z", *["t"] * 1001))), "x"), "crontalk"))
    with context.transaction(account) as session, pytest.raises(InvalidInput, match="At most 1000"):
        import_now(session, many)


def test_what_cannot_be_asked_for_is_refused_at_the_door(context, account):
    file = a_file(context, account, THREE)
    empty = a_file(context, account, None)
    other = a_file(context, an_account(context, "Grace"), THREE)
    for wanted, error in (
        ({"format": "word"}, InvalidInput),
        ({"timezone": "Mars/Olympus"}, InvalidInput),
        ({"columns": {"colour": "x"}}, InvalidInput),
        ({"bot_id": "nobody"}, NotFound),
    ):
        with context.transaction(account) as session, pytest.raises(error):
            create_import_job(session, file.id, **wanted)
    with context.transaction(account) as session, pytest.raises(NotFound):
        create_import_job(session, empty.id)
    with context.transaction(account) as session, pytest.raises(NotAuthorized):
        create_import_job(session, other.id)
    with context.transaction(account) as session:
        create_import_job(session, file.id)
    with context.transaction(account) as session, pytest.raises(Conflict, match="already"):
        create_import_job(session, file.id)


def test_a_file_that_is_gone_or_damaged_ends_the_import_in_a_sentence(context, account):
    job = an_import(context, account, THREE)
    execute(context, "DELETE FROM files")
    assert carry(context, job.id) == "failed"
    assert the_job(context, account, job.id).params["refused"] == "The file is not there any more."


def test_other_tenants_are_not_touched(context, account):
    other = an_account(context, "Grace")
    imported(context, other, THREE)
    before = talks(context, other)
    job = imported(context, account, THREE)
    with context.transaction(account) as session:
        undo = undo_import(session, job.id)
    carry(context, undo.id)
    assert talks(context, other) == before
    with context.transaction(other) as session, pytest.raises(NotAuthorized):
        undo_import(session, job.id)


def test_nothing_was_said_in_the_future(context, account):
    content = an_export(
        {
            **a_talk("a", "One", "Two", createdAt="2999-01-01T00:00:00+00:00"),
            "messages": [
                {"key": "1", "type": "user", "text": "One", "createdAt": "2999-01-01T00:00:00+00:00"},
                {"key": "2", "type": "bot", "text": "Two", "createdAt": "2025-01-01T00:00:00+00:00"},
            ],
        }
    )
    imported(context, account, content)
    (talk,) = talks(context, account)
    now = datetime.now(UTC)
    assert talk["created_at"] <= now
    first, second = (message["created_at"] for message in talk["messages"])
    assert first < second <= now
