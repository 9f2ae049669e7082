"""Anonymising: what was said stays, and tells of nobody any more, anywhere; whatever is killed or goes on."""

from __future__ import annotations

import dataclasses
import json
import threading
import time

import pytest

from core import anonymising
from core.annotating import annotate
from core.blobs import sweep_blobs
from core.buckets import Buckets
from core.carrying import carry_on
from core.chat.provider import Finished, FinishReason, TextDelta
from core.contacts import delete_contact
from core.conversations import delete_conversation, update_conversation
from core.delete_jobs import create_delete_job, preview_deletion
from core.drafts import Draft
from core.errors import Conflict
from core.jobs import cancel_job, pause_job, resume_job
from core.messages import create_messages, update_message
from core.privacy_policies import set_policy
from core.ratings import rate
from core.search import matching
from core.slices import hint_jobs
from core.talking import complete, dispatch, send
from core.turn_requests import TurnRequest
from core.turns import carry_out
from models import Account, Conversation, JobKind, Message, MessageType
from tests.deletions import fill, left, some_talks, the_job
from tests.factories import (
    a_bot,
    a_contact,
    a_conversation,
    a_hold,
    an_account,
    execute,
    one,
    rows,
    the_run,
)
from tests.knowledge import an_attachment
from tests.traces import analyse, forget_words, statistics_with, traces_of

MARK = "xyloquartz"
MAIL = f"{MARK}@example.com"
PATIENCE = 20.0


@pytest.fixture(autouse=True)
def _unlimited(context, monkeypatch):
    monkeypatch.setattr(context.settings, "rate_bulk", None)
    forget_words(context)


@pytest.fixture
def small(monkeypatch):
    """Batches of ten messages, so that little is much."""
    monkeypatch.setattr(anonymising, "MOST", 10)


def a_job(context, account, what="conversations", **wanted):
    """A job that anonymises, confirmed."""
    with context.transaction(account, actor="tests") as session:
        wanted = wanted or {"all": True}
        preview = preview_deletion(session, what, wanted, kind=JobKind.ANONYMISE)
        made = create_delete_job(session, what, wanted, confirm=preview.confirmation, kind=JobKind.ANONYMISE)
        return made[0]


def done(context, account, what="conversations", **wanted):
    job = a_job(context, account, what, **wanted)
    carry_on(context, job.id)
    return the_job(context, account, job.id)


def said(context, conversation=None):
    query = "SELECT * FROM messages WHERE CAST(:c AS uuid) IS NULL OR conversation_id = :c ORDER BY id"
    return rows(context, query, c=conversation)


def killed_at(monkeypatch, number):
    """A worker that dies inside its nth batch from here on, after it has written and before the commit."""
    came, real = [], anonymising.rewrite_messages

    def die(*args):
        result = real(*args)
        came.append(1)
        if len(came) == number:
            raise SystemExit
        return result

    monkeypatch.setattr(anonymising, "rewrite_messages", die)


