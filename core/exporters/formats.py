"""The formats of exports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import InvalidInput
from core.exporters.jsonl import OwnWriter
from core.exporters.markdown import MarkdownWriter
from core.exporters.table import CsvWriter
from core.exporters.training import OpenAIWriter, ShareGPTWriter
from core.exporters.writer import Writer


@dataclass(frozen=True)
class Format:
    """How a format is written, and what its file is called.

    `training`: only conversations that a bot has answered, with what the bot was told to be.
    """

    title: str
    writer: Callable[[Mapping[str, Any] | None], Writer]
    suffix: str
    type: str
    training: bool = False


FORMATS: Mapping[str, Format] = {
    "crontalk": Format("Crontalk's own, without loss", OwnWriter, "jsonl", "application/jsonl"),
    "openai": Format("OpenAI fine-tuning", OpenAIWriter, "jsonl", "application/jsonl", training=True),
    "sharegpt": Format("ShareGPT", ShareGPTWriter, "json", "application/json", training=True),
    "markdown": Format("Markdown", MarkdownWriter, "md", "text/markdown"),
    "csv": Format("CSV", CsvWriter, "csv", "text/csv"),
}


def format_named(name: str) -> Format:
    """A format by its name.

    Raises:
        InvalidInput: there is none.

    """
    if name not in FORMATS:
        raise InvalidInput(f"The format must be one of {', '.join(FORMATS)}.")
    return FORMATS[name]
