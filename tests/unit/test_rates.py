"""Rates as they are written."""

from __future__ import annotations

import pytest

from api.pace import kind_of, quotas_of
from core.errors import InvalidInput
from core.quotas import read_limits
from core.rates import Rate, parse_rate
from core.settings import read_settings


@pytest.mark.parametrize(
    ("words", "count", "seconds"),
    [("10/s", 10, 1), ("600/m", 600, 60), ("5000/h", 5000, 3600), ("9/d", 9, 86_400), (" 1/s ", 1, 1)],
)
def test_a_rate_is_a_number_per_unit(words, count, seconds):
    rate = parse_rate(words)
    assert (rate.count, rate.seconds) == (count, seconds)
    assert str(rate) == words.strip()


def test_off_is_no_limit():
    assert parse_rate("off") is parse_rate("OFF") is None


@pytest.mark.parametrize(
    "words", ["", "0/s", "-1/s", "1", "1/", "/s", "1/w", "1.5/s", "1/s/s", "9999999999/s", "٣/s", "a/s"]
)
def test_anything_else_is_no_rate(words):
    with pytest.raises(ValueError):
        parse_rate(words)
    with pytest.raises(InvalidInput, match="CRONTALK_RATE_READ"):
        read_settings(rate_read=words)


def test_settings_take_rates():
    assert read_settings(rate_turn="7/m").rate_turn == Rate(7, 60)
    assert read_settings(rate_turn="off").rate_turn is None


def test_the_fastest_rate_still_has_a_distance():
    assert Rate(999_999_999, 1).microseconds == 1


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("GET", "/api/v1/task/list", "read"),
        ("GET", "/api/v1/conversation/x/message/list", "read"),
        ("POST", "/api/v1/task/create", "write"),
        ("POST", "/v1/conversation/x/message/batch/create", "write"),
        ("POST", "/api/v1/task/x/trigger", "turn"),
        ("POST", "/api/v1/conversation/x/send", "turn"),
        ("POST", "/api/v1/conversation/complete", "turn"),
        ("POST", "/api/v1/conversation/x/message/y/delete", "delete"),
        ("POST", "/v1/task/x/delete", "delete"),
    ],
)
def test_the_address_tells_the_kind(method, path, kind):
    assert kind_of(method, path) == kind


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/api/v1/task/create", ()),
        ("/api/v1/bot/create", ()),
        ("/api/v1/task/x/trigger", ("messages", "tokens", "conversations")),
        ("/api/v1/conversation/x/complete", ("messages", "tokens")),
        ("/api/v1/conversation/complete", ("messages", "tokens")),
        ("/v1/conversation/x/send", ("messages",)),
        ("/api/v1/conversation/x/message/create", ("messages",)),
        ("/api/v1/conversation/x/message/batch/create", ("messages",)),
        ("/api/v1/conversation/create", ("conversations", "messages")),
        ("/api/v1/bot/x/session/create", ("conversations", "messages")),
        ("/api/v1/conversation/x/session/create", ()),
        ("/api/v1/conversation/x/delete", ()),
    ],
)
def test_the_address_tells_the_quotas(path, names):
    assert quotas_of("POST", path) == names
    assert quotas_of("GET", path) == ()


@pytest.mark.parametrize("stored", [None, [], "x", 7, {}, {"rate_read": 7, "messages_per_month": "x"}])
def test_limits_that_cannot_be_read_are_none(stored):
    assert (read_limits(stored).rates, read_limits(stored).quotas) == ({}, {})


@pytest.mark.parametrize(
    ("url", "other"),
    [
        ("unix:///run/valkey.sock?db=0", 1),
        ("unix:///run/valkey.sock", 1),
        ("unix://user:word@/run/valkey.sock?db=4&protocol=3", 5),
        ("redis://localhost", 1),
        ("redis://:word@valkey:6379/0", 1),
        ("rediss://valkey/7?ssl_cert_reqs=none", 8),
    ],
)
def test_what_is_no_hint_lies_in_another_database_of_the_same_server(url, other):
    from redis.connection import parse_url

    from core.valkey import second_database

    assert parse_url(second_database(url)) == parse_url(url) | {"db": other}
