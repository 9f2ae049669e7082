"""History under the privacy of today: a job that is fed by schedulers and done by workers."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from sqlalchemy import text

from core import annotating
from core import annotations as annotations_of
from core.annotating import annotate
from core.annotation_jobs import create_annotation_job
from core.conversations import create_conversation, delete_conversation
from core.errors import Conflict, InvalidInput
from core.feeding import feed, feed_annotations
from core.jobs import cancel_job, get_job, list_jobs, pause_job, resume_job
from core.messages import delete_message, update_message
from core.privacy_policies import owner_of, set_policy
from core.talking import send
from core.turns import carry_out
from tests.factories import (
    a_backfill,
    a_bot,
    a_conversation,
    a_pending_run,
    a_task,
    an_account,
    execute,
    one,
    rows,
    the_run,
)

MAIL = "grace.hopper@example.com"
NOW_DUE = "UPDATE annotations SET run_at = now() WHERE state = 'pending'"


def a_policy(context, account, document, **of):
    with context.transaction(account) as session:
        set_policy(session, owner_of(session, **of), document)


def said(context, account, conversation, count=1, words=f"Write to {MAIL}"):
    with context.transaction(account) as session:
        return [send(session, conversation.id, words).message.id for _ in range(count)]


def a_job(context, account, **fields):
    with context.transaction(account) as session:
        job = create_annotation_job(session, **fields)
    # Whoever wrote before it was made has ended long ago.
    execute(context, "UPDATE jobs SET created_at = now() - interval '2 minutes' WHERE id = :id", id=job.id)
    return job


def work(context):
    """Workers that do all there is."""
    while found := rows(
        context, "SELECT message_id FROM annotations WHERE state <> 'failed' AND run_at <= now() LIMIT 1"
    ):
        annotate(context, found[0]["message_id"])


def turn(context):
    execute(context, "UPDATE jobs SET run_at = now() WHERE state IN ('pending', 'running')")
    feed_annotations(context)


def finish(context, account, job, turns=50):
    for _ in range(turns):
        turn(context)
        work(context)
        with context.transaction(account) as session:
            found, progress = get_job(session, job.id)
        if found.finished_at is not None:
            return found, progress
    raise AssertionError("It did not end.")


def counts(job):
    return job.state, job.total, job.done, job.skipped, job.failed


def everything(context):
    tables = ("messages", "conversations", "tasks", "runs", "jobs", "annotations")
    return "\n".join(str(rows(context, f"SELECT * FROM {table}")) for table in tables)


@pytest.fixture
def conversations(context, account):
    """Three conversations from before there was privacy; what one of them says is current."""
    made = [a_conversation(context, account, name=f"With {MAIL}") for _ in range(3)]
    for conversation in made:
        said(context, account, conversation, 4)
    return made


def test_what_was_written_before_privacy_is_redacted_by_it(context, account, conversations):
    a_task(context, account, name=f"Mail {MAIL}", description=f"Write to {MAIL}", schedule="daily")
    a_policy(context, account, {"preset": "tokenise"})
    assert MAIL in everything(context)
    job, _ = finish(context, account, a_job(context, account))
    assert counts(job) == ("completed", 12, 12, 0, 0)
    assert MAIL not in everything(context)
    assert (
        one(context, "SELECT count(*) FROM messages WHERE pii_state = 'done' AND text LIKE '%[email:%'") == 12
    )


def test_what_is_current_is_left_out_and_may_be_asked_for_again(context, account, conversations):
    a_policy(context, account, {"preset": "recommended"})
    finish(context, account, a_job(context, account, conversation_id=conversations[1].id))
    before = rows(context, "SELECT * FROM messages ORDER BY id")
    job, _ = finish(context, account, a_job(context, account))
    assert counts(job) == ("completed", 12, 8, 4, 0)
    job, _ = finish(context, account, a_job(context, account, again=True))
    assert counts(job) == ("completed", 12, 12, 0, 0)
    of_it = [row["id"] for row in before if row["pii_state"] == "done"]
    assert rows(context, "SELECT * FROM messages WHERE id = ANY(:ids) ORDER BY id", ids=of_it) == [
        row for row in before if row["id"] in of_it
    ]


def test_a_bots_conversations_alone(context, account, conversations):
    bot = a_bot(context, account)
    said(context, account, a_conversation(context, account, bot_id=bot.id), 2)
    a_policy(context, account, {"preset": "strict"})
    job, _ = finish(context, account, a_job(context, account, bot_id=bot.id))
    assert counts(job) == ("completed", 2, 2, 0, 0)
    assert one(context, "SELECT count(*) FROM messages WHERE text LIKE '%' || :mail", mail=MAIL) == 12


def test_without_privacy_nothing_is_looked_at(context, account, conversations):
    job, _ = finish(context, account, a_job(context, account))
    assert counts(job) == ("completed", 12, 0, 12, 0)


def test_a_summary_goes_with_the_reply_it_quotes(context, account, leases):
    run = a_pending_run(context, account, description=f"Say {MAIL}")
    assert carry_out(context, leases, run.id, worker="tests") == "succeeded"
    assert MAIL in the_run(context, run.id)["summary"]
    a_policy(context, account, {"preset": "strict"})
    finish(context, account, a_job(context, account))
    assert "<EMAIL_ADDRESS>" in the_run(context, run.id)["summary"]
    assert MAIL not in everything(context)


def test_no_more_than_workers_can_take_are_handed_to_them(context, account, conversations, monkeypatch):
    monkeypatch.setattr("core.feeding.MOST_WAITING", 5)
    monkeypatch.setattr("core.feeding.CONVERSATIONS", 2)
    a_policy(context, account, {"preset": "strict"})
    job = a_job(context, account)
    waiting = []
    for _ in range(20):
        turn(context)
        waiting.append(one(context, "SELECT count(*) FROM annotations"))
        work(context)
    assert max(waiting) == 5
    with context.transaction(account) as session:
        assert counts(get_job(session, job.id)[0]) == ("completed", 12, 12, 0, 0)


def test_a_feeder_that_dies_in_the_middle_loses_and_doubles_nothing(
    context, account, conversations, monkeypatch
):
    monkeypatch.setattr("core.feeding.MESSAGES", 3)
    monkeypatch.setattr("core.feeding.CONVERSATIONS", 2)
    a_policy(context, account, {"preset": "strict"})
    job = a_job(context, account)
    looked, write = [], annotating._write

    def counted(session, message, *rest):
        looked.append(message.id)
        write(session, message, *rest)

    monkeypatch.setattr(annotating, "_write", counted)
    for _ in range(60):
        execute(context, "UPDATE jobs SET run_at = now() WHERE state IN ('pending', 'running')")
        with suppress(KeyboardInterrupt), context.transaction() as session:
            feed(session, job.id)
            raise KeyboardInterrupt  # killed before the commit
        execute(context, "UPDATE jobs SET run_at = now() WHERE state IN ('pending', 'running')")
        with context.transaction() as session:
            feed(session, job.id)
        work(context)
    with context.transaction(account) as session:
        assert counts(get_job(session, job.id)[0]) == ("completed", 12, 12, 0, 0)
    assert len(looked) == len(set(looked)) == 12


def test_a_worker_that_dies_leaves_what_it_had_to_the_next(context, account, conversations):
    a_policy(context, account, {"preset": "strict"})
    job = a_job(context, account)
    turn(context)
    with context.transaction() as session:
        first = one(context, "SELECT message_id FROM annotations LIMIT 1")
        assert len(annotations_of.claim_annotations(session, first)) == 12
    turn(context)
    with context.transaction(account) as session:
        assert get_job(session, job.id)[1].under_way == 12
    execute(context, "UPDATE annotations SET run_at = now(), lease_until = now() - interval '1 second'")
    job, _ = finish(context, account, job)
    assert counts(job) == ("completed", 12, 12, 0, 0)


def test_schedulers_beside_each_other_feed_everything_once(context, account, conversations, monkeypatch):
    monkeypatch.setattr("core.feeding.MESSAGES", 2)
    a_policy(context, account, {"preset": "strict"})
    job = a_job(context, account)
    stop = threading.Event()

    def schedule():
        while not stop.is_set():
            feed_annotations(context)
            execute(context, "UPDATE jobs SET run_at = now() WHERE state IN ('pending', 'running')")

    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            pool.submit(schedule)
        try:
            job, _ = finish(context, account, job, turns=500)
        finally:
            stop.set()
    assert counts(job) == ("completed", 12, 12, 0, 0)
    assert MAIL not in str(rows(context, "SELECT text FROM messages"))


def test_deletions_meanwhile_do_not_break_the_sums(context, account, conversations, monkeypatch):
    monkeypatch.setattr("core.feeding.MESSAGES", 3)
    monkeypatch.setattr("core.feeding.MOST_WAITING", 3)
    a_policy(context, account, {"preset": "strict"})
    job = a_job(context, account)
    turn(context)
    message, conversation = rows(context, "SELECT * FROM messages ORDER BY id LIMIT 1")[0], conversations[2]
    with context.transaction(account) as session:
        delete_message(session, message["conversation_id"], message["id"])
        delete_conversation(session, conversation.id)
    job, _ = finish(context, account, job)
    assert counts(job) == ("completed", 8, 8, 0, 0)


def test_an_edit_meanwhile_is_annotated_as_it_is_then(context, account, conversations):
    a_policy(context, account, {"preset": "strict"})
    job = a_job(context, account)
    turn(context)
    message = rows(context, "SELECT * FROM messages ORDER BY id LIMIT 1")[0]
    with context.transaction(account) as session:
        update_message(session, message["conversation_id"], message["id"], text=f"Now {MAIL}")
    job, _ = finish(context, account, job)
    assert counts(job) == ("completed", 12, 12, 0, 0)
    assert one(context, "SELECT text FROM messages WHERE id = :id", id=message["id"]) == "Now <EMAIL_ADDRESS>"


def test_what_cannot_be_annotated_is_counted_and_tried_by_the_next(
    context, account, conversations, monkeypatch
):
    a_policy(context, account, {"preset": "strict"})
    bad = one(context, "SELECT id FROM messages ORDER BY id LIMIT 1")
    write = annotating._write

    def broken(session, message, *rest):
        if message.id == bad:
            raise ValueError(message.text)
        write(session, message, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(annotating, "_write", broken)
        patched.setattr(annotations_of, "ATTEMPTS", 1)
        job, _ = finish(context, account, a_job(context, account))
    assert counts(job) == ("completed_with_errors", 12, 11, 0, 1)
    assert job.error_class is None
    job, _ = finish(context, account, a_job(context, account))
    assert counts(job) == ("completed", 12, 1, 11, 0)
    assert MAIL not in everything(context)


def test_pause_resume_and_cancel(context, account, conversations, monkeypatch):
    monkeypatch.setattr("core.feeding.MESSAGES", 3)
    monkeypatch.setattr("core.feeding.MOST_WAITING", 3)
    a_policy(context, account, {"preset": "strict"})
    job = a_job(context, account)
    turn(context)
    with context.transaction(account) as session:
        pause_job(session, job.id)
        pause_job(session, job.id)
    work(context)
    turn(context)
    with context.transaction(account) as session:
        paused, progress = get_job(session, job.id)
        assert (paused.state, progress.done, progress.under_way) == ("paused", 3, 0)
        resume_job(session, job.id)
    turn(context)
    with context.transaction(account) as session:
        cancel_job(session, job.id)
    with context.transaction(account) as session:
        cancelled, progress = get_job(session, job.id)
        assert counts(cancelled) == ("cancelled", 12, 3, 0, 0)
        with pytest.raises(Conflict):
            resume_job(session, job.id)
    assert one(context, "SELECT count(*) FROM annotations") == 0
    turn(context)
    assert one(context, "SELECT count(*) FROM messages WHERE text LIKE '%' || :mail", mail=MAIL) == 9


def test_a_cancelled_job_leaves_what_others_asked_for(context, account):
    conversation = a_conversation(context, account, privacy=True)
    said(context, account, conversation, 2)
    a_policy(context, account, {"preset": "strict"}, conversation_id=conversation.id)
    job = a_job(context, account)
    turn(context)
    with context.transaction(account) as session:
        assert get_job(session, job.id)[1].under_way == 2
        cancel_job(session, job.id)
    assert one(context, "SELECT count(*) FROM annotations") == 2
    work(context)
    assert one(context, "SELECT count(*) FROM messages WHERE pii_state = 'done'") == 2


def test_one_at_a_time_and_one_thing(context, account, conversations):
    job = a_job(context, account)
    with context.transaction(account) as session, pytest.raises(Conflict):
        create_annotation_job(session)
    with context.transaction(account) as session, pytest.raises(InvalidInput):
        create_annotation_job(session, bot_id=conversations[0].bot_id, conversation_id=conversations[0].id)
    other = an_account(context, "Grace")
    with context.transaction(other) as session:
        create_annotation_job(session)
    finish(context, account, job)
    a_job(context, account)


def test_two_who_ask_at_once_get_one(context, account, conversations):
    def ask(_):
        try:
            with context.transaction(account) as session:
                create_annotation_job(session)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(ask, range(6))) == 1


def test_whoever_wrote_before_it_was_made_is_waited_for(context, account):
    """Their text may be raw, and not yet to be seen."""
    with context.transaction(account) as early:
        early.execute(text("SELECT 1"))
        conversation = create_conversation(early)
        send(early, conversation.id, f"Write to {MAIL}")
        a_policy(context, account, {"preset": "strict"})
        with context.transaction(account) as session:
            job = create_annotation_job(session)
        feed_annotations(context)
        assert one(context, "SELECT started_at IS NULL FROM jobs")
    job, _ = finish(context, account, job)
    assert counts(job) == ("completed", 1, 1, 0, 0)
    assert MAIL not in everything(context)


def test_a_conversation_that_is_being_written_to_is_not_passed_by(context, account, conversations):
    a_policy(context, account, {"preset": "strict"})
    job = a_job(context, account)
    with context.transaction(account) as writer:
        writer.execute(
            text("SELECT 1 FROM conversations WHERE id = :id FOR UPDATE"), {"id": conversations[1].id}
        )
        for _ in range(3):
            turn(context)
        assert one(context, "SELECT count(*) FROM annotations") == 4
    job, _ = finish(context, account, job)
    assert counts(job) == ("completed", 12, 12, 0, 0)


def test_a_job_of_a_closed_account_ends(context, account, conversations):
    job = a_job(context, account)
    execute(context, "UPDATE accounts SET closed_at = now()")
    turn(context)
    with context.transaction(account) as session:
        assert get_job(session, job.id)[0].state == "cancelled"


def test_a_job_that_breaks_is_ended_and_stops_nobody(context, account, conversations, monkeypatch):
    job = a_job(context, account)
    monkeypatch.setattr("core.feeding._walk", lambda *_: 1 / 0)
    turn(context)
    with context.transaction(account) as session:
        found, _ = get_job(session, job.id)
        assert (found.state, found.error_class) == ("failed", "internal_error")


def test_jobs_of_every_kind_are_in_one_list(context, account):
    task = a_task(context, account, schedule="daily", bot_id=a_bot(context, account).id)
    backfill = a_backfill(context, account, task.id, "2020-01-01", "2020-01-03")
    job = a_job(context, account)
    with context.transaction(account) as session:
        assert [one.id for one, _ in list_jobs(session)] == [job.id, backfill.id]
        assert [one.id for one, _ in list_jobs(session, kind="backfill")] == [backfill.id]
        pause_job(session, backfill.id)
        assert get_job(session, backfill.id)[0].state == "paused"
        with pytest.raises(InvalidInput):
            list_jobs(session, kind="nonsense")
