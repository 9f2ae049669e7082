"""Files made into records by a job: all of them or none, whatever happens meanwhile."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from threading import Event

import pytest
import structlog

from core import syncing
from core.carrying import carry_on
from core.context import Context
from core.dataset_files import attach_file, detach_file
from core.datasets import delete_dataset, update_dataset
from core.errors import Conflict, InvalidInput, NotAuthorized, NotFound, Unavailable
from core.files import delete_file
from core.jobs import cancel_job, get_job, list_jobs, pause_job, resume_job
from core.searching import search_dataset
from core.slices import Lost, claim, unserved_jobs
from core.sync_jobs import create_sync_job, create_sync_jobs_of
from core.syncing import Synchronisation
from models import Job, JobState
from tests.documents import HTML, a_pdf
from tests.factories import an_account, execute, one, rows
from tests.knowledge import a_dataset, a_file, fill, finish

MARKER = "geheim4711"


def an_attached(context: Context, account: uuid.UUID, content=b"New.\n\nNewer.", *words, **options):
    """A dataset with a file that is to be synchronised, and records it made before."""
    dataset = a_dataset(context, account, **options)
    file = a_file(context, account, b"Old.")
    with context.transaction(account) as session:
        attach_file(session, dataset.id, file.id)
    assert finish(context, a_sync(context, account, dataset.id, file.id).id) == "completed"
    fill(context, account, file.id, content, *words)
    return dataset, file


def a_sync(context: Context, account: uuid.UUID, dataset_id, file_id) -> Job:
    with context.transaction(account) as session:
        return create_sync_job(session, dataset_id, file_id)


def texts(context: Context, dataset_id) -> list[str]:
    query = "SELECT text FROM records WHERE dataset_id = :id ORDER BY id"
    return [row["text"] for row in rows(context, query, id=dataset_id)]


def state(context: Context, account: uuid.UUID, job_id) -> tuple[str, int, int, int]:
    with context.transaction(account) as session:
        job = get_job(session, job_id)[0]
        return job.state, job.done, job.skipped, job.failed


def in_hand(context: Context, job: Job) -> Synchronisation:
    hold = claim(context, job.id)
    assert hold is not None
    return Synchronisation(hold)


def test_records_say_which_page_or_heading_they_are_of(context, account):
    pages = a_pdf(["Of the first."], ["Of the second."])
    for content, kind, name, sources in (
        (pages, "application/pdf", "m.pdf", ["m.pdf, page 1", "m.pdf, page 2"]),
        (HTML.encode(), "text/html", "m.html", ["m.html, Manual", "m.html, Manual > Setup & care"]),
        (b"# A\n\nx", "text/markdown", None, ["A"]),
        (b"x", "text/plain", "n.txt", ["n.txt"]),
    ):
        dataset = a_dataset(context, account)
        file = a_file(context, account, content, kind, name)
        with context.transaction(account) as session:
            attach_file(session, dataset.id, file.id)
        assert finish(context, a_sync(context, account, dataset.id, file.id).id) == "completed"
        found = rows(context, "SELECT source FROM records WHERE dataset_id = :id ORDER BY id", id=dataset.id)
        assert [row["source"] for row in found] == sources


def test_nothing_is_done_before_a_worker_comes_and_it_is_woken_for_it(context, account):
    dataset, file = an_attached(context, account)
    job = a_sync(context, account, dataset.id, file.id)
    assert texts(context, dataset.id) == ["Old."]
    assert job.id in unserved_jobs(context, timedelta(0), 10)
    assert one(context, "SELECT hints FROM jobs WHERE id = :id", id=job.id) == 1
    assert carry_on(context, job.id) == "completed"
    assert texts(context, dataset.id) == ["New.", "Newer."]
    assert carry_on(context, job.id) == "ignored"
    assert state(context, account, job.id) == ("completed", 1, 0, 0)


def test_the_same_asked_for_again_before_it_has_begun_is_the_same_job(context, account):
    dataset, file = an_attached(context, account)
    job = a_sync(context, account, dataset.id, file.id)
    assert a_sync(context, account, dataset.id, file.id).id == job.id
    other = a_dataset(context, account)
    with context.transaction(account) as session:
        attach_file(session, other.id, file.id)
        both = create_sync_jobs_of(session, file.id)[1]
    assert both
    assert both.id != job.id
    in_hand(context, job)
    assert a_sync(context, account, dataset.id, file.id).id not in {job.id, both.id}


@pytest.mark.parametrize("steps", ["looked", "read"])
def test_a_worker_that_is_killed_leaves_the_old_records_and_the_next_one_makes_the_new(
    context, account, steps
):
    dataset, file = an_attached(context, account)
    job = a_sync(context, account, dataset.id, file.id)
    craft = in_hand(context, job)
    craft._hold.batch(craft, craft._look)
    if steps == "read":
        craft._records(craft._next.args[0])
    assert texts(context, dataset.id) == ["Old."]
    assert carry_on(context, job.id) == "ignored"
    execute(context, "UPDATE jobs SET run_at = now() WHERE id = :id", id=job.id)
    assert carry_on(context, job.id) == "completed"
    assert texts(context, dataset.id) == ["New.", "Newer."]
    # The one that was taken for dead comes back, and writes nothing.
    with pytest.raises(Lost):
        craft._next()
    assert texts(context, dataset.id) == ["New.", "Newer."]


def test_a_transaction_that_ends_halfway_leaves_the_old_records(context, account, monkeypatch):
    dataset, file = an_attached(context, account, b"\n\n".join(b"Number %d." % n for n in range(5)))
    job = a_sync(context, account, dataset.id, file.id)
    monkeypatch.setattr(syncing, "BATCH", 2)
    real, calls = syncing.new_ids, []

    def failing(count):
        calls.append(count)
        if len(calls) == 2:
            raise RuntimeError(MARKER)
        return real(count)

    monkeypatch.setattr(syncing, "new_ids", failing)
    craft = in_hand(context, job)
    with pytest.raises(RuntimeError):
        craft.step()
    assert texts(context, dataset.id) == ["Old."]
    assert craft.step().ended == "completed"
    assert texts(context, dataset.id) == [f"Number {n}." for n in range(5)]


def test_content_that_changes_while_it_is_read_is_read_again(context, account):
    dataset, file = an_attached(context, account)
    job = a_sync(context, account, dataset.id, file.id)
    craft = in_hand(context, job)
    craft._hold.batch(craft, craft._look)
    fill(context, account, file.id, b"Newest.")
    assert craft._next().ended is None
    assert texts(context, dataset.id) == ["Old."]
    assert craft.step().ended == "completed"
    assert texts(context, dataset.id) == ["Newest."]


@pytest.mark.parametrize("gone", ["detached", "dataset", "file"])
def test_what_goes_while_it_is_read_is_skipped(context, account, gone):
    dataset, file = an_attached(context, account)
    job = a_sync(context, account, dataset.id, file.id)
    craft = in_hand(context, job)
    craft._hold.batch(craft, craft._look)
    with context.transaction(account) as session:
        if gone == "detached":
            detach_file(session, dataset.id, file.id)
        elif gone == "dataset":
            delete_dataset(session, dataset.id)
        else:
            delete_file(session, file.id)
    assert craft._next().ended is None
    assert craft.step().ended == "completed"
    assert state(context, account, job.id) == ("completed", 0, 1, 0)
    assert texts(context, dataset.id) == ([] if gone == "dataset" else ["Old."])


def test_a_dataset_deleted_at_the_very_moment_leaves_no_record_and_no_job_behind(context, account):
    for _ in range(5):
        dataset, file = an_attached(context, account, b"\n\n".join(b"Number %d." % n for n in range(200)))
        job = a_sync(context, account, dataset.id, file.id)

        def go(dataset_id=dataset.id) -> None:
            for _ in range(5):  # as a door does when another transaction went first
                with suppress(Unavailable), context.transaction(account) as session:
                    delete_dataset(session, dataset_id)
                    return

        with ThreadPoolExecutor(2) as pool:
            ended, deleted = pool.submit(finish, context, job.id), pool.submit(go)
            deleted.result()
            assert ended.result() == "completed"
        assert texts(context, dataset.id) == []
        assert sum(state(context, account, job.id)[1:3]) == 1


def test_a_file_is_synchronised_with_every_dataset_it_is_attached_to(context, account):
    first, file = an_attached(context, account)
    second, third = a_dataset(context, account), a_dataset(context, account)
    with context.transaction(account) as session:
        for dataset in (second, third):
            attach_file(session, dataset.id, file.id)
        job = create_sync_jobs_of(session, file.id)[1]
    with context.transaction(account) as session:
        detach_file(session, third.id, file.id)
    assert job
    assert finish(context, job.id) == "completed"
    assert state(context, account, job.id) == ("completed", 2, 1, 0)
    assert texts(context, first.id) == texts(context, second.id) == ["New.", "Newer."]
    assert texts(context, third.id) == []


def test_a_file_that_is_attached_to_nothing_makes_no_job(context, account):
    file = a_file(context, account)
    with context.transaction(account) as session:
        assert create_sync_jobs_of(session, file.id)[1] is None


def test_a_job_that_is_paused_or_cancelled_leaves_the_old_records(context, account):
    dataset, file = an_attached(context, account)
    job = a_sync(context, account, dataset.id, file.id)
    craft = in_hand(context, job)
    craft._hold.batch(craft, craft._look)
    with context.transaction(account) as session:
        pause_job(session, job.id)
    with pytest.raises(Lost):
        craft._next()
    with context.transaction(account) as session:
        resume_job(session, job.id)
    craft = in_hand(context, job)
    craft._hold.batch(craft, craft._look)
    with context.transaction(account) as session:
        cancel_job(session, job.id)
    with pytest.raises(Lost):
        craft._next()
    assert state(context, account, job.id)[0] == "cancelled"
    assert texts(context, dataset.id) == ["Old."]


def test_a_closed_account_is_not_synchronised(context, account):
    dataset, file = an_attached(context, account)
    job = a_sync(context, account, dataset.id, file.id)
    execute(context, "UPDATE accounts SET closed_at = now() WHERE id = :id", id=account)
    assert carry_on(context, job.id) == "cancelled"
    assert texts(context, dataset.id) == ["Old."]


def test_ten_thousand_records_are_made_in_one_step_that_outlasts_no_statement(context, account):
    content = b"\n\n".join(b"Record %d: " % n + b"several words of it, " * 5 for n in range(10_000))
    dataset, file = an_attached(context, account, content)
    job = a_sync(context, account, dataset.id, file.id)
    for _ in range(2):  # the second time ten thousand go as well
        assert finish(context, job.id) == "completed"
        assert one(context, "SELECT count(*) FROM records WHERE dataset_id = :id", id=dataset.id) == 10_000
        job = a_sync(context, account, dataset.id, file.id)


def test_nothing_of_a_file_is_in_jobs_errors_or_logs(context, account):
    with structlog.testing.capture_logs() as logs:
        dataset, file = an_attached(context, account, f"{{{MARKER}".encode(), "application/json", "x.json")
        failed = a_sync(context, account, dataset.id, file.id)
        assert finish(context, failed.id) == "failed"
        dataset, file = an_attached(context, account, MARKER.encode(), "text/plain", f"{MARKER}.txt")
        assert finish(context, a_sync(context, account, dataset.id, file.id).id) == "completed"
    assert MARKER not in json.dumps(logs, default=str)
    for table in ("jobs", "job_errors"):
        assert MARKER not in json.dumps(rows(context, f"SELECT * FROM {table}"), default=str)


def test_nobody_synchronises_what_is_not_attached_readable_or_his(context, account):
    dataset, file = a_dataset(context, account), a_file(context, account)
    stranger = an_account(context, "Mallory")
    theirs, other = a_dataset(context, stranger), a_file(context, stranger)
    empty = a_file(context, account, None)
    picture = a_file(context, account, b"x", "image/png", "x.png")
    with context.transaction(account) as session:
        for one_ in (empty, picture):
            attach_file(session, dataset.id, one_.id)
    for dataset_id, file_id, error in (
        (dataset.id, file.id, NotFound),
        (dataset.id, empty.id, NotFound),
        (dataset.id, picture.id, InvalidInput),
        (theirs.id, file.id, NotAuthorized),
        (dataset.id, other.id, NotAuthorized),
        (uuid.uuid4(), file.id, NotFound),
        ("x", "y", NotFound),
    ):
        with context.transaction(account) as session, pytest.raises(error):
            create_sync_job(session, dataset_id, file_id)
    with context.transaction(account) as session, pytest.raises(NotAuthorized):
        create_sync_jobs_of(session, other.id)
    with context.transaction(account) as session:
        assert list_jobs(session, kind="sync") == []


def test_a_thousand_that_nobody_has_carried_out_are_enough(context, account, monkeypatch):
    dataset, file = an_attached(context, account)
    monkeypatch.setattr("core.sync_jobs.MOST_UNFINISHED", 1)
    in_hand(context, a_sync(context, account, dataset.id, file.id))
    with context.transaction(account) as session, pytest.raises(Conflict):
        create_sync_job(session, dataset.id, file.id)


def test_damaged_content_is_told_and_keeps_the_old_records(context, account):
    dataset, file = an_attached(context, account)
    execute(
        context,
        "UPDATE blobs SET size = size + 1 WHERE file_id = :id AND state = 'stored'",
        id=file.id,
    )
    job = a_sync(context, account, dataset.id, file.id)
    assert finish(context, job.id) == "failed"
    assert one(context, "SELECT code FROM job_errors WHERE job_id = :id", id=job.id) == "content_damaged"
    assert texts(context, dataset.id) == ["Old."]


def test_another_language_makes_the_words_of_stored_records_anew(context, account, monkeypatch):
    monkeypatch.setattr(syncing, "BATCH", 2)
    houses = [f"Im Dorf stehen Häuser, Nummer {n}." for n in range(5)]
    dataset = a_dataset(context, account, *houses)

    def found() -> int:
        with context.transaction(account) as session:
            return len(search_dataset(session, dataset.id, "Haus")[1])

    assert found() == 0
    with context.transaction(account) as session:
        update_dataset(session, dataset.id, config={"language": "german"})
    with context.transaction(account) as session:
        ((job, _),) = list_jobs(session, kind="sync")
    assert finish(context, job.id) == "completed"
    assert state(context, account, job.id)[:2] == (JobState.COMPLETED, 5)
    assert found() == 5
    with context.transaction(account) as session:
        update_dataset(session, dataset.id, config={"language": "german"}, name="same")
        assert len(list_jobs(session, kind="sync")) == 1


def test_a_job_is_given_back_when_its_worker_is_to_stop(context, account):
    dataset, file = an_attached(context, account)
    other = a_dataset(context, account)
    with context.transaction(account) as session:
        attach_file(session, other.id, file.id)
        job = create_sync_jobs_of(session, file.id)[1]
    stopping = Event()
    stopping.set()
    assert job
    assert carry_on(context, job.id, stopping) == "sliced"
    assert finish(context, job.id) == "completed"
    assert texts(context, dataset.id) == texts(context, other.id) == ["New.", "Newer."]