@pytest.mark.parametrize("privacy", [True, False], ids=["private", "plain"])
def test_no_trace_is_left_anywhere(context, account, leases, admin_url, privacy):
    """One word, through every door of a conversation: then it is nowhere that is live."""
    bot = a_bot(context, account, privacy=privacy)
    contact = a_contact(context, account, name=f"{MARK.title()} Person", email=MAIL, fingerprint="f")
    talk = a_conversation(
        context,
        account,
        bot_id=bot.id,
        contact_id=contact.id,
        name=f"Talk with {MARK.title()}",
        description=MAIL,
        meta={"mail": MAIL, MAIL: {"who": [MARK.title()]}},
    ).id
    with context.transaction(account) as session:
        drafts = [
            Draft(MessageType.USER, f"I am {MARK.title()}, {MAIL}.", name=MARK, description=MAIL),
            Draft(MessageType.ACTIVITY, f"mail {MAIL}", meta={"call": {"to": MAIL, "of": MARK.title()}}),
        ]
        (first, _) = create_messages(session, talk, drafts)
        rate(session, 50, f"Says {MAIL}", message=session.get_one(Message, first.message.id))
        rate(session, -50, f"Of {MARK}", conversation=session.get_one(Conversation, talk))
    with context.transaction(account) as session:
        run = complete(session, talk, f"Repeat {MAIL} and {MARK.title()}")
    assert carry_out(context, leases, run.id, worker="tests") == "succeeded"
    with context.transaction(account) as session:
        conversation = session.get_one(Conversation, talk)
        set_policy(
            session, conversation, {"identities": [{"name": MARK, "email": MAIL}], "deny": [f"{MARK}-x"]}
        )
    an_attachment(context, account, talk)
    execute(context, "UPDATE blobs SET name = :mark || '.txt'", mark=MARK)
    for message in said(context):
        annotate(context, message["id"])
    assert traces_of(context, MARK)
    ended = done(context, account)
    assert (ended.state, ended.done, ended.counts["messages"], ended.counts["attachments"]) == (
        "completed",
        1,
        4,
        1,
    )
    assert traces_of(context, MARK) == ["contacts"], "the contact is the account's own; nothing links to it"
    with context.transaction(account) as session:
        delete_contact(session, contact.id)
    sweep_blobs(context)
    assert traces_of(context, MARK) == []
    assert traces_of(context, "[email:") == []
    analyse(context)
    assert statistics_with(context, admin_url, MARK) == []
    assert one(context, "SELECT count(*) FROM pii_tokens") == 0
    assert one(context, "SELECT count(*) FROM ratings WHERE value <> 0 AND contact_id IS NULL") == 2
    assert "<EMAIL_ADDRESS>" in the_run(context, run.id)["summary"]
    texts = [row["text"] for row in said(context)]
    assert texts[0] == "I am <PERSON>, <EMAIL_ADDRESS>."
    assert texts[1] == "mail <EMAIL_ADDRESS>"
    assert {row["name"] for row in said(context)} == {None}
    (stored,) = rows(context, "SELECT * FROM conversations")
    assert (stored["contact_id"], stored["name"], stored["description"]) == (
        None,
        "Talk with <PERSON>",
        "<EMAIL_ADDRESS>",
    )
    assert stored["anonymised_seq"] == stored["next_seq"]


@pytest.mark.parametrize("preset", ["annotate", "recommended", "strict", "tokenise"])
def test_whatever_a_policy_left_becomes_the_word_of_its_kind(context, account, preset):
    with context.transaction(account) as session:
        set_policy(session, session.get_one(Account, account), {"preset": preset})
    talk = a_conversation(context, account).id
    with context.transaction(account) as session:
        send(session, talk, f"Write to {MAIL} or call +49 30 901820.")
    done(context, account)
    (message,) = said(context)
    assert message["text"] == "Write to <EMAIL_ADDRESS> or call <PHONE_NUMBER>."
    assert [(one_["t"], one_["o"]) for one_ in message["pii"]] == [
        ("EMAIL_ADDRESS", "replace"),
        ("PHONE_NUMBER", "replace"),
    ]
    for entity in message["pii"]:
        assert message["text"][entity["b"] : entity["e"]] == f"<{entity['t']}>"
    assert message["pii_types"] == ["EMAIL_ADDRESS", "PHONE_NUMBER"]


def test_a_hash_is_no_longer_the_same_for_the_same_value(context, account):
    with context.transaction(account) as session:
        policy = {"preset": "strict", "operators": {"EMAIL_ADDRESS": "hash"}}
        set_policy(session, session.get_one(Account, account), policy)
    talk = a_conversation(context, account, meta={"from": MAIL}).id
    with context.transaction(account) as session:
        send(session, talk, f"Write to {MAIL}")
    assert ":" in said(context)[0]["text"]
    done(context, account)
    assert said(context)[0]["text"] == "Write to <EMAIL_ADDRESS>"
    assert one(context, "SELECT meta ->> 'from' FROM conversations") == "<EMAIL_ADDRESS>"


