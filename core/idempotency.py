"""Idempotency keys: a write made under a key has one effect, and its result is told again for a day.

The row is inserted in the write's own transaction. Whoever comes with the same key meanwhile waits for it
(up to lock_timeout) and finds the result, or does the work when the first one failed. Only hashes of what
was sent are stored, and of the answer only ids, numbers and booleans: deleted text does not live on here.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from core.context import Context, account_of
from core.errors import InvalidInput, KeyReused

SWEPT = 1000
VISIBLE = re.compile(r"[\x21-\x7e]{1,255}")
ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

# Inserting waits for a transaction that holds the same key. A row older than a day is nobody's any more.
TAKE = text(
    "INSERT INTO idempotency_keys AS k (account_id, key_sha256, digest) VALUES (:account, :key, :digest)"
    " ON CONFLICT (account_id, key_sha256) DO UPDATE"
    "  SET digest = excluded.digest, result = NULL, created_at = now()"
    "  WHERE k.created_at < now() - interval '24 hours' RETURNING 1"
)
READ = text(
    "SELECT digest, result, created_at > now() - interval '24 hours' AS young"
    " FROM idempotency_keys WHERE account_id = :account AND key_sha256 = :key"
)
KEEP = text(
    "UPDATE idempotency_keys SET result = :result WHERE account_id = :account AND key_sha256 = :key"
).bindparams(bindparam("result", type_=JSONB))
LET_GO = text("DELETE FROM idempotency_keys WHERE account_id = :account AND key_sha256 = :key")
SWEEP = text(
    "DELETE FROM idempotency_keys WHERE (account_id, key_sha256) IN (SELECT account_id, key_sha256"
    " FROM idempotency_keys WHERE created_at < now() - interval '24 hours'"
    " ORDER BY created_at LIMIT :batch FOR UPDATE SKIP LOCKED)"
)


@dataclass(frozen=True)
class WriteKey:
    """A key and the write it was sent with, as they are stored: two hashes."""

    sha256: bytes
    digest: bytes


def make_key(key: str, owner: str, *request: str) -> WriteKey:
    """The key of a write: `owner` keeps callers of one account apart, `request` says what was asked.

    The digest is keyed with the key itself, which is not stored: a short text cannot be guessed from it.

    Raises:
        InvalidInput: not 1 to 255 visible ASCII characters.

    """
    if not VISIBLE.fullmatch(key):
        raise InvalidInput("An Idempotency-Key is 1 to 255 visible ASCII characters.")
    said = "\n".join(request).encode("utf-8", "surrogatepass")
    return WriteKey(_name_of(key, owner), hmac.digest(f"{owner}\n{key}".encode(), said, hashlib.sha256))


def _name_of(key: str, owner: str) -> bytes:
    return hashlib.sha256(f"{owner}\n{key}".encode("utf-8", "surrogatepass")).digest()


def begin(session: Session, key: WriteKey) -> dict[str, Any] | None:
    """Takes the key for this transaction's write, or answers what an earlier one came to.

    None: do the work, then `finish` in this same transaction. On any error the key goes with it.

    Raises:
        KeyReused: the key belongs to another write.
        Unavailable: another request with this key takes longer than lock_timeout.

    """
    place = {"account": account_of(session), "key": key.sha256}
    if session.execute(TAKE, {**place, "digest": key.digest}).one_or_none() is not None:
        return None
    row = session.execute(READ, place).one()
    if not hmac.compare_digest(bytes(row.digest), key.digest):
        raise KeyReused("This Idempotency-Key was used for another request; take a new one.")
    return None if row.result is None else dict(row.result)


def finish(session: Session, key: WriteKey, result: Mapping[str, Any]) -> None:
    """Stores what may be kept of the write's answer (`kept`), with the write itself."""
    place = {"account": account_of(session), "key": key.sha256}
    session.execute(KEEP, {**place, "result": kept(result)})


def was_done(session: Session, account: uuid.UUID, key: str, owner: str) -> bool:
    """Whether some write of the last day stands under this key: its answer can be told again."""
    row = session.execute(READ, {"account": account, "key": _name_of(key, owner)}).one_or_none()
    return row is not None and row.result is not None and bool(row.young)


def let_go(session: Session, key: WriteKey) -> None:
    """Forgets a key that was taken in this transaction: the write may be tried again under it."""
    session.execute(LET_GO, {"account": account_of(session), "key": key.sha256})


def kept(value: Any) -> Any:
    """What of an answer is stored: ids, numbers and booleans, where they stood. Other texts are left out."""
    if isinstance(value, Mapping):
        shown = {name: kept(part) for name, part in value.items() if name != "meta"}
        return {name: part for name, part in shown.items() if part is not None}
    if isinstance(value, list | tuple):
        return [kept(part) for part in value]
    if isinstance(value, str):
        return value if ID.fullmatch(value) else None
    return value if isinstance(value, bool | int | float) else None


def sweep_keys(context: Context) -> int:
    """Removes a batch of keys older than a day; answers how many."""
    with context.transaction() as session:
        return int(session.execute(SWEEP, {"batch": SWEPT}).rowcount)  # type: ignore[attr-defined]
