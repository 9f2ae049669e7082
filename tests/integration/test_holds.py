"""Legal holds: what they are on stays, whoever wants it gone, until they are released."""

from __future__ import annotations

import json
import threading

import pytest
from sqlalchemy import text

from core.account_deletion import delete_account
from core.annotating import annotate
from core.annotation_jobs import create_annotation_job
from core.attachments import delete_attachment
from core.audit import list_audit
from core.bots import delete_bot
from core.carrying import carry_on
from core.contacts import delete_contact
from core.conversations import delete_conversation, update_conversation, upsert_contact_of
from core.delete_jobs import preview_deletion
from core.documents_erasures import exported_erasure
from core.erasing import Outcome, apply_erasures, read_receipts
from core.erasures import erasures_since
from core.errors import Conflict, InvalidInput, NotAuthorized, NotFound, Unavailable
from core.expiring import expire_conversations
from core.exports import create_export_job
from core.feeding import feed_annotations
from core.holds import list_holds, place_hold, release_hold
from core.messages import delete_message, list_messages, update_message
from core.privacy_policies import owner_of, set_policy
from core.talking import send
from core.tasks import delete_task
from core.undoing import undo_import
from models import new_id
from tests.api import a_client, a_secret
from tests.deletions import a_deletion, fill, left, some_talks, the_job
from tests.factories import (
    a_bot,
    a_contact,
    a_conversation,
    a_hold,
    a_task,
    an_account,
    execute,
    one,
    rows,
)
from tests.imports import a_talk, an_export, carry, imported
from tests.knowledge import an_attachment

LINKS = ("conversation_id", "contact_id", "task_id", "bot_id", "everything")


@pytest.fixture(autouse=True)
def _unlimited(context, monkeypatch):
    monkeypatch.setattr(context.settings, "rate_bulk", None)


@pytest.fixture
def linked(context, account):
    """A conversation with three messages that is linked to everything a hold can be on, and what to."""
    links = {
        "task_id": a_task(context, account).id,
        "bot_id": a_bot(context, account, name="b").id,
        "contact_id": a_contact(context, account).id,
    }
    talk = a_conversation(context, account, **links).id
    fill(context, [talk], 3)
    return {**links, "conversation_id": talk, "everything": True}


def held(context, account, linked, link):
    return a_hold(context, account, **{link: linked[link]})


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("what", ["messages", "conversations"])
def test_a_bulk_deletion_leaves_what_is_held_and_tells_how_much(context, account, linked, link, what):
    hold = held(context, account, linked, link)
    others = 0 if link == "everything" else 2
    some_talks(context, account, 2, 5)
    with context.transaction(account) as session:
        counted = preview_deletion(session, what, {"all": True}).counted
    each = {"messages": (3, 5), "conversations": (1, 1)}[what]
    assert (counted.count, counted.held) == (
        others * each[1],
        each[0] + (2 - others) * each[1],
    )
    job = a_deletion(context, account, what, all=True)
    assert carry_on(context, job.id) == "completed"
    assert left(context, account) == 3 + (2 - others) * 5
    assert the_job(context, account, job.id).counts == {"held": counted.held}
    with context.transaction(account, actor="tests") as session:
        release_hold(session, hold.id)
    assert carry_on(context, a_deletion(context, account, what, all=True).id) == "completed"
    assert left(context, account) == 0


@pytest.mark.parametrize("link", LINKS)
def test_nothing_that_is_held_expires(context, account, linked, link):
    hold = held(context, account, linked, link)
    execute(context, "UPDATE conversations SET expires_at = now() - interval '1 minute'")
    assert expire_conversations(context) == 0
    assert left(context, account) == 3
    with context.transaction(account) as session:
        release_hold(session, hold.id)
    assert expire_conversations(context) == 1


def test_what_is_held_does_not_keep_others_from_expiring(context, account, linked, monkeypatch):
    monkeypatch.setattr("core.expiring.BATCH", 1)
    held(context, account, linked, "conversation_id")
    some_talks(context, account, 1, 1)
    execute(context, "UPDATE conversations SET expires_at = now() - interval '1 minute'")
    assert expire_conversations(context) == 1
    assert left(context, account) == 3


