"""The JSON documents of receipts and of the audit; as in core/documents.py."""

from __future__ import annotations

from core.documents import Document, milliseconds
from models import AuditEvent, Erasure


def _without_nulls(document: Document) -> Document:
    return {key: value for key, value in document.items() if value is not None}


def erasure_document(erasure: Erasure) -> Document:
    """A receipt; without `completedAt` what it is about is still going, slice by slice."""
    return _without_nulls(
        {
            "id": str(erasure.id),
            "kind": erasure.kind,
            "targetId": str(erasure.target_id),
            "conversationId": str(erasure.conversation_id) if erasure.conversation_id else None,
            "jobId": str(erasure.job_id) if erasure.job_id else None,
            "messages": erasure.messages,
            "conversations": erasure.conversations,
            "attachments": erasure.attachments,
            "actor": erasure.actor,
            "createdAt": milliseconds(erasure.created_at),
            "completedAt": milliseconds(erasure.completed_at),
        }
    )


def exported_erasure(erasure: Erasure) -> Document:
    """A receipt as it lies beside the backups, with its account."""
    named = erasure.target_ids
    many = {} if named is None else {"targetIds": [str(one) for one in named]}
    return {"accountId": str(erasure.account_id), **erasure_document(erasure), **many}


def audit_document(event: AuditEvent) -> Document:
    """Who was shown what: ids, kinds and counts."""
    return _without_nulls(
        {
            "id": str(event.id),
            "action": event.action,
            "actor": event.actor,
            "targetId": str(event.target_id) if event.target_id else None,
            "details": dict(event.details),
            "createdAt": milliseconds(event.created_at),
        }
    )
