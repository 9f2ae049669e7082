"""Accounts, their tokens, and the one-time links that open the pages."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from core.context import account_of
from core.errors import Conflict, InvalidInput, NotAuthenticated, NotFound
from core.ledger import account_for, next_run
from core.limits import AccountLimits
from core.quotas import read_limits
from core.rows import as_id, checked_text, database_now, not_found
from models import Account, ApiToken, Bot, Contact, LoginLink, Reason, Task, TaskClock, TaskState

PREFIX = "ct_"
SCOPES = ("read", "write", "pii:read")
# What a token may that is told nothing else: what is private stays behind its tokens.
USUAL = ("read", "write")
LINK_LIFETIME = timedelta(minutes=15)
PAGES_LIFETIME = timedelta(days=7)


@dataclass(frozen=True)
class Caller:
    """Who a token stands for. With a conversation it opens that one alone, with a contact what is theirs."""

    account_id: uuid.UUID
    token_id: uuid.UUID
    scopes: frozenset[str]
    limits: AccountLimits = AccountLimits()  # noqa: RUF009 (frozen)
    conversation_id: uuid.UUID | None = None
    contact_id: uuid.UUID | None = None

    @property
    def name(self) -> str:
        """As receipts and the audit name them."""
        return f"{'session' if self.conversation_id else 'token'}:{self.token_id}"


def create_account(session: Session, name: str) -> Account:
    """A new account with a bot named `default`."""
    account = Account(name=checked_text(name, "The name", longest=200))
    session.add(account)
    session.flush()
    session.add(Bot(account_id=account.id, name="default", is_default=True))
    session.flush()
    return account


def list_accounts(session: Session) -> list[Account]:
    return list(session.scalars(select(Account).order_by(Account.id)))


def find_account(session: Session, name_or_id: str) -> Account:
    """The account with this id, or the only one with this name.

    Raises:
        NotFound: none.
        InvalidInput: several accounts have this name.

    """
    try:
        found = session.get(Account, uuid.UUID(name_or_id))
    except ValueError:
        found = None
    name = checked_text(name_or_id, "The name", longest=200, empty=True)
    named = list(session.scalars(select(Account).where(Account.name == name).limit(2)))
    if found is None and len(named) > 1:
        raise InvalidInput("Several accounts have this name; use the id.")
    found = found or (named[0] if named else None)
    if found is None:
        raise NotFound("There is no such account.")
    return found


def close_account(session: Session, account: Account) -> Account:
    """Shuts an account's doors and stops its clocks; its rows stay. What is under way goes on."""
    if account.closed_at is None:
        account.closed_at = database_now(session)
    session.flush()
    return account


def open_account(session: Session, account: Account) -> Account:
    """Opens a closed account again. What was due meanwhile is written into the ledger and does not run.

    Raises:
        Conflict: it is being deleted.

    """
    session.refresh(account, with_for_update=True)
    if account.erased_at is not None:
        raise Conflict("The account is being deleted.")
    now = database_now(session)
    clocks = select(TaskClock).where(TaskClock.account_id == account.id, TaskClock.rests_from.is_not(None))
    for clock in session.scalars(clocks.order_by(TaskClock.task_id).with_for_update()):
        task = session.get(Task, clock.task_id)
        if task is not None and task.state == TaskState.ACTIVE:
            account_for(session, task, clock, now, Reason.ACCOUNT_CLOSED)
            clock.next_run_at = next_run(task, now)
    account.closed_at = None
    session.flush()
    return account