@pytest.mark.parametrize("link", LINKS)
def test_the_owner_deletes_nothing_of_it_either(context, account, linked, link):
    file = an_attachment(context, account, linked["conversation_id"])
    held(context, account, linked, link)
    talk = linked["conversation_id"]
    with context.transaction(account) as session:
        message = list_messages(session, talk)[0].id
    refused = {
        "conversation": lambda session: delete_conversation(session, talk),
        "message": lambda session: delete_message(session, talk, message),
        "text": lambda session: update_message(session, talk, message, text="Nothing."),
        "attachment": lambda session: delete_attachment(session, talk, file),
    }
    things = {"bot_id": delete_bot, "task_id": delete_task, "contact_id": delete_contact}
    for name, verb in things.items():
        if name != "task_id" or link in {name, "everything"}:
            refused[name] = lambda session, verb=verb, name=name: verb(session, linked[name])
    for verb in refused.values():
        with pytest.raises(Conflict, match="legal hold"), context.transaction(account) as session:
            verb(session)
    assert left(context, account) == 3
    with context.transaction(account) as session:
        update_message(session, talk, message, meta={"seen": True})


def test_the_door_says_409_in_a_sentence(context, account, client, linked):
    held(context, account, linked, "bot_id")
    answer = client.post(f"/api/v1/conversation/{linked['conversation_id']}/delete", json={})
    assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT")
    assert "legal hold" in answer.json()["message"]


def test_a_conversation_cannot_be_led_out_of_its_hold(context, account, linked):
    talk = linked["conversation_id"]
    held(context, account, linked, "contact_id")
    other = a_contact(context, account, name="Other", fingerprint="other").id
    for change in (
        lambda session: update_conversation(session, talk, contact_id=other),
        lambda session: update_conversation(session, talk, contact_id=None),
        lambda session: update_conversation(session, talk, bot_id=a_bot(context, account).id),
        lambda session: upsert_contact_of(session, talk, fingerprint="other"),
    ):
        with pytest.raises(Conflict), context.transaction(account) as session:
            change(session)
    with context.transaction(account) as session:
        update_conversation(session, talk, contact_id=linked["contact_id"], name="Renamed")


def test_an_account_with_a_hold_is_not_deleted(context, account, linked):
    hold = held(context, account, linked, "conversation_id")
    with pytest.raises(Conflict, match="legal holds"):
        delete_account(context, account)
    assert one(context, "SELECT closed_at FROM accounts WHERE id = :id", id=account) is None
    with context.transaction(account) as session:
        release_hold(session, hold.id)
    assert delete_account(context, account).completed_at


def test_receipts_are_applied_whatever_holds_a_backup_brings_back(context, account, linked):
    talk = linked["conversation_id"]
    other = some_talks(context, account, 1, 2)[0]
    with context.transaction(account) as session:
        delete_conversation(session, talk)
    assert carry_on(context, a_deletion(context, account, ids=[str(other)]).id) == "completed"
    lines = [json.dumps(exported_erasure(one)) for one in erasures_since(context)]
    execute(
        context,
        "INSERT INTO conversations (id, account_id, source) VALUES (:id, :account, 'api')",
        id=talk,
        account=account,
    )
    a_hold(context, account)
    came = apply_erasures(context, read_receipts(lines))
    assert came[Outcome.ERASED] == 1
    assert one(context, "SELECT count(*) FROM conversations WHERE id = :id", id=talk) == 0


def test_a_hold_is_placed_between_batches_and_never_within_one(context, account, monkeypatch):
    """Whoever places one waits for a batch that is deleting; from the answer on nothing more goes."""
    from core import deleting, walking

    monkeypatch.setattr(deleting, "Pace", lambda: walking.Pace(10, 10))
    monkeypatch.setattr(walking, "LARGEST", 10)
    some_talks(context, account, 1, 30)
    job = a_deletion(context, account, all=True)
    placed, first, real = threading.Event(), threading.Event(), deleting.sweep
    seen = []

    def place():
        a_hold(context, account)
        seen.append(left(context, account))
        placed.set()

    placer = threading.Thread(target=place)

    def slow(*args):
        swept = real(*args)
        if not first.is_set():
            first.set()
            placer.start()
            assert not placed.wait(0.3)
        return swept

    monkeypatch.setattr(deleting, "sweep", slow)
    outcome = carry_on(context, job.id)
    placer.join(10)
    assert outcome == "completed"
    assert seen == [left(context, account)]
    assert left(context, account) >= 10
    ended = the_job(context, account, job.id)
    assert (ended.total, ended.done + ended.skipped, ended.done) == (30, 30, 30 - left(context, account))


