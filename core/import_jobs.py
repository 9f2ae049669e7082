"""Imports: asked for, watched, ended and undone here; carried out by workers (core/importing.py).

The file an import reads is the job's from then on: it holds what people said as they said it, so it goes when
the job ends, unless it is to be kept.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from core.blobs import new_blob
from core.bots import find_bot
from core.context import account_of, actor_of, settings_of
from core.errors import Conflict, InvalidInput, NotFound
from core.file_names import Described
from core.files import create_file, open_file
from core.import_columns import Options
from core.import_parts import in_parts
from core.import_rows import pieces_of
from core.importers import FORMATS
from core.importers.records import Conversation, Reject, Task
from core.importers.table import COLUMNS
from core.job_states import end, refuse_a_crowd, wake
from core.rows import MetaFilter, as_id, checked_text, database_now, own
from core.schedule.zones import find_zone
from core.storing import KEEP_BOT, store
from models import Blob, Contact, File, Job, JobError, JobKind, JobState

USED = text(
    "SELECT EXISTS (SELECT FROM dataset_files WHERE account_id = :account AND file_id = :file)"
    " OR EXISTS (SELECT FROM jobs WHERE file_id = :file AND id <> :job AND kind = 'export')"
)
MOST_ERRORS = 10_000  # that are kept of one job; all are counted
MOST_AT_ONCE = 1000  # messages that are imported while their sender waits
ITEMS = "crontalk"
SEALED = "sealed"  # of a migration's params: where it reads from, and the token
# What a column of a table, or a member of ShareGPT's objects, may mean.
MEANINGS = frozenset({*COLUMNS, "conversations", "from", "value", "system", "tools"})
LONGEST_COLUMN = 500


def start_import_file(session: Session, told: Described) -> Blob:
    """A file for an import to read, whose content is still to come; it may have `max_import` bytes.

    Raises:
        TooLarge, KeyUnusable.

    """
    file = create_file(session)
    return new_blob(session, told, file_id=file.id, most=settings_of(session).max_import)


def create_import_job(
    session: Session,
    file_id: uuid.UUID | str,
    *,
    format: str | None = None,  # noqa: A002 - the word everybody uses
    columns: Mapping[str, str] | None = None,
    timezone: str | None = None,
    bot_id: str | None = None,
    contact_id: str | None = None,
    privacy: bool = False,
    dry_run: bool = False,
    keep_file: bool = False,
) -> Job:
    """Imports what an uploaded file holds; see docs/imports.md.

    Conversations are linked to the bot, the default one unless it is named, and to the contact where their
    source tells none. `privacy`: they have it, whatever the bot has. `dry_run`: nothing is stored, and the
    job tells what there is.

    Raises:
        InvalidInput: an unknown format, column or zone. Conflict: the file is another job's, or too many are
        unfinished. NotFound, NotAuthorized: the file, the bot or the contact; NotFound before its upload.

    """
    account = account_of(session)
    if format is not None and format not in FORMATS:
        raise InvalidInput(f"The format must be one of {', '.join(FORMATS)}.")
    if timezone is not None:
        find_zone(timezone)
    file = own(session, File, file_id, lock=True)
    open_file(session, file.id)
    _refuse_taken(session, file.id)
    refuse_a_crowd(session, account, JobKind.IMPORT)
    bot = find_bot(session, bot_id)
    params = {
        "format": format,
        "columns": _checked_columns(columns or {}),
        "timezone": timezone,
        "bot": str(bot.id),
        "private_bot": bot.privacy or bot.privacy_policy is not None,
        "contact": str(own(session, Contact, contact_id).id) if contact_id is not None else None,
        "privacy": privacy,
        "dry": dry_run,
        "keep": keep_file,
        "actor": actor_of(session),
    }
    given = {name: value for name, value in params.items() if value}
    job = Job(account_id=account, kind=JobKind.IMPORT, file_id=file.id, params=given)
    session.add(job)
    session.flush()
    session.refresh(job)
    wake(session, job)
    return job


def import_now(
    session: Session,
    records: Sequence[Conversation | Task | Reject],
    *,
    bot_id: str | None = None,
    contact_id: str | None = None,
    privacy: bool = False,
) -> Job:
    """Imports a small batch while its sender waits; answers the ended job, which can be undone as any other.

    Raises:
        InvalidInput: more than MOST_AT_ONCE messages. KeyUnusable: the installation has no key.
        NotFound, NotAuthorized: the bot.

    """
    said = sum(len(one.messages) for one in records if isinstance(one, Conversation))
    if said > MOST_AT_ONCE or len(records) > MOST_AT_ONCE:
        raise InvalidInput(f"At most {MOST_AT_ONCE} messages are imported at once; upload a file instead.")
    now = database_now(session)
    params = {
        "format": ITEMS,
        "bot": str(find_bot(session, bot_id).id),
        "contact": str(own(session, Contact, contact_id).id) if contact_id is not None else None,
        "privacy": privacy,
        "actor": actor_of(session),
    }
    job = Job(
        account_id=account_of(session),
        kind=JobKind.IMPORT,
        state=JobState.RUNNING,
        started_at=now,
        params={name: value for name, value in params.items() if value},
    )
    session.add(job)
    session.flush()
    out = in_parts(
        session,
        job,
        [piece for record in records for piece in pieces_of(record)],
        store=lambda part: store(session, job, part, options_of(job, ITEMS)),
        row_of=lambda piece: piece.record.row,
    )
    add_to(session, job, out.counts, out.rejects)
    unread = {one.row for one in records if isinstance(one, Reject)}
    unread -= {one.row for one in records if not isinstance(one, Reject)}
    job.done, job.failed = len(out.wrote), len(unread | out.failed)
    job.skipped = max(0, len({record.row for record in records}) - job.done - job.failed)
    end_import_job(session, job)
    return job


def options_of(job: Job, format_: str) -> Options:
    """What a job was asked to make of what it reads."""
    bot, contact = job.params.get("bot"), job.params.get("contact")
    return Options(
        format=format_,
        bot_id=uuid.UUID(bot) if bot else None,
        contact_id=uuid.UUID(contact) if contact else None,
        privacy=bool(job.params.get("privacy")),
    )


def refuse_without_its_bot(session: Session, job: Job) -> None:
    """What was to have its bot's privacy is not stored without it.

    Raises:
        NotFound: the bot was deleted meanwhile.

    """
    if job.params.get("private_bot") and not job.params.get("privacy"):
        values = {"id": job.params["bot"], "account": job.account_id}
        if session.scalar(KEEP_BOT, values) is None:
            raise NotFound("The bot has been deleted whose privacy was to hold for what is imported.")


def add_to(session: Session, job: Job, counts: Mapping[str, int], rejects: Sequence[Reject]) -> None:
    """Adds to a locked job's numbers, and writes down what could not be dealt with."""
    told = Counter(job.counts)
    room = max(0, MOST_ERRORS - told["errors"])
    session.add_all(
        JobError(
            job_id=job.id, number=told["errors"] + at, account_id=job.account_id, row=one.row, code=one.code
        )
        for at, one in enumerate(rejects[:room], 1)
    )
    told.update(counts)
    told["errors"] += len(rejects)
    job.counts = {name: count for name, count in told.items() if count}


