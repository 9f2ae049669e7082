"""Session tokens: what a browser is given to talk in one conversation, for some hours at most.

Random like any token, stored as a hash, and gone with its conversation; nothing has to be signed or revoked.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select, text
from sqlalchemy.orm import Session

from core.accounts import Caller
from core.context import Context
from core.conversations import create_conversation
from core.drafts import Draft
from core.errors import InvalidInput, NotAuthenticated
from core.quotas import read_limits
from core.rows import database_now, own
from models import Bot, Conversation, SessionToken

PREFIX = "cts_"
SHORTEST = timedelta(minutes=30)
LONGEST = timedelta(hours=24)
USUAL = timedelta(hours=1)
SCOPES = frozenset({"read", "write"})
SWEPT = 1000

WHOSE = text(
    "SELECT t.id, account_id, conversation_id, a.settings -> 'limits' AS limits FROM session_tokens t"
    " JOIN accounts a ON a.id = account_id"
    " WHERE token_sha256 = :digest AND expires_at > now() AND closed_at IS NULL"
)


def create_session_token(
    session: Session,
    conversation_id: uuid.UUID | str,
    seconds: int | None = None,
    make: Callable[[uuid.UUID, datetime], str] | None = None,
) -> tuple[SessionToken, str]:
    """A token for one conversation, and its secret, which is told only here; an hour unless told.

    `make` derives the secret from the conversation and the instant at which it ends, where it may have to
    be told again (`derived_secret`); without it the secret is random.

    Raises:
        InvalidInput: not 1800 to 86400 seconds.
        NotFound, NotAuthorized: the conversation.

    """
    conversation = own(session, Conversation, conversation_id)
    lifetime = USUAL if seconds is None else timedelta(seconds=max(0, min(seconds, 10**6)))
    if not SHORTEST <= lifetime <= LONGEST:
        raise InvalidInput("A session lasts 1800 to 86400 seconds.")
    ends = database_now(session) + lifetime
    ends = ends.replace(microsecond=ends.microsecond // 1000 * 1000)  # as the answer tells it
    secret = make(conversation.id, ends) if make else PREFIX + secrets.token_urlsafe(32)
    row = SessionToken(
        account_id=conversation.account_id,
        conversation_id=conversation.id,
        token_sha256=_digest(secret),
        expires_at=ends,
    )
    session.add(row)
    session.flush()
    return row, secret


def open_bot_conversation(
    session: Session,
    bot_id: uuid.UUID | str,
    drafts: Sequence[Draft] = (),
    meta: Mapping[str, Any] | None = None,
) -> Conversation:
    """A new conversation with a bot for a session to begin in.

    Raises:
        InvalidInput: the meta. NotFound, NotAuthorized: the bot.

    """
    bot = own(session, Bot, bot_id)
    return create_conversation(session, bot_id=bot.id, messages=drafts, meta=meta)


def derived_secret(bearer: str, key: str, conversation_id: uuid.UUID | str, ends_ms: int) -> str:
    """The secret of a session that was asked for under an Idempotency-Key.

    Only who holds the bearer token can compute it, and nothing of it needs to be stored to tell it again.
    """
    place = f"crontalk session\n{key}\n{conversation_id}\n{ends_ms}".encode()
    mac = hmac.digest(bearer.encode("utf-8", "surrogatepass"), place, hashlib.sha256)
    return PREFIX + base64.urlsafe_b64encode(mac).decode("ascii").rstrip("=")


def is_known(session: Session, secret: str) -> bool:
    """Whether there is a session with this secret."""
    query = select(SessionToken.id).where(SessionToken.token_sha256 == _digest(secret))
    return session.scalar(query) is not None


def authenticate_session(session: Session, secret: str) -> Caller:
    """Whose session token this is, bound to its conversation.

    Raises:
        NotAuthenticated: unknown, expired, of a conversation that is gone or of a closed account.

    """
    row = session.execute(WHOSE, {"digest": _digest(secret)}).one_or_none()
    if row is None:
        raise NotAuthenticated("The token is missing, unknown, expired or revoked.")
    limits = read_limits(row.limits)
    return Caller(row.account_id, row.id, SCOPES, limits, conversation_id=row.conversation_id)


def sweep_session_tokens(context: Context) -> int:
    """Removes a batch of expired tokens; answers how many."""
    with context.transaction() as session:
        old = (
            select(SessionToken.id)
            .where(SessionToken.expires_at < database_now(session))
            .order_by(SessionToken.expires_at)
            .limit(SWEPT)
            .with_for_update(skip_locked=True)
        )
        ids = list(session.scalars(old))
        session.execute(delete(SessionToken).where(SessionToken.id.in_(ids)))
    return len(ids)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
