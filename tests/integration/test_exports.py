"""Exports: all that is selected is in the file and nothing else, however often workers are lost."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import time
import tracemalloc
from datetime import UTC, datetime

import pytest

from core import export_pages, exporting
from core.blobs import Writing, sweep_blobs
from core.carrying import carry_on
from core.content import content_of
from core.errors import Conflict, InvalidInput, NotFound
from core.exporters import FORMATS
from core.exports import create_export_job, expire_exports, result_of
from core.files import delete_file
from core.jobs import cancel_job, pause_job, resume_job
from core.slices import claim
from tests.deletions import fill, some_talks, the_job
from tests.exports import an_export, blobs_of, content, exported, finish, is_due, read_back, said, stored
from tests.factories import a_bot, a_contact, a_conversation, a_task, an_account, execute, rows
from tests.imports import imported, talks

LENGTHS = (0, 1, 7, 8, 30)


@pytest.fixture
def small(monkeypatch):
    """Pages of seven messages, so that little is much."""
    monkeypatch.setattr(export_pages, "MESSAGES", 7)
    monkeypatch.setattr(export_pages, "CONVERSATIONS", 3)


@pytest.fixture
def much(context, account):
    """Conversations of every length, and another account's."""
    other = an_account(context, "Grace")
    some_talks(context, other, 2, 9, name="Another's")
    for length in LENGTHS:
        some_talks(context, account, 1, length, name=f"Of {length}")
    return other


def without_times(raw):
    """A file without what differs from one export to the next."""
    return [line for line in raw.split(b"\n") if not any(w in line for w in (b"redacted", b'"end"'))]


def dies(monkeypatch, owner, name, *, before):
    """A worker is killed there at every other time: before it does that, or when it just has."""
    came, real = [], getattr(owner, name)

    def do(*args, **fields):
        came.append(1)
        if before and len(came) % 2:
            raise SystemExit
        found = real(*args, **fields)
        if not before and len(came) % 2:
            raise SystemExit
        return found

    monkeypatch.setattr(owner, name, do)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_all_that_was_selected_and_tells_of_it(context, account, much, small, name, packed):
    job = an_export(context, account, name, gzip=packed)
    finish(context, job.id)
    ended, raw = the_job(context, account, job.id), content(context, account, job.id)
    assert ended.params["sha256"] == hashlib.sha256(raw).hexdigest()
    assert ended.params["size"] == len(raw)
    assert (ended.done + ended.skipped, ended.failed) == (ended.total, 0)
    assert ended.params["name"].endswith(".gz") is packed
    plain = gzip.decompress(raw) if packed else raw
    assert b"Another" not in plain
    assert blobs_of(context, account) == ["stored"]
    if name == "crontalk":
        assert said(read_back(raw)) == stored(context, account)
        assert ended.counts == {"bot": 22, "conversations": 5, "user": 24}
    elif name == "openai":
        lines = [json.loads(line)["messages"] for line in plain.splitlines()]
        assert [len(line) for line in lines] == [6, 8, 30]
        assert all(line[-1]["role"] == "assistant" for line in lines)
        assert (ended.done, ended.skipped, ended.counts["unanswered"]) == (44, 1, 2)
    elif name == "sharegpt":
        assert [len(each["conversations"]) for each in json.loads(plain)] == [6, 8, 30]
    elif name == "csv":
        assert len(list(csv.reader(io.StringIO(plain.decode(), newline="")))) == 1 + sum(LENGTHS)
    else:
        assert plain.count(b"\n### ") == sum(LENGTHS)


