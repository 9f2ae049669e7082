"""The JSON documents of secrets: everything but what they are."""

from __future__ import annotations

from core.documents import Document, milliseconds
from core.documents_files import without_nulls
from core.secrets import SHARED
from models import Secret


def secret_document(secret: Secret) -> Document:
    """A secret without its value, and without a hint of it."""
    return without_nulls(
        {
            "id": str(secret.id),
            "name": secret.name,
            "description": secret.description,
            "alias": secret.alias,
            "blueprintId": secret.blueprint_id,
            "kind": SHARED,
            "type": secret.type,
            "visibility": secret.visibility,
            "lastUsedAt": milliseconds(secret.last_used_at),
            "meta": secret.meta or None,
            "createdAt": milliseconds(secret.created_at),
            "updatedAt": milliseconds(secret.updated_at),
        }
    )