def test_the_search_follows(context, account):
    talk = a_conversation(context, account).id
    with context.transaction(account) as session:
        send(session, talk, f"Breakfast with {MAIL}")
    done(context, account)
    with context.transaction(account) as session:
        found = session.query(Conversation.id).filter(matching(session, MAIL)).all()
        kept = session.query(Conversation.id).filter(matching(session, "breakfast")).all()
    assert (len(found), len(kept)) == (0, 1)


def test_twice_changes_nothing_and_selects_nothing(context, account):
    talk = a_conversation(context, account).id
    with context.transaction(account) as session:
        send(session, talk, f"Write to {MAIL}")
        send(session, talk, "Nothing here.")
    assert done(context, account).done == 1
    before = (said(context), rows(context, "SELECT * FROM conversations"))
    assert [row["text_rev"] for row in before[0]] == [2, 1], "only what changes has another revision"
    again = done(context, account)
    assert (again.state, again.total, again.done) == ("completed", 0, 0)
    assert (said(context), rows(context, "SELECT * FROM conversations")) == before
    execute(context, "UPDATE conversations SET anonymised_seq = NULL")
    execute(context, "UPDATE messages SET anonymised_at = NULL")
    assert done(context, account).done == 1
    keep = ("text", "text_rev", "pii", "meta", "description")
    assert [{k: row[k] for k in keep} for row in said(context)] == [
        {k: row[k] for k in keep} for row in before[0]
    ]


def test_what_is_said_or_changed_afterwards_is_selected_again(context, account):
    talk = a_conversation(context, account).id
    with context.transaction(account) as session:
        message = send(session, talk, "One.").message.id
        send(session, talk, "Two.")
    done(context, account)
    with context.transaction(account) as session:
        send(session, talk, f"Three, {MAIL}.")
    assert done(context, account).counts["messages"] == 1
    with context.transaction(account) as session:
        update_message(session, talk, message, text=f"One, {MAIL}.")
    assert done(context, account).counts["messages"] == 1
    with context.transaction(account) as session:
        update_message(session, talk, message, meta={"by": MAIL})
    assert done(context, account, "messages").done == 1
    with context.transaction(account) as session:
        update_conversation(session, talk, name=MAIL)
    assert done(context, account).done == 1
    assert traces_of(context, MARK) == []


def test_of_messages_the_conversation_keeps_its_labels_and_its_contact(context, account):
    contact = a_contact(context, account, name="Grace Hopper")
    talk = a_conversation(context, account, contact_id=contact.id, name="With Grace").id
    with context.transaction(account) as session:
        first = send(session, talk, "I am Grace.").message.id
        send(session, talk, "Grace again.")
    ended = done(context, account, "messages", ids=[str(first)])
    assert (ended.total, ended.done) == (1, 1)
    assert [row["text"] for row in said(context)] == ["I am <PERSON>.", "Grace again."]
    (stored,) = rows(context, "SELECT * FROM conversations")
    assert (stored["name"], stored["contact_id"], stored["anonymised_seq"]) == (
        "With Grace",
        contact.id,
        None,
    )


def test_a_token_goes_with_the_last_text_that_names_it(context, account):
    bot = a_bot(context, account, privacy=True)
    talk = a_conversation(context, account, bot_id=bot.id).id
    with context.transaction(account) as session:
        ids = [str(send(session, talk, f"{n}: {MAIL}").message.id) for n in range(2)]
    done(context, account, "messages", ids=ids[:1])
    assert one(context, "SELECT count(*) FROM pii_tokens") == 1
    done(context, account, "messages", ids=ids[1:])
    assert one(context, "SELECT count(*) FROM pii_tokens") == 0


