"""Bulk deletions: what was selected goes, all of it and nothing else, however often workers are lost."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from core import deleting, walking
from core.attachments import start_attachment
from core.buckets import Buckets
from core.carrying import carry_on
from core.delete_jobs import confirm_delete_job, create_delete_job, preview_deletion, receipt_of
from core.documents_erasures import exported_erasure
from core.drafts import Draft
from core.erasing import Outcome, apply_erasures, read_receipts
from core.erasures import erasures_since
from core.errors import Conflict, InvalidInput, NotAuthorized, NotFound, Unavailable
from core.file_names import Described
from core.jobs import cancel_job, get_job, pause_job, resume_job
from core.messages import create_messages, delete_message
from core.privacy_policies import owner_of, set_policy
from core.rates import Rate
from core.ratings import rate
from core.slices import hint_jobs, unserved_jobs
from core.talking import compact, send
from core.turns import carry_out
from models import JobState, Message, MessageType
from tests.deletions import a_deletion, fill, left, some_talks, the_job
from tests.factories import (
    a_bot,
    a_contact,
    a_conversation,
    a_task,
    an_account,
    execute,
    one,
    rows,
)
from tests.traces import forget_words


@pytest.fixture(autouse=True)
def _unlimited(context, monkeypatch):
    monkeypatch.setattr(context.settings, "rate_bulk", None)


@pytest.fixture
def small(monkeypatch):
    """Batches of ten, so that little is much."""
    monkeypatch.setattr(walking, "LARGEST", 10)
    monkeypatch.setattr(walking, "SMALLEST", 10)
    monkeypatch.setattr(deleting, "Pace", lambda: walking.Pace(10, 10))


@pytest.fixture
def neighbour(context):
    """Another account, with as much to lose."""
    other = an_account(context, "Grace")
    some_talks(context, other, 2, 20)
    return other


def counts(job):
    return job.state, job.total, job.done, job.skipped, job.failed


def now():
    return datetime.now(UTC)


def killed_at(monkeypatch, number):
    """A worker that dies inside its nth batch from here on, after it has deleted and before the commit."""
    came, real = [], Buckets.take

    def die(buckets, count):
        came.append(1)
        if len(came) == number:
            raise SystemExit
        real(buckets, count)

    monkeypatch.setattr(Buckets, "take", die)


def test_all_that_is_selected_goes_and_nothing_else(context, account, neighbour, small):
    bot = a_bot(context, account)
    mine = some_talks(context, account, 3, 25, bot_id=bot.id)
    some_talks(context, account, 2, 7)
    job = a_deletion(context, account, bot_id=str(bot.id), type="user")
    assert carry_on(context, job.id) == "completed"
    assert counts(the_job(context, account, job.id)) == ("completed", 39, 39, 0, 0)
    assert left(context, account) == 3 * 12 + 14
    assert left(context, neighbour) == 40
    kept = rows(
        context, "SELECT seq, type FROM messages WHERE conversation_id = :id ORDER BY seq", id=mine[0]
    )
    assert [row["seq"] for row in kept] == list(range(2, 26, 2))
    assert {row["type"] for row in kept} == {"bot"}


@pytest.mark.parametrize(
    ("field", "count"),
    [("conversation_id", 5), ("task_id", 5), ("bot_id", 5), ("contact_id", 5), ("source", 5), ("ids", 5)],
)
def test_every_filter_selects_its_own(context, account, field, count):
    task, bot, contact = (
        a_task(context, account),
        a_bot(context, account, name="b"),
        a_contact(context, account),
    )
    mine = a_conversation(
        context, account, task_id=task.id, bot_id=bot.id, contact_id=contact.id, source="whatsapp"
    ).id
    fill(context, [mine], count)
    some_talks(context, account, 2, 3, source="api")
    ids = [
        str(row["id"])
        for row in rows(context, "SELECT id FROM messages WHERE conversation_id = :id", id=mine)
    ]
    values = {
        "conversation_id": [str(mine)],
        "task_id": str(task.id),
        "bot_id": bot.id,
        "contact_id": contact.id,
        "source": "whatsapp",
        "ids": [*ids, str(uuid.uuid4())],
    }
    job = a_deletion(context, account, **{field: values[field]})
    assert carry_on(context, job.id) == "completed"
    assert the_job(context, account, job.id).done == count
    assert left(context, account) == 6


def test_times_select_from_the_one_to_before_the_other(context, account):
    (talk,) = some_talks(context, account, 1, 10)
    execute(
        context, "UPDATE messages SET created_at = CAST('2020-01-01' AS timestamptz) + seq * interval '1 day'"
    )
    after, before = datetime(2020, 1, 4, tzinfo=UTC), datetime(2020, 1, 7, tzinfo=UTC)
    job = a_deletion(context, account, after=after, before=before)
    assert carry_on(context, job.id) == "completed"
    kept = rows(context, "SELECT seq FROM messages WHERE conversation_id = :id ORDER BY seq", id=talk)
    assert [row["seq"] for row in kept] == [1, 2, 6, 7, 8, 9, 10]


def test_what_comes_after_the_job_stays_whatever_time_it_says(context, account):
    (talk,) = some_talks(context, account, 1, 5)
    job = a_deletion(context, account, all=True)
    with context.transaction(account) as session:
        create_messages(session, talk, [Draft(MessageType.USER, "Later.")])
    time.sleep(0.01)
    fill(context, [talk], 2)
    execute(context, "UPDATE messages SET created_at = '2001-01-01' WHERE seq > 6")
    assert carry_on(context, job.id) == "completed"
    assert the_job(context, account, job.id).done == 5
    assert left(context, account) == 3


def test_conversations_go_with_all_they_hold(context, account, neighbour, small, monkeypatch):
    for module in (deleting, walking):
        monkeypatch.setattr(module, "SLICE", 30)
    monkeypatch.setattr("core.purging.SLICE", 30)
    task = a_task(context, account)
    some_talks(context, account, 4, 12, task_id=task.id)
    some_talks(context, account, 1, 100, task_id=task.id)
    some_talks(context, account, 2, 5)
    job = a_deletion(context, account, "conversations", task_id=task.id, status="active")
    assert carry_on(context, job.id) == "completed"
    assert counts(the_job(context, account, job.id)) == ("completed", 5, 5, 0, 0)
    assert one(context, "SELECT count(*) FROM conversations WHERE account_id = :id", id=account) == 2
    assert (left(context, account), left(context, neighbour)) == (10, 40)
    with context.transaction(account) as session:
        receipt = receipt_of(session, job.id)
    # Those of the long one as well, which went before it, some at a time.
    assert (receipt.conversations, receipt.messages, receipt.ids) == (5, 148, 105)


def test_what_has_gone_of_a_conversation_that_stays_has_receipts_and_leaves_no_values(
    context, account, monkeypatch
):
    """A deletion of conversations that is cancelled in the middle of a long one."""
    for module in ("core.deleting", "core.walking", "core.purging"):
        monkeypatch.setattr(f"{module}.SLICE", 10)
    with context.transaction(account) as session:
        set_policy(session, owner_of(session), {"preset": "tokenise"})
    talk = a_conversation(context, account).id
    with context.transaction(account) as session:
        drafts = [Draft(MessageType.USER, f"Write to a{number}@example.com") for number in range(25)]
        create_messages(session, talk, drafts)
    before = {row["id"] for row in rows(context, "SELECT id FROM messages")}
    job = a_deletion(context, account, "conversations", all=True)
    real, batches = deleting.Deletion.step, []

    def interrupted(self):
        step = real(self)
        batches.append(step)
        if len(batches) == 2:
            with context.transaction(account) as session:
                cancel_job(session, job.id)
        return step

    monkeypatch.setattr(deleting.Deletion, "step", interrupted)
    assert carry_on(context, job.id) == "lost"
    assert (left(context, account), the_job(context, account, job.id).done) == (5, 0)
    assert one(context, "SELECT count(*) FROM pii_tokens") == 5
    named = rows(context, "SELECT kind, unnest(target_ids) AS id FROM erasures")
    still = {row["id"] for row in rows(context, "SELECT id FROM messages")}
    assert {row["kind"] for row in named} == {"messages"}
    assert {row["id"] for row in named} == before - still
    with context.transaction(account) as session:
        receipt = receipt_of(session, job.id)
    assert (receipt.conversations, receipt.messages, receipt.ids) == (0, 20, 20)


def test_a_preview_deletes_nothing_and_its_confirmation_begins_the_deletion(context, account):
    talks = some_talks(context, account, 2, 6)
    with context.transaction(account) as session:
        preview = preview_deletion(session, "messages", {"all": True})
    assert (preview.counted.count, preview.counted.conversations) == (12, 2)
    assert len(preview.counted.sample) == 10
    assert preview.counted.oldest <= preview.counted.newest
    assert left(context, account) == 12
    with context.transaction(account) as session:
        job, again = create_delete_job(session, "messages", {"all": True})
    assert again.confirmation == preview.confirmation
    assert job.state == JobState.PAUSED
    assert carry_on(context, job.id) == "ignored"
    with context.transaction(account) as session, pytest.raises(Conflict):
        resume_job(session, job.id)
    with context.transaction(account) as session, pytest.raises(Conflict):
        confirm_delete_job(session, job.id, str(uuid.uuid4()))
    with context.transaction(account) as session:
        confirm_delete_job(session, job.id, preview.confirmation)
        confirm_delete_job(session, job.id, preview.confirmation)
    assert carry_on(context, job.id) == "completed"
    fill(context, talks, 1)
    with context.transaction(account) as session, pytest.raises(Conflict):
        create_delete_job(session, "messages", {"all": True}, confirm=preview.confirmation)


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        ({}, InvalidInput),
        ({"all": True, "source": "api"}, InvalidInput),
        ({"status": "active"}, InvalidInput),
        ({"nothing": 1}, InvalidInput),
        ({"type": "shout"}, InvalidInput),
        ({"ids": []}, InvalidInput),
        ({"ids": ["x"]}, InvalidInput),
        ({"before": now(), "after": now() + timedelta(1)}, InvalidInput),
        ({"task_id": str(uuid.uuid4())}, NotFound),
    ],
)
def test_a_filter_that_is_none_is_refused(context, account, wanted, error):
    with context.transaction(account) as session, pytest.raises(error):
        preview_deletion(session, "messages", wanted)


def test_another_accounts_rows_are_out_of_reach(context, account, neighbour):
    theirs = rows(context, "SELECT id, conversation_id FROM messages WHERE account_id = :id", id=neighbour)
    with context.transaction(account) as session, pytest.raises(NotAuthorized):
        preview_deletion(session, "messages", {"conversation_id": str(theirs[0]["conversation_id"])})
    job = a_deletion(context, account, ids=[str(row["id"]) for row in theirs])
    assert carry_on(context, job.id) == "completed"
    assert (the_job(context, account, job.id).total, left(context, neighbour)) == (0, 40)


def test_a_rate_above_the_accounts_is_refused(context, account, monkeypatch):
    monkeypatch.setattr(context.settings, "rate_bulk", Rate(100, 1))
    with context.transaction(account) as session:
        with pytest.raises(InvalidInput):
            preview_deletion(session, "messages", {"all": True}, "101/s")
        with pytest.raises(InvalidInput):
            preview_deletion(session, "messages", {"all": True}, "fast")
        assert str(preview_deletion(session, "messages", {"all": True}, "6000/m").rate) == "6000/m"
        assert str(preview_deletion(session, "messages", {"all": True}, "off").rate) == "100/s"


@pytest.mark.parametrize("number", [1, 2, 5])
def test_a_worker_killed_inside_a_batch_loses_and_doubles_nothing(
    context, account, neighbour, small, monkeypatch, number
):
    some_talks(context, account, 3, 25)
    job = a_deletion(context, account, all=True)
    killed_at(monkeypatch, number)
    with pytest.raises(SystemExit):
        carry_on(context, job.id)
    so_far = the_job(context, account, job.id)
    assert so_far.done == 10 * (number - 1) == 75 - left(context, account)
    assert carry_on(context, job.id) == "ignored"
    execute(context, "UPDATE jobs SET run_at = now(), lease_until = now() WHERE id = :id", id=job.id)
    assert carry_on(context, job.id) == "completed"
    assert counts(the_job(context, account, job.id)) == ("completed", 75, 75, 0, 0)
    assert (left(context, account), left(context, neighbour)) == (0, 40)
    named = one(context, "SELECT sum(cardinality(target_ids)) FROM erasures WHERE job_id = :id", id=job.id)
    assert named == 75


def test_a_deletion_that_loses_worker_after_worker_is_given_up(context, account):
    some_talks(context, account, 1, 5)
    job = a_deletion(context, account, all=True)
    execute(
        context,
        "UPDATE jobs SET state = 'running', started_at = now(), lease_until = now(), crashes = 20"
        " WHERE id = :id",
        id=job.id,
    )
    assert carry_on(context, job.id) == "failed"
    assert the_job(context, account, job.id).error_class == "poison"


def test_a_zombie_deletes_nothing_once_another_has_the_job(context, account, small, monkeypatch):
    some_talks(context, account, 2, 30)
    job = a_deletion(context, account, all=True)
    real = deleting.Deletion.step

    def overtaken(slice_):
        execute(context, "UPDATE jobs SET epoch = epoch + 1 WHERE id = :id", id=job.id)
        return real(slice_)

    monkeypatch.setattr(deleting.Deletion, "step", overtaken)
    assert carry_on(context, job.id) == "lost"
    assert left(context, account) == 60


def test_it_is_paused_resumed_and_cancelled_between_batches(context, account, small, monkeypatch):
    some_talks(context, account, 2, 30)
    job = a_deletion(context, account, all=True)
    real, batches = deleting.Deletion.step, []

    def interrupted(slice_):
        step = real(slice_)
        batches.append(step)
        if len(batches) in {2, 4}:
            with context.transaction(account) as session:
                (pause_job if len(batches) == 2 else cancel_job)(session, job.id)
        return step

    monkeypatch.setattr(deleting.Deletion, "step", interrupted)
    assert carry_on(context, job.id) == "lost"
    assert (the_job(context, account, job.id).state, left(context, account)) == ("paused", 40)
    assert carry_on(context, job.id) == "ignored"
    with context.transaction(account) as session, pytest.raises(Conflict):
        receipt_of(session, job.id)
    with context.transaction(account) as session:
        resume_job(session, job.id)
    assert carry_on(context, job.id) == "lost"
    ended = the_job(context, account, job.id)
    assert (ended.state, ended.done, left(context, account)) == ("cancelled", 30, 30)
    with context.transaction(account) as session:
        assert receipt_of(session, job.id).ids == 30
        with pytest.raises(Conflict):
            resume_job(session, job.id)


def test_a_slice_ends_and_another_goes_on(context, account, small, monkeypatch):
    some_talks(context, account, 2, 30)
    job = a_deletion(context, account, all=True)
    monkeypatch.setattr(deleting.Deletion, "turn", 0.0)
    words = [carry_on(context, job.id) for _ in range(15)]
    assert words[-1] == "ignored"
    assert words.index("completed") >= 7
    assert set(words) == {"sliced", "completed", "ignored"}
    assert left(context, account) == 0


def test_the_rate_is_exact_over_workers_that_take_at_once(context, account):
    """Each takes in transactions of its own; what is rolled back costs nothing."""
    stop, took = time.monotonic() + 2.0, []
    rates = [("delete", Rate(500, 1)), ("other", Rate(600, 1))]

    def lose():
        raise Unavailable("A worker was lost.")

    def work():
        mine = 0
        while time.monotonic() < stop:
            try:
                with context.transaction(account) as session:
                    buckets = Buckets(session, account, rates)
                    grant = buckets.grant(40)
                    buckets.take(grant.count)
                    if grant.count and mine % 3 == 0:
                        mine += 1
                        lose()
                    mine += bool(grant.count)
                    granted_now = grant.count
            except Unavailable:
                continue
            took.append(granted_now)
            time.sleep(0.005)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: work(), range(3)))
    assert 0 < sum(took) <= 1 + 2.2 * 500


def test_deletions_of_one_account_share_its_rate(context, account, neighbour, monkeypatch):
    monkeypatch.setattr(context.settings, "rate_bulk", Rate(100, 1))
    talks = some_talks(context, account, 3, 30)
    jobs = [a_deletion(context, account, conversation_id=str(talk)) for talk in talks]
    began = one(context, "SELECT clock_timestamp()")
    with ThreadPoolExecutor(3) as pool:
        assert set(pool.map(lambda job: carry_on(context, job.id), jobs)) == {"completed"}
    ended = one(context, "SELECT max(finished_at) FROM jobs")
    assert left(context, account) == 0
    assert 100 * (ended - began).total_seconds() >= 88
    assert left(context, neighbour) == 40


def test_a_slow_rate_is_waited_for_without_a_worker(context, account):
    some_talks(context, account, 1, 5)
    job = a_deletion(context, account, all=True, rate="2/m")
    assert carry_on(context, job.id) == "paced"
    waits = one(context, "SELECT run_at - now() FROM jobs WHERE id = :id", id=job.id)
    assert timedelta(seconds=20) < waits <= timedelta(seconds=30)
    assert left(context, account) == 4


def test_a_single_deletion_meanwhile_is_counted_as_skipped(context, account, small):
    (talk,) = some_talks(context, account, 1, 25)
    job = a_deletion(context, account, all=True)
    last = one(context, "SELECT id FROM messages ORDER BY seq DESC LIMIT 1")
    with context.transaction(account) as session:
        delete_message(session, talk, last)
    assert carry_on(context, job.id) == "completed"
    assert counts(the_job(context, account, job.id)) == ("completed", 25, 24, 1, 0)


def test_checkpoints_go_with_what_they_sum_up(context, account, leases):
    talk = a_conversation(context, account).id
    with context.transaction(account) as session:
        send(session, talk, "My name is Ada.")
        send(session, talk, "And I like tea.")
    with context.transaction(account) as session:
        run = compact(session, talk)
    assert carry_out(context, leases, run.id, worker="tests") == "succeeded"
    first = one(context, "SELECT id FROM messages WHERE seq = 1")
    job = a_deletion(context, account, ids=[str(first)])
    assert carry_on(context, job.id) == "completed"
    assert the_job(context, account, job.id).done == 1
    assert one(context, "SELECT count(*) FROM messages WHERE type = 'checkpoint'") == 0
    with context.transaction(account) as session:
        assert receipt_of(session, job.id).messages == 2


def test_a_checkpoint_that_is_selected_as_well_counts_once_whichever_way_it_goes(
    context, account, leases, small
):
    talk = a_conversation(context, account).id
    fill(context, [talk], 18)
    with context.transaction(account) as session:
        run = compact(session, talk)
    assert carry_out(context, leases, run.id, worker="tests") == "succeeded"
    everything = one(context, "SELECT count(*) FROM messages")
    job = a_deletion(context, account, all=True)
    assert carry_on(context, job.id) == "completed"
    assert counts(the_job(context, account, job.id)) == ("completed", everything, everything, 0, 0)
    named = rows(context, "SELECT DISTINCT unnest(target_ids) AS id FROM erasures")
    assert (left(context, account), len(named)) == (0, everything)


def test_what_hangs_on_messages_goes_with_them_and_files_are_counted(context, account, small):
    talk, _ = some_talks(context, account, 2, 12)
    messages = rows(context, "SELECT id, seq FROM messages WHERE conversation_id = :id ORDER BY seq", id=talk)
    with context.transaction(account) as session:
        for row in messages[3:12:4]:
            start_attachment(session, talk, Described("a.txt", "text/plain"), message_id=row["id"])
        start_attachment(session, talk, Described("b.txt", "text/plain"))
        rate(session, 100, message=session.get_one(Message, messages[5]["id"]))
    job = a_deletion(context, account, conversation_id=str(talk))
    assert carry_on(context, job.id) == "completed"
    with context.transaction(account) as session:
        receipt = receipt_of(session, job.id)
    assert (receipt.messages, receipt.attachments) == (12, 3)
    assert one(context, "SELECT count(*) FROM attachments") == 1
    assert one(context, "SELECT count(*) FROM ratings") == 0
    assert left(context, account) == 12


def test_only_conversations_of_which_something_goes_are_fenced(context, account, small):
    talks = some_talks(context, account, 30, 7)
    some_talks(context, account, 1, 25)
    execute(
        context,
        "UPDATE messages SET type = 'context' WHERE conversation_id = ANY(:ids) AND seq = 4",
        ids=talks[::6],
    )
    job = a_deletion(context, account, type="context")
    assert carry_on(context, job.id) == "completed"
    assert counts(the_job(context, account, job.id)) == ("completed", 5, 5, 0, 0)
    fenced = rows(context, "SELECT id FROM conversations WHERE purge_epoch > 0")
    assert {row["id"] for row in fenced} == set(talks[::6])
    assert left(context, account) == 30 * 7 + 25 - 5


def test_named_messages_go_batch_by_batch(context, account, neighbour, small):
    some_talks(context, account, 3, 15)
    mine = [
        str(row["id"])
        for row in rows(context, "SELECT id FROM messages WHERE account_id = :id AND seq % 2 = 0", id=account)
    ]
    assert len(mine) == 21
    foreign = rows(context, "SELECT id FROM messages WHERE account_id = :id", id=neighbour)
    job = a_deletion(context, account, ids=[*mine, *(str(row["id"]) for row in foreign)])
    assert carry_on(context, job.id) == "completed"
    assert counts(the_job(context, account, job.id)) == ("completed", 21, 21, 0, 0)
    assert (left(context, account), left(context, neighbour)) == (24, 40)


def test_named_messages_that_the_filter_leaves_out_stay(context, account, small):
    (talk,) = some_talks(context, account, 1, 30)
    ids = [str(row["id"]) for row in rows(context, "SELECT id FROM messages WHERE seq <= 24")]
    job = a_deletion(context, account, ids=ids, type="bot", conversation_id=str(talk))
    assert carry_on(context, job.id) == "completed"
    assert counts(the_job(context, account, job.id)) == ("completed", 12, 12, 0, 0)
    kept = rows(context, "SELECT type, seq FROM messages ORDER BY seq")
    assert [row["seq"] for row in kept] == [*range(1, 24, 2), *range(25, 31)]


def test_a_named_checkpoint_counts_when_it_goes_with_what_it_sums_up(context, account, leases, small):
    talk = a_conversation(context, account).id
    fill(context, [talk], 14)
    with context.transaction(account) as session:
        run = compact(session, talk)
    assert carry_out(context, leases, run.id, worker="tests") == "succeeded"
    some = rows(context, "SELECT id FROM messages WHERE seq BETWEEN 2 AND 12 OR type = 'checkpoint'")
    job = a_deletion(context, account, ids=[str(row["id"]) for row in some])
    assert carry_on(context, job.id) == "completed"
    assert counts(the_job(context, account, job.id)) == ("completed", 12, 12, 0, 0)
    assert left(context, account) == 3


def test_a_rate_is_waited_for_without_asking_in_between(context, account, monkeypatch):
    some_talks(context, account, 6, 40)
    steps, real = [], deleting.Deletion._batch

    def noted(deletion, session, job):
        steps.append(real(deletion, session, job))
        return steps[-1]

    monkeypatch.setattr(deleting.Deletion, "_batch", noted)
    job = a_deletion(context, account, all=True, rate="200/s")
    assert carry_on(context, job.id) == "completed"
    assert len(steps) >= 7
    assert len([step for step in steps if not step.worked]) <= 2


def test_values_behind_tokens_go_with_the_last_text_that_names_them(context, account):
    talk = a_conversation(context, account, privacy=True).id
    with context.transaction(account) as session:
        send(session, talk, "Write to ada@example.com")
        send(session, talk, "Or to grace@example.com and ada@example.com")
        send(session, talk, "Nobody here.")
    assert one(context, "SELECT count(*) FROM pii_tokens") == 2
    ids = [str(row["id"]) for row in rows(context, "SELECT id FROM messages ORDER BY seq")]
    assert carry_on(context, a_deletion(context, account, ids=ids[1:2]).id) == "completed"
    assert one(context, "SELECT count(*) FROM pii_tokens") == 1
    assert carry_on(context, a_deletion(context, account, all=True).id) == "completed"
    assert one(context, "SELECT count(*) FROM pii_tokens") == 0


def test_the_receipt_tells_counts_and_a_digest_of_the_ids(context, account):
    some_talks(context, account, 2, 10)
    ids = sorted(row["id"] for row in rows(context, "SELECT id FROM messages"))
    job = a_deletion(context, account, all=True, actor="token:x")
    assert carry_on(context, job.id) == "completed"
    with context.transaction(account) as session:
        receipt = receipt_of(session, job.id)
    assert (receipt.messages, receipt.conversations, receipt.ids) == (20, 0, 20)
    assert receipt.sha256 == hashlib.sha256(b"".join(one.bytes for one in ids)).hexdigest()
    assert {row["actor"] for row in rows(context, "SELECT actor FROM erasures")} == {"token:x"}


@pytest.mark.parametrize("what", ["messages", "conversations"])
def test_what_a_backup_brings_back_is_deleted_again(context, account, neighbour, what):
    talks = some_talks(context, account, 3, 10)
    some_talks(context, account, 1, 4)
    columns = {
        "conversations": "id, account_id, source, next_seq, created_at",
        "messages": "id, account_id, conversation_id, seq, type, text, created_at",
    }
    for table, names in columns.items():
        execute(context, f"CREATE TABLE backup_{table} AS SELECT {names} FROM {table}")
    try:
        job = a_deletion(context, account, what, **{_named(what): [str(one) for one in talks]})
        assert carry_on(context, job.id) == "completed"
        lines = [json.dumps(exported_erasure(one)) for one in erasures_since(context)]
        for table, names in columns.items():
            execute(
                context,
                f"INSERT INTO {table} ({names}) SELECT {names} FROM backup_{table} ON CONFLICT DO NOTHING",
            )
        execute(context, "DELETE FROM erasures")
        assert left(context, account) == 34
        assert apply_erasures(context, read_receipts(lines))[Outcome.ERASED] >= 1
        assert (left(context, account), left(context, neighbour)) == (4, 40)
        assert len(lines) == one(context, "SELECT count(*) FROM erasures")
        assert apply_erasures(context, read_receipts(lines))[Outcome.GONE] == len(lines)
    finally:
        for table in columns:
            execute(context, f"DROP TABLE backup_{table}")


def _named(what):
    return "conversation_id" if what == "messages" else "ids"


def test_a_closed_account_deletes_no_further(context, account):
    some_talks(context, account, 1, 5)
    job = a_deletion(context, account, all=True)
    execute(context, "UPDATE accounts SET closed_at = now() WHERE id = :id", id=account)
    assert carry_on(context, job.id) == "cancelled"
    assert left(context, account) == 5


def test_due_deletions_are_hinted_and_found_by_the_poll_worker(context, account):
    forget_words(context)  # nobody has taken the hints of the tests before this one
    job = a_deletion(context, account, all=True)
    assert unserved_jobs(context, timedelta(0), 5) == [job.id]
    assert hint_jobs(context) == 0  # the door has sent one just now
    execute(context, "UPDATE jobs SET hinted_at = NULL")
    assert hint_jobs(context) == 1
    with context.transaction(account) as session:
        pause_job(session, job.id)
        assert get_job(session, job.id)[1].seconds is None
    assert unserved_jobs(context, timedelta(0), 5) == []


def test_instants_are_compared_as_instants_whatever_their_zones(context, account):
    before = datetime.fromisoformat("2026-01-01T00:30:00-05:00")
    after = datetime.fromisoformat("2026-01-01T01:00:00+00:00")
    with context.transaction(account) as session:
        assert preview_deletion(session, "messages", {"before": before, "after": after}).counted.count == 0
        earlier = datetime.fromisoformat("2026-01-01T09:00:00+09:00")
        with pytest.raises(InvalidInput):
            preview_deletion(session, "messages", {"before": earlier, "after": after})


def test_a_bucket_of_a_clock_that_was_ahead_gives_again(context, account):
    """A clock that jumped ahead, and back, keeps nobody waiting until it gets there again."""
    rates = [("delete", Rate(100, 1))]
    with context.transaction(account) as session:
        Buckets(session, account, rates)
    execute(context, "UPDATE rate_buckets SET tokens = 0, updated_at = now() + interval '1 year'")
    with context.transaction(account) as session:
        Buckets(session, account, rates)
    execute(context, "UPDATE rate_buckets SET updated_at = updated_at - interval '1 second'")
    with context.transaction(account) as session:
        assert Buckets(session, account, rates).grant(20).count == 20