@pytest.mark.parametrize(("name", "packed"), [(name, name == "crontalk") for name in FORMATS])
def test_workers_killed_at_every_step_lose_and_double_nothing(
    context, account, much, small, monkeypatch, name, packed
):
    whole = exported(context, account, name, gzip=packed)
    job = an_export(context, account, name, gzip=packed)
    dies(monkeypatch, exporting, "_written", before=True)  # a page was read, and nothing was written
    dies(monkeypatch, Writing, "close", before=False)  # the bytes are there, and no row knows them
    dies(monkeypatch, exporting.Export, "_keep", before=False)  # all was written, and not committed
    dies(monkeypatch, exporting.Export, "judge", before=True)  # it was committed, and nobody heard of it
    dies(monkeypatch, exporting.Export, "_finish", before=False)  # the file was there, and not committed
    kills = 0
    while the_job(context, account, job.id).finished_at is None:
        try:
            assert carry_on(context, job.id) in {"sliced", "completed"}
        except SystemExit:
            kills += 1
            is_due(context, job)
    raw, unpack = content(context, account, job.id), gzip.decompress if packed else bytes
    assert without_times(unpack(raw)) == without_times(unpack(whole))
    assert kills > 20
    ended = the_job(context, account, job.id)
    assert ended.done + ended.skipped == ended.total
    assert ended.params["sha256"] == hashlib.sha256(raw).hexdigest()
    assert blobs_of(context, account) == ["stored", "stored"]
    if name == "crontalk":
        assert said(read_back(raw)) == stored(context, account)


def test_whoever_has_lost_the_job_writes_nothing_more(context, account, much, small):
    job = an_export(context, account)
    zombie = exporting.Export(claim(context, job.id))
    assert zombie.step().ended is None
    is_due(context, job)
    other = exporting.Export(claim(context, job.id))
    assert other.step().ended is None
    before = the_job(context, account, job.id).cursor
    assert zombie.step().ended == "lost"
    assert the_job(context, account, job.id).cursor == before
    is_due(context, job)
    finish(context, job.id)
    assert said(read_back(content(context, account, job.id))) == stored(context, account)


def test_whoever_loses_the_job_between_writing_and_taking_it_into_account_adds_nothing(
    context, account, much, small, monkeypatch
):
    job = an_export(context, account)
    zombie = exporting.Export(claim(context, job.id))
    real = exporting._written

    def meanwhile(*args):
        monkeypatch.setattr(exporting, "_written", real)
        is_due(context, job)
        finish(context, job.id)
        return real(*args)

    monkeypatch.setattr(exporting, "_written", meanwhile)
    assert zombie.step().ended == "lost"
    assert said(read_back(content(context, account, job.id))) == stored(context, account)


def test_whoever_loses_the_job_while_the_parts_are_put_together_stops(
    context, account, much, small, monkeypatch
):
    job = an_export(context, account)
    monkeypatch.setattr(exporting, "BEAT", 0.0)
    craft = exporting.Export(claim(context, job.id))
    while not exporting.Cursor.read(the_job(context, account, job.id).cursor).ended:
        craft.step()
    real, came = exporting.read_stored, []

    def read(*args):
        if not came:
            with context.transaction(account) as session:
                pause_job(session, job.id)
        came.append(1)
        return real(*args)

    monkeypatch.setattr(exporting, "read_stored", read)
    assert craft.step().ended == "lost"
    assert "stored" not in blobs_of(context, account)
    with context.transaction(account) as session:
        resume_job(session, job.id)
    finish(context, job.id)
    assert said(read_back(content(context, account, job.id))) == stored(context, account)


def test_an_export_is_paused_gone_on_with_and_cancelled(context, account, much, small):
    job = an_export(context, account)
    exporting.Export(claim(context, job.id)).step()
    with context.transaction(account) as session:
        pause_job(session, job.id)
    assert carry_on(context, job.id) == "ignored"
    done = the_job(context, account, job.id).done
    assert 0 < done < sum(LENGTHS)
    with context.transaction(account) as session:
        resume_job(session, job.id)
    exporting.Export(claim(context, job.id)).step()
    assert the_job(context, account, job.id).done > done
    assert blobs_of(context, account)
    with context.transaction(account) as session:
        cancelled = cancel_job(session, job.id)
        assert (cancelled.state, cancelled.file_id) == ("cancelled", None)
    assert blobs_of(context, account) == rows(context, "SELECT id FROM files") == []
    assert carry_on(context, job.id) == "ignored"
    with context.transaction(account) as session, pytest.raises(Conflict, match="cancelled"):
        result_of(session, job.id)


