"""Deleting an account: its key first, then its rows, slice by slice, and the account itself last.

Without the key nothing that was sealed for it opens any more, here and, once their copies of the key have
aged out, in backups. The rows go in slices that stay below the statement's time-out, each in a transaction
of its own together with its count in the receipt; whoever is killed meanwhile asks again and it goes on.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Table, TextClause, UniqueConstraint, select, text
from sqlalchemy.orm import Session

from core.context import Context
from core.erasures import note_erasure
from core.errors import NotFound, Unavailable
from core.holds import refuse_holds
from models import Base, Erasure, ErasureKind

SLICE = 2000
SMALLEST = 50
CONVERSATIONS = 200  # whose messages are deleted together
PATIENCE = 20  # failures in a row
PAUSE = 0.5  # seconds

SHRED = text(
    "UPDATE accounts SET wrapped_key = NULL, erased_at = COALESCE(erased_at, now()),"
    " closed_at = COALESCE(closed_at, now()), updated_at = now() WHERE id = :account RETURNING id"
)
# A run that somebody settles just now is deleted a little later.
CANCEL = text(
    "UPDATE runs SET state = 'cancelled', error_class = 'cancelled', error_code = NULL, epoch = epoch + 1,"
    " lease_until = NULL, finished_at = now(), request = NULL WHERE id IN (SELECT id FROM runs"
    "  WHERE account_id = :account AND state IN ('waiting', 'pending', 'running') ORDER BY id LIMIT :slice"
    "  FOR UPDATE SKIP LOCKED)"
)
IS_WHOLE = text("SELECT true FROM accounts WHERE id = :account AND erased_at IS NULL")
NEXT_CONVERSATIONS = text(
    "SELECT id FROM conversations WHERE account_id = :account AND id > :after ORDER BY id LIMIT :most"
)
DELETE_MESSAGES = text(
    "DELETE FROM messages WHERE id IN"
    " (SELECT id FROM messages WHERE conversation_id = ANY(:ids) LIMIT :slice)"
)
DELETE_TOKENS = text(
    "DELETE FROM pii_tokens WHERE (conversation_id, token) IN"
    " (SELECT conversation_id, token FROM pii_tokens WHERE conversation_id = ANY(:ids) LIMIT :slice)"
)
DELETE_SOME = (
    "DELETE FROM {table} WHERE ctid = ANY(ARRAY("
    "SELECT ctid FROM {table} WHERE account_id = :account LIMIT :slice))"
)
DELETE_ACCOUNT = text("DELETE FROM accounts WHERE id = :account")
# Runs before the conversations they speak in: one of them may have a hundred thousand.
BEFORE = ("run_steps", "deliveries", "runs")
KEPT = frozenset({"accounts", "erasures", "blob_leftovers", "messages"})
COUNTED = {"messages", "conversations", "attachments"}

Wrote = TypeVar("Wrote")
Tell = Callable[[str, int], None]


def delete_account(
    context: Context,
    account: uuid.UUID,
    *,
    actor: str | None = None,
    tell: Tell | None = None,
    held: bool = False,
) -> Erasure:
    """Deletes an account for good, or goes on deleting it; answers its receipt, once all has gone.

    Its doors are shut and its key is destroyed before all else. `tell(table, rows)` hears of every slice.
    `held`: legal holds do not matter, since it was deleted before a backup brought it back.

    Raises:
        NotFound: there is none, and there is no receipt of one. Conflict: it has legal holds.
        Unavailable: the database is away; ask again, and it goes on where it stood.

    """
    erasing = _Erasing(context, account, actor, tell or (lambda _table, _rows: None))
    done = erasing.receipt()
    if done is not None and done.completed_at is not None and not erasing.is_there():
        return done
    erasing.shred(held=held)
    context.live.forget_all(account)
    erasing.empty()
    context.live.forget_all(account)  # what a worker said before it noticed
    return erasing.finish()


class _Erasing:
    """One account on its way out; `slice_` shrinks where the database finds it too large."""

    def __init__(self, context: Context, account: uuid.UUID, actor: str | None, tell: Tell) -> None:
        self._context = context
        self._account = account
        self._actor = actor
        self._tell = tell
        self._slice = SLICE

    def receipt(self) -> Erasure | None:
        mine = (Erasure.account_id == self._account, Erasure.kind == ErasureKind.ACCOUNT)
        with self._context.transaction(self._account) as session:
            return session.scalars(select(Erasure).where(*mine)).one_or_none()

    def is_there(self) -> bool:
        accounts = Base.metadata.tables["accounts"]
        with self._context.transaction() as session:
            return session.scalar(select(accounts.c.id).where(accounts.c.id == self._account)) is not None

    def shred(self, *, held: bool) -> None:
        """Shuts the doors, destroys the key and begins the receipt, in a transaction of its own."""

        def write(session: Session) -> None:
            if not held and session.scalar(IS_WHOLE, {"account": self._account}):
                refuse_holds(session)
            if session.execute(SHRED, {"account": self._account}).one_or_none() is None:
                raise NotFound("There is no such account.")
            note_erasure(session, ErasureKind.ACCOUNT, self._account, complete=False)

        self._patiently(write)

    def empty(self) -> None:
        """Deletes everything below the account."""
        while self._patiently(partial(self._rows, CANCEL)):
            pass
        self._whole("task_clocks")  # before the tasks: from here on nothing fires
        self._whole("attachments")
        for ids in self._conversations():
            self._until_empty("messages", partial(self._rows, DELETE_MESSAGES, ids=ids))
            self._until_empty("pii_tokens", partial(self._rows, DELETE_TOKENS, ids=ids))
        for table in BEFORE:
            self._whole(table)
        for one in reversed(Base.metadata.sorted_tables):
            if one.name not in KEPT and _is_found_by_account(one):
                self._whole(one.name)

    def finish(self) -> Erasure:
        """The account itself, and with it what was still written meanwhile."""

        def write(session: Session) -> None:
            session.execute(DELETE_ACCOUNT, {"account": self._account})
            note_erasure(session, ErasureKind.ACCOUNT, self._account)

        self._patiently(write)
        receipt = self.receipt()
        assert receipt is not None  # noqa: S101 (written just now)
        return receipt

    def _conversations(self) -> Iterator[list[uuid.UUID]]:
        last = uuid.UUID(int=0)
        while True:
            ids = self._patiently(partial(self._after, last))
            if not ids:
                return
            yield ids
            last = ids[-1]

    def _after(self, last: uuid.UUID, session: Session) -> list[uuid.UUID]:
        values = {"account": self._account, "after": last, "most": CONVERSATIONS}
        return list(session.scalars(NEXT_CONVERSATIONS, values))

    def _whole(self, name: str) -> None:
        self._until_empty(name, partial(self._rows, text(DELETE_SOME.format(table=name))))

    def _until_empty(self, table: str, write: Callable[[Session], int]) -> None:
        """Deletes slices of a table until none is left; what is counted is counted with them."""

        def counted(session: Session) -> int:
            gone = write(session)
            if gone and table in COUNTED:
                counts: dict[str, Any] = {table: gone}
                note_erasure(session, ErasureKind.ACCOUNT, self._account, complete=False, **counts)
            return gone

        while gone := self._patiently(counted):
            self._tell(table, gone)

    def _rows(self, statement: TextClause, session: Session, **values: Any) -> int:
        given = {"account": self._account, "slice": self._slice, **values}
        return int(session.execute(statement, given).rowcount)  # type: ignore[attr-defined]

    def _patiently(self, write: Callable[[Session], Wrote]) -> Wrote:
        """One transaction; a slice that was too large, or a row that somebody held, is tried again."""
        failures = 0
        while True:
            try:
                with self._context.transaction(self._account, actor=self._actor) as session:
                    return write(session)
            except Unavailable:
                failures += 1
                if failures > PATIENCE:
                    raise
                self._slice = max(SMALLEST, self._slice // 2)
                time.sleep(PAUSE)


def _is_found_by_account(table: Table) -> bool:
    """Whether an index leads with the account: the others go with the rows they hang on."""
    leading = [index for index in table.indexes if index.dialect_options["postgresql"]["where"] is None]
    constraints = [c for c in table.constraints if isinstance(c, UniqueConstraint)]
    keys = [[*index.columns] for index in leading] + [[*c.columns] for c in constraints]
    keys.append([*table.primary_key.columns])
    return any(key and key[0].name == "account_id" for key in keys)
