"""The JSON documents of retention; see core/documents.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.documents import Document, milliseconds
from core.simulating import Forecast, Tally
from models import Job, JobKind, LegalHold, RetentionRule


def rule_document(rule: RetentionRule) -> Document:
    document = {
        "id": str(rule.id),
        "taskId": str(rule.task_id) if rule.task_id else None,
        "botId": str(rule.bot_id) if rule.bot_id else None,
        "source": rule.source,
        "what": rule.what,
        "anonymiseAfter": rule.anonymise_after,
        "deleteAfter": rule.delete_after,
        "nextRunAt": milliseconds(rule.next_run_at),
        "lastRunAt": milliseconds(rule.last_run_at),
        "createdAt": milliseconds(rule.created_at),
        "updatedAt": milliseconds(rule.updated_at),
    }
    return _without_nulls(document)


def run_document(rule_id: str, jobs: Sequence[Job]) -> Document:
    """What a rule has started."""
    return {"id": rule_id, "jobs": [{"id": str(job.id), "kind": job.kind} for job in jobs]}


def forecast_document(forecast: Forecast) -> Document:
    """What a rule would do now, and soon."""
    return {
        "what": forecast.rule.what,
        "today": _tallies(forecast.now),
        "within30Days": _tallies(forecast.ahead),
    }


def hold_document(hold: LegalHold) -> Document:
    links = (hold.conversation_id, hold.contact_id, hold.task_id, hold.bot_id)
    document = {
        "id": str(hold.id),
        **{
            name: str(value) if value else None
            for name, value in zip(("conversationId", "contactId", "taskId", "botId"), links, strict=True)
        },
        "all": None if any(links) else True,
        "reason": hold.reason,
        "placedBy": hold.placed_by,
        "createdAt": milliseconds(hold.created_at),
    }
    return _without_nulls(document)


def _tallies(tallies: Mapping[JobKind, Tally]) -> Document:
    return {kind.value: _tally(tally) for kind, tally in tallies.items()}


def _tally(tally: Tally) -> Document:
    document = {
        "conversations": tally.conversations,
        "messages": tally.messages,
        "oldest": milliseconds(tally.oldest),
        "held": {"conversations": tally.held_conversations, "messages": tally.held_messages},
    }
    return _without_nulls(document)


def _without_nulls(document: Document) -> Document:
    return {key: value for key, value in document.items() if value is not None}
