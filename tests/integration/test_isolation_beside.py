"""Walls between accounts that no route shows by itself: tokens, keys of writes, quotas, buckets, jobs."""

from __future__ import annotations

from uuid import UUID

import pytest

from core import idempotency, quotas
from core.account_deletion import delete_account
from core.accounts import create_token, list_tokens, revoke_token
from core.annotation_jobs import create_annotation_job
from core.browsing import selected_by
from core.buckets import SET_BACK, Buckets, forget_bucket
from core.conversing import Reach
from core.drafts import Draft
from core.errors import NotAuthorized, NotFound
from core.feeding import CONVERSATIONS_FROM, TASKS_AFTER
from core.jobs import cancel_job, pause_job, resume_job
from core.memories import search_memories
from core.queries import read_query
from core.rates import parse_rate
from core.resuming import missed
from core.secrets import create_secret, find_secret
from core.talking import RELEASE_CHANNEL
from models import MessageType
from tests.factories import (
    a_bot,
    a_conversation,
    a_due_task,
    a_memory,
    a_pending_turn,
    an_account,
    execute,
    rows,
)


@pytest.fixture
def other(context):
    return an_account(context, "Grace")


def test_another_accounts_tokens_are_neither_listed_nor_ended(context, account, other):
    with context.transaction() as session:
        mine, theirs = create_token(session, account, "mine")[0], create_token(session, other, "theirs")[0]
    with context.transaction(account) as session:
        assert [token.id for token in list_tokens(session)] == [mine.id]
        with pytest.raises(NotFound):
            revoke_token(session, theirs.id)
    (kept,) = rows(context, "SELECT revoked_at FROM api_tokens WHERE id = :id", id=theirs.id)
    assert kept["revoked_at"] is None


def test_two_accounts_may_use_one_key_of_a_write_and_hear_their_own_answers(context, account, other):
    # The same owner and request: only the account tells these two apart.
    key = idempotency.make_key("k", "owner", "request")
    told = {account: {"count": 1}, other: {"count": 2}}
    for whose, answer in told.items():
        with context.transaction(whose) as session:
            assert idempotency.begin(session, key) is None
            idempotency.finish(session, key, answer)
    for whose, answer in told.items():
        with context.transaction(whose) as session:
            assert idempotency.begin(session, key) == answer
            assert idempotency.was_done(session, whose, "k", "owner")
    with context.transaction(account) as session:
        idempotency.let_go(session, key)
    assert len(rows(context, "SELECT FROM idempotency_keys WHERE account_id = :id", id=other)) == 1
    assert not rows(context, "SELECT FROM idempotency_keys WHERE account_id = :id", id=account)


def test_what_another_account_uses_and_may_use_is_not_mine(context, account, other):
    execute(
        context,
        "INSERT INTO usage_days (account_id, day, slot, conversations, messages, runs, model_calls,"
        " input_tokens, output_tokens) VALUES (:id, current_date, 0, 5, 5, 5, 5, 5, 5)",
        id=other,
    )
    with context.transaction(account) as session:
        used = session.execute(quotas.USED, {"account": account}).mappings().one()
        session.execute(quotas.KEEP, {"account": account, "limits": {"messages": 1}})
    assert dict(used) == {"messages": 0, "conversations": 0, "tokens": 0}
    assert (
        rows(context, "SELECT settings FROM accounts WHERE id = :id", id=other)[0]["settings"].get("limits")
        is None
    )


def test_another_accounts_bucket_is_neither_taken_from_nor_forgotten(context, account, other):
    for whose in (other, account):
        execute(
            context,
            "INSERT INTO rate_buckets (account_id, kind, tokens, updated_at)"
            " VALUES (:id, 'delete', 7, now() - interval '1 hour')",
            id=whose,
        )
    before = rows(context, "SELECT * FROM rate_buckets WHERE account_id = :id", id=other)
    with context.transaction(account) as session:
        bucket = Buckets(session, account, [("delete", parse_rate("100/s"))])
        bucket.take(bucket.grant(5).count)
        session.execute(SET_BACK, {"account": account, "kind": "delete"})
        forget_bucket(session, account, "delete")
    assert rows(context, "SELECT * FROM rate_buckets WHERE account_id = :id", id=other) == before
    assert not rows(context, "SELECT * FROM rate_buckets WHERE account_id = :id", id=account)


