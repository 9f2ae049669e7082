"""A dry run: what an import of a stored file would bring, and how much of it is here already."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from core.errors import InvalidInput
from core.import_jobs import end_import_job
from core.import_keys import Keys
from core.import_reading import Reading
from core.importers.records import Conversation, Record
from core.importers.survey import Planned, Survey, survey
from core.slices import Craft, Hold, Step
from models import ErrorClass, ImportKind, Job, JobState

AT_ONCE = 500  # conversations that are looked up together


def survey_step(hold: Hold, craft: Craft, reading: Reading) -> Step:
    """Reads the whole file, keeping the lease, and writes down what is in it; begun again after a kill.

    Raises:
        ContentDamaged, Unavailable, Lost.

    """
    there = _There(hold)
    refused, told = None, None
    try:
        told = survey(
            reading.source,
            reading.format or None,
            columns=reading.params.get("columns"),
            timezone=reading.params.get("timezone"),
            each=there.look,
        )
        there.look_up()
    except InvalidInput as error:
        refused = str(error)

    def note(session: Session, job: Job) -> Step:
        if told is None:
            job.params = {**job.params, "refused": refused}
            end_import_job(session, job, JobState.FAILED, ErrorClass.REFUSED)
            return Step("failed")
        job.params = {**job.params, "found": told.format, "survey": survey_document(told)}
        job.counts = {"size": reading.size, "read": reading.size, **there.counts()}
        end_import_job(session, job)
        return Step("completed")

    return hold.batch(craft, note)


class _There:
    """Counts what of a file was imported before."""

    def __init__(self, hold: Hold) -> None:
        self._hold = hold
        self._waiting: dict[str, set[str]] = {}
        self._conversations = self._messages = 0

    def look(self, record: Record) -> None:
        if isinstance(record, Conversation):
            self._waiting.setdefault(record.key, set()).update(m.key for m in record.messages)
            if len(self._waiting) >= AT_ONCE:
                self.look_up()

    def look_up(self) -> None:
        with self._hold.transaction() as session:
            keys = Keys(session, self._hold.account_id, lock=False)
            told = {keys.key(ImportKind.CONVERSATION, key): key for key in self._waiting}
            for hashed, known in keys.known(ImportKind.CONVERSATION, told, {}).items():
                key = told[hashed]
                self._conversations += 1
                self._messages += sum(keys.member(key, one) in known.members for one in self._waiting[key])
        self._waiting.clear()

    def counts(self) -> dict[str, int]:
        return {"knownConversations": self._conversations, "known": self._messages}


def survey_document(told: Survey) -> dict[str, Any]:
    """A survey as JSON, times in epoch milliseconds."""
    return {
        "format": told.format,
        "conversations": told.conversations,
        "messages": {"total": told.messages.total(), **dict(told.messages.most_common())},
        "from": _millis(told.first),
        "until": _millis(told.last),
        "untimed": told.untimed,
        "branches": {"conversations": told.branched, "messages": told.inactive},
        "tasks": {"total": told.tasks, "items": [_task(task) for task in told.planned]},
        "unknown": dict(told.unknowns.most_common()),
        "rejects": {
            code: {"count": met.count, "rows": met.rows} for code, met in sorted(told.rejects.items())
        },
        "duplicates": {
            "same": told.duplicates.same,
            "more": told.duplicates.more,
            "complete": told.duplicates.complete,
        },
        "personalData": {"sampled": told.sampled, "perThousand": told.per_thousand()},
        "largestText": told.largest_text,
        "parts": told.parted,
        "rows": {"total": told.rows.total(), **{name: count for name, count in told.rows.items() if count}},
    }


def _task(task: Planned) -> Mapping[str, Any]:
    return {
        "row": task.row,
        "schedule": task.schedule,
        "timezone": task.timezone,
        "expiresAt": _millis(task.expires_at),
        "paused": True,
    }


def _millis(instant: datetime | None) -> int | None:
    return None if instant is None else int(instant.timestamp() * 1000)
