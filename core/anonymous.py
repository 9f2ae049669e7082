"""What makes conversations anonymous: whom they are with and what their policies name, from their rows."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import RowMapping, text
from sqlalchemy.orm import Session

from core.privacy.anonymous import Anonymiser, strictest
from core.privacy.detect import Scope
from core.privacy.known import Identity, known
from core.privacy.policy import Policy, effective
from core.shields import CONVERSATIONS

TOKENS = text(
    "SELECT conversation_id, token FROM pii_tokens WHERE conversation_id = ANY(CAST(:ids AS uuid[]))"
)
# As people call themselves in it.
AUTHORS = text(
    "SELECT DISTINCT conversation_id, name FROM messages WHERE conversation_id = ANY(CAST(:ids AS uuid[]))"
    " AND name IS NOT NULL AND type = 'user'"
)
# Names of authors that name nobody.
NOBODY = frozenset({"user", "human", "you", "me", "guest", "anonymous", "customer", "visitor", "unknown"})
# The fields of a policy that can name people.
NAMING = ("identities", "allow", "deny")


def anonymisers_of(session: Session, conversation_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Anonymiser]:
    """What makes each of these conversations anonymous, whether or not it has privacy."""
    ids = {"ids": list(conversation_ids)}
    tokens: dict[uuid.UUID, set[str]] = {}
    for row in session.execute(TOKENS, ids):
        tokens.setdefault(row.conversation_id, set()).add(row.token)
    authors: dict[uuid.UUID, set[str]] = {}
    for row in session.execute(AUTHORS, ids):
        if row.name.strip().casefold() not in NOBODY:
            authors.setdefault(row.conversation_id, set()).add(row.name)
    found = {}
    for about in session.execute(CONVERSATIONS, ids).mappings():
        documents = (about["account_policy"], about["bot_policy"], about["policy"])
        people = _people(_policy(*documents), about, sorted(authors.get(about["id"], ())))
        strict = _strictest(*documents)
        met = known(people) if people else None
        scope = Scope(regions=strict.regions, kinds=strict.kinds(), known=met)
        found[about["id"]] = Anonymiser(strict, scope, frozenset(tokens.get(about["id"], ())))
    return found


def without_names(policy: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A conversation's own policy without the people it names."""
    return None if policy is None else {k: v for k, v in policy.items() if k not in NAMING}


@lru_cache(maxsize=256)
def _policy(account: str | None, bot: str | None, own: str | None) -> Policy:
    return effective(*(None if d is None else json.loads(d) for d in (account, bot, own)))


@lru_cache(maxsize=256)
def _strictest(account: str | None, bot: str | None, own: str | None) -> Policy:
    return strictest(_policy(account, bot, own))


def _people(policy: Policy, row: RowMapping, authors: Sequence[str]) -> list[Identity]:
    """The contact, those the policies name, and those who wrote."""
    contact = Identity(
        names=tuple(n for n in (row["name"], row["nick"]) if n),
        emails=tuple(e for e in (row["email"],) if e),
        phones=tuple(p for p in (row["phone"],) if p),
    )
    members = [
        Identity(*(((value,) if value else ()) for value in (one.name, one.email, one.phone)))
        for one in policy.identities
    ]
    people = [contact, *members, *([Identity(names=tuple(authors))] if authors else ())]
    return [one for one in people if one != Identity()]
