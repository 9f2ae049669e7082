"""Tickets: links that let one blob in or out once, for a short time, without a token of the account's."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.blobs import Stored, TooLarge, Writing, clear_pending, open_stored, open_writing
from core.context import Context
from core.errors import InvalidInput, NotFound
from core.rows import database_now
from models import Blob, BlobTicket, TicketKind

LIFETIME = timedelta(minutes=15)

# Deleting the row is using it: of two that come at once, one finds it.
TAKE = text(
    "DELETE FROM blob_tickets t USING accounts a WHERE t.token_sha256 = :digest AND t.kind = :kind"
    " AND t.expires_at > now() AND a.id = t.account_id AND a.closed_at IS NULL"
    " RETURNING t.blob_id, t.account_id, t.expires_at"
)
# KEY SHARE: a blob that is being deleted is waited for and then not found.
GIVE_BACK = text(
    "INSERT INTO blob_tickets (token_sha256, account_id, blob_id, kind, expires_at)"
    " SELECT :digest, account_id, id, :kind, :expires_at FROM blobs"
    " WHERE id = :blob AND state = 'pending' FOR KEY SHARE"
)


@dataclass(frozen=True)
class Taken:
    """An upload that a ticket has let in, and what the ticket was."""

    writing: Writing
    digest: bytes = field(repr=False)
    expires_at: datetime


def make_ticket(session: Session, blob: Blob, kind: TicketKind) -> str:
    """A ticket's token, told only here; the row has its hash."""
    token = secrets.token_urlsafe(32)
    ticket = BlobTicket(
        token_sha256=_digest(token),
        account_id=blob.account_id,
        blob_id=blob.id,
        kind=kind,
        expires_at=database_now(session) + LIFETIME,
    )
    session.add(ticket)
    session.flush()
    return token


def take_upload(context: Context, token: str, announced: int | None) -> Taken:
    """Uses an upload's ticket; `announced` is the length the request says it has.

    Raises:
        NotFound: unknown, used or too old. TooLarge, InvalidInput: another length than the ticket was made
            for; the ticket stays. KeyUnusable.

    """
    with context.transaction() as session:
        row = session.execute(TAKE, {"digest": _digest(token), "kind": TicketKind.UPLOAD}).one_or_none()
        blob = session.get(Blob, row.blob_id) if row else None
        if row is None or blob is None:
            raise _unknown()
        if announced is not None and blob.size is not None and announced != blob.size:
            kind = TooLarge if announced > blob.size else InvalidInput
            raise kind(f"The file must have the {blob.size} bytes that were announced.")
        writing = open_writing(context, session, blob)
    return Taken(writing, _digest(token), row.expires_at)


def give_back(context: Context, taken: Taken) -> None:
    """Ends an upload that failed: what was written goes, and the ticket may be used once more."""
    if not clear_pending(context, taken.writing):
        return
    values = {"digest": taken.digest, "kind": TicketKind.UPLOAD, "expires_at": taken.expires_at}
    with context.transaction() as session:
        session.execute(GIVE_BACK, {**values, "blob": taken.writing.blob_id})


def take_download(context: Context, token: str) -> Stored:
    """Uses a download's ticket.

    Raises:
        NotFound: unknown, used or too old. KeyUnusable.

    """
    with context.transaction() as session:
        row = session.execute(TAKE, {"digest": _digest(token), "kind": TicketKind.DOWNLOAD}).one_or_none()
        if row is None:
            raise _unknown()
        return open_stored(session, session.get(Blob, row.blob_id))


def _unknown() -> NotFound:
    return NotFound("This link was used already, or is too old; ask for a new one.")


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
