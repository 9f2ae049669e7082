"""Reads the body of an OpenAI-compatible answer, streamed or whole, and trusts none of it."""

from __future__ import annotations

import codecs
import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any

from core.chat.history import BYTES_PER_TOKEN, estimate_input
from core.chat.model_failures import failure_from_body
from core.chat.provider import (
    Finished,
    FinishReason,
    ModelError,
    ModelEvent,
    ModelRequest,
    ModelUnavailable,
    TextDelta,
    ToolCall,
)

MAX_LINE_BYTES = 2 * 1024 * 1024
MAX_TEXT_BYTES = 256 * 1024
MAX_CALLS = 64
USAGE_PATIENCE = timedelta(seconds=2)
END_PATIENCE = timedelta(seconds=0.1)

_SSE_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")
_DONE = b"[DONE]"
_REASONS = {
    "stop": FinishReason.stop,
    "eos": FinishReason.stop,
    "end_turn": FinishReason.stop,
    "length": FinishReason.length,
    "max_tokens": FinishReason.length,
    "model_length": FinishReason.length,
    "content_filter": FinishReason.refused,
    "refusal": FinishReason.refused,
    "tool_calls": FinishReason.tool,
    "function_call": FinishReason.tool,
}


def read_answer(
    pieces: Iterable[bytes], request: ModelRequest, wind_up: Callable[[timedelta], None]
) -> Iterator[ModelEvent]:
    """The events in a 200 answer's body. Raises ModelUnavailable, or what the error in it says.

    Accepts server-sent events and, from servers that do not stream, one whole completion. Text beyond
    MAX_TEXT_BYTES is cut off, with the reason `length`. Once the finish reason is known `wind_up` is told
    how long the rest may take: the usage that follows is welcome, but worth neither an error nor a wait.
    """
    reading = _Reading()
    try:
        for payload in _payloads(pieces):
            if payload == _DONE and reading.reason is not None:
                # Not left yet: a body that is read to its end gives its connection back to the pool.
                wind_up(END_PATIENCE)
                continue
            if payload == _DONE or reading.is_full():
                break
            yield from reading.take(_parsed(payload))
            if reading.reason is not None:
                wind_up(USAGE_PATIENCE)
    except ModelError:
        if reading.reason is None:
            raise
    if reading.reason is None:
        raise ModelUnavailable("stream_cut")
    calls = reading.calls() if request.tools else ()
    yield from calls
    yield Finished(FinishReason.tool if calls else reading.reason, *reading.counted(request))


