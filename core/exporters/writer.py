"""What a format's writer is: parts of conversations in, bytes out. Pure.

An export is written in batches, by whichever worker has it in hand. So a writer is made anew for each from
the `state` it was left in, which is small, may be stored, and holds nothing of what was said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from core.importers.records import Conversation


class Wrote(NamedTuple):
    """Bytes, and how many messages of which type are in them."""

    content: bytes
    types: Counter[str] = Counter()  # noqa: RUF012 (never changed)


@dataclass(frozen=True)
class Totals:
    """What the end of a file may tell: `sha256` of all bytes before it, where the writer `digests`."""

    conversations: int
    messages: int
    sha256: str = ""


class Writer(Protocol):
    """Writes one format."""

    digests: bool
    """The end tells a digest of everything before it."""

    state: dict[str, Any]

    def head(self, about: Mapping[str, Any]) -> bytes:
        """The beginning of a file."""

    def part(self, conversation: Conversation, *, first: bool, last: bool) -> Wrote:
        """The next messages of a conversation, of which every part has the head.

        Nothing more comes after the `last`, which may have no messages, and may be all that is left to say of
        a conversation that has gone meanwhile: then it has its key alone.
        """

    def tail(self, totals: Totals) -> bytes:
        """The end of a file."""
