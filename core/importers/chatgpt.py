"""Conversations of a ChatGPT export: a mapping of nodes, and the node that was looked at last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from core.importers.parts import (
    Said,
    call,
    identity,
    instant,
    label,
    listed,
    mapping,
    mention,
    plain_json,
    result,
    said,
    short,
    spanned,
)
from core.importers.records import Conversation, Notes, Unreadable, short_digest
from core.importers.trees import Node, arranged

TYPES = {"user": "user", "assistant": "bot", "system": "context", "tool": "activity"}
POINTERS = {
    "image_asset_pointer": "image",
    "audio_asset_pointer": "audio",
    "video_container_asset_pointer": "video",
}
SPOKEN = frozenset({"text", "multimodal_text"})


def read_row(row: Mapping[str, Any], notes: Notes) -> Iterator[Conversation]:
    """One conversation.

    Raises:
        Unreadable: `no_mapping`, `no_conversation`.

    """
    nodes = row.get("mapping")
    if not isinstance(nodes, dict):
        raise Unreadable("no_mapping" if "mapping" in row or "title" in row else "no_conversation")
    key = identity(row.get("conversation_id")) or identity(row.get("id"))
    model = label(row.get("default_model_slug"))
    parents = _parents(nodes)
    tree = {}
    for name, node in nodes.items():
        if not isinstance(node, dict):
            notes.reject("bad_message")
            continue
        tree[name] = _node(name, parents.get(name), node.get("message"), model, notes)
    leaf = row.get("current_node")
    messages = arranged(tree, leaf if isinstance(leaf, str) else None, notes)
    yield spanned(
        Conversation(
            key=key or short_digest("chatgpt", *sorted(nodes)),
            title=label(row.get("title")),
            created_at=instant(row.get("create_time"), notes),
            updated_at=instant(row.get("update_time"), notes),
            meta=short(
                {
                    "model": model,
                    "archived": row.get("is_archived"),
                    "starred": row.get("is_starred"),
                    "gizmo": row.get("gizmo_id"),
                    "voice": row.get("voice"),
                }
            ),
            messages=messages,
        )
    )


def _parents(nodes: Mapping[str, Any]) -> dict[str, str | None]:
    """What each node says of its parent; where it says nothing, whose child it is said to be."""
    claimed = {
        child: name
        for name, node in nodes.items()
        for child in listed(mapping(node).get("children"))
        if isinstance(child, str) and child != name
    }
    return {
        name: parent if isinstance(parent := mapping(node).get("parent"), str) else claimed.get(name)
        for name, node in nodes.items()
    }


def _node(name: str, parent: str | None, message: Any, model: str | None, notes: Notes) -> Node:
    if message is None:
        return Node(name, parent)
    if not isinstance(message, dict):
        notes.reject("bad_message")
        return Node(name, parent)
    return Node(
        name,
        parent,
        _parts(message, model, notes),
        instant(message.get("create_time"), notes),
        instant(message.get("update_time"), notes),
    )


def _parts(message: Mapping[str, Any], default_model: str | None, notes: Notes) -> list[Said]:
    author, metadata = mapping(message.get("author")), mapping(message.get("metadata"))
    role = author.get("role")
    if not isinstance(role, str) or role not in TYPES:
        notes.unknown("role", role)
        role = "system"
    content = message.get("content")
    if not isinstance(content, dict):
        notes.reject("bad_message")
        return []
    kind = content.get("content_type")
    parts = _content(kind if isinstance(kind, str) else "", content, message, role, notes)
    about: dict[str, Any] = {}
    if role == "assistant":
        about = short({"model": metadata.get("model_slug") or default_model, "status": _unusual(message)})
    if metadata.get("is_visually_hidden_from_conversation") is True or (
        role == "system" and metadata.get("is_user_system_message") is not True
    ):
        about["hidden"] = True
    parts += _attached(metadata, notes)
    for part in parts:
        part.meta.update(about)
        part.name = label(author.get("name"))
    return parts


def _content(
    kind: str, content: Mapping[str, Any], message: Mapping[str, Any], role: str, notes: Notes
) -> list[Said]:
    author, recipient = mapping(message.get("author")), message.get("recipient")
    if kind in {"thoughts", "reasoning_recap"}:
        return [Said("reasoning", _thoughts(content))]
    if kind == "user_editable_context":
        texts = [said(content.get("user_profile")), said(content.get("user_instructions"))]
        return [Said("context", "\n\n".join(text for text in texts if text.strip()))]
    if kind in SPOKEN:
        text = _spoken(content, notes)
    elif kind in {
        "code",
        "execution_output",
        "tether_quote",
        "tether_browsing_display",
        "sonic_webpage",
        "system_error",
    }:
        text = _found(content)
    else:
        notes.unknown("content_type", kind)
        text = (
            _spoken(content, notes) if content.get("parts") else _found(content) or mention(kind or "unknown")
        )
    if role == "assistant" and isinstance(recipient, str) and recipient != "all":
        return [call(recipient, text)] if text.strip() else []
    if role == "tool" or kind in {"execution_output", "system_error"}:
        return [result(author.get("name"), text)] if text.strip() else []
    return [Said(TYPES[role], text)]


def _spoken(content: Mapping[str, Any], notes: Notes) -> str:
    said_parts = []
    for part in listed(content.get("parts")):
        if isinstance(part, str):
            said_parts.append(part)
        elif isinstance(part, dict):
            said_parts.append(_pointer(part, notes))
        elif part is not None:
            notes.reject("bad_message")
    return "\n".join(part for part in said_parts if part)


def _pointer(part: Mapping[str, Any], notes: Notes) -> str:
    kind = part.get("content_type")
    if isinstance(part.get("text"), str):
        return said(part["text"])
    if not isinstance(kind, str) or kind not in POINTERS:
        notes.unknown("part", kind)
        return mention("attachment")
    return mention(POINTERS[kind], part.get("asset_pointer"))


def _thoughts(content: Mapping[str, Any]) -> str:
    told = [
        "\n".join(filter(None, (said(thought.get("summary")), said(thought.get("content")))))
        for thought in listed(content.get("thoughts"))
        if isinstance(thought, dict)
    ]
    return "\n\n".join(filter(None, (*told, said(content.get("content")))))


def _found(content: Mapping[str, Any]) -> str:
    told = [content.get(field) for field in ("title", "name", "url", "text", "result")]
    return "\n".join(plain_json(each) for each in told if each)


def _attached(metadata: Mapping[str, Any], notes: Notes) -> list[Said]:
    names = []
    for file in listed(metadata.get("attachments")):
        if isinstance(file, dict):
            names.append(mention("file", file.get("name") or file.get("id")))
        else:
            notes.unknown("attachment")
    return [Said("context", "\n".join(names), {"attachments": len(names)})] if names else []


def _unusual(message: Mapping[str, Any]) -> Any:
    status = message.get("status")
    return status if status != "finished_successfully" else None
