"""Callers of the conversations API for tests: what its routes need, and tokens of one contact."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

from core.accounts import create_token
from core.context import Context
from core.rates import parse_rate
from tests.factories import a_contact

BASE = "/api/conversations"
# Every route of the dialect, with a body or parameters that it accepts.
TALK: dict[tuple[str, str], dict[str, Any]] = {
    ("post", f"{BASE}/start"): {"initial_message": "Hello"},
    ("post", f"{BASE}/{{conversation_id}}/messages"): {"content": "Hello"},
    ("get", f"{BASE}/{{conversation_id}}/history"): {"limit": "5"},
    ("get", BASE): {"status": "active"},
    ("patch", f"{BASE}/{{conversation_id}}"): {"status": "archived"},
}
WITH_IDS = [route for route in TALK if "{" in route[1]]


def a_contacts_secret(
    context: Context,
    account: uuid.UUID,
    contact: uuid.UUID | None = None,
    scopes: tuple[str, ...] = ("read", "write"),
) -> str:
    contact = contact or a_contact(context, account, fingerprint=uuid.uuid4().hex).id
    with context.transaction() as session:
        return create_token(session, account, "theirs", scopes=scopes, contact_id=contact)[1]


def with_chat_rates(context: Context, **rates: str) -> Context:
    """The same context under other limits of the dialect."""
    given = {f"rate_chat_{bucket}": parse_rate(words) for bucket, words in rates.items()}
    return replace(context, settings=context.settings.model_copy(update=given))


def asked(client, route, conversation="x", **more):
    method, path = route
    given = {"params": TALK[route]} if method == "get" else {"json": TALK[route]}
    return client.request(method, path.format(conversation_id=conversation), **(given | more))


def refused(answer, status, name):
    assert (answer.status_code, answer.json().get("error")) == (status, name), answer.text
    assert answer.json().keys() == {"error", "message"}
    assert answer.json()["message"]
