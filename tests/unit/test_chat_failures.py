from datetime import UTC, datetime, timedelta

import pytest

from core.chat.model_failures import failure_from_body, failure_from_status, parse_retry_after
from core.chat.provider import (
    ContextTooLong,
    Deadline,
    ModelMisconfigured,
    ModelQuota,
    ModelTimeout,
    ModelUnavailable,
)

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("0", timedelta(0)),
        (" 7 ", timedelta(seconds=7)),
        ("1.5", timedelta(seconds=1.5)),
        ("31536000", timedelta(days=365)),
        ("9" * 400, timedelta.max),
        ("Fri, 20 Nov 2026 12:01:00 GMT", timedelta(minutes=1)),
        ("Fri, 20 Nov 2026 13:01:00 +0100", timedelta(minutes=1)),
        ("Fri, 20 Nov 2026 12:01:00 -0000", timedelta(minutes=1)),
        ("Fri, 20 Nov 2020 12:00:00 GMT", timedelta(0)),
        ("Fri, 99 Nov 2026 12:00:00 GMT", None),
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("nan", None),
        ("1_000", None),
        ("٧", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value, wait):
    assert parse_retry_after(value, NOW) == wait


@pytest.mark.parametrize(
    ("status", "content", "kind", "code", "retryable"),
    [
        (429, b"", ModelQuota, "http_429", True),
        (429, b'{"error": {"code": "insufficient_quota"}}', ModelQuota, "no_credit", False),
        (402, b"{}", ModelQuota, "http_402", False),
        (413, b"", ContextTooLong, "http_413", False),
        (400, b'{"error": {"type": "exceed_context_size_error"}}', ContextTooLong, "context_length", False),
        (
            400,
            b'{"message": "This model\'s maximum context length is 8"}',
            ContextTooLong,
            "context_length",
            False,
        ),
        (400, b'{"error": "context size exceeded"}', ContextTooLong, "context_length", False),
        (400, b'{"error": []}', ModelMisconfigured, "http_400", False),
        (400, b"[" * 60_000, ModelMisconfigured, "http_400", False),
        (400, b"\xff<html>", ModelMisconfigured, "http_400", False),
        (503, b'{"error": {"code": "insufficient_quota"}}', ModelUnavailable, "http_503", True),
        (599, b"", ModelUnavailable, "http_599", True),
        (409, b"", ModelUnavailable, "http_409", True),
        (204, b"", ModelMisconfigured, "http_204", False),
    ],
)
def test_a_status_and_its_body_are_one_error(status, content, kind, code, retryable):
    error = failure_from_status(status, content, None)
    assert (type(error), error.code, error.retryable) == (kind, code, retryable)


def test_a_busy_server_may_say_when_to_come_back():
    assert failure_from_status(503, b"", timedelta(seconds=3)).retry_after == timedelta(seconds=3)


def test_an_error_inside_a_good_status_is_found():
    assert failure_from_body({"choices": [], "error": None}) is None
    assert failure_from_body({"object": "error", "message": "x"}).code == "error_body"
    quota = failure_from_body({"error": {"code": 429, "message": "slow down"}})
    assert (type(quota), quota.retryable) == (ModelQuota, True)


def test_a_deadline_passes_and_can_be_brought_closer():
    passed = Deadline.after(timedelta(seconds=-1))
    with pytest.raises(ModelTimeout):
        passed.check()
    ahead = Deadline.after(timedelta(minutes=1))
    ahead.check()
    assert ahead.or_sooner(timedelta(hours=1)) == ahead
    assert ahead.or_sooner(timedelta(seconds=1)).remaining() <= 1
    assert passed.or_sooner(timedelta(seconds=1)) == passed