def test_what_another_account_calls_the_same_is_not_found_by_its_name(context, account, other):
    with context.transaction(other) as session:
        create_secret(session, name="Shared", value="a-secret")
    with context.transaction(account) as session, pytest.raises(NotFound):
        find_secret(session, "Shared")


def test_a_search_of_memories_finds_the_accounts_own(context, account, other):
    made = {whose: a_memory(context, whose, bot_id=a_bot(context, whose).id).id for whose in (account, other)}
    with context.transaction(account) as session:
        assert [found.id for found in search_memories(session, "tea milk")] == [made[account]]


@pytest.mark.parametrize("typed", ["Morning", "type:user"])
def test_a_deletion_by_a_search_takes_the_accounts_own(typed, context, account, other):
    said = [Draft(MessageType.USER, "Good morning")]
    talks = {
        whose: a_conversation(context, whose, name="Morning", messages=said) for whose in (other, account)
    }
    with context.transaction(account) as session:
        assert selected_by(session, read_query(typed)) == {"ids": [str(talks[account].id)]}


@pytest.mark.parametrize("act", [pause_job, resume_job, cancel_job])
def test_a_job_of_another_account_that_is_no_backfill_is_not_to_be_steered(act, context, account, other):
    with context.transaction(other) as session:
        job = create_annotation_job(session)
    before = rows(context, "SELECT * FROM jobs WHERE id = :id", id=job.id)
    with pytest.raises(NotAuthorized), context.transaction(account) as session:
        act(session, job.id)
    assert rows(context, "SELECT * FROM jobs WHERE id = :id", id=job.id) == before


def test_a_job_under_way_in_another_account_holds_up_none_of_mine(context, account, other):
    for whose in (other, account):
        a_conversation(context, whose)
        with context.transaction(whose) as session:
            assert create_annotation_job(session).total == 0


def test_a_secret_is_not_found_by_another_accounts_id(context, account, other):
    with context.transaction(other) as session:
        theirs = create_secret(session, name="Shared", value="a-secret").id
    with context.transaction(account) as session, pytest.raises(NotAuthorized):
        find_secret(session, str(theirs))


def test_a_channel_that_is_used_again_stays_another_accounts(context, account, other):
    name = "a-channel-of-both"
    for whose in (other, account):
        run = a_pending_turn(context, whose)
        execute(
            context,
            "UPDATE runs SET channel = :name, state = 'cancelled', finished_at = now() - interval '2 hours',"
            " lease_until = NULL WHERE id = :id",
            name=name,
            id=run.id,
        )
    with context.transaction(account) as session:
        session.execute(RELEASE_CHANNEL, {"account": account, "channel": name})
    kept = rows(context, "SELECT account_id FROM runs WHERE channel = :name", name=name)
    assert [row["account_id"] for row in kept] == [other]


def test_places_in_another_accounts_conversations_tell_nothing_to_who_comes_back(context, account, other):
    said = [Draft(MessageType.USER, "One"), Draft(MessageType.USER, "Two")]
    theirs, mine = (a_conversation(context, whose, messages=said).id for whose in (other, account))
    first = {
        talk: rows(context, "SELECT id FROM messages WHERE conversation_id = :id ORDER BY seq", id=talk)[0][
            "id"
        ]
        for talk in (theirs, mine)
    }
    with context.transaction(account) as session:
        for after in ([f"{theirs}:0"], [str(first[theirs])], [f"{theirs}:0", str(first[mine])]):
            found = missed(session, Reach(), after)
            assert {talk for talk, _ in found.messages} <= {mine}
            assert not found.whole


def test_deleting_another_account_ends_none_of_my_runs(context, account, other):
    a_pending_turn(context, other)
    run = a_pending_turn(context, account)
    before = rows(context, "SELECT * FROM runs WHERE id = :id", id=run.id)
    delete_account(context, other, actor="cli")
    assert rows(context, "SELECT * FROM runs WHERE id = :id", id=run.id) == before


def test_history_is_annotated_of_the_jobs_account_alone(context, account, other):
    talks = {whose: a_conversation(context, whose).id for whose in (other, account)}
    tasks = {whose: a_due_task(context, whose).id for whose in (other, account)}
    everything = {"after": UUID(int=0), "until": UUID(int=2**128 - 1), "most": 100}
    asked = {"account": account, "bot": None, "one": None, **everything}
    with context.transaction(account) as session:
        assert list(session.scalars(CONVERSATIONS_FROM, asked)) == [talks[account]]
        assert list(session.scalars(TASKS_AFTER, asked)) == [tasks[account]]
