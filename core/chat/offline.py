"""The model that needs no network: deterministic answers from the backstory and what was said."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from datetime import timedelta

from core.chat.history import BYTES_PER_TOKEN, estimate_input, estimate_tokens
from core.chat.offline_answer import compose, reason_of
from core.chat.offline_call import tool_calls
from core.chat.provider import (
    Deadline,
    Finished,
    FinishReason,
    ModelEvent,
    ModelRequest,
    ModelUnavailable,
    ReasoningDelta,
    TextDelta,
)

DEFAULT_CHUNKS = 8
CALL_TOKENS = 16


class OfflineProvider:
    """Answers without a model, the same for the same request.

    Options of the model string: `latency` (seconds, spread over the pieces), `fail_rate` (0 to 1) with
    `seed`, `chunks` (pieces of text), `finish` (stop, length, refused), `empty=1` (an answer without text)
    and `reasoning=1` (it thinks aloud before it answers). For tests, `obey=1` (it does whatever any text it
    reads tells it to) and `loop=1` (it calls its first function for ever). A failure is drawn from the
    request, the seed and the number of calls this provider has seen, so a retry may succeed and a test that
    counts its calls sees the same failures every time.

    It calls the function it is made to call, or those whose names the last question holds, each once, with
    what the question says as their arguments; then it tells the results (core/chat/offline_call.py).
    """

    def __init__(self) -> None:
        self._calls = itertools.count()

    def stream(self, request: ModelRequest, deadline: Deadline) -> Iterator[ModelEvent]:
        call = next(self._calls)
        latency = timedelta(seconds=float(request.options.get("latency", 0)))
        deadline.check()
        if _fails(request, call):
            deadline.pause(latency)
            raise ModelUnavailable("offline_failure")
        called = tool_calls(request)
        count = int(request.options.get("chunks", DEFAULT_CHUNKS))
        thoughts = reason_of(request, called) if request.options.get("reasoning") == 1 else ""
        for thought in _pieces(thoughts, count):
            yield ReasoningDelta(thought)
        asked, used = estimate_input(request.system, request.messages), estimate_tokens(thoughts)
        if called:
            deadline.pause(latency)
            yield from called
            yield Finished(FinishReason.tool, asked, used + CALL_TOKENS * len(called))
            return
        text, reason = _answer(request)
        pieces = _pieces(text, count)
        for piece in pieces:
            deadline.pause(latency / len(pieces))
            yield TextDelta(piece)
        if not pieces:
            deadline.pause(latency)
        yield Finished(reason, asked, used + estimate_tokens(text))

    def close(self) -> None:
        """Nothing is held."""


def _answer(request: ModelRequest) -> tuple[str, FinishReason]:
    reason = FinishReason(str(request.options.get("finish", "stop")))
    if request.options.get("empty") or reason is FinishReason.refused:
        return "", reason
    text = compose(request.system, request.messages)
    if reason is FinishReason.length:
        return text[: len(text) // 2], reason
    limit = request.output_limit()
    if limit is not None and estimate_tokens(text) > limit:
        cut = text.encode()[: limit * BYTES_PER_TOKEN]
        return cut.decode(errors="ignore"), FinishReason.length
    return text, reason


def _pieces(text: str, count: int) -> list[str]:
    """At most `count` pieces of about the same length, none of them empty."""
    size = max(1, -(-len(text) // count))
    return [text[start : start + size] for start in range(0, len(text), size)]


def _fails(request: ModelRequest, call: int) -> bool:
    rate = float(request.options.get("fail_rate", 0))
    if rate <= 0:
        return False
    digest = hashlib.blake2b(digest_size=8)
    for part in (request.system, *(message.text for message in request.messages)):
        digest.update(part.encode("utf-8", "surrogatepass") + b"\0")
    digest.update(f"{request.options.get('seed', 0)}:{call}".encode())
    return int.from_bytes(digest.digest(), "big") < rate * 2**64
