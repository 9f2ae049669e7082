"""Conversations for tests of exports: one with everything, and any there can be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from core.importers import Attachment, Contact, Conversation
from core.importers.records import Message
from core.privacy.choosing import Entry
from core.privacy.presets import Operator
from models import ConversationStatus, MessageType

T0 = datetime(2026, 3, 1, 10, tzinfo=UTC)
# What PostgreSQL can hold: no NUL, no halves of pairs.
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60)
SAID = WORDS.filter(lambda text: text.strip())
KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40)
MAYBE = st.none() | WORDS
INSTANTS = st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
METAS = st.dictionaries(WORDS, JSON, max_size=3)
FILES = st.lists(st.builds(Attachment, MAYBE, MAYBE, st.none() | st.integers(0, 2**40)), max_size=2).map(
    tuple
)
CONTACTS = st.builds(Contact, KEYS, name=MAYBE, email=MAYBE, phone=MAYBE, nick=MAYBE, meta=METAS)


@st.composite
def entities(draw, text: str) -> tuple[Entry, ...]:
    ends = sorted(draw(st.sets(st.integers(0, len(text)), max_size=4)))
    return tuple(
        Entry(
            draw(st.sampled_from(["EMAIL_ADDRESS", "PERSON", "TICKET"])),
            begin,
            end,
            draw(st.sampled_from([0.4, 0.85, 1.0])),
            draw(st.sampled_from(["structured", "known", "given", "model", "token"])),
            draw(st.sampled_from(Operator)),
        )
        for begin, end in zip(ends[::2], ends[1::2], strict=False)
    )


@st.composite
def messages(draw) -> Message:
    text = draw(SAID)
    return Message(
        key=draw(KEYS),
        type=draw(st.sampled_from(MessageType)).value,
        text=text,
        created_at=draw(st.none() | INSTANTS),
        updated_at=draw(st.none() | INSTANTS),
        name=draw(MAYBE),
        description=draw(MAYBE),
        meta=draw(METAS),
        parent_key=draw(MAYBE),
        active=draw(st.booleans()),
        entities=draw(entities(text)),
        attachments=draw(FILES),
    )


CONVERSATIONS = st.builds(
    Conversation,
    key=KEYS,
    title=MAYBE,
    created_at=st.none() | INSTANTS,
    updated_at=st.none() | INSTANTS,
    meta=METAS,
    messages=st.lists(messages(), max_size=4).map(tuple),
    contact=st.none() | CONTACTS,
    description=MAYBE,
    source=MAYBE,
    status=st.none() | st.sampled_from([status.value for status in ConversationStatus]),
    model=MAYBE,
    backstory=MAYBE,
    moderation=st.booleans(),
    privacy=st.booleans(),
    policy=st.none() | METAS,
    expires_at=st.none() | INSTANTS,
    attachments=FILES,
    links=st.dictionaries(st.sampled_from(["botId", "taskId", "runId"]), WORDS),
)


def a_call(name: str, **result: object) -> list[Message]:
    """A tool that was called, and what it answered."""
    asked = {"type": "request", "function": {"name": name, "arguments": {"at": "home"}}}
    told = {"type": "response", "function": {"name": name, "arguments": {}, "result": result}}
    return [said("activity", f"{name}()", activity=asked), said("activity", "answer", activity=told)]


def said(kind: str, text: str, at: int = 0, **meta: object) -> Message:
    return Message(f"{kind}{at}", kind, text, T0 + timedelta(seconds=at), meta=meta)


def a_talk(*messages_: Message, key: str = "c1", **fields: object) -> Conversation:
    return Conversation(key, messages=tuple(messages_), **fields)  # type: ignore[arg-type]
