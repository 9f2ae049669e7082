"""Files of datasets: attached, made into records, detached."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, exists, insert, select, text
from sqlalchemy.dialects.postgresql import insert as insert_or
from sqlalchemy.orm import Session

from core.blobs import Stored, read_stored
from core.context import Context, account_of
from core.errors import Conflict, InvalidInput, NotFound
from core.fields import LONG, kept
from core.files import open_file
from core.meta import checked_meta
from core.rows import MetaFilter, checked_text, own, page
from core.splitting import Piece, split
from models import MAX_TEXT_BYTES, Dataset, DatasetFile, File, Record, new_ids

SOURCE = "source"
BATCH = 500
# The link's lock is the synchronisation's: of two at once the later one's records stay.
LOCK = text("SELECT 1 FROM dataset_files WHERE dataset_id = :dataset AND file_id = :file FOR UPDATE")
CURRENT = text("SELECT id FROM blobs WHERE file_id = :file AND state = 'stored'")
SYNCED = text("UPDATE dataset_files SET synced_at = now() WHERE dataset_id = :dataset AND file_id = :file")


def attach_file(
    session: Session, dataset_id: uuid.UUID | str, file_id: uuid.UUID | str, kind: str | None = None
) -> File:
    """Links a file to a dataset; a second time changes nothing. Its records come with a synchronisation.

    Raises:
        InvalidInput: a type other than `source`. NotFound, NotAuthorized.

    """
    if kind not in {None, SOURCE}:
        raise InvalidInput(f"The type must be {SOURCE}.")
    dataset, file = kept(session, Dataset, dataset_id), kept(session, File, file_id)
    link = {"account_id": account_of(session), "dataset_id": dataset.id, "file_id": file.id, "type": SOURCE}
    session.execute(insert_or(DatasetFile).values(link).on_conflict_do_nothing())
    return file


def detach_file(
    session: Session,
    dataset_id: uuid.UUID | str,
    file_id: uuid.UUID | str,
    *,
    delete_records: bool = False,
) -> File:
    """Takes the link away, and the records made of the file where asked; else those stay as they are.

    Raises:
        NotFound, also when it is not attached; NotAuthorized.

    """
    dataset, file = own(session, Dataset, dataset_id), own(session, File, file_id)
    _lock(session, dataset.id, file.id)
    link = DatasetFile.dataset_id == dataset.id, DatasetFile.file_id == file.id
    session.execute(delete(DatasetFile).where(*link))
    if delete_records:
        _delete_records(session, dataset.id, file.id)
    return file


def list_dataset_files(
    session: Session,
    dataset_id: uuid.UUID | str,
    *,
    take: int = 100,
    before: uuid.UUID | str | None = None,
    ascending: bool = False,
    meta: Sequence[MetaFilter] = (),
) -> list[File]:
    """The files attached to a dataset, newest first or `ascending`."""
    dataset = own(session, Dataset, dataset_id)
    attached = exists().where(DatasetFile.dataset_id == dataset.id, DatasetFile.file_id == File.id)
    return page(session, File, attached, take=take, before=before, ascending=ascending, meta=meta)


def sync_dataset_file(
    context: Context, account_id: uuid.UUID, dataset_id: uuid.UUID | str, file_id: uuid.UUID | str
) -> uuid.UUID:
    """Makes an attached file's records anew from its content; those it made before go. All or nothing.

    Raises:
        InvalidInput: the file is none that can be made into records. NotFound: not attached, or without
            content; NotAuthorized. Conflict: the content changed meanwhile. ContentDamaged, KeyUnusable.

    """
    with context.transaction(account_id) as session:
        dataset, file = own(session, Dataset, dataset_id), own(session, File, file_id)
        _lock(session, dataset.id, file.id)
        stored, config = open_file(session, file.id), dataset.config
    _store(context, dataset.id, file.id, stored, _records(context, stored, config))
    return file.id


def sync_file(context: Context, account_id: uuid.UUID, file_id: uuid.UUID | str) -> uuid.UUID:
    """Synchronises a file with every dataset it is attached to; with none there is nothing to do.

    Raises:
        As `sync_dataset_file`, for the first that fails.

    """
    with context.transaction(account_id) as session:
        file = own(session, File, file_id)
        query = select(DatasetFile.dataset_id).where(DatasetFile.file_id == file.id)
        datasets = list(session.scalars(query.order_by(DatasetFile.dataset_id)))
    for dataset_id in datasets:
        sync_dataset_file(context, account_id, dataset_id, file.id)
    return file.id


def _records(context: Context, stored: Stored, config: dict[str, Any]) -> list[dict[str, Any]]:
    content = b"".join(read_stored(context, stored))
    pieces = split(
        content,
        stored.type,
        stored.name,
        separators=config.get("separators"),
        max_tokens=config.get("recordMaxTokens"),
    )
    return [_checked(piece, stored.name) for piece in pieces]


def _checked(piece: Piece, name: str | None) -> dict[str, Any]:
    return {
        "text": checked_text(piece.text, "A record of the file", longest=MAX_TEXT_BYTES),
        "source": checked_text(piece.source, "A source in the file", longest=LONG, empty=True) or name,
        "meta": checked_meta(piece.meta),
    }


def _store(
    context: Context,
    dataset_id: uuid.UUID,
    file_id: uuid.UUID,
    stored: Stored,
    records: list[dict[str, Any]],
) -> None:
    with context.transaction(stored.account_id) as session:
        _lock(session, dataset_id, file_id)
        if session.execute(CURRENT, {"file": file_id}).scalar_one_or_none() != stored.id:
            raise Conflict("The file's content has changed meanwhile; synchronise it again.")
        _delete_records(session, dataset_id, file_id)
        place = {"account_id": stored.account_id, "dataset_id": dataset_id, "file_id": file_id}
        for at in range(0, len(records), BATCH):
            part = records[at : at + BATCH]
            # Ids of one millisecond sort by chance; the order of the file is kept by sorting them.
            ids = new_ids(len(part))
            rows = [{**place, **record, "id": each} for record, each in zip(part, ids, strict=True)]
            session.execute(insert(Record), rows)
        session.execute(SYNCED, {"dataset": dataset_id, "file": file_id})


def _lock(session: Session, dataset_id: uuid.UUID, file_id: uuid.UUID) -> None:
    if session.execute(LOCK, {"dataset": dataset_id, "file": file_id}).one_or_none() is None:
        raise NotFound("The file is not attached to this dataset.")


def _delete_records(session: Session, dataset_id: uuid.UUID, file_id: uuid.UUID) -> None:
    session.execute(delete(Record).where(Record.dataset_id == dataset_id, Record.file_id == file_id))
