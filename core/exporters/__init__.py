"""What leaves Crontalk as files: pure, records in, bytes out.

`veil` decides what of a record leaves in which mode; one module per family of formats writes it.
"""

from core.exporters.formats import FORMATS, Format, format_named
from core.exporters.veil import Kept, Mode, veiled_conversation, veiled_message
from core.exporters.writer import Totals, Writer, Wrote

__all__ = [
    "FORMATS",
    "Format",
    "Kept",
    "Mode",
    "Totals",
    "Writer",
    "Wrote",
    "format_named",
    "veiled_conversation",
    "veiled_message",
]