def test_authors_are_known_wherever_they_are_mentioned(context, account):
    talk = a_conversation(context, account).id
    with context.transaction(account) as session:
        drafts = [
            Draft(MessageType.USER, "Hello.", name="Zuzana"),
            Draft(MessageType.BOT, "Good morning, Zuzana! You are a user.", name="helper"),
            Draft(MessageType.USER, "helper, please.", name="user"),
        ]
        create_messages(session, talk, drafts)
    done(context, account)
    assert [row["text"] for row in said(context)] == [
        "Hello.",
        "Good morning, <PERSON>! You are a user.",
        "helper, please.",
    ]


def test_places_count_with_signs_of_every_width(context, account):
    talk = a_conversation(context, account).id
    with context.transaction(account) as session:
        send(session, talk, f"👩‍👩‍👧 {MAIL} ß 𝔘 {MAIL} é\r\n")
    done(context, account)
    (message,) = said(context)
    assert message["text"] == "👩‍👩‍👧 <EMAIL_ADDRESS> ß 𝔘 <EMAIL_ADDRESS> é\r\n"
    assert [message["text"][e["b"] : e["e"]] for e in message["pii"]] == ["<EMAIL_ADDRESS>"] * 2


def test_a_text_that_would_grow_too_long_is_cut(context, account):
    talk = a_conversation(context, account).id
    words = "a@b.example " * 21_000
    with context.transaction(account) as session:
        send(session, talk, words)
    assert done(context, account).state == "completed"
    (message,) = said(context)
    assert "@" not in message["text"]
    assert len(message["text"].encode()) <= 256 * 1024
    assert all(message["text"][e["b"] : e["e"]] == "<EMAIL_ADDRESS>" for e in message["pii"])


# As a job


def test_it_is_all_or_nothing_else_however_often_workers_are_lost(context, account, monkeypatch, small):
    talks = some_talks(context, account, 3, 25)
    execute(context, "UPDATE messages SET text = text || ', write to a@b.example'")
    stranger = an_account(context, "Grace")
    some_talks(context, stranger, 1, 5)
    job = a_job(context, account)
    counted = []
    for number in (1, 3, 2, 4):
        with monkeypatch.context() as patch:
            killed_at(patch, number)
            with pytest.raises(SystemExit):
                carry_on(context, job.id)
        found = one(context, "SELECT count(*) FROM messages WHERE anonymised_at IS NOT NULL")
        assert the_job(context, account, job.id).counts.get("messages", 0) == found
        counted.append(found)
        execute(context, "UPDATE jobs SET run_at = now(), lease_until = now()")
    assert counted == sorted(counted)
    assert 0 < counted[-1] < 75
    assert carry_on(context, job.id) == "completed"
    ended = the_job(context, account, job.id)
    assert (ended.total, ended.done, ended.skipped, ended.failed) == (3, 3, 0, 0)
    assert ended.counts["messages"] == 75
    texts = {row["text"].partition(",")[2] for row in said(context) if row["conversation_id"] in talks}
    assert texts == {" write to <EMAIL_ADDRESS>"}
    assert {row["text_rev"] for row in said(context) if row["conversation_id"] in talks} == {2}
    assert one(context, "SELECT count(*) FROM messages WHERE anonymised_at IS NOT NULL") == 75


@pytest.mark.parametrize("what", ["conversations", "messages"])
def test_it_can_be_paused_gone_on_with_and_cancelled(context, account, monkeypatch, small, what):
    some_talks(context, account, 2, 20)
    job = a_job(context, account, what)
    real, batches = anonymising.rewrite_messages, []

    def pausing(*args):
        result = real(*args)
        batches.append(1)
        return result

    monkeypatch.setattr(anonymising, "rewrite_messages", pausing)
    monkeypatch.setattr(anonymising.Anonymisation, "turn", 0.0)
    assert carry_on(context, job.id) == "sliced"
    with context.transaction(account) as session:
        pause_job(session, job.id)
    assert carry_on(context, job.id) == "ignored"
    with context.transaction(account) as session:
        resume_job(session, job.id)
    assert carry_on(context, job.id) == "sliced"
    with context.transaction(account) as session:
        cancel_job(session, job.id)
    ended = the_job(context, account, job.id)
    assert ended.state == "cancelled"
    assert len(batches) == 2
    assert ended.counts["messages"] == 20
    assert one(context, "SELECT count(*) FROM messages WHERE anonymised_at IS NOT NULL") == 20


