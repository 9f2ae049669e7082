"""Sealing: what an account keeps secret is stored under a key of the account's own.

The account's key is random, made when it is first needed, and stored wrapped by the installation's key
(`CRONTALK_KEY`, or the file an `up` makes in its home). A copy of the database alone opens nothing, and
a deleted account's values open no more once its key is gone from the backups. docs/decisions/0008 says why.
"""

from __future__ import annotations

import secrets
import uuid
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from sqlalchemy import text
from sqlalchemy.orm import Session

from core.cipher import KEY_BYTES, Unopened, decrypt, encrypt, parse_key
from core.context import settings_of
from core.errors import Conflict

WRAPPED = text("SELECT wrapped_key FROM accounts WHERE id = :id")
# Two that need the first key at once: the second waits, finds the first one's and stores nothing.
KEEP_KEY = text(
    "UPDATE accounts SET wrapped_key = :wrapped WHERE id = :id AND wrapped_key IS NULL AND erased_at IS NULL"
)


class KeyUnusable(Conflict):
    """The installation has no key, or not the one that this was sealed with. Nothing was sealed or opened."""


@dataclass(frozen=True)
class AccountKey:
    """An account's opened key: seals and opens without a database, for as long as its transaction or turn."""

    account: uuid.UUID
    key: bytes = field(repr=False)

    def seal(self, plaintext: bytes, purpose: str) -> bytes:
        """The plaintext, sealed for this account and purpose, which names the place down to the row."""
        return encrypt(self.key, plaintext, _place(self.account, purpose))

    def unseal(self, sealed: bytes, purpose: str) -> bytes:
        """What was sealed under the same account and purpose.

        Raises:
            KeyUnusable: a value that was sealed with another key, changed or moved.

        """
        return _opened(self.key, sealed, _place(self.account, purpose))

    def derived(self, purpose: str) -> bytes:
        """A key of its own for one purpose (HKDF, RFC 5869).

        The account's key is random, so it is expanded without an extraction before.
        """
        return HKDFExpand(SHA256(), KEY_BYTES, _place(self.account, purpose).encode()).derive(self.key)


def account_key(session: Session, account_id: uuid.UUID) -> AccountKey:
    """The account's key, made when it has none; opened once in a transaction.

    Raises:
        KeyUnusable: no installation key, or another one than the account's key was wrapped with; or the
            account is being deleted.

    """
    opened: dict[uuid.UUID, AccountKey] = session.info.setdefault("account_keys", {})
    if account_id not in opened:
        opened[account_id] = AccountKey(account_id, _unwrapped(session, account_id))
    return opened[account_id]


def seal(session: Session, account_id: uuid.UUID, plaintext: bytes, purpose: str) -> bytes:
    """The plaintext, sealed for this account and purpose; makes the account's key when it has none.

    `purpose` names the place, down to the row: "subscription.target:<id>".

    Raises:
        KeyUnusable: no installation key, or another one than the account's key was wrapped with.

    """
    return account_key(session, account_id).seal(plaintext, purpose)


def unseal(session: Session, account_id: uuid.UUID, sealed: bytes, purpose: str) -> bytes:
    """What was sealed under the same account and purpose.

    Raises:
        KeyUnusable: no installation key, another one, or a value that was changed or moved.

    """
    return account_key(session, account_id).unseal(sealed, purpose)


def derived_key(session: Session, account_id: uuid.UUID, purpose: str) -> bytes:
    """A key of its own for one purpose, for what is too large to be sealed in one piece.

    Raises:
        KeyUnusable: no installation key, or another one than the account's key was wrapped with.

    """
    return account_key(session, account_id).derived(purpose)


def _unwrapped(session: Session, account_id: uuid.UUID) -> bytes:
    wrapping = _installation_key(session)
    place = _place(account_id, "key")
    wrapped = session.execute(WRAPPED, {"id": account_id}).scalar_one_or_none()
    if wrapped is None:
        made = encrypt(wrapping, secrets.token_bytes(KEY_BYTES), place)
        session.execute(KEEP_KEY, {"id": account_id, "wrapped": made})
        wrapped = session.execute(WRAPPED, {"id": account_id}).scalar_one_or_none()
    if wrapped is None:
        raise KeyUnusable("The account is being deleted: its key is gone.")
    return _opened(wrapping, bytes(wrapped), place)


def _installation_key(session: Session) -> bytes:
    key = settings_of(session).key
    if key is None:
        raise KeyUnusable("This installation has no key to seal secrets with: set CRONTALK_KEY.")
    try:
        return parse_key(key.get_secret_value())
    except ValueError:
        raise KeyUnusable("The installation's key is none: restore the file it came from.") from None


def _opened(key: bytes, sealed: bytes, place: str) -> bytes:
    try:
        return decrypt(key, sealed, place)
    except Unopened:
        raise KeyUnusable("CRONTALK_KEY is not the key that this was sealed with.") from None


def _place(account_id: uuid.UUID, purpose: str) -> str:
    return f"crontalk:{account_id}:{purpose}"
