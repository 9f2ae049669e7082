"""Imports under privacy: redacted in the same pass, nothing raw is written, and what is found is known."""

from __future__ import annotations

import pytest

from core.annotating import annotate
from core.conversations import delete_conversation
from core.privacy_policies import owner_of, set_policy
from tests.api import a_client, a_secret
from tests.factories import a_bot, an_account, one, rows
from tests.imports import a_talk, an_export, an_import, carry, imported, talks, texts, the_job
from tests.traces import analyse, forget_words, statistics_with, traces_of

MAIL = "grace.hopper@example.com"
SAID = f"😀 Write to {MAIL}."


@pytest.fixture
def private(context, account):
    return a_bot(context, account, name="private", backstory="You are Kim.", privacy=True)


def a_file_of(mail=MAIL, *more):
    return an_export(
        a_talk(
            "a",
            f"😀 Write to {mail}.",
            f"I shall write to {mail}",
            *more,
            title=f"For {mail}",
            meta={"from": {"mail": mail}},
        )
    )


def test_nothing_raw_is_stored_and_tokens_mean_their_values(context, account, private):
    job = imported(context, account, a_file_of(), bot_id="private")
    assert job.state == "completed"
    assert [place for place in traces_of(context, MAIL) if place != "contacts"] == []
    (talk,) = talks(context, account)
    (token,) = {message["text"].rpartition("to ")[2].rstrip(".") for message in talk["messages"]}
    assert token.startswith("[email:")
    assert talk["name"] == f"For {token}"
    assert talk["meta"]["from"] == {"mail": token}
    first = talk["messages"][0]
    (entity,) = first["pii"]
    assert first["text"][entity["b"] : entity["e"]] == token
    assert first["pii_types"] == ["EMAIL_ADDRESS"]
    assert {message["pii_state"] for message in talk["messages"]} == {"done"}
    assert one(context, "SELECT count(*) FROM pii_tokens") == 1
    assert one(context, "SELECT count(*) FROM annotations") == 0
    assert one(context, "SELECT sum(count) FROM pii_days WHERE kind = 'EMAIL_ADDRESS'") == 4
    reader = a_client(context, a_secret(context, account, ("read", "write", "pii:read")))
    listed = reader.get(f"/api/v1/conversation/{talk['id']}/message/list").json()["items"]
    assert SAID in {message["text"] for message in listed}


def test_a_flag_gives_privacy_to_conversations_whose_bot_has_none(context, account):
    imported(context, account, a_file_of(), privacy=True)
    (talk,) = talks(context, account)
    assert talk["privacy"] is True
    assert traces_of(context, MAIL) == []


def test_what_comes_later_has_the_same_tokens(context, account, private):
    imported(context, account, a_file_of(), bot_id="private")
    imported(context, account, a_file_of(MAIL, f"Did you write to {MAIL}?"), bot_id="private")
    (talk,) = talks(context, account)
    assert len(talk["messages"]) == 3
    assert one(context, "SELECT count(*) FROM pii_tokens") == 1
    assert traces_of(context, MAIL) == []


def test_whom_it_was_with_is_known_by_name(context, account, private):
    contact = {"key": "k", "name": "Wilhelmina Quartz"}
    content = an_export(a_talk("a", "Wilhelmina Quartz called", contact=contact))
    imported(context, account, content, bot_id="private")
    (talk,) = talks(context, account)
    assert "Wilhelmina" not in talk["messages"][0]["text"]
    assert talk["messages"][0]["pii_types"] == ["PERSON"]


def test_texts_that_look_like_tokens_mean_nothing(context, account, private):
    imported(context, account, a_file_of(), bot_id="private")
    token = one(context, "SELECT token FROM pii_tokens")
    content = an_export(a_talk("a", SAID, f"I shall write to {MAIL}", f"Say {token}"))
    imported(context, account, content, bot_id="private")
    (talk,) = talks(context, account)
    assert [message["pii"] is None for message in talk["messages"]] == [False, False, True]
    reader = a_client(context, a_secret(context, account, ("read", "write", "pii:read")))
    listed = reader.get(f"/api/v1/conversation/{talk['id']}/message/list").json()["items"]
    assert f"Say {token}" in {message["text"] for message in listed}


def test_a_failing_detector_stores_nothing_of_a_conversation(context, account, private, monkeypatch):
    job = an_import(
        context, account, an_export(a_talk("a", "Good"), a_talk("b", "Bad one")), bot_id="private"
    )
    from core import shield

    real = shield.detect

    def broken(words, scope):
        if "Bad" in words:
            raise RuntimeError(words)
        return real(words, scope)

    monkeypatch.setattr(shield, "detect", broken)
    carry(context, job.id)
    ended = the_job(context, account, job.id)
    assert (ended.state, ended.done, ended.failed) == ("completed_with_errors", 1, 1)
    assert [texts(talk) for talk in talks(context, account)] == [[("user", "Good")]]


def test_messages_wait_for_the_operators_model_where_the_policy_asks_for_it(
    context, account, private, monkeypatch
):
    monkeypatch.setattr(context.settings, "pii_ner", "spacy")
    with context.transaction(account) as session:
        set_policy(session, owner_of(session, bot_id=private.id), {"model": True})
    imported(context, account, a_file_of(), bot_id="private")
    assert one(context, "SELECT count(*) FROM annotations") == 2
    assert {row["pii_state"] for row in rows(context, "SELECT pii_state FROM messages")} == {"pending"}


def test_no_trace_is_left_of_what_was_imported_and_deleted(context, account, admin_url):
    """Rows, files, statistics: the file went with its job, the rest with its conversation."""
    forget_words(context)
    word = "xyloquartzimport"
    content = an_export(a_talk(f"key-{word}", f"A {word} is rare", title=word, meta={word: word}))
    imported(context, account, content, f"{word}.jsonl")
    (talk,) = talks(context, account)
    assert set(traces_of(context, word)) == {"conversations", "messages"}
    with context.transaction(account) as session:
        delete_conversation(session, talk["id"])
    from core.blobs import sweep_blobs

    sweep_blobs(context)
    assert traces_of(context, word) == []
    analyse(context)
    assert statistics_with(context, admin_url, word) == []


def test_another_accounts_keys_tell_nothing(context, account):
    """The same source key is another hash for another account."""
    other = an_account(context, "Grace")
    imported(context, account, a_file_of())
    imported(context, other, a_file_of())
    keys = rows(context, "SELECT key, members FROM import_keys WHERE kind = 'conversation'")
    assert len({bytes(row["key"]) for row in keys}) == 2
    assert len({bytes(row["members"]) for row in keys}) == 2


def test_an_annotation_of_what_was_imported_changes_nothing(context, account, private):
    imported(context, account, a_file_of(), bot_id="private")
    before = talks(context, account)
    with context.transaction(account) as session:
        from core.annotation_jobs import create_annotation_job

        create_annotation_job(session, bot_id=private.id)
    from core.feeding import feed_annotations

    feed_annotations(context)
    for row in rows(context, "SELECT message_id FROM annotations"):
        annotate(context, row["message_id"])
    assert talks(context, account) == before