def test_a_pause_that_comes_within_a_batch_ends_the_slice(context, account, monkeypatch, small):
    some_talks(context, account, 1, 40)
    job = a_job(context, account)
    real = anonymising.Anonymisation.judge

    def pausing(self, seconds):
        with context.transaction(account) as session:
            pause_job(session, job.id)
        return real(self, seconds)

    monkeypatch.setattr(anonymising.Anonymisation, "judge", pausing)
    assert carry_on(context, job.id) == "lost"
    assert the_job(context, account, job.id).counts["messages"] == 10


@pytest.mark.parametrize("what", ["conversations", "messages"])
def test_a_message_that_breaks_is_counted_reported_and_tried_again(context, account, monkeypatch, what):
    good, bad = some_talks(context, account, 2, 3)
    execute(context, "UPDATE messages SET text = text || ' a@b.example'")
    execute(
        context,
        "UPDATE messages SET text = 'break me a@b.example' WHERE conversation_id = :id AND seq = 2",
        id=bad,
    )
    real = anonymising.rewritten

    def breaking(message, anonymiser, **fields):
        if message.text.startswith("break"):
            raise ValueError(message.text)
        return real(message, anonymiser, **fields)

    with monkeypatch.context() as patch:
        patch.setattr(anonymising, "rewritten", breaking)
        ended = done(context, account, what)
    numbers = {"conversations": (2, 1, 1), "messages": (6, 5, 1)}[what]
    assert (ended.state, ended.total, ended.done, ended.failed) == ("completed_with_errors", *numbers)
    (error,) = rows(context, "SELECT * FROM job_errors")
    assert (error["number"], error["row"], error["code"]) == (1, 2, "not_anonymised")
    assert one(context, "SELECT count(*) FROM messages WHERE text LIKE '%a@b.example'") == 1
    if what == "conversations":
        marked = rows(context, "SELECT id FROM conversations WHERE anonymised_seq IS NOT NULL")
        assert [row["id"] for row in marked] == [good]
    again = done(context, account, what)
    assert (again.state, again.done, again.counts["messages"]) == ("completed", 1, 1)
    assert traces_of(context, "a@b.example") == []


def test_what_breaks_is_not_told_in_logs(context, account, monkeypatch, capfd):
    some_talks(context, account, 1, 1)
    execute(context, "UPDATE messages SET text = :mark", mark=MARK)

    def breaking(message, anonymiser):
        del anonymiser
        raise ValueError(message.text)

    monkeypatch.setattr(anonymising, "rewritten", breaking)
    done(context, account)
    assert MARK not in "".join(capfd.readouterr())
    assert MARK not in str(rows(context, "SELECT * FROM jobs")) + str(
        rows(context, "SELECT * FROM job_errors")
    )


@pytest.mark.parametrize("link", ["conversation_id", "everything"])
def test_what_is_held_stays_as_it_was_said(context, account, link):
    talk, other = some_talks(context, account, 2, 2)
    execute(context, "UPDATE messages SET text = 'a@b.example'")
    a_hold(context, account, **{link: talk if link == "conversation_id" else True})
    with context.transaction(account) as session:
        preview = preview_deletion(session, "conversations", {"all": True}, kind=JobKind.ANONYMISE)
    assert preview.counted.held == (1 if link == "conversation_id" else 2)
    ended = done(context, account)
    assert ended.done == (1 if link == "conversation_id" else 0)
    kept = {row["conversation_id"] for row in said(context) if row["text"] == "a@b.example"}
    assert kept == ({talk} if link == "conversation_id" else {talk, other})