def test_who_deletes_waits_for_who_places(context, account, linked):
    """A deletion that comes while a hold is being placed sees it."""
    with context.transaction(account) as session:
        place_hold(session, everything=True)
        outcome = []

        def delete():
            try:
                with context.transaction(account) as other:
                    delete_conversation(other, linked["conversation_id"])
            except (Conflict, Unavailable) as error:
                outcome.append(type(error))

        deleter = threading.Thread(target=delete)
        deleter.start()
        deleter.join(0.3)
        assert deleter.is_alive()
    deleter.join(10)
    assert outcome == [Conflict]
    assert left(context, account) == 3


def test_a_hold_says_who_placed_it_and_the_audit_outlives_it(context, account, linked):
    with context.transaction(account, actor="token:1") as session:
        hold = place_hold(session, task_id=linked["task_id"], reason="A matter of 2026.")
    assert (hold.placed_by, hold.reason) == ("token:1", "A matter of 2026.")
    with context.transaction(account, actor="cli") as session:
        release_hold(session, hold.id)
        assert list_holds(session) == []
        released, placed = list_audit(session)
    task = {"taskId": str(linked["task_id"])}
    assert (placed.action, placed.actor, placed.target_id, placed.details) == (
        "hold.place",
        "token:1",
        hold.id,
        task,
    )
    assert (released.action, released.actor, released.details) == ("hold.release", "cli", task)
    assert "matter" not in str(rows(context, "SELECT * FROM audit_events"))


def test_of_one_thing_there_may_be_several_and_each_holds(context, account, linked):
    first, second = (held(context, account, linked, "conversation_id") for _ in range(2))
    for hold, goes in ((first, False), (second, True)):
        with context.transaction(account) as session:
            release_hold(session, hold.id)
        carry_on(context, a_deletion(context, account, all=True).id)
        assert (left(context, account) == 0) is goes


def test_a_hold_is_on_exactly_one_thing_of_ones_own(context, account, linked):
    wrong = (
        {},
        {"everything": True, "bot_id": linked["bot_id"]},
        {"bot_id": linked["bot_id"], "task_id": linked["task_id"]},
        {"everything": True, "reason": "x" * 4001},
        {"everything": True, "reason": "\x00"},
    )
    for fields in wrong:
        with pytest.raises(InvalidInput), context.transaction(account) as session:
            place_hold(session, **fields)
    stranger = an_account(context, "Grace")
    for name in ("bot_id", "task_id", "contact_id", "conversation_id"):
        with pytest.raises(NotAuthorized), context.transaction(stranger) as session:
            place_hold(session, **{name: linked[name]})
        with pytest.raises(NotFound), context.transaction(account) as session:
            place_hold(session, **{name: "nonsense"})
    assert rows(context, "SELECT 1 FROM legal_holds") == []


def test_a_hold_of_one_account_holds_nothing_of_another(context, account):
    a_hold(context, an_account(context, "Grace"))
    some_talks(context, account, 2, 2)
    carry_on(context, a_deletion(context, account, all=True).id)
    assert left(context, account) == 0


def test_the_reason_is_in_no_log_and_no_key(context, account, client, linked, capfd):
    said = {"conversationId": str(linked["conversation_id"]), "reason": "xyloquartz"}
    answer = client.post("/api/v1/retention/hold/create", json=said, headers={"Idempotency-Key": "k"})
    assert answer.status_code == 200
    assert "xyloquartz" not in "".join(capfd.readouterr())
    assert "xyloquartz" not in str(rows(context, "SELECT * FROM idempotency_keys"))
    (shown,) = client.get("/api/v1/retention/hold/list").json()["items"]
    assert (shown["reason"], shown["conversationId"]) == (said["reason"], said["conversationId"])


def test_speaking_in_what_is_held_goes_on(context, account, linked):
    held(context, account, linked, "everything")
    with context.transaction(account) as session:
        send(session, linked["conversation_id"], "More.")
    assert left(context, account) == 4


def test_a_reader_places_no_hold(context, account, linked):
    reader = a_client(context, a_secret(context, account, ("read",)))
    assert reader.post("/api/v1/retention/hold/create", json={"all": True}).status_code == 403


