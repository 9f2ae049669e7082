"""Files: what an account keeps for its datasets and abilities. The content may come later, and again."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from core.audit import Action, note_audit
from core.blobs import Stored, new_blob, open_stored
from core.context import account_of
from core.errors import NotAuthorized, NotFound
from core.fields import checked_fields, kept, update_row
from core.file_names import Described
from core.rows import MetaFilter, own, page
from core.sight import SCOPE
from core.tickets import make_ticket
from models import Blob, BlobState, File, TicketKind

ORIGINALS = text(
    "SELECT id FROM jobs WHERE file_id = :file AND kind = 'export' AND params ->> 'mode' = 'original'"
)
FIELDS = {
    "name": "name",
    "description": "description",
    "alias": "alias",
    "blueprintId": "blueprint_id",
    "visibility": "visibility",
    "meta": "meta",
}


def create_file(session: Session, **fields: Any) -> File:
    """A new file without content. Fields: see FIELDS.

    Raises:
        InvalidInput.

    """
    file = File(account_id=account_of(session), **{"meta": {}, **checked_fields(fields)})
    session.add(file)
    session.flush()
    return file


def update_file(session: Session, file_id: uuid.UUID | str, **fields: Any) -> File:
    """Changes the given fields only; meta is merged.

    Raises:
        InvalidInput, NotFound, NotAuthorized.

    """
    file = own(session, File, file_id, lock=True)
    update_row(session, file, fields)
    return file


def get_file(session: Session, file_id: uuid.UUID | str) -> tuple[File, Blob | None]:
    """The file and its content's row.

    Raises:
        NotFound, NotAuthorized.

    """
    file = own(session, File, file_id)
    return file, contents_of(session, [file.id]).get(file.id)


def list_files(
    session: Session,
    *,
    take: int = 100,
    before: uuid.UUID | str | None = None,
    ascending: bool = False,
    meta: Sequence[MetaFilter] = (),
) -> list[File]:
    """The account's files, newest first or `ascending`."""
    return page(session, File, take=take, before=before, ascending=ascending, meta=meta)


def contents_of(session: Session, file_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Blob]:
    """The stored content of files, by their ids."""
    query = select(Blob).where(Blob.file_id.in_(file_ids), Blob.state == BlobState.STORED)
    return {blob.file_id: blob for blob in session.scalars(query) if blob.file_id is not None}


def delete_file(session: Session, file_id: uuid.UUID | str) -> uuid.UUID:
    """Removes a file; its content goes after the commit. Records that were made of it stay."""
    file = own(session, File, file_id, lock=True)
    session.delete(file)
    session.flush()
    return file.id


def start_file_content(session: Session, file_id: uuid.UUID | str, told: Described) -> Blob:
    """New content for a file, still to come; until it is all there the old one stays.

    Raises:
        NotFound, NotAuthorized, TooLarge, KeyUnusable.

    """
    return new_blob(session, told, file_id=kept(session, File, file_id).id)


def open_file(session: Session, file_id: uuid.UUID | str, scopes: Collection[str] = ()) -> Stored:
    """What a file's content is read with.

    Of an export of original values only for whoever may read those; the audit remembers it.

    Raises:
        NotFound, NotAuthorized; NotFound as well before it is uploaded. KeyUnusable.

    """
    file, blob = get_file(session, file_id)
    _audit_originals(session, file, scopes)
    return open_stored(session, blob)


def download_ticket(session: Session, file_id: uuid.UUID | str, scopes: Collection[str] = ()) -> str:
    """A ticket that lets the content out once; for whom, see `open_file`.

    Raises:
        NotFound, NotAuthorized; NotFound as well before it is uploaded.

    """
    file, blob = get_file(session, file_id)
    _audit_originals(session, file, scopes)
    if blob is None:
        raise NotFound("It has no content yet.")
    return make_ticket(session, blob, TicketKind.DOWNLOAD)


def _audit_originals(session: Session, file: File, scopes: Collection[str]) -> None:
    job_id = session.execute(ORIGINALS, {"file": file.id}).scalar_one_or_none()
    if job_id is None:
        return
    if SCOPE not in scopes:
        raise NotAuthorized(f"This token may not {SCOPE}: the file holds what it protects.")
    note_audit(session, Action.EXPORT, job_id, {"opened": True, "fileId": str(file.id)})
