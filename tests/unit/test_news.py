"""What is told of a turn that failed: once, however long ago its last message was."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from core.news import Followed, Place, _found

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
CONVERSATION, ACCOUNT, RUN = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
EMPTY = dict.fromkeys(
    (
        *("contact_id", "bot_id", "busy", "ended", "state", "error_class", "finished_at"),
        *("message_id", "seq", "created_at", "pii_state", "upto"),
    )
)


def seen(**values):
    return SimpleNamespace(
        **{**EMPTY, "id": CONVERSATION, "account_id": ACCOUNT, "base": 0, "text": "", **values}
    )


def test_a_failure_is_told_once_though_the_turn_was_long_and_another_begins():
    followed = Followed(ACCOUNT, NOON - timedelta(seconds=400), NOON - timedelta(seconds=390))

    def look(row):
        place = followed.places.get(CONVERSATION) or Place()
        return _found(followed, CONVERSATION, place, [row]).failure

    failed = {"ended": RUN, "state": "failed", "error_class": "timeout", "finished_at": NOON}
    asked = {"message_id": uuid.uuid4(), "seq": 1, "created_at": NOON - timedelta(seconds=60), "upto": 9}
    assert look(seen(busy=RUN, **asked)) is None
    assert look(seen(**failed)) == "timeout"
    followed.forget_before(NOON - timedelta(seconds=10))
    again = {"message_id": uuid.uuid4(), "seq": 2, "created_at": NOON + timedelta(seconds=3), "upto": 9}
    assert look(seen(busy=uuid.uuid4(), **failed, **again)) is None
    followed.places[CONVERSATION].busy = False
    followed.forget_before(NOON + timedelta(seconds=10))
    assert followed.places == {}
