"""Imports in trouble: servers away in the middle, workers that change, values that nobody foresaw."""

from __future__ import annotations

import json

import pytest

from core import import_reading, import_rows, importing, staged
from core.carrying import carry_on
from core.dataset_files import attach_file
from core.datasets import create_dataset
from core.errors import Unavailable
from core.privacy_policies import owner_of, set_policy
from tests.factories import a_bot, execute, one
from tests.imports import (
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
from tests.unit.import_samples import archive

LARGE = an_export(*(a_talk(f"t{at}", "x" * 3000, "y" * 3000) for at in range(100)))


@pytest.fixture
def small(monkeypatch):
    """Batches of few messages, so that little is much."""
    monkeypatch.setattr(import_reading, "MESSAGES", 3)
    monkeypatch.setattr(import_rows, "PIECE", 4)


@pytest.fixture
def sliced(small, monkeypatch):
    """Another worker for every batch."""
    monkeypatch.setattr(importing.Import, "turn", 0.0)


@pytest.mark.parametrize("nth", [2, 3, 4])
@pytest.mark.parametrize("trouble", [Unavailable("away"), RuntimeError("unforeseen")])
def test_what_breaks_off_while_it_is_read_is_not_taken_for_the_end(
    context, account, small, monkeypatch, nth, trouble
):
    real, calls = staged.StagedFile._chunk, []

    def chunk(self, number):
        calls.append(number)
        if len(calls) == nth:
            raise trouble
        return real(self, number)

    monkeypatch.setattr(staged.StagedFile, "_chunk", chunk)
    assert counts(imported(context, account, LARGE)) == ("completed", 100, 100, 0, 0)
    assert len(calls) > nth
    assert one(context, "SELECT count(*) FROM messages") == 200


def test_rows_that_cannot_be_read_at_the_end_do_not_make_it_another_format(context, account, sliced):
    said = [{"messages": [{"role": "user", "content": f"Hi {at}"}]} for at in range(6)]
    job = imported(context, account, jsonl(*said) + b"{broken\n", format="openai")
    assert counts(job) == ("completed_with_errors", 7, 6, 0, 1)
    assert errors(context, account, job) == [(7, "not_json")]


def a_line(**fields):
    return {"key": "a", "messages": [{"key": "1", "type": "user", "text": "Hi", **fields}]}


def the_talk(context, account, *lines, **options):
    """The one conversation that such lines become, and the errors."""
    head = {"format": "crontalk", "version": 2}
    job = imported(context, account, jsonl(head, *lines), **options)
    (talk,) = talks(context, account)
    return talk, [error for error in errors(context, account, job) if error[1] != "truncated"]


OUTSIDE = ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00")


@pytest.mark.parametrize("outside", OUTSIDE)
def test_times_that_the_calendar_has_no_place_for_in_utc_are_refused(client, context, account, outside):
    told = {"createdAt": "2025-01-01T00:00:00Z"}
    lines = [
        {"key": "a", "messages": [{"key": "1", "type": "user", "text": "Hi", "createdAt": outside}]},
        {"key": "b", "messages": [], "createdAt": outside},
        {"key": "c", "messages": [], "expiresAt": outside},
        {"key": "d", "messages": [], "updatedAt": outside},
        {"key": "e", "messages": [{"key": "1", "type": "user", "text": "Hi", **told}]},
    ]
    job = imported(context, account, jsonl({"format": "crontalk", "version": 2}, *lines))
    assert [error for error in errors(context, account, job) if error[1] != "truncated"] == [
        (1, "bad_message"),
        (2, "no_conversation"),
        (3, "no_conversation"),
        (4, "no_conversation"),
    ]
    assert client.get("/api/v1/conversation/list").status_code == 200
    assert len(talks(context, account)) == 2


def test_nothing_was_changed_in_the_future(context, account):
    late = "2999-01-01T00:00:00Z"
    talk, wrong = the_talk(context, account, {**a_line(updatedAt=late), "updatedAt": late})
    assert wrong == []
    assert talk["updated_at"].year < 2999
    assert talk["messages"][0]["updated_at"].year < 2999


def test_a_number_without_bounds_takes_no_other_line_along(context, account):
    entity = {"type": "email", "begin": 0, "end": 1, "score": 10**400, "source": "given", "operator": "mask"}
    good = {"key": "b", "messages": [{"key": "1", "type": "user", "text": "Hi"}]}
    job = imported(
        context,
        account,
        jsonl({"format": "crontalk", "version": 2}, a_line(entities=[entity]), good),
    )
    assert job.counts["conversations"] == 2
    assert (1, "bad_message") in errors(context, account, job)


def test_a_text_too_long_becomes_several_in_our_own_format_too(client, context, account):
    line = a_line(text="x" * 300_000)
    line["messages"].append({"key": "2", "type": "bot", "text": "Short"})
    talk, wrong = the_talk(context, account, line)
    assert wrong == []
    assert "".join(text for _, text in texts(talk)) == "x" * 300_000 + "Short"
    assert [message["meta"].get("part") for message in talk["messages"]] == ["1/2", "2/2", None]
    items = client.post("/api/v1/job/create", json={"kind": "import", "items": [{**line, "key": "b"}]})
    assert (items.status_code, items.json()["done"]) == (200, 1)


def test_items_that_the_database_refuses_are_told_of(client, context, account, monkeypatch):
    monkeypatch.setattr("core.importers.own.pieces", lambda text: [text])
    items = [a_line(text="x" * 300_000), {**a_line(), "key": "b"}]
    answer = client.post("/api/v1/job/create", json={"kind": "import", "items": items})
    assert answer.status_code == 200
    assert {name: answer.json()[name] for name in ("done", "skipped", "failed", "errors")} == {
        "done": 1,
        "skipped": 0,
        "failed": 1,
        "errors": 1,
    }


def test_nul_within_the_arguments_of_a_call_is_mended(context, account):
    function = {"name": "f", "arguments": '{"a": "\\u0000"}'}
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": function}]}
    rows = [{"messages": [{"role": "user", "content": "Hi"}, call], "tools": '[{"name":"\\u0000"}]'}]
    job = imported(context, account, jsonl(*rows), format="openai")
    assert counts(job) == ("completed", 1, 1, 0, 0)
    (talk,) = talks(context, account)
    assert talk["messages"][1]["meta"]["activity"]["function"]["arguments"] == {"a": "\ufffd"}


def test_what_was_not_understood_is_counted_once_however_often_it_is_gone_on_with(context, account, sliced):
    said = [{"role": "user", "content": f"Hi {at}"} for at in range(9)]
    rows = [
        {"messages": [{"role": "owl", "content": "Hoo"}, *said]},
        *(
            {"messages": [{"role": role, "content": f"So {at}"}]}
            for at, role in enumerate(("owl", "user", "owl", "owl", "fox"))
        ),
    ]
    content = archive({"rows.jsonl": jsonl(*rows), "picture.png": b"", "user.json": b"{}"})
    job = imported(context, account, content, "e.zip", format="openai")
    assert counts(job) == ("completed", 6, 6, 0, 0)
    assert job.params["unknown"] == {"other_file": 2, "role:owl": 4, "role:fox": 1}


def test_an_installation_without_its_key_ends_an_import_in_a_sentence(context, account, monkeypatch):
    job = an_import(context, account, LARGE)
    monkeypatch.setattr(context.settings, "key", None)
    assert carry(context, job.id) == "failed"
    job = the_job(context, account, job.id)
    assert job.error_class == "refused"
    assert "key" in job.params["refused"]


@pytest.mark.parametrize("by", ["flag", "policy"])
def test_nothing_is_stored_without_the_privacy_of_a_bot_that_is_deleted_meanwhile(
    context, account, sliced, by
):
    bot = a_bot(context, account, name="private", privacy=by == "flag")
    if by == "policy":
        with context.transaction(account) as session:
            set_policy(session, owner_of(session, bot_id=bot.id), {"preset": "strict"})
    job = an_import(context, account, LARGE, bot_id="private")
    assert carry_on(context, job.id) == "sliced"
    there = one(context, "SELECT count(*) FROM messages")
    execute(context, "DELETE FROM bots WHERE id = :id", id=bot.id)
    assert carry(context, job.id) == "failed"
    assert "bot" in the_job(context, account, job.id).params["refused"]
    assert one(context, "SELECT count(*) FROM messages") == there > 0
    given = imported(context, account, LARGE, privacy=True)
    assert given.state == "completed"


def test_a_file_that_something_else_uses_stays(context, account):
    job = an_import(context, account, an_export(a_talk("a", "One")))
    with context.transaction(account) as session:
        dataset = create_dataset(session, name="Moons")
        attach_file(session, dataset.id, job.file_id)
    carry(context, job.id)
    assert one(context, "SELECT count(*) FROM dataset_files") == 1


@pytest.mark.parametrize("format_", ["crontalk", "openai"])
def test_a_batch_is_bounded_by_its_rows_and_not_by_what_is_said_alone(context, account, monkeypatch, format_):
    monkeypatch.setattr(import_reading, "WEIGHT", 50_000)
    large = {"meta": {"a": "x" * 20_000}, "title": "x" * 20_000}
    talk = {"messages": [{"key": "1", "type": "user", "role": "user", "text": "Hi", "content": "Hi"}]}
    lines = [{"key": f"k{at}", **talk, **large, "id": f"k{at}"} for at in range(9)]
    head = [{"format": "crontalk", "version": 2}] if format_ == "crontalk" else []
    sizes, real = [], import_reading.Reading.next

    def following(self):
        batch = real(self)
        sizes.append(len(batch.pieces))
        return batch

    monkeypatch.setattr(import_reading.Reading, "next", following)
    imported(context, account, jsonl(*head, *lines), format=format_)
    assert len(sizes) >= 4
    assert max(sizes) <= 3


def test_an_element_that_ends_in_the_middle_is_told_once(context, account):
    said = [{"messages": [{"role": "user", "content": f"Hi {at}"}]} for at in range(2)]
    job = imported(context, account, json.dumps(said).encode()[:-10], format="openai")
    assert counts(job) == ("completed_with_errors", 2, 1, 0, 1)
    assert errors(context, account, job) == [(2, "truncated")]
