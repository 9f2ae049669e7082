"""Conversations of a Claude.ai export: messages of blocks, in a line or under their parents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from core.importers.parts import (
    Said,
    call,
    distinct,
    identity,
    instant,
    label,
    listed,
    mention,
    result,
    said,
    short,
    spanned,
)
from core.importers.records import Conversation, Notes, Unreadable, short_digest
from core.importers.trees import Node, arranged

TYPES = {"human": "user", "assistant": "bot"}
PARENTS = ("parent_message_uuid", "parent_uuid")
FIRST = "00000000-0000-4000-8000-000000000000"


def read_row(row: Mapping[str, Any], notes: Notes) -> Iterator[Conversation]:
    """One conversation.

    Raises:
        Unreadable: `no_conversation`.

    """
    spoken = row.get("chat_messages")
    if not isinstance(spoken, list):
        raise Unreadable("no_conversation")
    good = [message for message in spoken if isinstance(message, dict)]
    for _ in range(len(spoken) - len(good)):
        notes.reject("bad_message")
    tree = _tree(good, notes)
    leaf = row.get("current_leaf_message_uuid")
    yield spanned(
        Conversation(
            key=identity(row.get("uuid")) or short_digest("claude", *tree),
            title=label(row.get("name")),
            description=label(row.get("summary")),
            created_at=instant(row.get("created_at"), notes),
            updated_at=instant(row.get("updated_at"), notes),
            meta=short({"starred": row.get("is_starred"), "model": row.get("model")}),
            messages=arranged(tree, leaf if isinstance(leaf, str) else None, notes),
        )
    )


def _tree(spoken: list[dict[str, Any]], notes: Notes) -> dict[str, Node]:
    """Older exports have no parents: there each message follows the one before it."""
    keys = distinct(identity(message.get("uuid")) or f"message-{at}" for at, message in enumerate(spoken))
    told = any(name in message for message in spoken for name in PARENTS)
    before = {key: previous for previous, key in pairwise(keys)}
    tree = {}
    for key, message in zip(keys, spoken, strict=True):
        parent = next((message[name] for name in PARENTS if isinstance(message.get(name), str)), None)
        tree[key] = Node(
            key,
            (None if parent == FIRST else parent) if told else before.get(key),
            _parts(message, notes),
            instant(message.get("created_at"), notes),
            instant(message.get("updated_at"), notes),
        )
    return tree


def _parts(message: Mapping[str, Any], notes: Notes) -> list[Said]:
    kind = TYPES.get(said(message.get("sender")))
    if kind is None:
        notes.unknown("role", message.get("sender"))
        kind = "context"
    parts: list[Said] = []
    for block in listed(message.get("content")):
        if isinstance(block, dict):
            _add_block(parts, kind, block, notes)
        else:
            notes.reject("bad_message")
    if not any(part.type == kind and part.text.strip() for part in parts):
        parts.append(Said(kind, said(message.get("text"))))
    parts += _attached(message, notes)
    for part in parts:
        part.meta.update(short({"model": message.get("model")}))
    return parts


def _add_block(parts: list[Said], kind: str, block: Mapping[str, Any], notes: Notes) -> None:
    type_ = said(block.get("type"))
    if type_ == "text":
        if parts and parts[-1].type == kind:
            parts[-1].text += "\n\n" + said(block.get("text"))
        else:
            parts.append(Said(kind, said(block.get("text"))))
    elif type_ == "thinking":
        parts.append(Said("reasoning", said(block.get("thinking")) or said(block.get("text"))))
    elif type_ == "tool_use":
        parts.append(call(block.get("name"), block.get("input")))
    elif type_ == "tool_result":
        parts.append(result(block.get("name"), _result(block.get("content")), **_failed(block)))
    elif type_ in {"image", "document", "file"}:
        parts.append(Said(kind, mention(type_, block.get("file_name"))))
    elif type_ not in {"token_budget", "redacted_thinking"}:
        notes.unknown("block", type_)
        parts.append(Said(kind, said(block.get("text"))))


def _result(content: Any) -> Any:
    """The texts of an answer where it is nothing else."""
    if isinstance(content, list) and content:
        texts = [block.get("text") if isinstance(block, dict) else block for block in content]
        if all(isinstance(text, str) for text in texts):
            return "\n".join(text for text in texts if text)
    return content


def _failed(block: Mapping[str, Any]) -> dict[str, bool]:
    return {"failed": True} if block.get("is_error") is True else {}


def _attached(message: Mapping[str, Any], notes: Notes) -> list[Said]:
    """What was extracted from an attachment was shown to the model, and so belongs to what was said."""
    parts = []
    files = [*listed(message.get("attachments")), *listed(message.get("files"))]
    for file in files:
        if not isinstance(file, dict):
            notes.unknown("attachment")
            continue
        words = [mention("file", file.get("file_name")), said(file.get("extracted_content"))]
        parts.append(Said("context", "\n".join(filter(None, words)), {"attachments": 1}))
    return parts