def test_a_hold_that_comes_meanwhile_is_heard(context, account, small):
    talks = some_talks(context, account, 2, 2)
    execute(context, "UPDATE messages SET text = 'a@b.example'")
    job = a_job(context, account)
    a_hold(context, account, conversation_id=talks[0])
    assert carry_on(context, job.id) == "completed"
    ended = the_job(context, account, job.id)
    assert (ended.total, ended.done, ended.skipped) == (2, 1, 1)
    assert {row["text"] for row in said(context, talks[0])} == {"a@b.example"}


def test_it_keeps_the_accounts_rate(context, account, monkeypatch):
    from core.rates import Rate

    some_talks(context, account, 1, 30)
    monkeypatch.setattr(context.settings, "rate_bulk", Rate(1, 60))
    job = a_job(context, account)
    assert carry_on(context, job.id) == "paced"
    assert the_job(context, account, job.id).counts["messages"] == 1


def test_its_hint_wakes_a_worker(context, account):
    some_talks(context, account, 1, 1)
    job = a_job(context, account)
    assert the_job(context, account, job.id).hints == 1
    execute(context, "UPDATE jobs SET hinted_at = NULL")
    assert hint_jobs(context) == 1


def test_it_waits_for_its_confirmation_and_selects_only_what_is_asked(context, account):
    talks = some_talks(context, account, 2, 2)
    wanted = {"conversation_id": [str(talks[0])]}
    with context.transaction(account) as session:
        deletion = preview_deletion(session, "conversations", wanted)
        preview = preview_deletion(session, "conversations", wanted, kind=JobKind.ANONYMISE)
        job, _ = create_delete_job(session, "conversations", wanted, kind=JobKind.ANONYMISE)
    assert deletion.confirmation != preview.confirmation, "what confirms the one confirms not the other"
    with pytest.raises(Conflict), context.transaction(account) as session:
        resume_job(session, job.id)
    assert carry_on(context, job.id) == "ignored"


def test_another_accounts_rows_are_not_touched(context, account):
    stranger = an_account(context, "Grace")
    some_talks(context, stranger, 1, 3)
    before = (rows(context, "SELECT * FROM messages"), rows(context, "SELECT * FROM conversations"))
    some_talks(context, account, 1, 3)
    done(context, account)
    of = [
        [row for row in table if row["account_id"] == stranger]
        for table in (rows(context, "SELECT * FROM messages"), rows(context, "SELECT * FROM conversations"))
    ]
    assert tuple(of) == before


# Races


class Repeater:
    """A model that repeats what it is shown, and stops midway until it may go on."""

    def __init__(self):
        self.midway, self.go = threading.Event(), threading.Event()
        self.asked = []

    def provider_for(self, model):
        del model
        return self, "repeater", {}

    def stream(self, request, deadline):
        del deadline
        words = " ".join(message.text for message in request.messages)
        self.asked.append(words)
        yield TextDelta(f"You said {words}, ")
        time.sleep(0.05)
        self.midway.set()
        assert self.go.wait(PATIENCE)
        yield TextDelta("the end.")
        yield Finished(FinishReason.stop, 7, 3)

    def close(self):
        pass


@pytest.mark.parametrize("privacy", [True, False], ids=["private", "plain"])
@pytest.mark.parametrize("what", ["conversations", "messages"])
def test_a_reply_under_way_is_discarded_and_made_anew_of_what_is_left(
    context, account, leases, what, privacy
):
    model = Repeater()
    asking = dataclasses.replace(context, providers=model)
    talk = a_conversation(context, account, bot_id=a_bot(context, account, privacy=privacy).id).id
    with context.transaction(account) as session:
        send(session, talk, f"Write to {MAIL}.")
        turn, channel = dispatch(session, talk, "And now?", TurnRequest())
    outcome = []
    worker = threading.Thread(
        target=lambda: outcome.append(carry_out(asking, leases, turn.id, worker="tests"))
    )
    worker.start()
    assert model.midway.wait(PATIENCE)
    assert context.live.wait(account, channel, "0", 1.0)
    assert done(context, account, what).state == "completed"
    assert context.live.wait(account, channel, "0", 0.01) == []
    model.go.set()
    worker.join(PATIENCE)
    assert outcome == ["discarded"]
    assert traces_of(context, MARK) == []
    execute(context, "UPDATE runs SET run_at = now()")
    assert carry_out(asking, leases, turn.id, worker="tests") == "succeeded"
    assert MARK not in model.asked[-1]
    assert "<EMAIL_ADDRESS>" in model.asked[-1]
    assert traces_of(context, MARK) == []


