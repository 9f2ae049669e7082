"""Chats of an Open WebUI export, in today's shape or the older one, and its automations as tasks."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from typing import Any

from core.importers.parts import (
    ROLES,
    Said,
    call,
    identity,
    instant,
    label,
    listed,
    mapping,
    mention,
    result,
    said,
    short,
    spanned,
)
from core.importers.records import Conversation, Notes, Unreadable, short_digest
from core.importers.trees import Node, arranged

_OPENING = re.compile(r'<details type="(reasoning|tool_calls|code_interpreter)"([^>]*)>')
_SUMMARY = re.compile(r"\A\s*<summary>[^<]*</summary>")
_ATTRIBUTE = re.compile(r'([a-z_]+)="([^"]*)"')
_CLOSING = "</details>"


def read_row(row: Mapping[str, Any], notes: Notes) -> Iterator[Conversation]:
    """One chat.

    Raises:
        Unreadable: `no_conversation`.

    """
    chat = row["chat"] if isinstance(row.get("chat"), dict) else row
    history = mapping(chat.get("history"))
    nodes = history.get("messages")
    leaf = history.get("currentId")
    if not isinstance(nodes, dict):
        nodes, leaf = _listed(chat.get("messages"))
    tree = {}
    for name, message in nodes.items():
        if isinstance(message, dict):
            tree[name] = _node(name, message, notes)
        else:
            notes.reject("bad_message")
    yield spanned(
        Conversation(
            key=identity(row.get("id")) or identity(chat.get("id")) or short_digest("openwebui", *tree),
            title=label(row.get("title")) or label(chat.get("title")),
            created_at=instant(row.get("created_at") or chat.get("timestamp"), notes),
            updated_at=instant(row.get("updated_at"), notes),
            meta=short(
                {
                    "models": chat.get("models"),
                    "tags": mapping(row.get("meta")).get("tags"),
                    "pinned": row.get("pinned"),
                    "archived": row.get("archived"),
                    "folder": row.get("folder_id"),
                }
            ),
            messages=arranged(tree, leaf if isinstance(leaf, str) else None, notes),
        )
    )


def _listed(messages: Any) -> tuple[dict[str, Any], str | None]:
    """The oldest exports have a list, in which each message follows the one before."""
    if not isinstance(messages, list):
        raise Unreadable("no_conversation")
    nodes: dict[str, Any] = {}
    before = None
    for at, message in enumerate(messages):
        key = (identity(message.get("id")) if isinstance(message, dict) else None) or f"message-{at}"
        key = key if key not in nodes else f"{key}~{at}"
        nodes[key] = {"parentId": before, **message} if isinstance(message, dict) else message
        before = key
    return nodes, before


def _node(name: str, message: Mapping[str, Any], notes: Notes) -> Node:
    parent = message.get("parentId")
    told = message.get("timestamp")
    return Node(
        name, parent if isinstance(parent, str) else None, _parts(message, notes), instant(told, notes)
    )


def _parts(message: Mapping[str, Any], notes: Notes) -> list[Said]:
    kind = ROLES.get(said(message.get("role")))
    if kind is None:
        notes.unknown("role", message.get("role"))
        kind = "context"
    parts = _output(message["output"], kind, notes) if message.get("output") else []
    if not any(part.type == kind and part.text.strip() for part in parts):
        told = _content(message.get("content"), kind, notes)
        parts = [*parts, *(part for part in told if not parts or part.type == kind)]
    about = short({"model": message.get("model"), "unfinished": message.get("done") is False})
    if kind == "bot" and message.get("error"):
        about["failed"] = True
    names = [
        mention(said(file.get("type")) or "file", file.get("name"))
        for file in listed(message.get("files"))
        if isinstance(file, dict)
    ]
    if names:
        parts.append(Said("context", "\n".join(names), {"attachments": len(names)}))
    for part in parts:
        part.meta.update(about)
    return parts


def _content(content: Any, kind: str, notes: Notes) -> list[Said]:
    if isinstance(content, list):
        return [Said(kind, "\n".join(_piece(piece, notes) for piece in content))]
    if content is not None and not isinstance(content, str):
        notes.reject("bad_message")
    return _unfolded(said(content), kind) if kind == "bot" else [Said(kind, said(content))]


def _piece(piece: Any, notes: Notes) -> str:
    if isinstance(piece, dict):
        if isinstance(piece.get("text"), str):
            return said(piece["text"])
        notes.unknown("part", piece.get("type"))
        return mention("image" if piece.get("type") == "image_url" else "attachment")
    return said(piece)


def _output(items: Any, kind: str, notes: Notes) -> list[Said]:
    parts: list[Said] = []
    names: dict[str, Any] = {}
    for item in listed(items):
        type_ = said(mapping(item).get("type"))
        if type_ == "reasoning":
            parts.append(Said("reasoning", _texts(item.get("content")) or _texts(item.get("summary"))))
        elif type_ == "function_call":
            names[said(item.get("call_id"))] = item.get("name")
            parts.append(call(item.get("name"), item.get("arguments")))
        elif type_ == "function_call_output":
            answer = item.get("output")
            parts.append(result(names.get(said(item.get("call_id"))), _texts(answer) or answer))
        elif type_ == "message":
            parts.append(Said(kind, _texts(item.get("content"))))
        else:
            notes.unknown("output", type_)
    return parts


def _texts(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(
        said(mapping(block).get("text")) for block in listed(content) if mapping(block).get("text")
    )


def _unfolded(content: str, kind: str) -> list[Said]:
    """An answer without the thoughts and calls that are folded into it as HTML, and those beside it."""
    parts: list[Said] = []
    plain: list[str] = []
    at = 0
    for found in _OPENING.finditer(content):
        if found.start() < at:
            continue
        end = content.find(_CLOSING, found.end())
        if end < 0:
            break
        plain.append(content[at : found.start()])
        parts += _folded(found[1], dict(_ATTRIBUTE.findall(found[2])), content[found.end() : end])
        at = end + len(_CLOSING)
    plain.append(content[at:])
    text = "".join(plain)
    return [*parts, Said(kind, text.strip() if parts else text)]


def _folded(type_: str, attributes: Mapping[str, str], inner: str) -> list[Said]:
    words = html.unescape(_SUMMARY.sub("", inner)).strip()
    if type_ == "reasoning":
        return [Said("reasoning", "\n".join(line.removeprefix("> ") for line in words.splitlines()))]
    told = {name: html.unescape(value) for name, value in attributes.items()}
    name = told.get("name") or type_
    called = call(name, told.get("arguments") or words or None)
    return [called, result(name, told["result"])] if told.get("result") else [called]
