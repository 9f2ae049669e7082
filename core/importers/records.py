"""What an import is made of, whatever it came from: conversations, tasks, and rows that could not be read."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import orjson

from core.privacy.choosing import Entry

MEBIBYTE = 1024 * 1024
MOST_KINDS = 200
OTHER = "other"
_KIND = re.compile(r"[a-z][a-z0-9_.:-]{0,63}")


@dataclass(frozen=True)
class Attachment:
    """A file that was with a conversation or a message: mentioned, never its content."""

    name: str | None = field(default=None, repr=False)
    type: str | None = None
    size: int | None = None


@dataclass(frozen=True)
class Message:
    """Something that was said. `key` is its own within the conversation, and the same at the next import.

    `type` is one of the contract's. `created_at` is the source's, None where it tells none. `active` is
    false for what stands on a branch the source does not show; its meta then has `branch` and `archived`.
    `entities` are places in the text, in code points, as a store of ours knows them.
    """

    key: str
    type: str
    text: str = field(repr=False)
    created_at: datetime | None = None
    updated_at: datetime | None = None
    name: str | None = field(default=None, repr=False)
    description: str | None = field(default=None, repr=False)
    meta: Mapping[str, Any] = field(default_factory=dict, repr=False)
    parent_key: str | None = None
    active: bool = True
    entities: Sequence[Entry] = field(default=(), repr=False)
    attachments: Sequence[Attachment] = ()


@dataclass(frozen=True)
class Contact:
    """Whom a conversation was with, as far as the source tells."""

    key: str
    name: str | None = field(default=None, repr=False)
    email: str | None = field(default=None, repr=False)
    phone: str | None = field(default=None, repr=False)
    nick: str | None = field(default=None, repr=False)
    meta: Mapping[str, Any] = field(default_factory=dict, repr=False)
    fingerprint: str | None = field(default=None, repr=False)
    more: Any = field(default_factory=dict, repr=False)  # of the fields of core/contacts.py


@dataclass(frozen=True)
class Bot:
    """Who answers, as an account elsewhere tells. `fields` are those of core/bots.py."""

    key: str
    name: str | None = field(default=None, repr=False)
    fields: Mapping[str, Any] = field(default_factory=dict, repr=False)
    row: int = 0


@dataclass(frozen=True)
class Conversation:
    """A conversation, or a part of one: a later record with the same key adds its messages to it.

    `messages` stand in their order, parents before children. `row` is its place in the source, from 1.
    What follows it only our own export and a migration tell. `policy` is the conversation's own privacy
    policy, `links` are the ids it had where it was: of its bot, contact, task and run.
    """

    key: str
    title: str | None = field(default=None, repr=False)
    created_at: datetime | None = None
    updated_at: datetime | None = None
    meta: Mapping[str, Any] = field(default_factory=dict, repr=False)
    messages: Sequence[Message] = field(default=(), repr=False)
    contact: Contact | None = field(default=None, repr=False)
    description: str | None = field(default=None, repr=False)
    row: int = 0
    source: str | None = None
    status: str | None = None
    model: str | None = None
    backstory: str | None = field(default=None, repr=False)
    moderation: bool = False
    privacy: bool = False
    policy: Mapping[str, Any] | None = field(default=None, repr=False)
    expires_at: datetime | None = None
    attachments: Sequence[Attachment] = ()
    links: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """A scheduled task. Whatever it was in its source, it is imported paused; its schedule can be kept.

    `links` are the ids of its bot and contact there, `fields` more of core/tasks.py.
    """

    key: str
    name: str = field(repr=False)
    prompt: str = field(repr=False)
    schedule: str
    timezone: str | None = None
    expires_at: datetime | None = None
    meta: Mapping[str, Any] = field(default_factory=dict, repr=False)
    row: int = 0
    fields: Mapping[str, Any] = field(default_factory=dict, repr=False)
    links: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reject:
    """A row, or a message in it, that was not read, and why: a code of `CODES`, never content."""

    row: int
    code: str


Record = Conversation | Task | Reject

CODES: Mapping[str, str] = {
    "bad_bot": "it is a bot that could not be stored",
    "bad_contact": "whom it was with could not be stored; the conversation was",
    "bad_id": "it has no id that could be asked for",
    "bad_message": "a message in it is not in the format's shape; the others were read",
    "bad_schedule": "its schedule is none that could ever fire",
    "bad_settings": "a setting of it is none that can be stored",
    "bad_task": "it is a task that could not be stored",
    "bad_utf8": "it is not UTF-8",
    "damaged": "the archive is damaged here",
    "digest_mismatch": "the export is not what was written: its digest differs",
    "duplicate_key": "an object in it has a key twice",
    "endless": "its list comes round again and again; what it showed once was read",
    "lost_place": "what stood before it has vanished, and what follows may not have been read: run it again",
    "meta_dropped": "a meta in it is larger than can be stored; the rest was stored without it",
    "missing_shard": "a file of the export's series is missing before this row",
    "no_conversation": "it is no conversation of this format",
    "no_mapping": "it has no messages to read: its mapping is missing",
    "not_an_object": "it is not an object",
    "not_json": "it is not JSON",
    "rrule_unsupported": "its rule of repetition has no schedule that means the same",
    "schedule_dropped": "its schedule cannot be kept; the task was made without one",
    "too_broad": "it has more cells than the table has columns: quotes may be missing",
    "too_deep": "it is nested too deep",
    "too_large": "it is larger than a row may be",
    "too_long": "a text in it is too long with what stands for its personal data; the others were stored",
    "too_many_values": "it holds more values than a row may",
    "trailing": "there is more after the end of the data",
    "truncated": "the data ends in the middle",
    "unfetched": "the server did not tell what is in it; what it had told before was stored",
    "unreadable": "its shape is unknown",
    "unstorable": "it was read, but the database took nothing of it",
}


@dataclass(frozen=True)
class Limits:
    """How much is looked at. A row is held in memory, so `row` and `values` bound what an import takes."""

    row: int = 32 * MEBIBYTE
    values: int = 2_000_000
    total: int = 64 * 1024 * MEBIBYTE
    members: int = 100_000
    ratio: int = 200


class Unknowns(Counter[str]):
    """What was met and not understood, or had to be mended, by kind. Kinds are names, never content."""

    def note(self, kind: str, detail: object = "") -> None:
        """Counts one. A `detail` from the file is kept where it looks like a name of a format's own."""
        if detail != "":
            named = isinstance(detail, str) and _KIND.fullmatch(detail.lower())
            kind = f"{kind}:{detail.lower() if named and isinstance(detail, str) else OTHER}"
        if kind not in self and len(self) >= MOST_KINDS:
            kind = OTHER
        self[kind] += 1