def create_token(
    session: Session,
    account_id: uuid.UUID,
    name: str,
    *,
    scopes: tuple[str, ...] = USUAL,
    lifetime: timedelta | None = None,
    contact_id: uuid.UUID | str | None = None,
) -> tuple[ApiToken, str]:
    """A token's row and its secret, which is told only here.

    With a contact it opens that contact's own conversations and nothing else (core/conversing.py).

    Raises:
        InvalidInput: the name, a scope or the lifetime. NotFound: the account has no such contact.

    """
    unknown = set(scopes) - set(SCOPES)
    if unknown or not scopes:
        raise InvalidInput(f"Scopes are {', '.join(SCOPES)}.")
    if lifetime is not None and not timedelta(0) < lifetime <= timedelta(days=3660):
        raise InvalidInput("A token lives for more than nothing and at most ten years.")
    secret = PREFIX + secrets.token_urlsafe(32)
    row = ApiToken(
        account_id=account_id,
        contact_id=None if contact_id is None else _contact(session, account_id, contact_id),
        name=checked_text(name, "The name", longest=200),
        prefix=secret[:9],
        token_sha256=_digest(secret),
        scopes=list(scopes),
        expires_at=database_now(session) + lifetime if lifetime else None,
    )
    session.add(row)
    session.flush()
    session.refresh(row)
    return row, secret


def _contact(session: Session, account_id: uuid.UUID, contact_id: uuid.UUID | str) -> uuid.UUID:
    contact = session.get(Contact, as_id(contact_id, Contact))
    if contact is None or contact.account_id != account_id:
        raise not_found(Contact)
    return contact.id


def list_tokens(session: Session) -> list[ApiToken]:
    query = select(ApiToken).where(ApiToken.account_id == account_of(session))
    return list(session.scalars(query.order_by(ApiToken.id)))


def revoke_token(session: Session, token_id: uuid.UUID | str) -> ApiToken:
    """Ends a token at once; a second time changes nothing."""
    row = session.get(ApiToken, as_id(token_id, ApiToken))
    if row is None or row.account_id != account_of(session):
        raise NotFound("There is no such token.")
    if row.revoked_at is None:
        row.revoked_at = database_now(session)
    session.flush()
    return row


def authenticate(session: Session, secret: str) -> Caller:
    """Whose token this is. Looked up by its hash, so its comparison tells no time.

    Raises:
        NotAuthenticated: unknown, expired, revoked or of a closed account; the sentence does not say which.

    """
    row = session.execute(
        text(
            "SELECT t.id, account_id, contact_id, scopes, last_used_on = current_date AS used_today,"
            " a.settings -> 'limits' AS limits FROM api_tokens t"
            " JOIN accounts a ON a.id = account_id WHERE token_sha256 = :digest AND revoked_at IS NULL"
            " AND closed_at IS NULL AND (expires_at IS NULL OR expires_at > now())"
        ),
        {"digest": _digest(secret)},
    ).one_or_none()
    if row is None:
        raise NotAuthenticated("The token is missing, unknown, expired or revoked.")
    if not row.used_today:
        session.execute(
            update(ApiToken).where(ApiToken.id == row.id).values(last_used_on=datetime.now(UTC).date())
        )
    limits = read_limits(row.limits)
    return Caller(row.account_id, row.id, frozenset(row.scopes), limits, contact_id=row.contact_id)


def create_login_link(session: Session, account_id: uuid.UUID) -> str:
    """A code that opens the pages once within fifteen minutes."""
    code = secrets.token_urlsafe(24)
    link = LoginLink(
        code_sha256=_digest(code),
        account_id=account_id,
        expires_at=database_now(session) + LINK_LIFETIME,
    )
    session.add(link)
    session.flush()
    return code


def use_login_link(session: Session, code: str) -> str:
    """Trades a code for a token that may read, for a week. The code works once, whoever asks at once.

    Raises:
        NotAuthenticated: unknown, used or too old.

    """
    account_id = session.execute(
        text(
            "UPDATE login_links SET used_at = now()"
            " WHERE code_sha256 = :digest AND used_at IS NULL AND expires_at > now()"
            " AND account_id IN (SELECT id FROM accounts WHERE closed_at IS NULL) RETURNING account_id"
        ),
        {"digest": _digest(code)},
    ).scalar_one_or_none()
    if account_id is None:
        raise NotAuthenticated("This link was used already or is too old; ask for a new one.")
    session.execute(text("DELETE FROM login_links WHERE expires_at < now() - interval '1 day'"))
    _, secret = create_token(session, account_id, "pages", scopes=("read",), lifetime=PAGES_LIFETIME)
    return secret


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
