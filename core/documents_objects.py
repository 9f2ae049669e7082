"""The JSON documents of what stands beside conversations, tasks and runs; as in core/documents.py."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, time

from core.documents import Document, milliseconds
from core.events import Event
from core.platform import Model
from core.used import UsedItem
from models import Account, Bot, Contact, Rating


def _without_nulls(document: Document) -> Document:
    return {key: value for key, value in document.items() if value is not None}


def _id(value: object) -> str | None:
    return None if value is None else str(value)


def bot_document(bot: Bot) -> Document:
    return _without_nulls(
        {
            "id": str(bot.id),
            "name": bot.name,
            "description": bot.description,
            "backstory": bot.backstory,
            "model": bot.model,
            "datasetId": _id(bot.dataset_id),
            "skillsetId": _id(bot.skillset_id),
            "privacy": bot.privacy,
            "moderation": bot.moderation,
            "visibility": bot.visibility,
            "alias": bot.alias,
            "default": bot.is_default or None,
            "meta": bot.meta or None,
            "createdAt": milliseconds(bot.created_at),
            "updatedAt": milliseconds(bot.updated_at),
        }
    )


def contact_document(contact: Contact) -> Document:
    """A contact; its fingerprint is always there."""
    return _without_nulls(
        {
            "id": str(contact.id),
            "fingerprint": contact.fingerprint,
            "name": contact.name,
            "description": contact.description,
            "email": contact.email,
            "phone": contact.phone,
            "nick": contact.nick,
            "preferences": contact.preferences,
            "verifiedAt": milliseconds(contact.verified_at),
            "meta": contact.meta or None,
            "createdAt": milliseconds(contact.created_at),
            "updatedAt": milliseconds(contact.updated_at),
        }
    )


def rating_document(rating: Rating) -> Document:
    return _without_nulls(
        {
            "id": str(rating.id),
            "botId": _id(rating.bot_id),
            "contactId": _id(rating.contact_id),
            "conversationId": _id(rating.conversation_id),
            "messageId": _id(rating.message_id),
            "value": rating.value,
            "reason": rating.reason,
            "createdAt": milliseconds(rating.created_at),
            "updatedAt": milliseconds(rating.created_at),
        }
    )


def usage_document(used: dict[str, int], kept: dict[str, int]) -> Document:
    """There are no files and no users below an account."""
    return {**used, "database": {**kept, "files": 0, "users": 0}}


def series_document(days: Sequence[tuple[datetime, dict[str, int]]]) -> Document:
    return {
        name: [{"date": milliseconds(day), "total": counts[name]} for day, counts in days]
        for name in ("tokens", "conversations", "messages")
    }


def used_document(item: UsedItem) -> Document:
    day = milliseconds(datetime.combine(item.day, time(), UTC))
    return {"id": str(item.id), "type": item.type, "count": item.count, "createdAt": day, "updatedAt": day}


def model_document(model: Model) -> Document:
    """A model, whose id is its name. It was there before the account, so it has the age of the epoch."""
    return {
        "id": model.name,
        "name": model.name,
        "type": "language",
        "provider": model.provider,
        "family": model.family,
        "maxTokens": model.input_tokens + model.output_tokens,
        "maxInputTokens": model.input_tokens,
        "maxOutputTokens": model.output_tokens,
        "createdAt": 0,
        "updatedAt": 0,
    }


def team_document(account: Account) -> Document:
    created = milliseconds(account.created_at)
    return {"id": str(account.id), "name": account.name, "createdAt": created, "updatedAt": created}


def event_document(event: Event) -> Document:
    """An event of the log; `meta` tells the run, and why it gave nothing."""
    at = milliseconds(event.at)
    return _without_nulls(
        {
            "id": str(event.id),
            "type": event.type.value,
            "conversationId": _id(event.conversation_id),
            "taskId": _id(event.task_id),
            "botId": _id(event.bot_id),
            "contactId": _id(event.contact_id),
            "meta": _without_nulls({"runId": _id(event.run_id), "reason": event.reason}) or None,
            "createdAt": at,
            "updatedAt": at,
        }
    )
