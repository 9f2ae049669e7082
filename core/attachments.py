"""Attachments: files in a conversation. They go with it, or with the message they belong to."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import exists, select, text
from sqlalchemy.orm import Session

from core.blobs import Stored, new_blob, open_stored
from core.context import account_of
from core.errors import NotFound
from core.fields import kept
from core.file_names import Described, safe_name
from core.holds import refuse_held
from core.rows import MetaFilter, not_found, own, page
from core.shields import shield_of
from models import Attachment, Blob, BlobState, Conversation, Message

PURGED = text("UPDATE conversations SET purge_epoch = purge_epoch + 1 WHERE id = :id")
Attached = tuple[Attachment, Blob]
ENDINGS = 3  # that a file's name is looked at without


def start_attachment(
    session: Session,
    conversation_id: uuid.UUID | str,
    told: Described,
    *,
    message_id: uuid.UUID | str | None = None,
) -> Blob:
    """A new attachment whose content is still to come; lists show it once that is there.

    Raises:
        NotFound, NotAuthorized: the conversation, or a message that is not of it. TooLarge, KeyUnusable.

    """
    conversation = kept(session, Conversation, conversation_id)
    message = kept(session, Message, message_id) if message_id is not None else None
    if message is not None and message.conversation_id != conversation.id:
        raise NotFound("There is no such message.")
    attachment = Attachment(
        account_id=account_of(session),
        conversation_id=conversation.id,
        message_id=message.id if message else None,
        meta={},
    )
    session.add(attachment)
    session.flush()
    return new_blob(session, _protected(session, conversation.id, told), attachment_id=attachment.id)


def _protected(session: Session, conversation_id: uuid.UUID, told: Described) -> Described:
    """With a name that may be stored: what stands for an entity in it is not restored, and safe in a name."""
    shield = shield_of(session, conversation_id)
    if shield is None or told.name is None:
        return told
    # `ada@example.com.tar.gz` is an address and two endings: together they look like neither.
    name, endings = shield.label(told.name) or "", ""
    for _ in range(ENDINGS):
        stem, dot, ending = name.rpartition(".")
        name, endings = shield.label(stem) or "", dot + ending + endings
    name = safe_name(name + endings) or ""
    return told if name == told.name else replace(told, name=name.replace(":", "-"))


def list_attachments(
    session: Session,
    conversation_id: uuid.UUID | str,
    *,
    take: int = 100,
    before: uuid.UUID | str | None = None,
    ascending: bool = False,
    meta: Sequence[MetaFilter] = (),
) -> list[Attached]:
    """The attachments of a conversation whose content is there, newest first or `ascending`."""
    conversation = own(session, Conversation, conversation_id)
    is_stored = exists().where(Blob.attachment_id == Attachment.id, Blob.state == BlobState.STORED)
    found = page(
        session,
        Attachment,
        Attachment.conversation_id == conversation.id,
        is_stored,
        take=take,
        before=before,
        ascending=ascending,
        meta=meta,
    )
    query = select(Blob).where(Blob.attachment_id.in_([attachment.id for attachment in found]))
    blobs = {blob.attachment_id: blob for blob in session.scalars(query)}
    return [(attachment, blobs[attachment.id]) for attachment in found if attachment.id in blobs]


def open_attachment(
    session: Session, conversation_id: uuid.UUID | str, attachment_id: uuid.UUID | str
) -> Stored:
    """What an attachment's content is read with.

    Raises:
        NotFound, NotAuthorized; NotFound as well before it is uploaded. KeyUnusable.

    """
    attachment = _of(session, conversation_id, attachment_id)
    return open_stored(session, session.scalar(select(Blob).where(Blob.attachment_id == attachment.id)))


def delete_attachment(
    session: Session, conversation_id: uuid.UUID | str, attachment_id: uuid.UUID | str
) -> uuid.UUID:
    """Removes an attachment; its content goes after the commit.

    Raises:
        NotFound, NotAuthorized. Conflict: a legal hold is on its conversation.

    """
    attachment = _of(session, conversation_id, attachment_id)
    refuse_held(session, attachment.conversation_id)
    # A turn under way has shown it to its model: what is said of it is not to be stored.
    session.execute(PURGED, {"id": attachment.conversation_id})
    session.delete(attachment)
    session.flush()
    return attachment.id


def _of(session: Session, conversation_id: uuid.UUID | str, attachment_id: uuid.UUID | str) -> Attachment:
    conversation = own(session, Conversation, conversation_id)
    attachment = own(session, Attachment, attachment_id)
    if attachment.conversation_id != conversation.id:
        raise not_found(Attachment)
    return attachment
