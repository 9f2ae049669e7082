"""Chat histories from elsewhere: pure functions from bytes to conversations, tasks and rejects.

    for record in read(Source(file, "export.zip"), unknowns=unknowns):
        ...

`source` opens files and archives, `cursor` cuts them into the bytes of rows, `rows` makes values of these;
one module per family of formats makes records of the values, with `trees` and `parts` for what they have in
common. Nothing here writes, nor asks a network, nor holds more than a row.
"""

from core.importers.detecting import detect_format
from core.importers.reading import FORMATS, Format, format_of, read
from core.importers.records import (
    CODES,
    Attachment,
    Contact,
    Conversation,
    Limits,
    Message,
    Record,
    Reject,
    Task,
    Unknowns,
    digest,
)
from core.importers.source import Source

__all__ = [
    "CODES",
    "FORMATS",
    "Attachment",
    "Contact",
    "Conversation",
    "Format",
    "Limits",
    "Message",
    "Record",
    "Reject",
    "Source",
    "Task",
    "Unknowns",
    "detect_format",
    "digest",
    "format_of",
    "read",
]
