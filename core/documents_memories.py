"""The JSON documents of memories; as in core/documents.py."""

from __future__ import annotations

from core.documents import Document, milliseconds
from core.documents_files import without_nulls
from models import Memory


def memory_document(memory: Memory) -> Document:
    """A memory; with the conversation that a turn has made it of."""
    links = {"botId": memory.bot_id, "contactId": memory.contact_id, "conversationId": memory.conversation_id}
    return without_nulls(
        {
            "id": str(memory.id),
            **{name: None if link is None else str(link) for name, link in links.items()},
            "name": memory.name,
            "description": memory.description,
            "text": memory.text,
            "meta": memory.meta or None,
            "expiresAt": milliseconds(memory.expires_at),
            "createdAt": milliseconds(memory.created_at),
            "updatedAt": milliseconds(memory.updated_at),
        }
    )


def found_document(memory: Memory) -> Document:
    """A memory as a search tells it."""
    return without_nulls({"id": str(memory.id), "text": memory.text, "meta": memory.meta or None})
