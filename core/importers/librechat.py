"""Conversations of LibreChat, as a list or a tree of messages, and of ChatbotUI."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from core.importers.parts import (
    ROLES,
    Said,
    call,
    distinct,
    identity,
    in_line,
    instant,
    label,
    listed,
    mapping,
    mention,
    messages_of,
    result,
    said,
    short,
    spanned,
)
from core.importers.records import Conversation, Message, Notes, Unreadable, short_digest
from core.importers.trees import Node, arranged

NO_PARENT = "00000000-0000-0000-0000-000000000000"


def read_row(row: Mapping[str, Any], notes: Notes) -> Iterator[Conversation]:
    """One conversation of LibreChat.

    Raises:
        Unreadable: `no_conversation`.

    """
    spoken = row.get("messagesTree") if isinstance(row.get("messagesTree"), list) else row.get("messages")
    if not isinstance(spoken, list):
        raise Unreadable("no_conversation")
    flat = list(_flat(spoken, notes))
    keys = distinct(
        identity(message.get("messageId")) or f"message-{at}" for at, (message, _) in enumerate(flat)
    )
    linked = any("parentMessageId" in message or above is not None for message, above in flat)
    tree = {}
    for at, (key, (message, above)) in enumerate(zip(keys, flat, strict=True)):
        told = message.get("parentMessageId")
        parent = told if isinstance(told, str) else keys[above] if above is not None else None
        before = keys[at - 1] if at and not linked else None
        tree[key] = Node(
            key,
            (None if parent == NO_PARENT else parent) if linked else before,
            _parts(message, notes),
            instant(message.get("createdAt"), notes),
            instant(message.get("updatedAt"), notes),
        )
    options = mapping(row.get("options"))
    yield spanned(
        Conversation(
            key=identity(row.get("conversationId")) or short_digest("librechat", *keys),
            title=label(row.get("title")),
            created_at=instant(row.get("createdAt"), notes),
            updated_at=instant(row.get("updatedAt"), notes),
            meta=short(
                {"endpoint": row.get("endpoint"), "model": options.get("model"), "tags": row.get("tags")}
            ),
            messages=arranged(tree, None, notes),
        )
    )


def _flat(spoken: list[Any], notes: Notes) -> Iterator[tuple[dict[str, Any], int | None]]:
    """Every message of the trees, parents first, with the place of the one it stands below."""
    waiting: list[tuple[Any, int | None]] = [(message, None) for message in reversed(spoken)]
    count = 0
    while waiting:
        message, above = waiting.pop()
        if not isinstance(message, dict):
            notes.reject("bad_message")
            continue
        yield message, above
        waiting.extend((child, count) for child in reversed(listed(message.get("children"))))
        count += 1


def _parts(message: Mapping[str, Any], notes: Notes) -> list[Said]:
    mine = message.get("isCreatedByUser")
    kind = (
        "user" if mine is True or (mine is None and said(message.get("sender")).lower() == "user") else "bot"
    )
    parts: list[Said] = []
    for block in listed(message.get("content")):
        parts += _block(block, kind, notes)
    if not any(part.type == kind and part.text.strip() for part in parts):
        parts.append(Said(kind, said(message.get("text"))))
    files = [
        mention("file", file.get("filename"))
        for file in listed(message.get("files"))
        if isinstance(file, dict)
    ]
    if files:
        parts.append(Said("context", "\n".join(files), {"attachments": len(files)}))
    about = short(
        {
            "model": message.get("model") if kind == "bot" else None,
            "finish": message.get("finish_reason"),
            "failed": message.get("error") is True,
            "unfinished": message.get("unfinished") is True,
        }
    )
    for part in parts:
        part.meta.update(about)
    return parts


def _block(block: Any, kind: str, notes: Notes) -> list[Said]:
    type_ = said(mapping(block).get("type"))
    inner = mapping(block).get(type_)
    if type_ == "text":
        return [Said(kind, said(inner) or said(mapping(inner).get("value")))]
    if type_ == "think":
        return [Said("reasoning", said(inner))]
    if type_ == "tool_call" and isinstance(inner, dict):
        called = call(inner.get("name"), inner.get("args"))
        answer = inner.get("output")
        return [called, result(inner.get("name"), answer)] if answer else [called]
    notes.unknown("block", type_)
    return [Said(kind, mention("image" if type_ in {"image_file", "image_url"} else "attachment"))]


def read_chatbotui(row: Mapping[str, Any], notes: Notes) -> Iterator[Conversation]:
    """One conversation of ChatbotUI, which knows neither times nor keys of messages.

    Raises:
        Unreadable: `no_conversation`.

    """
    spoken = row.get("messages")
    if not isinstance(spoken, list):
        raise Unreadable("no_conversation")
    messages: list[Message] = []
    for at, message in enumerate(spoken):
        if not isinstance(message, dict) or not isinstance(message.get("content"), str):
            notes.reject("bad_message")
            continue
        kind = ROLES.get(said(message.get("role")))
        if kind is None:
            notes.unknown("role", message.get("role"))
        messages += messages_of(f"message-{at}", [Said(kind or "context", message["content"])], None)
    name = label(row.get("name"))
    yield Conversation(
        key=identity(row.get("id")) or short_digest("chatbotui", name, *(each.text for each in messages)),
        title=name,
        meta=short({"model": mapping(row.get("model")).get("id"), "folder": row.get("folderId")}),
        messages=in_line(messages),
    )
