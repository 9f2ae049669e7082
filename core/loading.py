"""A turn as it begins: what its model is shown, what it can do and what protects it.

Read in the transaction of the claim, so that nothing of it is older than the lease.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Row, RowMapping, text
from sqlalchemy.orm import Session

from core.budgets import Budget
from core.chat.history import StoredMessage, is_seen
from core.compacting import since_the_checkpoint
from core.context import act_for
from core.equipping import equipped, equipped_stateless
from core.errors import InvalidInput, PrivacyFailed
from core.keys import KeyUnusable, unseal
from core.privacy.placeholders import TOKENS
from core.privacy.restoring import escape_lookalikes
from core.said import tokens_at, tokens_of
from core.settings import Settings
from core.shield import Shield, spoken_by_us
from core.shields import shield_of, stateless_shield
from core.showing import Attached, attached_to, brought
from core.skills.skill import Acting
from core.talk import Talk, stateless_talk
from core.turn_requests import TurnRequest
from core.work import Claim
from models import Action, MessageType, PiiState

CONVERSATION = text(
    "SELECT c.purge_epoch, COALESCE(c.backstory, b.backstory) AS backstory,"
    " COALESCE(c.model, b.model) AS model, COALESCE(c.dataset_id, b.dataset_id) AS dataset_id,"
    " COALESCE(c.skillset_id, b.skillset_id) AS skillset_id, c.bot_id, c.contact_id,"
    " num_nonnulls(c.bot_id, c.backstory, c.model) > 0 AS has_bot,"
    " c.moderation OR b.moderation IS TRUE AS moderated,"
    " EXISTS (SELECT FROM attachments a WHERE a.conversation_id = c.id) AS has_files,"
    " t.max_tokens, t.max_iterations, t.max_cost, t.max_calls, t.max_tokens_per_day,"
    " t.max_cost_per_day, COALESCE(t.assertions, '{}') AS assertions,"
    " c.privacy OR c.privacy_policy IS NOT NULL OR b.privacy IS TRUE OR b.privacy_policy IS NOT NULL"
    "  OR EXISTS (SELECT FROM accounts a WHERE a.id = c.account_id AND a.privacy_policy IS NOT NULL)"
    "  AS shielded,"
    " COALESCE(u.input_tokens + u.output_tokens, 0) AS tokens_today, COALESCE(u.cost, 0) AS cost_today"
    " FROM conversations c LEFT JOIN bots b ON b.id = c.bot_id"
    " LEFT JOIN runs r ON r.id = :run LEFT JOIN tasks t ON t.id = r.task_id"
    " LEFT JOIN task_usage_days u ON u.task_id = t.id AND u.day = current_date WHERE c.id = :id"
)
# The newest messages up to a size in bytes, so that a long history is never read whole.
HISTORY = text(
    "SELECT seq, type, text, meta, pii, pii_state, run_id, step FROM (SELECT seq, type, text, meta, pii,"
    "  pii_state, run_id, step,"
    "  sum(octet_length(text)) OVER (ORDER BY seq DESC) - octet_length(text) AS newer"
    "  FROM (SELECT * FROM messages WHERE conversation_id = :id ORDER BY seq DESC LIMIT 2000) AS latest"
    " ) AS sized WHERE newer < :bytes ORDER BY seq"
)


@dataclass(frozen=True)
class Turn:
    """What a claimed run needs to know, read in the transaction of the claim.

    Without a talk it cannot be read, and `unread` says why: "key", what came along was sealed with another
    key than the installation's; "privacy", what is to be shown could not be looked at.
    """

    purge_epoch: int
    talk: Talk | None
    shield: Shield | None = None
    attached: tuple[Attached, ...] = ()
    blocked: bool = False  # something of it may not be seen before it was annotated
    unread: str = "key"


def load(session: Session, settings: Settings, claimed: Claim) -> Turn | None:
    """The turn of a claimed run; None when its conversation, or what it came with, is gone."""
    act_for(session, claimed.account_id)
    try:
        if claimed.conversation_id is None:
            return _stateless(session, claimed)
        return _stored(session, settings, claimed)
    except KeyUnusable:
        return Turn(0, None)
    except (PrivacyFailed, InvalidInput):  # the claim stands, or it would be claimed again without an end
        return Turn(0, None, unread="privacy")


def _request(session: Session, claimed: Claim) -> TurnRequest:
    sealed, place = claimed.request, f"run.request:{claimed.id}"
    content = None if sealed is None else unseal(session, claimed.account_id, sealed, place)
    return TurnRequest.read(claimed.params, content)


def _stateless(session: Session, claimed: Claim) -> Turn | None:
    if claimed.request is None:
        return None
    request = _request(session, claimed)
    shield = stateless_shield(session, claimed.account_id, claimed.id, request)
    talk = stateless_talk(claimed.id, claimed.account_id, request, claimed.deadline, shield)
    return Turn(0, equipped_stateless(session, talk, shield), shield, brought(request.attachments))


def _stored(session: Session, settings: Settings, claimed: Claim) -> Turn | None:
    values = {"id": claimed.conversation_id, "run": claimed.id}
    row = session.execute(CONVERSATION, values).mappings().one_or_none()
    if row is None or claimed.conversation_id is None:
        return None
    request = _request(session, claimed)
    shield = shield_of(session, claimed.conversation_id) if row["shielded"] else None
    shield = shield and shield.detached()
    size = {"id": claimed.conversation_id, "bytes": settings.history_tokens * 4}
    found = () if claimed.action == Action.SEND else session.execute(HISTORY, size).all()
    history = since_the_checkpoint([_shown(m, shield) for m in found])
    if shield is not None:
        shield.vault.shown = _named(found, history)
    talk = _talk(claimed, row, request, shield, history)
    if claimed.action != Action.SEND:
        acting = Acting(
            claimed.account_id,
            claimed.conversation_id,
            claimed.id,
            row["bot_id"],
            row["contact_id"],
            claimed.task_id,
        )
        talk = equipped(
            session, talk, acting, dataset=row["dataset_id"], skillset=row["skillset_id"], shield=shield
        )
    blocked = any(m.pii_state == PiiState.BLOCKED for m in found)
    shows = row["has_files"] and claimed.action != Action.SEND
    attached = attached_to(session, claimed.conversation_id) if shows else ()
    return Turn(row["purge_epoch"], talk, shield, attached, blocked)


def _talk(
    claimed: Claim,
    row: RowMapping,
    request: TurnRequest,
    shield: Shield | None,
    history: tuple[StoredMessage, ...],
) -> Talk:
    calls = [most for most in (request.calls, row["max_calls"]) if most]
    return Talk(
        id=claimed.id,
        account_id=claimed.account_id,
        has_bot=row["has_bot"],
        backstory=row["backstory"] or "",
        model=row["model"],
        history=history,
        deadline=claimed.deadline,
        calls_left=row["max_iterations"] and max(row["max_iterations"] - claimed.model_calls, 0),
        budget=Budget(
            tokens=_left(row["max_tokens"], claimed.tokens),
            tokens_today=_left(row["max_tokens_per_day"], row["tokens_today"]),
            cost=_left(row["max_cost"], claimed.cost),
            cost_today=_left(row["max_cost_per_day"], row["cost_today"]),
        ),
        assertions=row["assertions"],
        moderated=row["moderated"],
        request=replace(_protected(request, shield), calls=min(calls, default=None)),
    )


def _protected(request: TurnRequest, shield: Shield | None) -> TurnRequest:
    """What came along with a turn, as its model may see it."""
    if shield is None:
        return request
    return replace(request, extra_backstory=shield.label(request.extra_backstory) or "")


def _shown(message: Row[Any], shield: Shield | None) -> StoredMessage:
    """A message as the model may see it: what only looks like a token of this conversation is no token."""
    text = message.text
    if shield is not None and not spoken_by_us(message.run_id, message.step):
        text = escape_lookalikes(text, tokens_at(message.pii), shield.tokens())
    key = f"{message.run_id}-{message.step}" if message.run_id else ""
    return StoredMessage(message.type, text, message.meta, message.seq, key)


def _named(found: Sequence[Row[Any]], history: Sequence[StoredMessage]) -> frozenset[str]:
    """The tokens that the model is shown. Those of messages it does not see mean nothing in its answer."""
    seen = {message.place for message in history if is_seen(message)}
    named: set[str] = set()
    for message in found:
        if message.seq in seen:
            named |= tokens_of(message.text, message.pii)
            if message.type == MessageType.ACTIVITY:
                named.update(TOKENS.findall(json.dumps(message.meta, ensure_ascii=False)))
    return frozenset(named)


def _left(most: int | None, used: int) -> int | None:
    return None if most is None else most - used
