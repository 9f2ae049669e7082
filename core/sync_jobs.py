"""Synchronisations: asked for and ended here, carried out by workers (core/syncing.py).

One makes the records of a file anew, in one dataset or in every one it is attached to; another makes the
words of a dataset's records anew after its language has changed. Params are ids and nothing else.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from core.context import account_of, actor_of
from core.dataset_files import lock_link
from core.errors import InvalidInput
from core.extracting import REASONS, readable
from core.files import open_file
from core.import_jobs import add_to
from core.importers.records import Reject
from core.job_states import end, refuse_a_crowd, wake
from core.rows import own
from models import Dataset, DatasetFile, ErrorClass, File, Job, JobKind, JobState, Language, Record

DEFAULT = Language.ENGLISH
MOST_UNFINISHED = 1000


def language_of(dataset: Dataset) -> Language:
    """What the words of a dataset are reduced to stems by."""
    return Language(dataset.config.get("language", DEFAULT))


def create_sync_job(session: Session, dataset_id: uuid.UUID | str, file_id: uuid.UUID | str) -> Job:
    """Makes an attached file's records anew from its content, once a worker comes to it.

    Until then, and if it fails, those it made before stay. The same asked for again before it has begun is
    the same job.

    Raises:
        InvalidInput: the file is none that can be made into records. NotFound: not attached, or without
            content; NotAuthorized, also for an export of originals. Conflict: too many are unfinished.
            KeyUnusable.

    """
    dataset, file = own(session, Dataset, dataset_id), own(session, File, file_id)
    lock_link(session, dataset.id, file.id)
    return _create(session, file, [dataset.id])


def create_sync_jobs_of(session: Session, file_id: uuid.UUID | str) -> tuple[File, Job | None]:
    """The same in every dataset the file is attached to; with none there is nothing to do.

    Raises:
        As `create_sync_job`.

    """
    file = own(session, File, file_id)
    query = select(DatasetFile.dataset_id).where(DatasetFile.file_id == file.id)
    datasets = list(session.scalars(query.order_by(DatasetFile.dataset_id)))
    return file, _create(session, file, datasets) if datasets else None


def create_reword_job(session: Session, dataset: Dataset) -> None:
    """Makes the words of a dataset's records anew, in the language it has by now. The dataset is locked."""
    session.flush()
    if session.scalar(select(exists().where(Record.dataset_id == dataset.id))) is False:
        return
    params = {"datasets": [str(dataset.id)], "reword": True, "actor": actor_of(session)}
    _made(session, Job(account_id=dataset.account_id, kind=JobKind.SYNC, params=params))


def end_sync_job(session: Session, job: Job, rejects: Sequence[Reject] = ()) -> None:
    """Ends a locked job that has come to its end, and writes down what could not be done.

    What was detached or deleted meanwhile counts as skipped. It has failed where nothing could be done.
    """
    add_to(session, job, {}, rejects)
    if job.failed and not job.done:
        end(session, job, JobState.FAILED, ErrorClass.REFUSED)
        return
    job.total = job.done + job.skipped + job.failed
    end(session, job, JobState.COMPLETED_WITH_ERRORS if job.failed else JobState.COMPLETED)


def _create(session: Session, file: File, datasets: Sequence[uuid.UUID]) -> Job:
    stored = open_file(session, file.id)
    if not readable(stored.type, stored.name):
        raise InvalidInput(f"{REASONS['unsupported'].capitalize()}.")
    account, wanted = account_of(session), [str(one) for one in datasets]
    same = (
        Job.file_id == file.id,
        Job.kind == JobKind.SYNC,
        Job.state == JobState.PENDING,
        Job.params["datasets"] == wanted,
    )
    waiting = session.scalars(select(Job).where(*same).limit(1).with_for_update()).first()
    if waiting is not None:
        wake(session, waiting)
        return waiting
    refuse_a_crowd(session, account, JobKind.SYNC, MOST_UNFINISHED)
    params = {"datasets": wanted, "actor": actor_of(session)}
    job = Job(account_id=account, kind=JobKind.SYNC, file_id=file.id, total=len(wanted), params=params)
    return _made(session, job)


def _made(session: Session, job: Job) -> Job:
    session.add(job)
    session.flush()
    session.refresh(job)
    wake(session, job)
    return job
