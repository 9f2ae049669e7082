"""What an export shows of personal data, in each mode and at every door."""

from __future__ import annotations

import json

import pytest

from core.annotating import annotate
from core.annotation_jobs import create_annotation_job
from core.blobs import read_stored
from core.conversations import update_conversation
from core.dataset_files import attach_file
from core.drafts import Draft
from core.errors import NotAuthorized
from core.exporters import FORMATS
from core.exports import create_export_job, result_of
from core.feeding import feed_annotations
from core.files import delete_file, download_ticket, open_file
from core.import_jobs import create_import_job
from core.jobs import cancel_job, get_job
from core.messages import create_messages
from core.privacy_policies import owner_of, set_policy
from core.sync_jobs import create_sync_job
from models import MessageType
from tests.deletions import some_talks, the_job
from tests.exports import PII, an_export, exported, finish, read_back
from tests.factories import a_contact, a_conversation, an_account, execute, one, rows
from tests.knowledge import a_dataset, an_attachment

MAIL, PHONE = "grace.hopper@example.com", "+49 30 901820"


@pytest.fixture
def private(context, account):
    """A conversation with privacy, in which values have become tokens."""
    contact = a_contact(context, account, name="Grace Hopper", email=MAIL, fingerprint=MAIL)
    talk = a_conversation(
        context, account, privacy=True, name=f"About {MAIL}", meta={"of": MAIL}, contact_id=contact.id
    )
    drafts = [
        Draft(MessageType.USER, f"Write to {MAIL} or {PHONE}.", meta={"at": MAIL}),
        Draft(MessageType.BOT, f"I will write to {MAIL}."),
    ]
    with context.transaction(account) as session:
        create_messages(session, talk.id, drafts)
    an_attachment(context, account, talk.id)
    return talk.id


def opened(context, account, job, scopes=PII):
    with context.transaction(account, actor="tests") as session:
        stored = open_file(session, job.file_id, scopes)
    return b"".join(read_stored(context, stored))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("mode", ["redacted", "tokenised"])
def test_no_value_behind_a_token_is_in_an_export_that_is_not_of_originals(
    context, account, private, name, mode
):
    plain = a_conversation(
        context, account, name=f"No privacy: {PHONE}", backstory=f"Ask {MAIL}", source=MAIL
    )
    with context.transaction(account) as session:
        create_messages(session, plain.id, [Draft(MessageType.BOT, f"Call {PHONE}, {MAIL}.")])
    raw = exported(context, account, name, mode=mode).decode()
    for canary in (MAIL, "hopper", PHONE, "901820", "Hopper"):
        assert canary not in raw
    tokens = [row["token"] for row in rows(context, "SELECT token FROM pii_tokens")]
    assert any(token in raw for token in tokens) is (mode == "tokenised")
    if mode == "redacted":
        assert "EMAIL_ADDRESS>" in raw
    told = json.dumps(rows(context, "SELECT params, cursor, counts FROM jobs"), default=str)
    assert MAIL not in told
    assert PHONE not in told


def test_tokenised_is_what_is_stored(context, account, private):
    (found,) = read_back(exported(context, account, mode="tokenised"))
    stored = rows(context, "SELECT text, meta, pii FROM messages ORDER BY seq")
    assert [message.text for message in found.messages] == [row["text"] for row in stored]
    assert [message.meta for message in found.messages] == [row["meta"] for row in stored]
    places = [(e.begin, e.end, e.operator) for message in found.messages for e in message.entities]
    assert places == [(e["b"], e["e"], e["o"]) for row in stored for e in row["pii"]]
    assert found.title == one(context, "SELECT name FROM conversations")
    assert found.contact.email == "g••@example.com"


def test_originals_are_for_whoever_may_read_them_and_written_into_the_audit(context, account, private):
    with context.transaction(account) as session, pytest.raises(NotAuthorized, match="pii:read"):
        create_export_job(session, "crontalk", {"all": True}, mode="original", scopes=("read", "write"))
    job = an_export(context, account, mode="original")
    finish(context, job.id)
    with context.transaction(account) as session:
        for verb in (open_file, download_ticket):
            with pytest.raises(NotAuthorized, match="pii:read"):
                verb(session, job.file_id, ("read", "write"))
    (found,) = read_back(opened(context, account, job))
    message = found.messages[0]
    assert message.text == f"Write to {MAIL} or {PHONE}."
    assert [message.text[e.begin : e.end] for e in message.entities] == [MAIL, PHONE]
    assert (found.title, found.meta, message.meta) == (f"About {MAIL}", {"of": MAIL}, {"at": MAIL})
    assert (found.contact.email, found.contact.key) == (MAIL, MAIL)
    assert [file.name for file in found.attachments] == ["a.txt"]
    events = rows(context, "SELECT action, actor, target_id, details FROM audit_events ORDER BY id")
    assert [(e["action"], e["actor"], e["target_id"]) for e in events] == [
        ("conversation.export", "tests", job.id)
    ] * 3
    asked, ended, download = (e["details"] for e in events)
    assert (asked["asked"], ended["messages"], ended["restored"]) == (True, 2, 3)
    assert download["opened"]
    assert MAIL not in json.dumps([e["details"] for e in events])


