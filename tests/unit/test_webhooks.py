"""Signatures as the Standard Webhooks specification makes them."""

from __future__ import annotations

import base64
import uuid
from datetime import UTC, datetime

from core.webhooks import new_secret, signature, signed_headers


def test_the_specifications_own_example():
    signed = signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_secret_has_the_length_the_specification_asks_for():
    secret = new_secret()
    assert secret.startswith("whsec_")
    assert 24 <= len(base64.b64decode(secret[6:])) <= 64
    assert secret != new_secret()


def test_the_id_stays_and_the_timestamp_is_the_attempts():
    secret, delivery = new_secret(), uuid.uuid4()
    first = signed_headers(secret, delivery, datetime(2026, 11, 20, 9, tzinfo=UTC), b"{}")
    second = signed_headers(secret, delivery, datetime(2026, 11, 20, 10, tzinfo=UTC), b"{}")
    assert first["webhook-id"] == second["webhook-id"] == str(delivery)
    assert int(second["webhook-timestamp"]) - int(first["webhook-timestamp"]) == 3600
    assert first["webhook-signature"] != second["webhook-signature"]
