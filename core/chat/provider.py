"""The one seam to language models: a request, a stream of events, a deadline and what can go wrong.

ModelError
├── ModelUnavailable    away, overloaded, cut off or talking nonsense; another try may succeed
├── ModelQuota          too many requests or no money left; `retry_after` as the server gave it
├── ModelTimeout        the deadline passed, or nothing arrived for too long
├── ModelRefused        the server will not answer this text
├── ContextTooLong      the conversation does not fit the model
└── ModelMisconfigured  key, model name or address are wrong; nothing helps but an operator
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any, ClassVar, Literal, Protocol

from core.errors import CrontalkError

# How long a wait lasts at most before it is asked again whether anybody wants the answer.
SLICE = 0.5

Role = Literal["system", "user", "assistant", "tool"]
OptionValue = str | float | int


class ModelError(CrontalkError):
    """A model call that failed.

    `code` is static and content-free ("http_503", "stream_cut"): fit for logs, rows and metrics. Neither it
    nor the message ever holds a prompt, an answer, a key or an address. `retry_after` is what the server
    asked for, however absurd: the caller caps it. `said` is what had come of the answer: content. `told`:
    somebody may have heard of it, be it only what the model thought.
    """

    said: str = ""
    told: bool = False
    sentence: ClassVar[str] = "The model call failed"
    retryable: bool = False

    def __init__(
        self,
        code: str,
        message: str | None = None,
        *,
        retryable: bool | None = None,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message or f"{self.sentence} ({code}).")
        self.code = code
        self.retry_after = retry_after
        if retryable is not None:
            self.retryable = retryable


class ModelUnavailable(ModelError):
    """Away, overloaded, cut off or talking nonsense; another try may succeed."""

    sentence = "The model server gave no usable answer"
    retryable = True


class ModelQuota(ModelError):
    """Too many requests; not retryable when the account behind the key has no credit left."""

    sentence = "The model server accepts no more requests for now"
    retryable = True


class ModelTimeout(ModelError):
    """The deadline passed ("deadline"), or nothing arrived for too long ("idle")."""

    sentence = "The model took too long"
    retryable = True


class ModelRefused(ModelError):
    """The server will not answer this text."""

    sentence = "The model server refused this conversation"


class ContextTooLong(ModelError):
    """The conversation does not fit the model, or the budget it was given."""

    sentence = "The conversation is too long for the model"


class ModelMisconfigured(ModelError):
    """Key, model name or address are wrong; nothing helps but an operator."""

    sentence = "The model endpoint is not configured correctly"


def _always() -> None:
    """The answer is wanted until the deadline."""


@dataclass(frozen=True)
class Deadline:
    """A moment on this process's monotonic clock: it means nothing elsewhere and no clock change moves it.

    `wanted` ends the call before its time, by raising, once nobody waits for the answer any more: the run
    was cancelled or went to somebody else. Whoever waits asks it at least every SLICE seconds.
    """

    at: float
    wanted: Callable[[], None] = field(default=_always, compare=False, repr=False)

    @classmethod
    def after(cls, span: timedelta) -> Deadline:
        return cls(time.monotonic() + span.total_seconds())

    def remaining(self) -> float:
        """Seconds left; zero or less once it has passed."""
        return self.at - time.monotonic()

    def check(self) -> None:
        """Raise ModelTimeout once it has passed, and what `wanted` raises before."""
        self.wanted()
        if self.remaining() <= 0:
            raise ModelTimeout("deadline")

    def pause(self, span: timedelta) -> None:
        """Wait for `span`; raises as `check` does, as soon as it would."""
        end = time.monotonic() + span.total_seconds()
        self.check()
        while (left := end - time.monotonic()) > 0:
            time.sleep(max(0.0, min(left, SLICE, self.remaining())))
            self.check()

    def or_sooner(self, span: timedelta) -> Deadline:
        """The deadline itself, or `span` from now if that comes first."""
        return replace(self, at=min(self.at, Deadline.after(span).at))

    def while_wanted(self, wanted: Callable[[], None]) -> Deadline:
        """The same moment for a call that ends as soon as `wanted` raises."""
        return replace(self, wanted=wanted)


@dataclass(frozen=True)
class Tool:
    """A function the model may call: its name, what it is for, and its arguments as a JSON schema."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class ToolCall:
    """The model asks for a function; `id` is its own name for this call, or one we gave it.

    `broken` says why its arguments cannot be used, a word free of content ("not_json", "not_an_object",
    "too_long"): then they are empty and the call is to be answered with an error, never carried out. The name
    is the model's own: it may be one that nobody declared.
    """

    id: str
    name: str
    arguments: Mapping[str, Any] = field(repr=False)
    broken: str | None = None


@dataclass(frozen=True)
class Image:
    """A picture that goes along with a message, such as `image/png`."""

    media_type: str
    content: bytes = field(repr=False)


@dataclass(frozen=True)
class ChatMessage:
    """`calls` are those of an assistant's message; `call_id` names the call that a tool's message answers.

    `images` go with a user's message, to models that see them (core/chat/images.py).
    """

    role: Role
    text: str
    calls: tuple[ToolCall, ...] = ()
    call_id: str | None = None
    images: tuple[Image, ...] = ()


@dataclass(frozen=True)
class ModelRequest:
    """What one model call sends. `options` are the ones of the model string; a provider ignores strangers.

    `forced` names the tool that must be called.
    """

    model: str
    options: Mapping[str, OptionValue]
    system: str
    messages: tuple[ChatMessage, ...]
    max_output_tokens: int | None
    tools: tuple[Tool, ...] = ()
    forced: str | None = None

    def output_limit(self) -> int | None:
        """The smaller of the caller's limit and the model string's `max_tokens`."""
        limits = [self.max_output_tokens, self.options.get("max_tokens")]
        return min((int(limit) for limit in limits if limit is not None), default=None)


class FinishReason(StrEnum):
    stop = "stop"
    length = "length"
    refused = "refused"
    tool = "tool"


@dataclass(frozen=True)
class TextDelta:
    """The next piece of the answer: never empty, free of NUL and lone surrogates."""

    text: str


@dataclass(frozen=True)
class ReasoningDelta:
    """The next piece of what the model thinks before or while it answers: never part of the answer, and
    never sent back to a model. As clean as a TextDelta.
    """

    text: str


@dataclass(frozen=True)
class Finished:
    """The last event of every complete stream. Token counts are the server's, or estimates."""

    reason: FinishReason
    input_tokens: int
    output_tokens: int


ModelEvent = TextDelta | ReasoningDelta | ToolCall | Finished


class Provider(Protocol):
    """A source of answers, shared by all threads of a process."""

    def stream(self, request: ModelRequest, deadline: Deadline) -> Iterator[ModelEvent]:
        """Yield the answer's pieces and the calls it asks for, then exactly one Finished; raise ModelError
        instead of a Finished.

        Nothing is sent before the first event is asked for. Never runs noticeably past the deadline, the
        caller's own time between events included, and ends within seconds of its `wanted` raising, with what
        it raised: a model that says nothing holds nobody. Closing the iterator early ends the call at the
        server, so a cancelled turn stops costing. Iterate it in one thread.
        """
        ...

    def close(self) -> None:
        """Let go of connections; streams still open end with an error."""
        ...
