"""The JSON documents of files and attachments."""

from __future__ import annotations

from core.attachments import Attached
from core.documents import Document, milliseconds
from models import Blob, File


def attachment_document(attached: Attached) -> Document:
    attachment, blob = attached
    return without_nulls(
        {
            "id": str(attachment.id),
            "conversationId": str(attachment.conversation_id),
            "messageId": str(attachment.message_id) if attachment.message_id else None,
            "name": blob.name,
            "type": blob.type,
            "size": blob.size,
            "meta": attachment.meta or None,
            "createdAt": milliseconds(attachment.created_at),
            "updatedAt": milliseconds(attachment.updated_at),
        }
    )


def file_document(file: File, content: Blob | None) -> Document:
    """A file, with what is known of its content where there is some."""
    return without_nulls(
        {
            "id": str(file.id),
            "name": file.name,
            "description": file.description,
            "alias": file.alias,
            "blueprintId": file.blueprint_id,
            "visibility": file.visibility,
            "type": content.type if content else None,
            "size": content.size if content else None,
            "fileName": content.name if content else None,
            "meta": file.meta or None,
            "createdAt": milliseconds(file.created_at),
            "updatedAt": milliseconds(file.updated_at),
        }
    )


def without_nulls(document: Document) -> Document:
    return {key: value for key, value in document.items() if value is not None}