def test_what_was_written_of_a_cancelled_export_is_swept_from_the_storage(context, account, much, small):
    place = content_of(context.settings).directory / str(account)
    job = an_export(context, account)
    exporting.Export(claim(context, job.id)).step()
    assert list(place.rglob("*"))
    with context.transaction(account) as session:
        cancel_job(session, job.id)
    sweep_blobs(context)
    assert not place.exists()


def test_an_export_whose_file_was_deleted_ends(context, account, much, small):
    job = an_export(context, account)
    craft = exporting.Export(claim(context, job.id))
    craft.step()
    with context.transaction(account) as session:
        delete_file(session, job.file_id)
    assert craft.step().ended == "cancelled"
    assert the_job(context, account, job.id).state == "cancelled"


def test_nothing_that_comes_later_is_in_it(context, account, small):
    (talk,) = some_talks(context, account, 1, 3)
    job = an_export(context, account)
    time.sleep(0.002)  # an id tells its millisecond
    fill(context, [talk], 4)
    some_talks(context, account, 1, 3)
    finish(context, job.id)
    (found,) = read_back(content(context, account, job.id))
    assert len(found.messages) == 3


@pytest.mark.parametrize("name", ["openai", "sharegpt", "crontalk"])
def test_a_conversation_that_goes_in_the_middle_leaves_a_whole_file(context, account, small, name):
    (talk,) = some_talks(context, account, 1, 20, backstory="Be kind.")
    some_talks(context, account, 1, 2, backstory="Be kind.")
    job = an_export(context, account, name)
    exporting.Export(claim(context, job.id)).step()
    execute(context, "DELETE FROM conversations WHERE id = :id", id=talk)
    is_due(context, job)
    finish(context, job.id)
    raw = content(context, account, job.id)
    if name == "crontalk":
        assert [len(one.messages) for one in read_back(raw)] == [7, 2]
    elif name == "openai":
        assert [len(json.loads(line)["messages"]) for line in raw.splitlines()] == [8, 3]
    else:
        assert [len(one["conversations"]) for one in json.loads(raw)] == [7, 2]


def test_a_call_and_its_answer_are_not_parted_by_a_page(context, account, small):
    some_talks(context, account, 1, 10)
    execute(
        context,
        "UPDATE messages SET type = 'activity', meta = jsonb_build_object('activity',"
        " jsonb_build_object('type', CASE seq WHEN 7 THEN 'request' ELSE 'response' END, 'function',"
        " jsonb_build_object('name', 'f', 'arguments', '{}'::jsonb, 'result', 1))) WHERE seq IN (7, 8)",
    )
    (line,) = exported(context, account, "openai").splitlines()
    roles = [one["role"] for one in json.loads(line)["messages"] if one["role"] != "system"]
    assert roles[6:8] == ["assistant", "tool"]


@pytest.mark.parametrize(
    "field", ["conversation_id", "task_id", "bot_id", "contact_id", "source", "status", "ids"]
)
def test_every_filter_of_a_bulk_deletion_selects_an_export(context, account, field):
    task, bot = a_task(context, account), a_bot(context, account, name="b")
    contact = a_contact(context, account)
    links = {"task_id": task.id, "bot_id": bot.id, "contact_id": contact.id}
    mine = a_conversation(context, account, source="whatsapp", status="archived", **links).id
    some_talks(context, account, 2, 1, source="api")
    values = {name: str(value) for name, value in links.items()} | {
        "conversation_id": str(mine),
        "source": "whatsapp",
        "status": "archived",
        "ids": [str(mine)],
    }
    (found,) = read_back(exported(context, account, **{field: values[field]}))
    assert found.key == str(mine)
    assert (found.source, found.status, found.links["taskId"]) == ("whatsapp", "archived", str(task.id))
    assert found.contact.key == str(contact.id)


def test_times_select_from_the_one_to_before_the_other(context, account):
    for day in (1, 2, 3):
        talk, at = a_conversation(context, account, name=f"Day {day}").id, datetime(2020, 1, day, tzinfo=UTC)
        execute(context, "UPDATE conversations SET created_at = :at WHERE id = :id", id=talk, at=at)
    wanted = {"after": datetime(2020, 1, 2, tzinfo=UTC), "before": datetime(2020, 1, 3, tzinfo=UTC)}
    assert [one.title for one in read_back(exported(context, account, **wanted))] == ["Day 2"]


