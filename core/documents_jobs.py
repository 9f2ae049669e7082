"""The JSON documents of jobs; see core/documents.py."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from core.backfills import Progress
from core.delete_jobs import CONFIRMED, JobReceipt, Preview
from core.documents import Document, milliseconds
from core.extracting import REASONS
from core.import_jobs import error_id
from core.importers import CODES
from models import Job, JobError, JobKind, JobState


def job_document(job: Job, progress: Progress) -> Document:
    """A job of any kind and how far it is; `leftSeconds` at the pace so far, while it goes on."""
    ended = progress.done + progress.failed
    left = max(0, (job.total or 0) - job.skipped - ended - progress.under_way)
    dealt = ended + job.skipped
    pace = dealt / progress.seconds if dealt and progress.seconds else None
    document = {
        "id": str(job.id),
        "kind": job.kind,
        "state": job.state,
        "errorClass": job.error_class,
        "taskId": str(job.task_id) if job.task_id else None,
        "botId": job.params.get("bot"),
        "conversationId": job.params.get("conversation"),
        "ruleId": str(job.rule_id) if job.rule_id else None,
        **(_deletion(job) if job.kind in CONFIRMED else {}),
        **(export_document(job) if job.kind == JobKind.EXPORT else {}),
        **(_synchronisation(job) if job.kind == JobKind.SYNC else {}),
        **(_import(job) if job.kind in {JobKind.IMPORT, JobKind.UNDO} else {}),
        "total": job.total,
        "done": progress.done,
        "skipped": job.skipped,
        "failed": progress.failed,
        "underWay": progress.under_way,
        "left": left,
        "perSecond": round(pace, 1) if pace else None,
        "leftSeconds": _seconds_left(job, progress, left, pace) if job.finished_at is None else None,
        "createdAt": milliseconds(job.created_at),
        "startedAt": milliseconds(job.started_at),
        "finishedAt": milliseconds(job.finished_at),
    }
    return {key: value for key, value in document.items() if value is not None}


def _seconds_left(job: Job, progress: Progress, left: int, pace: float | None) -> int | None:
    """At the pace so far. Of a file by its bytes: how many rows it has is known at its end."""
    if job.kind == JobKind.IMPORT:
        read, size = job.counts.get("read", 0), job.counts.get("size", 0)
        return round(progress.seconds * (size - read) / read) if read and progress.seconds else None
    return round((left + progress.under_way) / pace) if pace else None


def preview_document(preview: Preview) -> Document:
    """What a deletion would remove: counts, times and some ids."""
    counted = preview.counted
    document = {
        "what": preview.selection.what.value,
        "count": counted.count,
        "conversations": counted.conversations,
        "oldest": milliseconds(counted.oldest),
        "newest": milliseconds(counted.newest),
        "held": counted.held,
        "sample": [str(one) for one in counted.sample],
        "rate": str(preview.rate) if preview.rate else None,
        "confirmation": preview.confirmation,
    }
    return {key: value for key, value in document.items() if value is not None}


def made_document(job: Job, preview: Preview) -> Document:
    """A deletion that was asked for: ids, counts and whether it waits for a confirmation."""
    waits = "confirmation" in job.params
    return {
        "id": str(job.id),
        "count": preview.counted.count,
        "conversations": preview.counted.conversations,
        "held": preview.counted.held,
        "requiresConfirmation": waits,
        **({"confirmation": preview.confirmation} if waits else {}),
    }


def receipt_document(receipt: JobReceipt) -> Document:
    """What an ended deletion removed; of a source only that it was asked for."""
    job = receipt.job
    said = filter_document(job.params["filter"])
    document = {
        "id": str(job.id),
        "what": job.params["what"],
        "state": job.state,
        "filter": {**said, **({"source": True} if "source" in said else {})},
        "until": milliseconds(datetime.fromisoformat(job.params["until"])),
        "messages": receipt.messages,
        "conversations": receipt.conversations,
        "attachments": receipt.attachments,
        "ids": receipt.ids,
        "sha256": receipt.sha256,
        "verified": job.state == JobState.COMPLETED,
        "actor": job.params.get("actor"),
        "createdAt": milliseconds(job.created_at),
        "finishedAt": milliseconds(job.finished_at),
    }
    return {key: value for key, value in document.items() if value is not None}


FILTERS = {
    "conversations": "conversationId",
    "tasks": "taskId",
    "bots": "botId",
    "contacts": "contactId",
    "types": "type",
    "idle": "idleBefore",
    "active": "idleFrom",
}
# What follows from a rule, and is not said.
UNSAID = frozenset({"ids", "broader", "named"})
TIMES = ("before", "after", "idleBefore", "idleFrom")


def error_document(error: JobError) -> Document:
    """A row that a job could not deal with, and what its code means."""
    return {
        "id": str(error_id(error)),
        "row": error.row,
        "code": error.code,
        "message": {**CODES, **REASONS}.get(error.code, "it could not be dealt with"),
    }


def _import(job: Job) -> Document:
    params = job.params
    counts = {name: count for name, count in sorted(job.counts.items()) if name not in {"read", "size"}}
    return {
        "source": params.get("source"),
        "format": params.get("format"),
        "found": params.get("found"),
        "contactId": params.get("contact"),
        "fileId": str(job.file_id) if job.file_id else None,
        "dryRun": True if params.get("dry") else None,
        "counts": counts or None,
        "readBytes": job.counts.get("read"),
        "sizeBytes": job.counts.get("size"),
        "unknown": params.get("unknown"),
        "survey": params.get("survey"),
        "refused": params.get("refused"),
        "importId": params.get("import"),
    }


def _synchronisation(job: Job) -> Document:
    return {
        "fileId": str(job.file_id) if job.file_id else None,
        "datasetIds": job.params["datasets"],
        "counts": {"records": job.counts.get("records", 0)} if job.done and job.file_id else None,
    }


def _deletion(job: Job) -> Document:
    waiting = job.params.get("confirmation")
    return {
        "what": job.params["what"],
        "filter": filter_document(job.params["filter"]),
        "rate": job.params.get("rate"),
        "requiresConfirmation": True if waiting else None,
        "confirmation": waiting,
        **{name: job.counts.get(name) for name in ("held", "messages", "attachments")},
    }


def export_document(job: Job) -> Document:
    """What an export was asked for, and what came of it: the file and its digest once it is completed."""
    params = job.params
    return {
        "format": params["format"],
        "mode": params["mode"],
        "gzip": params["gzip"],
        "filter": filter_document(params["filter"]),
        "until": milliseconds(datetime.fromisoformat(params["until"])),
        "fileId": str(job.file_id) if job.file_id else None,
        "name": params["name"],
        "size": params.get("size"),
        "sha256": params.get("sha256"),
        "counts": {name: count for name, count in sorted(job.counts.items()) if count},
    }


def manifest_document(job: Job) -> Document:
    """What stands beside the file of a completed export: what it is, how much, and its digest."""
    document = {
        "id": str(job.id),
        **export_document(job),
        "messages": job.done,
        "leftOut": job.skipped,
        "createdAt": milliseconds(job.created_at),
        "finishedAt": milliseconds(job.finished_at),
    }
    return {key: value for key, value in document.items() if value is not None}


def filter_document(said: Mapping[str, Any]) -> Document:
    """A filter as it was sent; of named ids how many."""
    found: Document = {FILTERS.get(name, name): value for name, value in said.items() if name not in UNSAID}
    found |= {name: milliseconds(datetime.fromisoformat(found[name])) for name in TIMES if name in found}
    if "ids" in said:
        found["ids"] = len(said["ids"])
    return found or {"all": True}