def test_an_update_that_waits_for_a_batch_writes_after_it(context, account, monkeypatch):
    talk = a_conversation(context, account).id
    with context.transaction(account) as session:
        message = send(session, talk, f"Old {MAIL}").message.id
    job = a_job(context, account)
    real, updated = anonymising.rewrite_messages, threading.Event()

    def update():
        with context.transaction(account) as session:
            update_message(session, talk, message, text="New words.")
        updated.set()

    updater = threading.Thread(target=update)

    def slow(session, made):
        result = real(session, made)
        updater.start()
        assert not updated.wait(0.3)
        return result

    monkeypatch.setattr(anonymising, "rewrite_messages", slow)
    assert carry_on(context, job.id) == "completed"
    updater.join(10)
    (stored,) = said(context)
    assert (stored["text"], stored["text_rev"], stored["anonymised_at"]) == ("New words.", 3, None)
    assert one(context, "SELECT anonymised_seq FROM conversations") is None
    assert traces_of(context, MARK) == []


def test_an_update_before_a_batch_is_what_is_made_anonymous(context, account, monkeypatch):
    talk = a_conversation(context, account).id
    with context.transaction(account) as session:
        message = send(session, talk, "Old.").message.id
    job = a_job(context, account)
    real = anonymising.lock_selected

    def late(session, *args):
        with context.transaction(account) as other:
            update_message(other, talk, message, text=f"New {MAIL}")
        return real(session, *args)

    monkeypatch.setattr(anonymising, "lock_selected", late)
    assert carry_on(context, job.id) == "completed"
    assert said(context)[0]["text"] == "New <EMAIL_ADDRESS>"


def test_an_annotation_that_was_claimed_before_writes_nothing_back(context, account, monkeypatch):
    import core.annotating

    bot = a_bot(context, account, privacy=True)
    talk = a_conversation(context, account, bot_id=bot.id).id
    with context.transaction(account) as session:
        message = send(session, talk, f"Write to {MAIL}").message.id
    real = core.annotating._annotate_one

    def late(of, claimed):
        assert done(context, account).done == 1
        return real(of, claimed)

    monkeypatch.setattr(core.annotating, "_annotate_one", late)
    annotate(context, message)
    monkeypatch.undo()
    assert said(context)[0]["text"] == "Write to <EMAIL_ADDRESS>"
    # It is looked at once more as it is now.
    assert annotate(context, message) == "annotated"
    stored = said(context)[0]
    assert (stored["text"], stored["pii_state"]) == ("Write to <EMAIL_ADDRESS>", "done")
    assert one(context, "SELECT count(*) FROM annotations") == 0


def test_what_is_deleted_meanwhile_is_skipped(context, account, small):
    talks = some_talks(context, account, 3, 3)
    job = a_job(context, account)
    with context.transaction(account) as session:
        delete_conversation(session, talks[1])
    assert carry_on(context, job.id) == "completed"
    ended = the_job(context, account, job.id)
    assert (ended.total, ended.done, ended.skipped) == (3, 2, 1)


def test_a_long_conversation_is_gone_on_with_by_the_next_batch(context, account, small):
    (talk,) = some_talks(context, account, 1, 0)
    fill(context, [talk], 35)
    before = one(context, "SELECT purge_epoch FROM conversations")
    assert done(context, account).counts["messages"] == 35
    assert one(context, "SELECT anonymised_seq = next_seq FROM conversations")
    assert one(context, "SELECT purge_epoch FROM conversations") > before
    assert left(context, account) == 35


