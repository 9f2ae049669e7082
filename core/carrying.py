"""Which craft carries out which kind of job."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from threading import Event

from core.anonymising import Anonymisation
from core.context import Context
from core.deleting import Deletion
from core.exporting import Export
from core.importing import Import
from core.migrating import Migration
from core.slices import Craft, Hold, claim, work_on
from core.syncing import Synchronisation
from core.undoing import Undo
from models import Job, JobKind


def _importing(hold: Hold) -> Craft:
    """An import reads a file or, when it is a migration, a server."""
    with hold.transaction() as session:
        params = session.get_one(Job, hold.id).params
    return Migration(hold) if "source" in params else Import(hold)


CRAFTS: Mapping[JobKind, Callable[[Hold], Craft]] = {
    JobKind.DELETE: Deletion,
    JobKind.EXPORT: Export,
    JobKind.IMPORT: _importing,
    JobKind.UNDO: Undo,
    JobKind.ANONYMISE: Anonymisation,
    JobKind.SYNC: Synchronisation,
}


def carry_on(context: Context, job_id: uuid.UUID, stopping: Event | None = None) -> str:
    """Carries a job on for a slice, if it is due: `ignored lost completed failed cancelled`, or
    `sliced paced`: given back, to be gone on with.

    Raises:
        Unavailable: the database is away; the lease will run out and the job be claimed again.

    """
    hold = claim(context, job_id)
    if hold is None:
        return "ignored"
    return work_on(hold, CRAFTS[hold.kind](hold), stopping or Event())
