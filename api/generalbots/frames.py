"""The frames of the WebSocket: what clients send is read strictly, what they are sent is built here. Pure.

Unknown keys are ignored on both sides. No frame repeats what was wrong.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import orjson

from core.errors import (
    Conflict,
    CrontalkError,
    InvalidInput,
    KeyReused,
    LimitReached,
    NotAuthenticated,
    NotAuthorized,
    NotFound,
    PrivacyFailed,
    Unavailable,
)

Frame = dict[str, Any]

# Close codes (docs/generalbots.md).
GOING = 1001
TOO_BIG = 1009
FLOOD = 1008
BUSY = 1013
UNAUTHORIZED = 4401
FORBIDDEN = 4403
IDLE = 4408
TAKEN = 4409
SLOW = 4429

MOST_AFTER = 100  # last seen messages that a client names as it comes back
CODES: tuple[tuple[type[CrontalkError], str], ...] = (
    (InvalidInput, "invalid_message"),
    (NotAuthenticated, "unauthorized"),
    (NotAuthorized, "forbidden"),
    (NotFound, "not_found"),
    (Conflict, "conflict"),
    (KeyReused, "key_reused"),
    (LimitReached, "rate_limited"),
    (PrivacyFailed, "unavailable"),
    (Unavailable, "unavailable"),
)
UNFORESEEN = "internal_error"


@dataclass(frozen=True)
class Say:
    """A message: in a conversation, or in the one that the connection goes on with."""

    content: str = field(repr=False)
    session_id: str | None
    attachments: Sequence[Mapping[str, Any]] = field(repr=False)
    deltas: bool = False
    id: str | None = None  # the client's own, so that it may send the frame again

    def with_deltas(self) -> Say:
        return replace(self, deltas=True)


@dataclass(frozen=True)
class Auth:
    """A token as the first frame, for those who can set no header; `after` as in the query."""

    token: str = field(repr=False)
    after: tuple[str, ...]
    deltas: bool


def read_frame(data: str | bytes | None) -> Say | Auth:
    """What a client has sent.

    Raises:
        InvalidInput: it is no frame that clients send.

    """
    try:
        frame = orjson.loads(data) if isinstance(data, str) else None
    except orjson.JSONDecodeError:
        raise InvalidInput("A frame is JSON.") from None
    if not isinstance(frame, dict):
        raise InvalidInput("A frame is a JSON object, sent as text.")
    match frame.get("type"):
        case "message":
            return _say(frame)
        case "auth":
            return _auth(frame)
        case _:
            raise InvalidInput("The type of a frame is message or auth.")


def _say(frame: Mapping[str, Any]) -> Say:
    content, attachments = frame.get("content"), frame.get("attachments") or []
    if not isinstance(attachments, list) or not all(isinstance(one, dict) for one in attachments):
        raise InvalidInput("attachments must be a list of objects.")
    if any("data" in one and "id" not in one and "url" not in one for one in attachments):
        raise InvalidInput("Bytes come in a POST; a frame's attachment has an id or a url.")
    if content is None and attachments:
        content = ""
    if not isinstance(content, str) or not (content.strip() or attachments):
        raise InvalidInput("content must be text, and not blank.")
    session = frame.get("session_id")
    if session is not None and not isinstance(session, str):
        raise InvalidInput("session_id must be text.")
    own = frame.get("id")
    if own is not None and not isinstance(own, str):
        raise InvalidInput("id must be text.")
    return Say(content, session or None, attachments, frame.get("deltas") is True, own or None)


def _auth(frame: Mapping[str, Any]) -> Auth:
    token = frame.get("token")
    if not isinstance(token, str) or not token:
        raise InvalidInput("token must be text.")
    return Auth(token, read_after(frame.get("after")), frame.get("deltas") is True)


def read_after(given: Any) -> tuple[str, ...]:
    """The messages that a client has seen last, one of each conversation: `<message id>` or
    `<session id>:<seq>`.

    Raises:
        InvalidInput: no list of at most a hundred.

    """
    places = given if isinstance(given, list) else []
    if given is not None and not isinstance(given, list):
        raise InvalidInput("after must be a list.")
    if len(places) > MOST_AFTER or not all(isinstance(one, str) and len(one) <= 80 for one in places):
        raise InvalidInput(f"after names up to {MOST_AFTER} messages.")
    return tuple(places)


def written(frame: Frame) -> bytes:
    try:
        return orjson.dumps(frame)
    except orjson.JSONEncodeError:  # a number of a caller's meta that is beyond 64 bits
        return json.dumps(frame, ensure_ascii=False).encode()


def instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def status(state: str, **more: Any) -> Frame:
    return {"type": "status", "status": state, **more}


def connected(
    session_id: uuid.UUID | str | None, *, authenticated: bool, bot: tuple[uuid.UUID, str] | None, **more: Any
) -> Frame:
    return status(
        "connected",
        session_id=session_id and str(session_id),
        authenticated=authenticated,
        bot_id=bot and str(bot[0]),
        bot_name=bot and bot[1],
        **more,
    )


def delivered(session_id: uuid.UUID, message_id: uuid.UUID, at: datetime, seq: int, own: str | None) -> Frame:
    """What the sender of a message is told instead of its echo; `id` as it gave it."""
    return status(
        "delivered",
        session_id=str(session_id),
        message_id=str(message_id),
        timestamp=instant(at),
        seq=seq,
        **({"id": own} if own else {}),
    )


def message(
    *,
    message_id: uuid.UUID,
    session_id: uuid.UUID,
    sender: str,
    content: str,
    at: datetime,
    seq: int,
    attachments: Any = None,
    incomplete: bool = False,
) -> Frame:
    frame = {
        "type": "message",
        "sender": sender,
        "content": content,
        "timestamp": instant(at),
        "session_id": str(session_id),
        "conversation_id": str(session_id),
        "message_id": str(message_id),
        "seq": seq,
    }
    if attachments:
        frame["attachments"] = attachments
    if incomplete:
        frame["incomplete"] = True
    return frame


def typing(session_id: uuid.UUID, *, active: bool) -> Frame:
    return {"type": "typing", "session_id": str(session_id), "active": active}


def suggestion(session_id: uuid.UUID, suggestions: Sequence[Mapping[str, str]]) -> Frame:
    return {"type": "suggestion", "session_id": str(session_id), "suggestions": list(suggestions)}


def delta(session_id: uuid.UUID, content: str) -> Frame:
    return {"type": "delta", "session_id": str(session_id), "content": content}


def error(code: str, sentence: str, session_id: uuid.UUID | str | None = None, **more: Any) -> Frame:
    frame: Frame = {"type": "error", "error": code, "message": sentence, **more}
    if session_id is not None:
        frame["session_id"] = str(session_id)
    return frame


def error_of(fault: CrontalkError, session_id: uuid.UUID | str | None = None) -> Frame:
    """An error of our tree as a frame, by the names that the REST half uses."""
    code = next((name for kind, name in CODES if isinstance(fault, kind)), UNFORESEEN)
    more = {}
    if isinstance(fault, LimitReached) and fault.retry_after is not None:
        more["retry_after"] = max(1, round(fault.retry_after.total_seconds()))
    return error(code, str(fault), session_id, **more)