def test_the_api_asks_for_it_as_for_a_deletion(context, account, client):
    some_talks(context, account, 2, 2)
    wanted = {"kind": "anonymise", "what": "conversations", "filter": {"all": True}}
    preview = client.post("/api/v1/job/preview", json=wanted).json()
    assert (preview["count"], preview["held"]) == (2, 0)
    made = client.post("/api/v1/job/create", json={**wanted, "confirm": preview["confirmation"]}).json()
    from uuid import UUID

    carry_on(context, UUID(made["id"]))
    told = client.get(f"/api/v1/job/{made['id']}/fetch").json()
    assert (told["kind"], told["state"], told["done"], told["messages"]) == ("anonymise", "completed", 2, 4)
    assert told["filter"] == {"all": True}
    assert client.get(f"/api/v1/job/{made['id']}/receipt").status_code == 409
    assert json.dumps(client.get("/api/v1/job/list?kind=anonymise").json()).count(made["id"]) >= 1


@pytest.mark.parametrize("most", [1, 3, 10])
def test_an_author_is_looked_for_in_all_of_a_conversation_however_small_the_batches(
    context, account, monkeypatch, most
):
    """Whoever is named in the first message alone is gone from the last, which another batch deals with."""
    monkeypatch.setattr(anonymising, "MOST", most)
    talks = [a_conversation(context, account).id for _ in range(3)]
    for talk in talks:
        drafts = [Draft(MessageType.USER, "Hello.", name="Waldemar Zyx")]
        drafts += [Draft(MessageType.USER, f"Word {n}.", name="Elfriede Qua") for n in range(4)]
        drafts += [Draft(MessageType.BOT, "Good bye, Waldemar Zyx and Elfriede Qua.")]
        with context.transaction(account) as session:
            create_messages(session, talk, drafts)
    ended = done(context, account)
    assert (ended.state, ended.done, ended.counts["messages"]) == ("completed", 3, 18)
    for talk in talks:
        assert [one["name"] for one in said(context, talk)] == [None] * 6
        assert all(one["anonymised_at"] for one in said(context, talk))
        assert said(context, talk)[-1]["text"] == "Good bye, <PERSON> and <PERSON>."


def test_one_that_is_cancelled_in_the_middle_of_a_conversation_leaves_its_names_to_the_next(
    context, account, monkeypatch, small
):
    talk = a_conversation(context, account).id
    with context.transaction(account) as session:
        drafts = [Draft(MessageType.USER, f"Word {n}.", name="Waldemar Zyx") for n in range(15)]
        create_messages(session, talk, [*drafts, Draft(MessageType.BOT, "Good bye, Waldemar Zyx.")])
    job = a_job(context, account)
    killed_at(monkeypatch, 2)
    with pytest.raises(SystemExit):
        carry_on(context, job.id)
    with context.transaction(account) as session:
        cancel_job(session, job.id)
    assert {one["anonymised_at"] for one in said(context, talk)} == {None}
    assert done(context, account, "messages").counts["messages"] == 16
    assert {one["name"] for one in said(context, talk)} == {None}
    assert all("Waldemar" not in one["text"] for one in said(context, talk))


def test_a_second_walk_through_a_long_conversation_keeps_the_rate_too(context, account, monkeypatch):
    """Texts that are rewritten before their names go are work, and are paced as such."""
    monkeypatch.setattr(anonymising, "MOST", 3)
    taken = []
    monkeypatch.setattr(Buckets, "take", lambda _self, count: taken.append(count))
    talk = a_conversation(context, account).id
    with context.transaction(account) as session:
        create_messages(session, talk, [Draft(MessageType.USER, "Word.", name="Elfriede Qua")] * 6)
    assert done(context, account).counts["messages"] == 6
    assert sum(taken) == 12
