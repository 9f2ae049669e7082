"""What was imported under which key of its source, so that nothing is imported twice.

A key is kept as a keyed hash: whoever reads the database learns nothing of the source, and what was deleted
here is known and not imported again. Undoing an import frees its keys.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.keys import derived_key
from models import ImportKind

KEY, MEMBER = 16, 10  # bytes

# Imports of one account go one batch after the other: who comes second sees what the first has stored.
LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('import:' || CAST(:account AS text), 0))")
KNOWN = text(
    "SELECT key, number, job_id, target_id, members FROM import_keys WHERE account_id = :account"
    " AND kind = :kind AND key = ANY(CAST(:keys AS bytea[])) ORDER BY key, number"
)
KNOWN_AFTER = text(
    "SELECT key, number, job_id, target_id, members FROM import_keys WHERE account_id = :account"
    " AND kind = :kind AND key = :key AND number > :number ORDER BY number"
)
STORE = text(
    "INSERT INTO import_keys (account_id, kind, key, number, job_id, target_id, made, members, first_seq,"
    "  last_seq) SELECT :account, :kind, k.key, k.number, :job, k.target, k.made, k.members, k.first, k.last"
    " FROM unnest(CAST(:keys AS bytea[]), CAST(:numbers AS int[]), CAST(:targets AS uuid[]),"
    "  CAST(:made AS bool[]), CAST(:members AS bytea[]), CAST(:firsts AS int[]), CAST(:lasts AS int[]))"
    "  AS k (key, number, target, made, members, first, last)"
)


@dataclass
class Known:
    """What is there under a key: our row, how many entries it has, and the members of a conversation."""

    target: uuid.UUID
    number: int = 0
    members: set[bytes] = field(default_factory=set)

    def add(self, number: int, members: bytes) -> None:
        self.number = number
        self.members.update(members[at : at + MEMBER] for at in range(0, len(members), MEMBER))


@dataclass(frozen=True)
class Entry:
    """What came to a row of ours under a key; of a conversation the places its messages took."""

    key: bytes
    number: int
    target: uuid.UUID
    made: bool
    members: bytes = b""
    first_seq: int | None = None
    last_seq: int | None = None


class Keys:
    """The keys of one account, for the length of a transaction."""

    def __init__(self, session: Session, account: uuid.UUID, *, lock: bool = True) -> None:
        """Locks the account's keys until the transaction ends, for whoever is going to store some.

        Raises:
            KeyUnusable: the installation has no key.

        """
        self._session, self._account = session, account
        self._secret = derived_key(session, account, "import.keys")
        self._members = blake2b(digest_size=MEMBER, key=self._secret)
        if lock:
            session.execute(LOCK, {"account": str(account)})

    def key(self, kind: ImportKind, key: str) -> bytes:
        """The hash of a source's key."""
        return self._hash(f"{kind}\0{key}", KEY)

    def member(self, conversation: str, key: str) -> bytes:
        """The hash of a message's key, which is its own within its conversation."""
        told = self._members.copy()
        told.update(f"{conversation}\0{key}".encode(errors="surrogatepass"))
        return told.digest()

    def known(self, kind: ImportKind, keys: Iterable[bytes], kept: dict[bytes, Known]) -> dict[bytes, Known]:
        """What is there under these keys; what `kept` has from an earlier look is only brought up to date."""
        wanted = list(dict.fromkeys(keys))
        found = {key: kept[key] for key in wanted if key in kept}
        for key, known in found.items():
            values = {"account": self._account, "kind": kind, "key": key, "number": known.number}
            for row in self._session.execute(KNOWN_AFTER, values):
                known.add(row.number, bytes(row.members))
        values = {"account": self._account, "kind": kind, "keys": [key for key in wanted if key not in found]}
        for row in self._session.execute(KNOWN, values):
            key = bytes(row.key)
            found.setdefault(key, Known(row.target_id)).add(row.number, bytes(row.members))
        return found

    def store(self, job: uuid.UUID, kind: ImportKind, entries: Sequence[Entry]) -> None:
        """Writes down what has come; a number that is taken already breaks the transaction."""
        if entries:
            values = {
                "account": self._account,
                "kind": kind,
                "job": job,
                "keys": [entry.key for entry in entries],
                "numbers": [entry.number for entry in entries],
                "targets": [entry.target for entry in entries],
                "made": [entry.made for entry in entries],
                "members": [entry.members for entry in entries],
                "firsts": [entry.first_seq for entry in entries],
                "lasts": [entry.last_seq for entry in entries],
            }
            self._session.execute(STORE, values)

    def _hash(self, words: str, size: int) -> bytes:
        return blake2b(words.encode(errors="surrogatepass"), digest_size=size, key=self._secret).digest()