class _Reading:
    """What is known of an answer so far."""

    def __init__(self) -> None:
        self.reason: FinishReason | None = None
        self._size = 0
        self._usage: tuple[int, int] | None = None
        self._calls: dict[int, list[str]] = {}  # by the server's index: id, name, arguments so far
        # Some servers cut an emoji into two halves; the decoder joins them and drops a half left alone.
        self._surrogates = codecs.getincrementaldecoder("utf-16-le")(errors="ignore")

    def is_full(self) -> bool:
        return self._size >= MAX_TEXT_BYTES

    def take(self, chunk: dict[str, Any]) -> Iterator[TextDelta]:
        """Note a chunk, or a whole completion, and yield the text it brings."""
        self._usage = _usage(chunk.get("usage")) or self._usage
        choices = chunk.get("choices", [] if self._usage else None)
        if not isinstance(choices, list):
            raise ModelUnavailable("not_a_completion")
        if not choices or self.reason is not None:
            return
        choice = choices[0]
        part = choice.get("delta") or choice.get("message") or {} if isinstance(choice, dict) else None
        if not isinstance(part, dict):
            raise ModelUnavailable("not_a_completion")
        text = self._cleaned(part.get("content"))
        if text:
            yield TextDelta(text)
        self._note_calls(part.get("tool_calls"))
        self._note_reason(choice.get("finish_reason"), declined=bool(part.get("refusal")))

    def _note_calls(self, parts: object) -> None:
        for place, part in enumerate(parts if isinstance(parts, list) else ()):
            function = part.get("function") if isinstance(part, dict) else None
            index = part.get("index", place) if isinstance(part, dict) else None
            if not isinstance(function, dict) or not isinstance(index, int) or len(self._calls) > MAX_CALLS:
                raise ModelUnavailable("not_a_call")
            call = self._calls.setdefault(index, ["", "", ""])
            for at, words in enumerate((part.get("id"), function.get("name"), function.get("arguments"))):
                if words is not None and not isinstance(words, str):
                    raise ModelUnavailable("not_a_call")
                self._size += len(words or "")
                call[at] += words or ""

    def calls(self) -> tuple[ToolCall, ...]:
        """The functions the model asks for, in its order."""
        return tuple(_call(index, *self._calls[index]) for index in sorted(self._calls))

    def _cleaned(self, content: object) -> str:
        if content is None:
            return ""
        if not isinstance(content, str):
            raise ModelUnavailable("not_a_completion")
        text = self._surrogates.decode(content.encode("utf-16-le", "surrogatepass")).replace("\0", "")
        encoded = text.encode()
        room = MAX_TEXT_BYTES - self._size
        self._size += len(encoded)
        return text if len(encoded) <= room else encoded[:room].decode(errors="ignore")

    def _note_reason(self, name: object, *, declined: bool) -> None:
        if self.is_full():
            self.reason = FinishReason.length
        elif declined:
            self.reason = FinishReason.refused
        elif name:  # some servers send "" until the end
            reason = _REASONS.get(name) if isinstance(name, str) else None
            if reason is None:
                raise ModelUnavailable("unknown_finish")
            self.reason = reason

    def counted(self, request: ModelRequest) -> tuple[int, int]:
        """Input and output tokens as the server counted them, or estimated."""
        if self._usage is not None:
            return self._usage
        return estimate_input(request.system, request.messages), -(-self._size // BYTES_PER_TOKEN)


def _call(index: int, call_id: str, name: str, words: str) -> ToolCall:
    try:
        arguments = json.loads(words or "{}")
    except (ValueError, RecursionError):
        raise ModelUnavailable("not_a_call") from None
    if not isinstance(arguments, dict) or not name:
        raise ModelUnavailable("not_a_call")
    return ToolCall(call_id or f"call_{index}", name, storable(arguments))


def storable(value: Any) -> Any:
    """The same JSON without what PostgreSQL cannot hold: NUL and halves of surrogate pairs."""
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "ignore").decode()
    if isinstance(value, list):
        return [storable(item) for item in value]
    if isinstance(value, dict):
        return {storable(key): storable(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _usage(usage: object) -> tuple[int, int] | None:
    if not isinstance(usage, dict):
        return None
    counts = [usage.get(key) for key in ("prompt_tokens", "completion_tokens")]
    known = [count for count in counts if type(count) is int and 0 <= count < 2**31]
    return (known[0], known[1]) if len(known) == 2 else None


def _parsed(payload: bytes) -> dict[str, Any]:
    try:
        chunk = json.loads(payload)
    except (ValueError, RecursionError):
        raise ModelUnavailable("not_json") from None
    if not isinstance(chunk, dict):
        raise ModelUnavailable("not_a_completion")
    failure = failure_from_body(chunk)
    if failure is not None:
        raise failure
    return chunk


def _payloads(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The payload of every `data:` line, or one whole JSON body. An event never spans lines here."""
    lines = _lines(pieces)
    first = next((line for line in lines if line.strip()), b"").removeprefix(codecs.BOM_UTF8).strip()
    if not first.startswith(_SSE_FIELDS):
        yield _whole(first, lines)
        return
    for line in itertools.chain([first], lines):
        payload = line.removeprefix(b"data:").strip()
        if payload and line.startswith(b"data:"):
            yield payload


def _whole(first: bytes, lines: Iterator[bytes]) -> bytes:
    if not first.startswith(b"{"):
        raise ModelUnavailable("not_json" if first else "empty_body")
    body = bytearray(first)
    for line in lines:
        body += line
        if len(body) > MAX_LINE_BYTES:
            raise ModelUnavailable("too_large")
    return bytes(body)


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    pending = bytearray()
    for piece in pieces:
        first, *others = piece.split(b"\n")
        pending += first
        for part in others:
            yield bytes(pending)
            pending = bytearray(part)
        if len(pending) > MAX_LINE_BYTES:
            raise ModelUnavailable("too_large")
    if pending:
        yield bytes(pending)