@pytest.mark.parametrize(
    ("given", "refusal"),
    [
        ({"format": "fax"}, "The format must be"),
        ({"mode": "raw"}, "The mode must be"),
        ({"wanted": {}}, "Say what is to be exported"),
        ({"wanted": {"all": True, "source": "x"}}, "Say what is to be exported"),
        ({"wanted": {"type": "user"}}, "not filtered by type"),
        ({"bom": True}, "Only CSV"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(context, account, given, refusal):
    asked = {"format": "crontalk", "wanted": {"all": True}, **given}
    with context.transaction(account) as session, pytest.raises(InvalidInput, match=refusal):
        create_export_job(session, asked.pop("format"), asked.pop("wanted"), **asked)
    assert rows(context, "SELECT id FROM jobs UNION ALL SELECT id FROM files") == []


def test_a_file_is_kept_for_a_while(context, account):
    some_talks(context, account, 1, 1)
    old, new = an_export(context, account), an_export(context, account)
    finish(context, old.id)
    finish(context, new.id)
    assert expire_exports(context) == 0
    execute(context, "UPDATE jobs SET finished_at = now() - interval '8 days' WHERE id = :id", id=old.id)
    assert expire_exports(context) == 1
    with context.transaction(account) as session:
        assert result_of(session, new.id).file_id
        with pytest.raises(NotFound, match="ask for it again"):
            result_of(session, old.id)
    assert the_job(context, account, old.id).params["sha256"]


def test_a_conversation_of_100_000_messages_takes_no_more_memory_at_its_end(context, account):
    (talk,) = some_talks(context, account, 1, 100_000, backstory="Be kind.")
    job = an_export(context, account, "openai", conversation_id=str(talk))
    craft = exporting.Export(claim(context, job.id))

    def peak_of(do):
        tracemalloc.start()
        do()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    first = peak_of(craft.step)
    while the_job(context, account, job.id).done < 96_000:
        craft.step()
    last = peak_of(craft.step)
    while not exporting.Cursor.read(the_job(context, account, job.id).cursor).ended:
        craft.step()
    assert the_job(context, account, job.id).done == 100_000
    joined = peak_of(craft.step)
    (line,) = content(context, account, job.id).splitlines()
    assert len(json.loads(line)["messages"]) == 1 + 100_000
    assert last < 1.5 * first
    assert max(first, last, joined) < 40 * 1024 * 1024


def test_large_texts_make_small_pages(context, account, monkeypatch):
    some_talks(context, account, 1, 10)
    execute(context, "UPDATE messages SET text = repeat('x', 200000)")
    monkeypatch.setattr(export_pages, "BYTES", 500_000)
    job = an_export(context, account)
    exporting.Export(claim(context, job.id)).step()
    assert the_job(context, account, job.id).done == 3
    is_due(context, job)
    finish(context, job.id)
    assert len(read_back(content(context, account, job.id))[0].messages) == 10


def test_what_was_exported_is_imported_as_it_was(context, account):
    """Names, texts, times and metas: `compared` says which."""
    talk = a_conversation(context, account, name="A talk", description="Of it", meta={"a": {"b": [1]}}).id
    fill(context, [talk], 30)
    execute(
        context,
        "UPDATE messages SET name = 'N' || seq, description = 'D', meta = '{\"x\": 2}',"
        " created_at = CAST('2020-01-01T10:00:00.123456Z' AS timestamptz) + seq * interval '1 s'",
    )
    other = an_account(context, "Elsewhere")
    raw = exported(context, account)
    assert imported(context, other, raw).state == "completed"
    assert compared(talks(context, other)) == compared(talks(context, account))


def compared(found):
    own = ("name", "description", "meta", "created_at")
    return [
        {
            **{name: talk[name] for name in own},
            "messages": [{name: one[name] for name in ("type", "text", *own)} for one in talk["messages"]],
        }
        for talk in found
    ]
