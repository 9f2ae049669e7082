"""What a server of ChatBotKit's API lists, as records. Pure, and forgiving: what nobody knows is left out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Any

from core.bots import BACKSTORY_BYTES
from core.chat.model_name import model_string
from core.contacts import CHECKS as OF_CONTACTS
from core.errors import InvalidInput
from core.import_columns import DESCRIPTION, cut
from core.importers.parts import Said, by_time, in_line, instant, messages_of
from core.importers.records import Bot, Contact, Conversation, Message, Notes, Task, short_digest
from core.policies import CHECKS as OF_TASKS
from models import MAX_TEXT_BYTES, Action, ConversationStatus, MessageType, Visibility

Item = Mapping[str, Any]
TYPES = frozenset(MessageType)
# As the SDKs put them into a path, where nothing else can be asked for.
_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")
_WORD = re.compile(r"[^\W_]")
PLAIN = {
    "maxTime": "max_time_ms",
    "maxIterations": "max_iterations",
    "maxCalls": "max_calls",
    "maxTokens": "max_tokens",
    "maxCost": "max_cost",
    "maxTokensPerDay": "max_tokens_per_day",
    "maxCostPerDay": "max_cost_per_day",
    "maxAttempts": "max_attempts",
    "maxConsecutiveFailures": "max_consecutive_failures",
    "overlap": "overlap",
    "catchUp": "catch_up",
    "catchUpMax": "catch_up_max",
    "retryOn": "retry_on",
}
SPANS = {
    "catchUpWindow": "catch_up_window",
    "jitter": "jitter",
    "retryDelay": "retry_delay",
    "sessionDuration": "session_duration",
}
LINKS = {"botId": "bot", "contactId": "contact", "taskId": "task"}


def id_of(item: Any) -> str | None:
    """The id of what a list holds; None where nothing could be asked for under it."""
    value = item.get("id") if isinstance(item, Mapping) else None
    return value if isinstance(value, str) and _ID.fullmatch(value) else None


def links_of(item: Item) -> dict[str, str]:
    """What it hangs on there, by ids: `bot contact task`."""
    return {name: value for field, name in LINKS.items() if (value := id_of({"id": item.get(field)}))}


def read_bot(item: Item, key: str, row: int, notes: Notes) -> Bot:
    """A bot. Knowledge and abilities stay where they are, and are counted."""
    for field in ("datasetId", "skillsetId"):
        if item.get(field):
            notes.unknown("left", field)
    fields = {
        "description": _text(item.get("description")),
        "backstory": _text(item.get("backstory")),
        "model": _model(item.get("model"), notes),
        "privacy": item.get("privacy") is True,
        "moderation": item.get("moderation") is True,
        "meta": _meta(item.get("meta")),
    }
    if visibility := _one_of(Visibility, item.get("visibility")):
        fields["visibility"] = visibility
    return Bot(key, _text(item.get("name")), fields, row)


def read_contact(item: Item, key: str, notes: Notes) -> Contact:
    """A contact; an address or a number that is none is left out."""
    more = {
        "description": _text(item.get("description")),
        "preferences": _text(item.get("preferences")),
        "verified_at": instant(item.get("verifiedAt"), notes),
    }
    usable = {name: _usable(OF_CONTACTS[name], item.get(name), name, notes) for name in ("email", "phone")}
    return Contact(
        key=key,
        name=_text(item.get("name")),
        nick=_text(item.get("nick")),
        email=usable["email"],
        phone=usable["phone"],
        meta=_meta(item.get("meta")),
        fingerprint=_text(item.get("fingerprint")),
        more={name: value for name, value in more.items() if value is not None},
    )


def read_task(item: Item, key: str, row: int, notes: Notes) -> Task:
    """A task with its schedule; limits and policies that are none here are left out."""
    given = {name: item[field] for field, name in PLAIN.items() if item.get(field) is not None}
    for field, name in SPANS.items():
        if isinstance(item.get(field), int | float) and 0 < item[field] < 1e11:
            given[name] = timedelta(milliseconds=item[field])
    usable = {
        name: _usable(lambda v, n=name: OF_TASKS[n](n, v), value, name, notes)
        for name, value in given.items()
    }
    fields = {name: value for name, value in usable.items() if value is not None}
    if item.get("conversationMode") == "one":
        fields = {name: value for name, value in fields.items() if name != "session_duration"}
        fields["conversation_mode"] = "one"
    return Task(
        key=key,
        name=_text(item.get("name")) or "",
        prompt=cut(_text(item.get("description")), MAX_TEXT_BYTES) or "",
        schedule=_text(item.get("schedule")) or "",
        timezone=_text(item.get("timezone")),
        expires_at=instant(item.get("expiresAt"), notes),
        meta=_meta(item.get("meta")),
        row=row,
        fields={"action": _one_of(Action, item.get("action")) or "complete", **fields},
        links={name: value for name, value in links_of(item).items() if name != "task"},
    )


def read_talk(item: Item, key: str, row: int, messages: Iterable[Any], notes: Notes) -> Conversation:
    """A conversation with some of its messages."""
    said = [message for one in messages for message in _messages(one, notes)]
    for field in ("datasetId", "skillsetId"):
        if item.get(field):
            notes.unknown("left", field)
    return Conversation(
        key=key,
        title=_text(item.get("name")),
        description=cut(_text(item.get("description")), DESCRIPTION),
        created_at=instant(item.get("createdAt"), notes),
        updated_at=instant(item.get("updatedAt"), notes),
        meta=_meta(item.get("meta")),
        messages=in_line(by_time(said)),
        row=row,
        source=_text(item.get("source")),
        status=_one_of(ConversationStatus, item.get("status")),
        model=_model(item.get("model"), notes),
        backstory=cut(_text(item.get("backstory")), BACKSTORY_BYTES),
        moderation=item.get("moderation") is True,
        privacy=item.get("privacy") is True,
        expires_at=instant(item.get("expiresAt"), notes),
        links=links_of(item),
    )


def _messages(item: Any, notes: Notes) -> Iterator[Message]:
    if not isinstance(item, Mapping) or not isinstance(item.get("text"), str):
        notes.reject("bad_message")
        return
    kind, text = item.get("type"), item["text"]
    if not text.strip():  # of one that nobody may see before it was annotated, for example
        notes.unknown("empty_text")
        return
    if not isinstance(kind, str) or kind not in TYPES:
        notes.unknown("role", kind)
        kind = MessageType.CONTEXT.value
    created = instant(item.get("createdAt"), notes)
    key = id_of(item) or short_digest("message", kind, text, str(created))
    part = Said(kind, text, _meta(item.get("meta")), _text(item.get("name")), _text(item.get("description")))
    yield from messages_of(key, [part], created, instant(item.get("updatedAt"), notes))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _one_of(words: type[StrEnum], value: Any) -> str | None:
    return value if isinstance(value, str) and value in set(words) else None


def _meta(value: Any) -> dict[str, Any]:
    given = value if isinstance(value, Mapping) else {}
    return {key: inner for key, inner in given.items() if _WORD.match(key)}


def _model(value: Any, notes: Notes) -> str | None:
    try:
        return model_string(value or None)
    except InvalidInput:
        notes.unknown("model")
        return None


def _usable(check: Any, value: Any, name: str, notes: Notes) -> Any:
    try:
        return check(value or None)
    except InvalidInput:
        notes.unknown("unusable", name)
        return None
