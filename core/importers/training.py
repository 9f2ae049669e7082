"""Training data as conversations: ShareGPT and OpenAI's fine-tuning lines.

Neither has keys nor times that mean anything: ids are often the row's number, and the same in every data
set. The key follows from what is said, so that a row is the same one in a longer file, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from core.importers.parts import (
    ROLES,
    Said,
    call,
    extra,
    identity,
    in_line,
    inner_json,
    label,
    listed,
    mapping,
    mention,
    messages_of,
    plain_json,
    result,
    said,
    short,
)
from core.importers.records import Conversation, Message, Notes, Unreadable, short_digest


def read_sharegpt(row: Mapping[str, Any], notes: Notes) -> Iterator[Conversation]:
    """One row of ShareGPT; `columns` may rename `conversations`, `from`, `value`, `system` and `tools`.

    Raises:
        Unreadable: `no_conversation`.

    """
    names = {name: name for name in ("conversations", "from", "value", "system", "tools")} | dict(
        notes.columns
    )
    spoken = row.get(names["conversations"])
    if not isinstance(spoken, list):
        raise Unreadable("no_conversation")
    told: list[list[Said]] = []
    if said(row.get(names["system"])).strip():
        told.append([Said("context", said(row[names["system"]]))])
    for turn in spoken:
        value = mapping(turn).get(names["value"])
        if not isinstance(value, str):
            notes.reject("bad_message")
            continue
        told.append([_turn(said(turn.get(names["from"])), value, notes)])
    yield _conversation("sharegpt", row, told, row.get(names["tools"]))


def _turn(speaker: str, value: str, notes: Notes) -> Said:
    if speaker == "function_call":
        called = mapping(_json(value))
        return call(called.get("name"), called.get("arguments", value))
    if speaker in {"observation", "tool"}:
        return result(None, value)
    return Said(_type(speaker, notes), value)


def read_openai(row: Mapping[str, Any], notes: Notes) -> Iterator[Conversation]:
    """One line of a fine-tuning file.

    Raises:
        Unreadable: `no_conversation`.

    """
    spoken = row.get("messages")
    if not isinstance(spoken, list):
        raise Unreadable("no_conversation")
    names: dict[str, Any] = {}
    told = []
    for message in spoken:
        if isinstance(message, dict):
            told.append(_openai_parts(message, names, notes))
        else:
            notes.reject("bad_message")
    yield _conversation("openai", row, told, row.get("tools"))


def _openai_parts(message: Mapping[str, Any], names: dict[str, Any], notes: Notes) -> list[Said]:
    role = said(message.get("role"))
    about = short({"weight": message.get("weight")})
    if role in {"tool", "function"}:
        name = names.get(said(message.get("tool_call_id"))) or message.get("name")
        return [result(name, _content(message.get("content"), notes), **about)]
    parts = [
        Said(
            _type(role, notes),
            _content(message.get("content"), notes),
            dict(about),
            label(message.get("name")),
        )
    ]
    if said(message.get("refusal")).strip():
        parts.append(Said("bot", said(message["refusal"]), {**about, "refused": True}))
    for asked in [*listed(message.get("tool_calls")), message.get("function_call")]:
        if asked is None:
            continue
        function = mapping(mapping(asked).get("function")) or mapping(asked)
        names[said(mapping(asked).get("id"))] = function.get("name")
        parts.append(call(function.get("name"), function.get("arguments"), **about))
    return parts


def _content(content: Any, notes: Notes) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        notes.reject("bad_message")
        return ""
    pieces = []
    for part in content:
        if isinstance(mapping(part).get("text"), str):
            pieces.append(part["text"])
        else:
            kind = said(mapping(part).get("type"))
            notes.unknown("part", kind)
            pieces.append(mention("image" if kind == "image_url" else "attachment"))
    return "\n".join(pieces)


def _conversation(
    source: str, row: Mapping[str, Any], told: Sequence[Sequence[Said]], tools: Any
) -> Conversation:
    messages: list[Message] = []
    for at, parts in enumerate(told):
        messages += messages_of(f"message-{at}", parts, None)
    given = identity(row.get("id"))
    content = short_digest(source, *(part for each in messages for part in (each.type, each.text)))
    kept = extra(_json(tools)) if tools else None
    return Conversation(
        key=f"{given}:{content}" if given else content,
        title=label(row.get("title")),
        meta={"tools": kept} if kept else {},
        messages=in_line(messages),
    )


def _type(speaker: str, notes: Notes) -> str:
    kind = ROLES.get(speaker.lower())
    if kind is None:
        notes.unknown("role", speaker)
    return kind or "context"


def _json(value: Any) -> Any:
    try:
        return inner_json(value) if isinstance(value, str) else value
    except ValueError:
        return plain_json(value)