def test_the_lock_of_holds_is_an_accounts_own(context, account, linked):
    stranger = an_account(context, "Grace")
    with context.transaction(stranger) as session:
        place_hold(session, everything=True)
        with context.transaction(account) as other:
            other.execute(text("SET LOCAL lock_timeout = '200ms'"))
            delete_conversation(other, linked["conversation_id"])


@pytest.mark.parametrize("link", ["conversation", "everything"])
def test_undoing_an_import_leaves_what_is_held_and_its_keys(context, account, link):
    content = an_export(a_talk("a", "One."), a_talk("b", "Two."))
    job = imported(context, account, content)
    talk = rows(context, "SELECT id FROM conversations ORDER BY id")[0]["id"]
    hold = a_hold(context, account, **({"conversation_id": talk} if link == "conversation" else {}))
    with context.transaction(account) as session:
        undo = undo_import(session, job.id)
    assert carry(context, undo.id) == "completed"
    ended = the_job(context, account, undo.id)
    stays = 1 if link == "conversation" else 2
    assert (ended.total, ended.done, ended.skipped) == (2, 2 - stays, stays)
    assert one(context, "SELECT count(*) FROM conversations") == stays
    assert one(context, "SELECT count(*) FROM import_keys WHERE kind = 'conversation'") == stays
    with context.transaction(account) as session:
        release_hold(session, hold.id)
        undo = undo_import(session, job.id)
    assert carry(context, undo.id) == "completed"
    assert one(context, "SELECT count(*) FROM conversations") == 0


def test_what_is_held_is_exported_like_everything(context, account, linked):
    held(context, account, linked, "conversation_id")
    with context.transaction(account) as session:
        job = create_export_job(session, "crontalk", {"all": True})
    assert job.total == 3
    assert carry_on(context, job.id) == "completed"
    assert the_job(context, account, job.id).done == 3


def test_a_receipt_of_an_account_is_applied_whatever_holds_are_back(context, account, linked):
    row = {"id": str(new_id()), "kind": "account", "accountId": str(account), "targetId": str(account)}
    held(context, account, linked, "everything")
    lines = [json.dumps({**row, "createdAt": 1_700_000_000_000, "completedAt": 1_700_000_000_000})]
    assert apply_erasures(context, read_receipts(lines))[Outcome.ERASED] == 1
    assert one(context, "SELECT count(*) FROM accounts WHERE id = :id", id=account) == 0
    assert rows(context, "SELECT 1 FROM legal_holds") == []


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_history_that_is_held_is_not_rewritten_by_a_stricter_policy(context, account, linked, link, when):
    """A policy cannot be undone: it would take out of what is held what the hold is there for."""
    mail = "Write to grace.hopper@example.com"
    execute(context, "UPDATE messages SET text = :mail", mail=mail)
    with context.transaction(account) as session:
        set_policy(session, owner_of(session), {"preset": "strict"})
    if when == "before":
        held(context, account, linked, link)
    with context.transaction(account) as session:
        job = create_annotation_job(session)
    execute(context, "UPDATE jobs SET created_at = now() - interval '2 minutes' WHERE id = :id", id=job.id)
    for _ in range(5):
        execute(context, "UPDATE jobs SET run_at = now() WHERE id = :id", id=job.id)
        feed_annotations(context)
    if when == "meanwhile":
        held(context, account, linked, link)
    for row in rows(context, "SELECT message_id FROM annotations"):
        annotate(context, row["message_id"])
    execute(context, "UPDATE jobs SET run_at = now() WHERE id = :id", id=job.id)
    feed_annotations(context)
    assert [row["text"] for row in rows(context, "SELECT text FROM messages")] == [mail] * 3
    ended = the_job(context, account, job.id)
    assert (ended.state, ended.total, ended.failed) == ("completed", 3, 0)
    assert ended.skipped == (3 if when == "before" else 0)


def test_what_is_said_in_what_is_held_gets_its_second_look(context, account, linked):
    with context.transaction(account) as session:
        set_policy(session, owner_of(session), {"preset": "strict", "blockUntilAnnotated": True})
    held(context, account, linked, "conversation_id")
    with context.transaction(account) as session:
        made = send(session, linked["conversation_id"], "Write to grace.hopper@example.com").message
    assert annotate(context, made.id) == "annotated"
    (row,) = rows(context, "SELECT text, pii_state FROM messages WHERE id = :id", id=made.id)
    assert (row["text"], row["pii_state"]) == ("Write to <EMAIL_ADDRESS>", "done")
