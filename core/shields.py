"""Whose shield it is: looked up with who speaks in a conversation and under which policies."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import RowMapping, text
from sqlalchemy.orm import Session

from core.privacy.detect import DETECTOR, Scope
from core.privacy.known import Identity, Known, known
from core.privacy.policy import Policy, effective
from core.shield import Shield
from core.turn_requests import TurnRequest
from core.vault import Vault, tokens_kept

# Who speaks in the conversation, and what they are to be protected with. Policies as text: what was read is
# remembered by it.
OF_CONVERSATION = (
    "SELECT c.id, c.account_id, c.privacy, CAST(c.privacy_policy AS text) AS policy,"
    " b.privacy AS bot_privacy, CAST(b.privacy_policy AS text) AS bot_policy,"
    " CAST(a.privacy_policy AS text) AS account_policy,"
    " k.name, k.nick, k.email, k.phone"
    " FROM conversations c JOIN accounts a ON a.id = c.account_id LEFT JOIN bots b ON b.id = c.bot_id"
    " LEFT JOIN contacts k ON k.id = c.contact_id"
)
CONVERSATION = text(f"{OF_CONVERSATION} WHERE c.id = :id")
CONVERSATIONS = text(f"{OF_CONVERSATION} WHERE c.id = ANY(CAST(:ids AS uuid[]))")
# The same before there is a conversation: of a task, or of a turn that is stored nowhere.
SPEAKERS = text(
    "SELECT a.id AS account_id, CAST(:privacy AS bool) AS privacy, CAST(:policy AS text) AS policy,"
    " b.privacy AS bot_privacy,"
    " CAST(b.privacy_policy AS text) AS bot_policy, CAST(a.privacy_policy AS text) AS account_policy,"
    " k.name, k.nick, k.email, k.phone"
    " FROM accounts a LEFT JOIN bots b ON b.id = CAST(:bot AS uuid) AND b.account_id = a.id"
    " LEFT JOIN contacts k ON k.id = CAST(:contact AS uuid) AND k.account_id = a.id WHERE a.id = :account"
)


def shield_of(session: Session, conversation_id: uuid.UUID) -> Shield | None:
    """The shield of a conversation of this session's account; None when it has no privacy."""
    row = session.execute(CONVERSATION, {"id": conversation_id}).mappings().one_or_none()
    if row is None:
        return None
    offered, shown = session.info.get("offered_tokens", {}), session.info.get("shown_tokens")
    return _shield(row, Vault(session, row["account_id"], conversation_id, offered=offered, shown=shown))


def offer_tokens(session: Session, shield: Shield | None) -> None:
    """Lets what this transaction writes name tokens that were minted for the model of a turn alone, and of
    the others those that the model was shown: whoever makes it spell another one gets nothing for it.
    """
    if shield is not None:
        session.info["offered_tokens"] = shield.vault.sealed
        session.info["shown_tokens"] = shield.vault.shown


def take_minted(session: Session, shield: Shield | None) -> None:
    """Lets a turn know the tokens that this transaction has minted for what it wrote."""
    if shield is not None:
        shield.vault.sealed.update(session.info.get("minted_tokens", {}))


def shields_of(session: Session, conversation_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Shield]:
    """The shields of those that have privacy, by conversation; in one statement."""
    rows = session.execute(CONVERSATIONS, {"ids": list(conversation_ids)}).mappings().all()
    found = {row["id"]: _shield(row, Vault(session, row["account_id"], row["id"])) for row in rows}
    return {conversation: shield for conversation, shield in found.items() if shield is not None}


def shield_for(
    session: Session,
    account: uuid.UUID,
    scope: uuid.UUID,
    *,
    bot: uuid.UUID | None,
    contact: uuid.UUID | None,
    kept: Mapping[str, bytes] | None,
    privacy: bool = False,
    policy: Mapping[str, Any] | None = None,
) -> Shield | None:
    """The shield of a `scope` that is not stored as it will be: a task, a stateless turn, or a conversation
    that is being written. `kept`: its tokens so far; None: they are a conversation's, in its rows.
    """
    own = None if policy is None else json.dumps(policy)
    values = {"account": account, "bot": bot, "contact": contact, "privacy": privacy, "policy": own}
    row = session.execute(SPEAKERS, values).mappings().one_or_none()
    return None if row is None else _shield(row, Vault(session, account, scope, kept=kept))


def shields_alike(
    session: Session,
    account: uuid.UUID,
    *,
    bot: uuid.UUID | None,
    contact: uuid.UUID | None,
    privacy: bool = False,
    policy: Mapping[str, Any] | None = None,
) -> Callable[[uuid.UUID], Shield | None]:
    """What makes the shields of conversations that are being written, all with this bot and this contact: who
    speaks and under which policy is looked up once.
    """
    like = shield_for(
        session, account, account, bot=bot, contact=contact, kept={}, privacy=privacy, policy=policy
    )
    if like is None:
        return lambda _: None
    return lambda one: Shield(like.policy, like.scope, Vault(session, account, one, kept={}), like.version)


def kept_shields_of(session: Session, conversation_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Shield]:
    """As `shields_of`, with their tokens at hand: whoever works with them asks the database nothing more."""
    found = shields_of(session, conversation_ids)
    tokens = tokens_kept(session, list(found))
    for conversation, shield in found.items():
        shield.vault.kept = tokens.get(conversation, {})
    return found


def stateless_shield(
    session: Session, account: uuid.UUID, turn: uuid.UUID, request: TurnRequest
) -> Shield | None:
    """The shield of a turn that is stored nowhere: its tokens live as long as the turn."""
    ids = [uuid.UUID(value) if value else None for value in (request.bot_id, request.contact_id)]
    shield = shield_for(session, account, turn, bot=ids[0], contact=ids[1], kept={}, privacy=request.privacy)
    return shield.detached() if shield else None


def _shield(row: RowMapping, vault: Vault) -> Shield | None:
    policy = _policy(
        row["account_policy"],
        row["bot_policy"],
        row["policy"],
        bool(row["bot_privacy"]),
        bool(row["privacy"]),
    )
    if not policy.on:
        return None
    people = _people(policy, row)
    scope = Scope(regions=policy.regions, kinds=policy.kinds(), thresholds=policy.thresholds, known=people)
    seen = f"{DETECTOR}|{policy.version}|{people.version if people else ''}"
    return Shield(policy, scope, vault, hashlib.sha256(seen.encode()).hexdigest()[:16])


@lru_cache(maxsize=1024)
def _policy(account: str | None, bot: str | None, own: str | None, bot_flag: bool, own_flag: bool) -> Policy:
    account_doc, bot_doc, own_doc = (None if d is None else json.loads(d) for d in (account, bot, own))
    return effective(account_doc, bot_doc, own_doc, bot_flag=bot_flag, conversation_flag=own_flag)


def _people(policy: Policy, row: RowMapping) -> Known | None:
    """The identities that are known here: the contact's, and those the policy names."""
    contact = Identity(
        names=tuple(n for n in (row["name"], row["nick"]) if n),
        emails=tuple(e for e in (row["email"],) if e),
        phones=tuple(p for p in (row["phone"],) if p),
    )
    members = [
        Identity(*(((value,) if value else ()) for value in (one.name, one.email, one.phone)))
        for one in policy.identities
    ]
    people = [one for one in (contact, *members) if one != Identity()]
    return known(people) if people else None