@dataclass
class Notes:
    """What a reader of one row tells besides its records, and what it was asked to know."""

    unknowns: Unknowns = field(default_factory=Unknowns)
    rejects: list[str] = field(default_factory=list)
    columns: Mapping[str, str] = field(default_factory=dict)
    timezone: str | None = None
    weigh: Callable[[int], object] = int  # told of the bytes of every row

    def unknown(self, kind: str, detail: object = "") -> None:
        self.unknowns.note(kind, detail)

    def reject(self, code: str) -> None:
        self.rejects.append(code)


class Unreadable(Exception):
    """A row that cannot be read; its message is a code of CODES."""


def digest(record: Conversation | Message | Task) -> str:
    """The same for the same content, on every machine and at every import; where it stood does not count.

    Raises:
        Unreadable: `too_deep`, for a meta that nothing of ours could write again.

    """
    plain = record if isinstance(record, Message) else replace(record, row=0)
    try:
        return hashlib.sha256(orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)).hexdigest()
    except orjson.JSONEncodeError:
        raise Unreadable("too_deep") from None


def short_digest(*parts: str | None) -> str:
    """A key for what has none in its source: 32 digits that follow from the parts."""
    joined = orjson.dumps(parts)
    return hashlib.sha256(joined).hexdigest()[:32]