def end_import_job(
    session: Session, job: Job, state: JobState | None = None, error_class: str | None = None
) -> None:
    """Ends a locked import; without a state it is completed, with errors where a row had any.

    What it has stored stays, however it ends. Its file goes, unless it is to be kept or something else uses
    it, and so does the token of a migration.
    """
    job.params = {name: value for name, value in job.params.items() if name != SEALED}
    if state is None:
        job.total = job.done + job.skipped + job.failed
        wrong = job.failed or job.counts.get("errors")
        state = JobState.COMPLETED_WITH_ERRORS if wrong else JobState.COMPLETED
    file_id = job.file_id
    end(session, job, state, error_class)
    if file_id is not None and not job.params.get("keep") and not _is_used(session, job, file_id):
        file = session.get(File, file_id)
        if file is not None:
            session.delete(file)
            session.flush()
            session.refresh(job)


def list_errors(
    session: Session,
    *,
    job_id: uuid.UUID | str,
    take: int = 100,
    before: uuid.UUID | str | None = None,
    ascending: bool = True,
    meta: Sequence[MetaFilter] = (),
) -> list[JobError]:
    """What a job could not deal with, in its order; `before` is the `error_id` of the last one.

    Raises:
        NotFound, NotAuthorized: the job. InvalidInput: the page.

    """
    job = own(session, Job, job_id)
    if not 1 <= take <= 1000:
        raise InvalidInput("A page holds 1 to 1000 items.")
    if meta:
        return []
    query = select(JobError).where(JobError.job_id == job.id)
    if before is not None:
        last = min(as_id(before, Job).int, MOST_ERRORS + 1)  # as `error_id` makes it
        query = query.where(JobError.number > last if ascending else JobError.number < last)
    order = JobError.number if ascending else JobError.number.desc()
    return list(session.scalars(query.order_by(order).limit(take)))


def error_id(error: JobError) -> uuid.UUID:
    """What names an error among those of its job: its number, in the form of an id."""
    return uuid.UUID(int=error.number)


def _is_used(session: Session, job: Job, file_id: uuid.UUID) -> bool:
    """Whether the file is more than what an import reads: a dataset's, or what another job has made."""
    return bool(session.scalar(USED, {"file": file_id, "job": job.id, "account": job.account_id}))


def _checked_columns(columns: Mapping[str, str]) -> dict[str, str]:
    for meaning, name in columns.items():
        if meaning not in MEANINGS:
            raise InvalidInput(f"A column means one of {', '.join(sorted(MEANINGS))}.")
        checked_text(name, "The name of a column", longest=LONGEST_COLUMN)
    return dict(columns)


def _refuse_taken(session: Session, file_id: uuid.UUID) -> None:
    taken = select(func.count()).where(Job.file_id == file_id, Job.finished_at.is_(None))
    if session.execute(taken).scalar_one():
        raise Conflict("The file is being imported already.")
