"""Reads the body of an OpenAI-compatible answer, streamed or whole, and trusts none of it."""

from __future__ import annotations

import codecs
import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any

from core.chat.call_parts import CallParts
from core.chat.history import BYTES_PER_TOKEN, estimate_input
from core.chat.model_failures import failure_from_body
from core.chat.provider import (
    Finished,
    FinishReason,
    ModelError,
    ModelEvent,
    ModelRequest,
    ModelUnavailable,
    ReasoningDelta,
    TextDelta,
)

MAX_LINE_BYTES = 2 * 1024 * 1024
MAX_TEXT_BYTES = 256 * 1024
USAGE_PATIENCE = timedelta(seconds=2)
END_PATIENCE = timedelta(seconds=0.1)

_SSE_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b"error:", b":")
_DONE = b"[DONE]"
# In lower case: vendors behind gateways keep their own spelling.
_REASONS = {
    **dict.fromkeys(("stop", "eos", "eos_token", "end_turn", "stop_sequence"), FinishReason.stop),
    **dict.fromkeys(
        ("length", "max_tokens", "max_output_tokens", "model_length", "model_context_window_exceeded"),
        FinishReason.length,
    ),
    **dict.fromkeys(
        ("content_filter", "refusal", "safety", "recitation", "blocklist", "prohibited_content", "spii"),
        FinishReason.refused,
    ),
    **dict.fromkeys(("content_filtered", "guardrail_intervened", "sensitive"), FinishReason.refused),
    **dict.fromkeys(("tool_calls", "tool_call", "tool_use", "function_call"), FinishReason.tool),
}
# Reasons of a server that stopped for itself, not for the answer.
_INTERRUPTED = frozenset({"error", "abort", "insufficient_system_resource", "overloaded"})
# Where servers put what the model thinks; the first one that holds text counts, some send it twice.
_REASONING = ("reasoning_content", "reasoning", "thinking")


def read_answer(
    pieces: Iterable[bytes], request: ModelRequest, wind_up: Callable[[timedelta], None]
) -> Iterator[ModelEvent]:
    """The events in a 200 answer's body. Raises ModelUnavailable, or what the error in it says.

    Accepts server-sent events and, from servers that do not stream, one whole completion. Text beyond
    MAX_TEXT_BYTES is cut off, with the reason `length`; so is reasoning, without a reason. Calls are told
    last, and none of an answer that was cut off or filtered: its last call may be half a call. Once the
    finish reason is known `wind_up` is told how long the rest may take: the usage that follows is welcome,
    but worth neither an error nor a wait.
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
    whole = reading.reason in {FinishReason.stop, FinishReason.tool}
    calls = reading.calls.calls() if request.tools and whole else ()
    yield from calls
    yield Finished(FinishReason.tool if calls else reading.reason, *reading.counted(request))


class _Reading:
    """What is known of an answer so far."""

    def __init__(self) -> None:
        self.reason: FinishReason | None = None
        self.calls = CallParts()
        self._size = 0
        self._usage: tuple[int, int] | None = None
        self._text, self._thought = _Cleaned(), _Cleaned()

    def is_full(self) -> bool:
        return self._size >= MAX_TEXT_BYTES

    def take(self, chunk: dict[str, Any]) -> Iterator[TextDelta | ReasoningDelta]:
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
        failure = failure_from_body(choice)  # OpenRouter tells it there as well
        if failure is not None:
            raise failure
        content, thought = _content(part)
        thinks = self._thought.feed(thought)
        if thinks:
            yield ReasoningDelta(thinks)
        before = self._text.size
        text = self._text.feed(content, MAX_TEXT_BYTES - self._size)
        self._size += self._text.size - before
        if text:
            yield TextDelta(text)
        self._size += self.calls.feed(part.get("tool_calls"))
        if part.get("function_call"):  # the spelling before there were tools
            self._size += self.calls.feed([{"index": 0, "function": part["function_call"]}])
        self._note_reason(choice.get("finish_reason"), declined=bool(part.get("refusal")))

    def _note_reason(self, name: object, *, declined: bool) -> None:
        if self.is_full():
            self.reason = FinishReason.length
        elif declined:
            self.reason = FinishReason.refused
        elif name:  # some servers send "" until the end
            word = name.lower() if isinstance(name, str) else ""
            if word not in _REASONS:
                raise ModelUnavailable("interrupted" if word in _INTERRUPTED else "unknown_finish")
            self.reason = _REASONS[word]

    def counted(self, request: ModelRequest) -> tuple[int, int]:
        """Input and output tokens as the server counted them, or estimated."""
        if self._usage is not None:
            return self._usage
        said = self._size + self._thought.size
        return estimate_input(request.system, request.messages), -(-said // BYTES_PER_TOKEN)


class _Cleaned:
    """Text as it comes in pieces, free of NUL and of halves of signs, up to a limit."""

    def __init__(self) -> None:
        self.size = 0  # of what has come, the part beyond the limit included
        # Some servers cut an emoji into two halves; the decoder joins them and drops a half left alone.
        self._surrogates = codecs.getincrementaldecoder("utf-16-le")(errors="ignore")

    def feed(self, piece: str, room: int | None = None) -> str:
        """The piece as it may be told; `room` in bytes, what MAX_TEXT_BYTES leaves unless it is given."""
        if not piece:
            return ""
        text = self._surrogates.decode(piece.encode("utf-16-le", "surrogatepass")).replace("\0", "")
        encoded = text.encode()
        room = max(0, MAX_TEXT_BYTES - self.size if room is None else room)
        self.size += len(encoded)
        return text if len(encoded) <= room else encoded[:room].decode(errors="ignore")


def _content(part: dict[str, Any]) -> tuple[str, str]:
    """The text of a piece, and what the model thinks beside it.

    Raises:
        ModelUnavailable: it is no text.

    """
    thought = next((part[key] for key in _REASONING if part.get(key) and isinstance(part[key], str)), "")
    content = part.get("content")
    if isinstance(content, list):  # as Mistral has it: a list of parts, some of them thoughts
        said = [one for one in content if isinstance(one, dict)]
        content = "".join(str(one.get("text") or "") for one in said if one.get("type") == "text")
        thinking = [one.get("thinking") for one in said if one.get("type") == "thinking"]
        thought = thought or "".join(_thought(one) for one in thinking)
    if content is not None and not isinstance(content, str):
        raise ModelUnavailable("not_a_completion")
    return content or "", thought


def _thought(value: object) -> str:
    if isinstance(value, list):
        return "".join(str(one.get("text") or "") for one in value if isinstance(one, dict))
    return value if isinstance(value, str) else ""


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
        name, _, payload = line.partition(b":")
        if name == b"data" and payload.strip():
            yield payload.strip()
        elif name == b"error":  # llama.cpp's way to end a stream that failed
            yield b'{"error":' + payload.strip() + b"}"


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
