"""Bytes that come along in a message: stored before it, as attachments of its conversation.

So a message never names an attachment whose content is not there. Where the message is refused they go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from api.strict_json import read_object
from core.accounts import Caller
from core.attachments import delete_attachment, start_attachment
from core.blobs import drop, open_writing
from core.context import Context
from core.conversing import Reach, listed_attachments, reached
from core.errors import CrontalkError, InvalidInput
from core.file_names import Described, safe_name
from core.incoming import read_reference


@dataclass
class Brought:
    """Attachments that were stored, by their places in the list."""

    ids: dict[int, str] = field(default_factory=dict)

    def put_in(self, attachments: Sequence[Any]) -> list[Any]:
        return [{"id": self.ids[n]} if n in self.ids else one for n, one in enumerate(attachments)]


def store_brought(
    context: Context, caller: Caller, reach: Reach, conversation_id: str, body: bytes
) -> Brought:
    """Stores the bytes of a message's attachments; a message that is refused anyway is refused later.

    Raises:
        InvalidInput: bytes that are none. TooLarge, NotFound, NotAuthorized, Unavailable, KeyUnusable.

    """
    stored = Brought()
    try:
        given = listed_attachments(read_object(body).get("attachments"))
    except InvalidInput:
        return stored
    held = {n: words for n, one in enumerate(given) if (words := _bytes_of(one)) is not None}
    if not held:
        return stored
    with context.transaction(caller.account_id, actor=caller.name) as session:
        reached(session, reach, conversation_id)
    try:
        for place, words in held.items():
            stored.ids[place] = _store(context, caller, conversation_id, given[place], words)
    except BaseException:
        throw_away(context, caller, conversation_id, stored)
        raise
    return stored


def _bytes_of(given: Any) -> str | None:
    """The data URL of an attachment that holds its bytes."""
    if not isinstance(given, Mapping):
        return None
    data, url, kind = given.get("data"), given.get("url"), given.get("mime_type")
    if isinstance(url, str) and url[:5].lower() == "data:":
        return url
    if isinstance(data, str):
        named = kind if isinstance(kind, str) and kind else "application/octet-stream"
        return data if data[:5].lower() == "data:" else f"data:{named};base64,{data}"
    return None


def _store(
    context: Context, caller: Caller, conversation_id: str, given: Mapping[str, Any], words: str
) -> str:
    told, content = read_reference(context.settings, words)
    name = given.get("filename")
    told = replace(told, name=safe_name(name) if isinstance(name, str) else None)
    writing, attachment = _begin(context, caller, conversation_id, told)
    try:
        writing.add(content)
        writing.finish()
    except BaseException:
        drop(context, writing)
        raise
    return attachment


def _begin(context: Context, caller: Caller, conversation_id: str, told: Described) -> tuple[Any, str]:
    with context.transaction(caller.account_id, actor=caller.name) as session:
        blob = start_attachment(session, conversation_id, told)
        return open_writing(context, session, blob), str(blob.attachment_id)


def throw_away(context: Context, caller: Caller, conversation_id: str, stored: Brought) -> None:
    """What was stored for a message that was not."""
    for attachment in stored.ids.values():
        with (
            suppress(CrontalkError),
            context.transaction(caller.account_id, actor=caller.name) as session,
        ):
            delete_attachment(session, conversation_id, attachment)
