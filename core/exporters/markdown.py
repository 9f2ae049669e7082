"""Markdown, for people: one document, a section for each conversation, each message a quotation.

In a quotation nothing that was said can pass for a heading of ours. Markup of the text is kept but for what
would draw or load something: tags and images. So `<EMAIL_ADDRESS>` can be read where pages show the document.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from core.exporters.writer import Totals, Wrote
from core.importers.records import Attachment, Conversation, Message

_TITLES: Mapping[str, str] = {"user": "User", "bot": "Bot"}
# A block of code that every reader of Markdown takes for one, whatever was written before it.
_FENCE = re.compile(r"(`{3,})[^`]*|(~{3,}).*")
_END = re.compile(r" {0,3}(`{3,}|~{3,})[ \t]*")
_MAYBE = re.compile(r"`{3}|~{3}")
# With the backslashes before it, which would take the effect of ours away.
_ACTIVE = re.compile(r"(?<!\\)(\\*)(<(?=[A-Za-z/!?])|!(?=\[))")
_INLINE = re.compile(r"([\\`*_\[\]<>#|!])")


class MarkdownWriter:
    """Writes parts of conversations; it remembers nothing from one to the next."""

    digests = False

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        del state
        self.state: dict[str, Any] = {}

    def head(self, about: Mapping[str, Any]) -> bytes:
        told = ", ".join(str(about[name]) for name in ("mode", "until") if about.get(name))
        return f"# Conversations\n\n{plain(told)}\n".encode() if told else b"# Conversations\n"

    def part(self, conversation: Conversation, *, first: bool, last: bool) -> Wrote:
        del last
        sections = [_heading(conversation)] if first else []
        sections += [_message(message) for message in conversation.messages]
        types = Counter(message.type for message in conversation.messages)
        return Wrote("".join(sections).encode(), types)

    def tail(self, totals: Totals) -> bytes:
        del totals
        return b""


def plain(text: str) -> str:
    """A text as one line in which no sign means anything."""
    return _INLINE.sub(r"\\\1", " ".join(text.split()))


def harmless(text: str) -> str:
    """A text whose tags and images are shown as they are written, also in the middle of a line of code.

    Blocks of code stay as they are, up to the first that might be none (in a list, say): readers differ.
    """
    lines, fence, doubtful = [], "", False
    for line in text.splitlines():
        if fence:
            end = _END.fullmatch(line)
            fence = "" if end and end[1].startswith(fence) else fence
            lines.append(line)
        elif not doubtful and (begin := _FENCE.fullmatch(line)):
            fence = begin[1] or begin[2]
            lines.append(line)
        else:
            doubtful = doubtful or _MAYBE.search(line) is not None
            lines.append(_ACTIVE.sub(r"\1\1\\\2", line))
    return "\n".join(lines)


def _heading(conversation: Conversation) -> str:
    facts = [
        ("Conversation", f"`{conversation.key}`"),
        ("Began", _time(conversation.created_at)),
        ("Contact", plain(conversation.contact.name or "") if conversation.contact else ""),
        ("Source", plain(conversation.source or "")),
        ("Files", _files(conversation.attachments)),
    ]
    listed = "".join(f"- {name}: {value}\n" for name, value in facts if value)
    title = plain(conversation.title or "") or "Untitled"
    about = f"\n{_quoted(conversation.description)}" if conversation.description else ""
    return f"\n## {title}\n\n{listed}{about}"


def _message(message: Message) -> str:
    who = _TITLES.get(message.type, message.type.capitalize())
    named = f" ({plain(message.name)})" if message.name else ""
    time = _time(message.created_at)
    hidden = ", hidden" if message.meta.get("hidden") or message.meta.get("archived") else ""
    files = f"\nFiles: {_files(message.attachments)}\n" if message.attachments else ""
    return f"\n### {who}{named}{f', {time}' if time else ''}{hidden}\n\n{_quoted(message.text)}{files}"


def _quoted(text: str) -> str:
    return "".join(f"> {line}\n" if line else ">\n" for line in harmless(text).split("\n"))


def _files(attachments: Sequence[Attachment]) -> str:
    return ", ".join(
        plain(" ".join(part for part in (one.name, f"({one.type})" if one.type else "") if part))
        for one in attachments
    )


def _time(value: datetime | None) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if value else ""
