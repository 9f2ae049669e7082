"""Imported tasks: made paused, so that whoever imports them decides when they begin."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy.orm import Session

from core.errors import InvalidInput
from core.import_columns import NAME, cut
from core.import_keys import Entry, Keys
from core.import_links import Found, find_links
from core.import_rows import Outcome
from core.importers.records import Reject, Task
from core.tasks import create_task, pause_task
from models import ImportKind, Job

PAUSED = "imported"


def store_tasks(
    session: Session,
    keys: Keys,
    job: Job,
    tasks: Sequence[Task],
    *,
    bot: uuid.UUID | None = None,
    contact: uuid.UUID | None = None,
) -> Outcome:
    """Makes those that were not imported before, for `bot` and `contact` where they name none of their own.

    One whose schedule cannot be kept is refused; one that others may be linked to is made without it.
    """
    out = Outcome()
    keyed = {keys.key(ImportKind.TASK, task.key): task for task in tasks}
    known = keys.known(ImportKind.TASK, keyed, {})
    links = find_links(session, keys, job.account_id, [task.links for task in keyed.values()])
    made = []
    for key, task in keyed.items():
        if key in known:
            out.counts["known"] += 1
            continue
        target = _made(session, task, _hung(task, links, bot, contact), out)
        if target is None:
            out.failed.add(task.row)
            continue
        made.append(Entry(key, 1, target, made=True))
        out.counts["tasks"] += 1
        out.wrote.add(task.row)
    keys.store(job.id, ImportKind.TASK, made)
    return out


def _hung(
    task: Task, links: Found, bot: uuid.UUID | None, contact: uuid.UUID | None
) -> dict[str, uuid.UUID | None]:
    own = {name: links.get((name, key)) for name, key in task.links.items()}
    return {"bot_id": own.get("bot") or bot, "contact_id": own.get("contact", contact)}


def _made(session: Session, task: Task, hung: dict[str, uuid.UUID | None], out: Outcome) -> uuid.UUID | None:
    try:
        return _task(session, task, hung)
    except InvalidInput:
        if not task.fields:  # of a file: nothing is linked to it
            out.rejects.append(Reject(task.row, "bad_schedule"))
            return None
    try:
        target = _task(session, replace(task, schedule="", timezone=None, expires_at=None), hung)
    except InvalidInput:
        out.rejects.append(Reject(task.row, "bad_task"))
        return None
    out.rejects.append(Reject(task.row, "schedule_dropped"))
    return target


def _task(session: Session, task: Task, hung: dict[str, Any]) -> uuid.UUID:
    with session.begin_nested():
        row = create_task(
            session,
            name=cut(task.name, NAME) or None,
            description=task.prompt or None,
            schedule=task.schedule,
            timezone=task.timezone,
            expires_at=task.expires_at,
            meta=dict(task.meta),
            **hung,
            **task.fields,
        )
        return pause_task(session, row.id, PAUSED).id
