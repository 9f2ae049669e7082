"""What a conversation can be told of itself, and how each part is checked."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy.orm import Session

from core.bots import BACKSTORY_BYTES
from core.chat.model_name import model_string
from core.errors import InvalidInput, NotFound
from core.policies import checked_instant
from core.rows import checked_text, database_now, own
from models import Contact, ConversationStatus, Dataset, Skillset, Task, TaskState

SOURCE = "api"
LONGEST_SOURCE = 100

Check = Callable[[Any], Any]


def _text(label: str, longest: int) -> Check:
    return lambda value: checked_text(value, label, longest=longest, empty=True)


def _source(value: Any) -> str:
    """Where it came from, in the caller's own words; null is this API."""
    source = checked_text(value, "The source", longest=4 * LONGEST_SOURCE)
    if source is not None and len(source) > LONGEST_SOURCE:
        raise InvalidInput(f"The source is longer than {LONGEST_SOURCE} characters.")
    return source or SOURCE


def _flag(label: str) -> Check:
    def check(value: Any) -> bool:
        if not isinstance(value, bool | None):
            raise InvalidInput(f"{label} must be true or false.")
        return bool(value)

    return check


def _status(value: Any) -> ConversationStatus:
    if value is None:
        return ConversationStatus.ACTIVE
    if not isinstance(value, str) or value not in set(ConversationStatus):
        raise InvalidInput(f"The status must be one of {', '.join(ConversationStatus)}.")
    return ConversationStatus(value)


CHECKS: Mapping[str, Check] = {
    "name": _text("The name", 1000),
    "description": _text("The description", 64 * 1024),
    "backstory": _text("The backstory", BACKSTORY_BYTES),
    "model": model_string,
    "privacy": _flag("privacy"),
    "moderation": _flag("moderation"),
    "source": _source,
    "status": _status,
    "expires_at": lambda value: checked_instant("The end of a conversation", value),
}
LINKS = frozenset({"bot_id", "contact_id", "task_id", "dataset_id", "skillset_id"})


def checked_fields(session: Session, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The given fields as they are stored, without links and meta.

    Raises:
        InvalidInput: a field that is unknown or cannot be stored, an end that has passed.

    """
    unknown = fields.keys() - CHECKS.keys() - LINKS - {"meta"}
    if unknown:
        raise InvalidInput(f"A conversation has no field {min(unknown)}.")
    checked = {name: check(fields[name]) for name, check in CHECKS.items() if name in fields}
    end = checked.get("expires_at")
    if end is not None and end <= database_now(session):
        raise InvalidInput("A conversation expires in the future; expiresAt is in epoch milliseconds.")
    return checked


def linked_fields(session: Session, fields: Mapping[str, Any]) -> dict[str, uuid.UUID | None]:
    """The ids of the contact, the task, the dataset and the skillset, as far as they are given.

    Raises:
        NotFound, NotAuthorized: one of them.

    """
    links: dict[str, uuid.UUID | None] = {}
    for name, wanted in fields.items():
        if name in LINKS and wanted is None:
            links[name] = None
        elif name == "contact_id":
            links[name] = own(session, Contact, wanted).id
        elif name == "task_id":
            links[name] = _task(session, wanted)
        elif name == "dataset_id":
            links[name] = own(session, Dataset, wanted).id
        elif name == "skillset_id":
            links[name] = own(session, Skillset, wanted).id
    return links


def _task(session: Session, wanted: uuid.UUID | str) -> uuid.UUID:
    task = own(session, Task, wanted)
    if task.state == TaskState.DELETED:
        raise NotFound("There is no such task.")
    return task.id