def test_originals_get_out_by_no_other_door(context, account, private):
    """A dataset would tell them, and an import would store them as if they were nobody's."""
    job = an_export(context, account, "csv", mode="original")
    finish(context, job.id)
    dataset = a_dataset(context, account)
    with context.transaction(account) as session:
        attach_file(session, dataset.id, job.file_id)
    with context.transaction(account) as session, pytest.raises(NotAuthorized):
        create_sync_job(session, dataset.id, job.file_id)
    with context.transaction(account) as session, pytest.raises(NotAuthorized):
        create_import_job(session, job.file_id)


def test_an_account_without_privacy_has_its_originals_when_it_asks_for_them(context, account):
    talk = a_conversation(context, account, name=f"Of {MAIL}").id
    with context.transaction(account) as session:
        create_messages(session, talk, [Draft(MessageType.USER, f"I am {MAIL}")])
    (found,) = read_back(exported(context, account))
    assert (found.title, found.messages[0].text) == ("Of g••@example.com", "I am g••@example.com")
    job = an_export(context, account, mode="original")
    finish(context, job.id)
    (found,) = read_back(opened(context, account, job))
    assert (found.title, found.messages[0].text) == (f"Of {MAIL}", f"I am {MAIL}")


def test_what_nobody_may_see_before_it_was_annotated_is_left_out(context, account):
    some_talks(context, account, 1, 4)
    execute(context, "UPDATE messages SET pii_state = 'blocked' WHERE seq = 2")
    job = an_export(context, account, mode="original")
    finish(context, job.id)
    (found,) = read_back(opened(context, account, job))
    assert len(found.messages) == 3
    ended = the_job(context, account, job.id)
    assert (ended.total, ended.done, ended.skipped, ended.counts["blocked"]) == (4, 3, 1, 1)


def test_another_account_sees_nothing_of_an_export(context, account, private):
    other = an_account(context, "Another")
    theirs = str(a_conversation(context, other, name="Theirs").id)
    job = an_export(context, account)
    finish(context, job.id)
    assert b"Theirs" not in opened(context, account, job)
    with context.transaction(other) as session:
        for verb in (get_job, result_of, cancel_job):
            with pytest.raises(NotAuthorized):
                verb(session, job.id)
        for verb in (open_file, download_ticket, delete_file):
            with pytest.raises(NotAuthorized):
                verb(session, job.file_id)
    with context.transaction(account) as session, pytest.raises(NotAuthorized):
        create_export_job(session, "crontalk", {"conversation_id": theirs})
    assert b'{"end":{"conversations":0,"messages":0,' in exported(context, account, ids=[theirs])


@pytest.mark.parametrize("name", FORMATS)
def test_labels_from_before_there_was_privacy_do_not_leave_with_tokens(context, account, name):
    """Privacy was switched on in the middle: what is said has tokens then, labels have values."""
    talk = a_conversation(
        context, account, name=f"About {MAIL}", description=f"Of {MAIL}", meta={"of": MAIL, MAIL: PHONE}
    )
    with context.transaction(account) as session:
        (before, _) = create_messages(
            session, talk.id, [Draft(MessageType.USER, f"Mail {MAIL}"), Draft(MessageType.BOT, "Yes.")]
        )
    an_attachment(context, account, talk.id)
    own = an_attachment(context, account, talk.id)
    execute(
        context,
        "UPDATE attachments SET message_id = :m WHERE id = CAST(:a AS uuid)",
        m=before.message.id,
        a=own,
    )
    execute(context, "UPDATE blobs SET name = :name", name=f"{MAIL}.txt")
    with context.transaction(account) as session:
        set_policy(session, owner_of(session), {"preset": "tokenise"})
    with context.transaction(account) as session:
        update_conversation(session, talk.id, name=f"About {MAIL} still")
    annotate_all(context, account)
    token = one(context, "SELECT token FROM pii_tokens LIMIT 1")
    told = exported(context, account, name, mode="tokenised").decode()
    assert MAIL not in told
    assert PHONE not in told
    assert token in told


def annotate_all(context, account):
    """History is looked at under the privacy of today, but the names of files, which it leaves alone."""
    with context.transaction(account) as session:
        create_annotation_job(session)
    execute(context, "UPDATE jobs SET created_at = now() - interval '2 minutes'")
    execute(context, "UPDATE conversations SET description = :old", old=f"Of {MAIL}")
    for _ in range(6):
        execute(context, "UPDATE jobs SET run_at = now()")
        feed_annotations(context)
        for row in rows(context, "SELECT message_id FROM annotations"):
            annotate(context, row["message_id"])
