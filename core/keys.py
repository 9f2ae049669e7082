"""Sealing: what an account keeps secret is stored under a key of the account's own.

The account's key is random, made when it is first needed, and stored wrapped by the installation's key
(`CRONTALK_KEY`, or the file an `up` makes in its home). A copy of the database alone opens nothing, and
a deleted account's values open no more once its key is gone from the backups. docs/decisions/0008 says why.
"""

from __future__ import annotations

import secrets
import uuid

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from sqlalchemy import text
from sqlalchemy.orm import Session

from core.cipher import KEY_BYTES, Unopened, decrypt, encrypt, parse_key
from core.context import settings_of
from core.errors import Conflict

WRAPPED = text("SELECT wrapped_key FROM accounts WHERE id = :id")
# Two that need the first key at once: the second waits, finds the first one's and stores nothing.
KEEP_KEY = text("UPDATE accounts SET wrapped_key = :wrapped WHERE id = :id AND wrapped_key IS NULL")


class KeyUnusable(Conflict):
    """The installation has no key, or not the one that this was sealed with. Nothing was sealed or opened."""


def seal(session: Session, account_id: uuid.UUID, plaintext: bytes, purpose: str) -> bytes:
    """The plaintext, sealed for this account and purpose; makes the account's key when it has none.

    `purpose` names the place, down to the row: "subscription.target:<id>".

    Raises:
        KeyUnusable: no installation key, or another one than the account's key was wrapped with.

    """
    return encrypt(_account_key(session, account_id), plaintext, _place(account_id, purpose))


def unseal(session: Session, account_id: uuid.UUID, sealed: bytes, purpose: str) -> bytes:
    """What was sealed under the same account and purpose.

    Raises:
        KeyUnusable: no installation key, another one, or a value that was changed or moved.

    """
    return _opened(_account_key(session, account_id), sealed, _place(account_id, purpose))


def derived_key(session: Session, account_id: uuid.UUID, purpose: str) -> bytes:
    """A key of its own for one purpose, for what is too large to be sealed in one piece (HKDF, RFC 5869).

    The account's key is random, so it is expanded without an extraction before.

    Raises:
        KeyUnusable: no installation key, or another one than the account's key was wrapped with.

    """
    key = _account_key(session, account_id)
    return HKDFExpand(SHA256(), KEY_BYTES, _place(account_id, purpose).encode()).derive(key)


def _account_key(session: Session, account_id: uuid.UUID) -> bytes:
    wrapping = _installation_key(session)
    place = _place(account_id, "key")
    wrapped = session.execute(WRAPPED, {"id": account_id}).scalar_one_or_none()
    if wrapped is None:
        made = encrypt(wrapping, secrets.token_bytes(KEY_BYTES), place)
        session.execute(KEEP_KEY, {"id": account_id, "wrapped": made})
        wrapped = session.execute(WRAPPED, {"id": account_id}).scalar_one()
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
