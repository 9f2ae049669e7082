"""Ratings: what a vote is, and that a repeated one is one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from core.bots import get_bot
from core.contacts import delete_contact, ensure_contact
from core.conversations import delete_conversation, get_conversation
from core.errors import InvalidInput
from core.ratings import downvote_value, list_ratings, rate, upvote_value
from core.talking import send
from tests.factories import a_bot, a_conversation, execute, one, rows


@pytest.fixture
def talk(context, account):
    """A conversation with a contact, and a message of it."""
    conversation = a_conversation(context, account)
    with context.transaction(account) as session:
        contact = ensure_contact(session, fingerprint="ada")
        message = send(session, conversation.id, "Hello?").message
    execute(
        context,
        "UPDATE conversations SET contact_id = :contact WHERE id = :id",
        contact=contact.id,
        id=conversation.id,
    )
    return conversation.id, message, contact.id


def test_a_vote_on_a_message_names_its_conversation_and_contact(context, account, talk):
    conversation, message, contact = talk
    with context.transaction(account) as session:
        rating = rate(session, 100, "Helped.", message=message)
        assert (rating.value, rating.reason) == (100, "Helped.")
        assert (rating.message_id, rating.conversation_id, rating.contact_id) == (
            message.id,
            conversation,
            contact,
        )
        assert list_ratings(session, contact_id=contact) == [rating]


def test_a_vote_repeated_within_the_hour_is_recorded_once(context, account, talk):
    conversation, message, _ = talk
    bot = a_bot(context, account)
    with context.transaction(account) as session:
        for thing in (
            {"bot": get_bot(session, bot.id)},
            {"conversation": get_conversation(session, conversation)},
            {"message": message},
        ):
            assert rate(session, 100, None, **thing) is not None
            assert rate(session, 50, "Again.", **thing) is None
            assert rate(session, -100, None, **thing) is not None
            assert rate(session, -1, None, **thing) is None
    assert one(context, "SELECT count(*) FROM ratings") == 6
    execute(context, "UPDATE ratings SET created_at = now() - interval '61 minutes'")
    with context.transaction(account) as session:
        assert rate(session, 100, None, bot=get_bot(session, bot.id)) is not None


def test_however_many_vote_at_once_it_is_one_vote(context, account):
    bot = a_bot(context, account)

    def vote(_):
        with context.transaction(account) as session:
            rate(session, 100, None, bot=get_bot(session, bot.id))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(vote, range(16)))
    assert one(context, "SELECT count(*) FROM ratings") == 1


@pytest.mark.parametrize("value", [0, 101, -1, -100, 1.5, True, "5", [], 10**30])
def test_a_vote_up_is_a_whole_number_from_1_to_100(value):
    with pytest.raises(InvalidInput):
        upvote_value(value)


@pytest.mark.parametrize("value", [0, 1, 100, -101, 1.5, True, "5", {}, -(10**30)])
def test_a_vote_down_is_a_whole_number_from_minus_100_to_minus_1(value):
    with pytest.raises(InvalidInput):
        downvote_value(value)


def test_a_vote_without_a_value_counts_in_full():
    assert (upvote_value(None), downvote_value(None)) == (100, -100)
    assert (upvote_value(7), downvote_value(-7)) == (7, -7)


def test_a_rating_goes_with_what_it_was_about_and_stays_without_its_contact(context, account, talk):
    conversation, message, contact = talk
    with context.transaction(account) as session:
        rate(session, 100, None, message=message)
        delete_contact(session, contact)
    (rating,) = rows(context, "SELECT contact_id, message_id FROM ratings")
    assert (rating["contact_id"], rating["message_id"]) == (None, message.id)
    with context.transaction(account) as session:
        delete_conversation(session, conversation)
    assert rows(context, "SELECT * FROM ratings") == []
