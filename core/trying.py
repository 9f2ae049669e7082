"""Trying a model: it is really asked, first for a word, then for a call, and what came of it is told."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from core.asking import CLASS_OF
from core.chat.endpoints import OFFLINE
from core.chat.provider import (
    ChatMessage,
    Deadline,
    Finished,
    FinishReason,
    ModelError,
    ModelRequest,
    ReasoningDelta,
    TextDelta,
    Tool,
    ToolCall,
)
from core.chat.providers import Providers
from core.settings import Settings
from models import ErrorClass

ANSWER_TOKENS = 2_048  # room enough for a model that thinks first
ASKED = "Answer with one word: ready."
WORD = "ready"
ECHO = Tool(
    "crontalk_echo",
    "Says a word back.",
    {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
)
ASKED_TO_CALL = f'Call the function {ECHO.name} with word="{WORD}". Say nothing else.'

HINTS = {
    "no_endpoint": "Set LLM_BASE_URL, or name an endpoint in CRONTALK_MODELS.",
    "base_url": "LLM_BASE_URL is no http or https address without user, query and fragment.",
    "api_key": "The server does not take the key: see LLM_API_KEY, or api_key and api_key_env of the entry.",
    "http_401": "The server does not take the key: see LLM_API_KEY, or api_key and api_key_env of the entry.",
    "http_403": "The key may not use this model.",
    "http_404": "Nothing answers at this address, or not for this model; base_url usually ends in /v1.",
    "model_not_found": "The server has no such model: see `model` of the entry, which is its name there.",
    "no_tools": 'The model takes no functions: give its entry "capabilities": [] without tools.',
    "no_images": "The model sees no images: take images out of the entry's capabilities.",
    "no_credit": "No money is left with this key; waiting does not help.",
    "connect": "Nobody listens at the address, or it cannot be reached from here.",
    "deadline": "It took longer than CRONTALK_MODEL_TIME.",
    "idle": "Nothing came for half a minute; the server may still be loading the model.",
    "overloaded": "The server is still loading the model or has too much to do; try again.",
    "not_json": "What answers is no model server: base_url may lack its path, usually /v1.",
    "not_a_completion": "What answers is no OpenAI-compatible chat server; base_url usually ends in /v1.",
    "empty": "It answered without a word; a model that thinks may have spent its tokens on that.",
    "no_call": "It did not call the function; take tools out of its capabilities if it cannot.",
    "broken_call": "It called with arguments that cannot be read; a model of this size may be too small.",
    "length": "The answer was cut off; a model that thinks may need more max_output_tokens.",
}
OF_CLASS = {
    ErrorClass.QUOTA: "The server accepts no more requests with this key for now.",
    ErrorClass.TIMEOUT: "The model took too long.",
    ErrorClass.CONTEXT_TOO_LONG: "Not even a short question fits: see context_tokens of the entry.",
    ErrorClass.REFUSED: "The server's filter stopped a harmless question.",
    ErrorClass.MISCONFIGURED: "Key, model name or address are wrong.",
    ErrorClass.PROVIDER_ERROR: "The server gave no usable answer; its own log may say why.",
}


@dataclass(frozen=True)
class Trial:
    """What came of asking once; times in seconds. `code` is why it failed, None when it did not."""

    what: str  # "answer" or "call"
    seconds: float
    first: float | None = None
    finish: FinishReason | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    reasons: bool = False
    error_class: ErrorClass | None = None
    code: str | None = None

    @property
    def hint(self) -> str | None:
        """What an operator can do about it."""
        if self.code is None or self.error_class is None:
            return None
        return HINTS.get(self.code) or OF_CLASS.get(self.error_class)


@dataclass
class _Heard:
    """What has come so far."""

    began: float = field(default_factory=time.monotonic)
    first: float | None = None
    text: str = ""
    thought: bool = False
    calls: list[ToolCall] = field(default_factory=list)
    end: Finished | None = None

    def elapsed(self) -> float:
        return time.monotonic() - self.began

    def listen(self, events: Any) -> None:
        self.began = time.monotonic()
        with closing(events):
            for event in events:
                if self.first is None and not isinstance(event, Finished):
                    self.first = self.elapsed()
                if isinstance(event, TextDelta):
                    self.text += event.text
                elif isinstance(event, ReasoningDelta):
                    self.thought = True
                elif isinstance(event, ToolCall):
                    self.calls.append(event)
                else:
                    self.end = event


def try_model(settings: Settings, providers: Providers, model: str) -> list[Trial]:
    """Asks for a word, and for a call where the model can call.

    Raises:
        InvalidInput: it is no model string.

    """
    answer = _tried(settings, providers, model, "answer", ASKED)
    if answer.code is not None or not _calls(settings, providers, model):
        return [answer]
    return [answer, _tried(settings, providers, model, "call", ASKED_TO_CALL, ECHO)]


def _calls(settings: Settings, providers: Providers, model: str) -> bool:
    _, name, _ = providers.provider_for(model)
    return name == OFFLINE or "tools" in settings.endpoint(name).capabilities


def _tried(
    settings: Settings, providers: Providers, model: str, what: str, words: str, *tools: Tool
) -> Trial:
    heard = _Heard()
    try:
        provider, name, options = providers.provider_for(model)
        if name != OFFLINE:  # loading the libraries is not the model's time
            import openai.resources.chat.completions  # noqa: F401

            import core.chat.network  # noqa: F401
        most = min(settings.endpoint(name).max_output_tokens or ANSWER_TOKENS, ANSWER_TOKENS)
        request = ModelRequest(name, options, "", (ChatMessage("user", words),), most, tools)
        heard.listen(provider.stream(request, Deadline.after(settings.model_time)))
    except ModelError as error:
        return _trial(heard, what, CLASS_OF.get(type(error), ErrorClass.PROVIDER_ERROR), error.code)
    return _judged(_trial(heard, what), heard, tools)


def _trial(heard: _Heard, what: str, error_class: ErrorClass | None = None, code: str | None = None) -> Trial:
    end = heard.end or Finished(FinishReason.stop, 0, 0)
    return Trial(
        what=what,
        seconds=heard.elapsed(),
        first=heard.first,
        finish=None if heard.end is None else end.reason,
        input_tokens=end.input_tokens,
        output_tokens=end.output_tokens,
        reasons=heard.thought,
        error_class=error_class,
        code=code,
    )


def _judged(trial: Trial, heard: _Heard, tools: tuple[Tool, ...]) -> Trial:
    """Whether it is what was asked for."""
    if trial.finish is FinishReason.length:
        return replace(trial, error_class=ErrorClass.TRUNCATED, code="length")
    if trial.finish is FinishReason.refused:
        return replace(trial, error_class=ErrorClass.REFUSED, code="refused")
    if not tools:
        good = bool(heard.text.strip())
        return trial if good else replace(trial, error_class=ErrorClass.EMPTY_OUTPUT, code="empty")
    called = next((call for call in heard.calls if call.name == ECHO.name), None)
    if called is None:
        return replace(trial, error_class=ErrorClass.PROVIDER_ERROR, code="no_call")
    if called.broken or not isinstance(called.arguments.get("word"), str):
        return replace(trial, error_class=ErrorClass.PROVIDER_ERROR, code="broken_call")
    return trial
