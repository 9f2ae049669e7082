"""The WebSocket as an authenticated user's connection."""

from __future__ import annotations

import pytest

from core.accounts import create_token
from tests.api import a_revoked_secret, a_secret
from tests.factories import a_contact
from tests.hands import hands
from tests.sockets import a_door, talking


@pytest.fixture
def door(context):
    with a_door(context) as door:
        yield door


@pytest.fixture
def secret(context, account):
    return a_secret(context, account)


def a_users_secret(context, account, contact) -> str:
    with context.transaction(account) as session:
        return create_token(session, account, "user", contact_id=contact.id)[1]


def kinds(frames):
    return [
        frame["sender"] if frame["type"] == "message" else frame["type"]
        for frame in frames
    ]


def test_a_message_is_answered_in_the_documented_order(door, secret, working):
    with talking(door.port, secret) as talk:
        talk.say("Hello")
        answer = talk.answer()
    assert kinds(talk.frames) == ["status", "status", "typing", "typing", "bot"]
    greeting, receipt, begins, ends, _ = talk.frames
    assert greeting["status"] == "connected" and greeting["authenticated"] is True
    assert greeting["session_id"] is None and greeting["bot_id"]
    assert receipt["status"] == "delivered" and receipt["message_id"]
    assert (begins["active"], ends["active"]) == (True, False)
    assert answer["session_id"] == answer["conversation_id"] == receipt["session_id"]
    assert answer["content"] and answer["timestamp"].endswith("Z") and answer["message_id"]
