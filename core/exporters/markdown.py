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
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)")
_ACTIVE = re.compile(r"<(?=[A-Za-z/!?])|!(?=\[)")
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
    """A text whose tags and images are shown as they are written; code stays as it is."""
    lines, fence = [], ""
    for line in text.splitlines():
        found = _FENCE.match(line)
        if fence:
            if found and found[1].startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
            lines.append(line)
        elif found:
            fence = found[1]
            lines.append(line)
        else:
            lines.append(_escaped(line))
    return "\n".join(lines)


def _escaped(line: str) -> str:
    parts, done = [], 0
    for code in _CODE.finditer(line):
        parts += [_ACTIVE.sub(r"\\\g<0>", line[done : code.start()]), code.group()]
        done = code.end()
    return "".join((*parts, _ACTIVE.sub(r"\\\g<0>", line[done:])))


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
