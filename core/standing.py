"""Standing: whether tokens that opened a connection still open it."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from sqlalchemy import text
from sqlalchemy.orm import Session

STANDING = text(
    "SELECT t.id FROM api_tokens t JOIN accounts a ON a.id = t.account_id"
    " WHERE t.id = ANY(CAST(:ids AS uuid[])) AND t.revoked_at IS NULL AND a.closed_at IS NULL"
    " AND (t.expires_at IS NULL OR t.expires_at > now())"
    " UNION ALL SELECT s.id FROM session_tokens s JOIN accounts a ON a.id = s.account_id"
    " WHERE s.id = ANY(CAST(:ids AS uuid[])) AND s.expires_at > now() AND a.closed_at IS NULL"
)


def standing(session: Session, token_ids: Iterable[uuid.UUID]) -> set[uuid.UUID]:
    """Those of the tokens that are not revoked, expired or of a closed account."""
    return set(session.scalars(STANDING, {"ids": list(token_ids)}))
