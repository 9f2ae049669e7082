"""Files of datasets: attached and detached. What makes records of them: core/sync_jobs.py."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from sqlalchemy import delete, exists, text
from sqlalchemy.dialects.postgresql import insert as insert_or
from sqlalchemy.orm import Session

from core.context import account_of
from core.errors import InvalidInput, NotFound
from core.fields import kept
from core.rows import MetaFilter, own, page
from models import Dataset, DatasetFile, File, Record

SOURCE = "source"
# The link's lock is the synchronisation's: of two at once the later one's records stay.
LOCK = text("SELECT 1 FROM dataset_files WHERE dataset_id = :dataset AND file_id = :file FOR UPDATE")


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
    lock_link(session, dataset.id, file.id)
    link = DatasetFile.dataset_id == dataset.id, DatasetFile.file_id == file.id
    session.execute(delete(DatasetFile).where(*link))
    if delete_records:
        delete_records_of(session, dataset.id, file.id)
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


def lock_link(session: Session, dataset_id: uuid.UUID, file_id: uuid.UUID) -> None:
    """Keeps a file attached until this transaction ends; nobody else makes records of it meanwhile.

    Raises:
        NotFound: it is not attached.

    """
    if session.execute(LOCK, {"dataset": dataset_id, "file": file_id}).one_or_none() is None:
        raise NotFound("The file is not attached to this dataset.")


def delete_records_of(session: Session, dataset_id: uuid.UUID, file_id: uuid.UUID) -> None:
    """Removes the records that were made of a file."""
    session.execute(delete(Record).where(Record.dataset_id == dataset_id, Record.file_id == file_id))
