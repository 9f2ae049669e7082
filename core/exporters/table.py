"""CSV, for spreadsheets: a row for each message (RFC 4180).

What a spreadsheet would compute is written as text, behind an apostrophe. A conversation without messages
has no row.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from core.exporters.writer import Totals, Wrote
from core.importers.records import Attachment, Conversation, Message

COLUMNS = (
    "conversation_id",
    "conversation_name",
    "message_id",
    "created_at",
    "role",
    "text",
    "name",
    "hidden",
    "source",
    "status",
    "model",
    "contact",
    "bot_id",
    "task_id",
    "files",
)
BOM = "\ufeff"
# What a spreadsheet would take for a formula; some see it behind blanks, or in signs of full width.
_FORMULA = re.compile(r"[\t\r]|\s*[=+\-@＝＋－＠]")


class CsvWriter:
    """Writes rows; it remembers nothing from one part to the next."""

    digests = False

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        del state
        self.state: dict[str, Any] = {}

    def head(self, about: Mapping[str, Any]) -> bytes:
        return (BOM if about.get("bom") else "").encode() + _rows([COLUMNS])

    def part(self, conversation: Conversation, *, first: bool, last: bool) -> Wrote:
        del first, last
        rows = [_row(conversation, message) for message in conversation.messages]
        types = Counter(message.type for message in conversation.messages)
        return Wrote(_rows(rows), types)

    def tail(self, totals: Totals) -> bytes:
        del totals
        return b""


def cell(value: str | None) -> str:
    """A text that no spreadsheet computes."""
    if not value:
        return ""
    return f"'{value}" if _FORMULA.match(value) else value


def _row(conversation: Conversation, message: Message) -> list[str]:
    contact, meta = conversation.contact, message.meta
    values = (
        conversation.key,
        conversation.title,
        message.key,
        _iso(message.created_at),
        message.type,
        message.text,
        message.name,
        "yes" if meta.get("hidden") or meta.get("archived") else "",
        conversation.source,
        conversation.status,
        conversation.model,
        (contact.name or contact.key) if contact else "",
        conversation.links.get("botId"),
        conversation.links.get("taskId"),
        _files(message.attachments),
    )
    return [cell(value) for value in values]


def _rows(rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_MINIMAL).writerows(rows)
    return text.getvalue().encode()


def _files(attachments: Sequence[Attachment]) -> str:
    return "; ".join(" ".join(part for part in (one.name, one.type) if part) for one in attachments)


def _iso(value: datetime | None) -> str:
    return value.isoformat() if value else ""
