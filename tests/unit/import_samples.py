"""Small exports of every format, made here, in the shapes their sources write."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

from core.importers import Limits, Record, Source, Unknowns, read

T0 = 1_760_000_000


def compact(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def jsonl(*rows: Any) -> bytes:
    return b"".join(compact(row) + b"\n" for row in rows)


def zipped(**members: bytes) -> bytes:
    return archive({name.replace("__", "/"): content for name, content in members.items()})


def archive(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return file.getvalue()


def records(
    content: bytes,
    format: str | None = None,  # noqa: A002
    *,
    name: str | None = None,
    unknowns: Unknowns | None = None,
    limits: Limits | None = None,
    **options: Any,
) -> list[Record]:
    source = Source(io.BytesIO(content), name)
    return list(read(source, format, unknowns=unknowns, limits=limits, **options))


def one(content: bytes, format: str | None = None, **options: Any) -> Any:  # noqa: A002
    (record,) = records(content, format, **options)
    return record


def told(conversation: Any) -> list[tuple[str, str]]:
    return [(message.type, message.text) for message in conversation.messages]


def gpt_node(
    key: str,
    parent: str | None,
    role: str = "user",
    text: str | None = "",
    at: float | None = None,
    **message: Any,
) -> dict[str, Any]:
    return {
        "id": key,
        "parent": parent,
        "children": [],
        "message": {
            "id": key,
            "author": {"role": role, "name": None, "metadata": {}},
            "create_time": at,
            "content": {"content_type": "text", "parts": [text]},
            "status": "finished_successfully",
            "recipient": "all",
            "metadata": {},
            **message,
        },
    }


def gpt(key: str = "c1", *nodes: dict[str, Any], **fields: Any) -> dict[str, Any]:
    every = nodes or (
        gpt_node("n1", "root", "user", "How far is the moon?", T0 + 1),
        gpt_node("n2", "n1", "assistant", "384,400 km.", T0 + 2, metadata={"model_slug": "gpt-9"}),
    )
    root = {"id": "root", "parent": None, "children": [], "message": None}
    return {
        "title": "The moon",
        "create_time": T0 + 0.5,
        "update_time": T0 + 9,
        "mapping": {"root": root} | {node["id"]: node for node in every},
        "current_node": every[-1]["id"],
        "conversation_id": key,
        "id": key,
        "default_model_slug": "gpt-8",
        **fields,
    }


def claude(key: str = "cl1", *messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    every = messages or (
        claude_message("m1", "human", "What is a llama?"),
        claude_message("m2", "assistant", "", content=[{"type": "text", "text": "A camelid."}]),
    )
    return {
        "uuid": key,
        "name": "Llamas",
        "created_at": "2026-01-02T03:04:05.678901Z",
        "updated_at": "2026-01-02T04:04:05Z",
        "account": {"uuid": "a"},
        "chat_messages": list(every),
        **fields,
    }


def claude_message(key: str, sender: str, text: str, **fields: Any) -> dict[str, Any]:
    base = {"uuid": key, "sender": sender, "text": text, "created_at": "2026-01-02T03:04:06Z"}
    return {**base, "updated_at": "2026-01-02T03:04:06Z", "attachments": [], "files": [], **fields}


def webui(key: str = "w1", **fields: Any) -> dict[str, Any]:
    messages = {
        "a": {
            "id": "a",
            "parentId": None,
            "childrenIds": ["b", "c"],
            "role": "user",
            "content": "Hi",
            "timestamp": T0,
        },
        "b": {
            "id": "b",
            "parentId": "a",
            "role": "assistant",
            "content": "Old",
            "model": "m1",
            "timestamp": T0 + 1,
        },
        "c": {
            "id": "c",
            "parentId": "a",
            "role": "assistant",
            "content": "New",
            "model": "m2",
            "timestamp": T0 + 2,
        },
    }
    chat = {"title": "Greeting", "models": ["m1"], "history": {"currentId": "c", "messages": messages}}
    base = {"id": key, "user_id": "u", "title": "Greeting", "chat": chat, "meta": {"tags": ["x"]}}
    return {**base, "created_at": T0, "updated_at": T0 + 5, **fields}


def automation(rrule: str, **fields: Any) -> dict[str, Any]:
    inner = {"prompt": "Sum up the news", "model_id": "m1", "rrule": rrule}
    return {"name": "News", "data": inner, "folder_id": None, "meta": None, "is_active": True, **fields}


def librechat(key: str = "l1", **fields: Any) -> dict[str, Any]:
    nil = "00000000-0000-0000-0000-000000000000"
    messages = [
        {"messageId": "1", "parentMessageId": nil, "sender": "User", "text": "Hey", "isCreatedByUser": True},
        {
            "messageId": "2",
            "parentMessageId": "1",
            "sender": "GPT",
            "text": "Hello",
            "isCreatedByUser": False,
            "model": "x",
        },
    ]
    for at, message in enumerate(messages):
        message["createdAt"] = f"2026-02-03T04:05:0{at}.000Z"
    base = {"conversationId": key, "endpoint": "openAI", "title": "Hey", "exportAt": "12:00:00 GMT+0100"}
    return {
        **base,
        "branches": True,
        "recursive": False,
        "options": {"model": "x"},
        "messages": messages,
        **fields,
    }


def chatbotui(*keys: str) -> dict[str, Any]:
    return {
        "version": 4,
        "history": [
            {
                "id": key,
                "name": "Chat",
                "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
                "model": {"id": "gpt-3"},
                "folderId": None,
            }
            for key in keys
        ],
        "folders": [],
        "prompts": [],
    }


def sharegpt(key: str | None = "s1", **fields: Any) -> dict[str, Any]:
    turns = [{"from": "human", "value": "1+1?"}, {"from": "gpt", "value": "2"}]
    return {**({"id": key} if key else {}), "conversations": turns, **fields}


def openai(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    every = messages or ({"role": "user", "content": "ping"}, {"role": "assistant", "content": "pong"})
    return {"messages": list(every), **fields}


def kit(key: str = "k1", **fields: Any) -> dict[str, Any]:
    base = {"id": key, "name": "Support", "description": None, "meta": {"plan": "pro"}, "contactId": "p1"}
    return {**base, "createdAt": T0 * 1000, "updatedAt": T0 * 1000 + 5, **fields}


def kit_message(key: str, type_: str, text: str, at: int = 0) -> dict[str, Any]:
    return {
        "id": key,
        "type": type_,
        "text": text,
        "meta": {},
        "createdAt": (T0 + at) * 1000,
        "updatedAt": (T0 + at) * 1000,
    }


def bots() -> dict[str, Any]:
    return {
        "messages": [
            {"id": "g1", "sender": "user", "content": "Open?", "timestamp": "2026-03-01T10:00:00Z"},
            {"id": "g2", "sender": "bot", "content": "Until six.", "timestamp": "2026-03-01T10:00:02Z"},
        ],
        "has_more": False,
    }


CSV = (
    b"conversation_id,role,text,created_at\r\n"
    b"1,user,Hi,2026-01-01T10:00:00Z\r\n"
    b'1,bot,"Hello,\nyou",2026-01-01T10:00:01Z\r\n'
    b"2,user,Bye,2026-01-02\r\n"
)
CRONTAB = b"# mail\nMAILTO=x\nCRON_TZ=Europe/Berlin\n0 9 * * 1-5 Say good morning\n@daily Sum up\n"

EXAMPLES: dict[str, bytes] = {
    "chatgpt": compact([gpt("c1"), gpt("c2")]),
    "claude": compact([claude("x1"), claude("x2")]),
    "openwebui": compact([webui("w1"), webui("w2")]),
    "openwebui-automations": compact([automation("RRULE:FREQ=DAILY;BYHOUR=9;BYMINUTE=0")]),
    "librechat": compact(librechat()),
    "chatbotui": compact(chatbotui("u1", "u2")),
    "sharegpt": jsonl(sharegpt("s1"), sharegpt("s2", system="Be brief")),
    "openai": jsonl(
        openai(), openai({"role": "system", "content": "x"}, {"role": "assistant", "content": "y"})
    ),
    "chatbotkit": jsonl(kit("k1", messages=[kit_message("1", "user", "Hello")]), kit("k2")),
    "generalbots": compact(bots()),
    "csv": CSV,
    "crontab": CRONTAB,
}
